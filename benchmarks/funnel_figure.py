"""The figure of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter

from crysearch.plotting.style import BLUE, GREY, ORANGE, finish, house_style, new_figure

Series = list[tuple[float, ...]]


def draw(data: dict[str, Series], requests: list[str], path: Path) -> None:
    """Sampling beside PyXtal; cost against atoms and references; memory of a long stream."""
    with house_style(path):
        figure = new_figure(7.2, 5.4)
        axes = figure.subplots(2, 2)
        draw_sampling(axes[0, 0], data["sampling"], requests)
        draw_sizes(axes[0, 1], np.array(data["sizes"]))
        draw_references(axes[1, 0], np.array(data["references"]))
        draw_memory(axes[1, 1], np.array(data["memory"]))
        for letter, panel in zip("abcd", axes.flat, strict=True):
            panel.set_title(f"({letter})", loc="left")
        finish(figure, [], path)


def draw_sampling(panel, rates: Series, requests: list[str]) -> None:
    """Bars of the rates, with the ratio above."""
    places = np.arange(len(requests))
    ours, theirs = np.array(rates).T
    panel.bar(places - 0.2, ours, 0.38, color=BLUE, label="crysearch")
    panel.bar(places + 0.2, theirs, 0.38, color=ORANGE, label="PyXtal")
    for place, our, their in zip(places, ours, theirs, strict=True):
        ratio = float(f"{our / their:.2g}")
        panel.text(place - 0.2, our * 1.3, f"{ratio:,.0f} ×", ha="center", fontsize=8)
    panel.set_yscale("log")
    panel.set_ylim(theirs.min() / 4, ours.max() * 25)
    panel.set_xticks(places, requests)
    panel.set_ylabel("accepted crystals per second")
    panel.legend(loc="upper right", ncols=2)


def draw_sizes(panel, sizes: np.ndarray) -> None:
    """Cost of a crystal against its atoms."""
    atoms, sampling, printing = sizes.T
    panel.plot(atoms, 1e6 * sampling, "o-", color=BLUE, ms=4, label="sampling")
    panel.plot(atoms, 1e6 * printing, "s-", color=ORANGE, ms=4, label="RDF")
    panel.plot(atoms, 1e6 * printing[-1] * atoms / atoms[-1], ":", color=GREY, label="∝ atoms")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(atoms, [f"{n:.0f}" for n in atoms])
    panel.set_xlabel("Si atoms per cell")
    panel.set_ylabel("µs per crystal")
    panel.legend(loc="upper left")


def draw_references(panel, references: np.ndarray) -> None:
    """Queries per second against the number of references."""
    number, ours, every = references.T
    panel.plot(number, ours, "o-", color=BLUE, ms=4, label="crysearch")
    panel.plot(number, every, "s-", color=ORANGE, ms=4, label="every pair, BLAS")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("references")
    panel.set_ylabel("nearest found per second")
    panel.legend(loc="lower left")


def draw_memory(panel, memory: np.ndarray) -> None:
    """Largest resident memory against crystals so far."""
    done, megabytes = memory.T
    panel.plot(done, megabytes, "o-", color=BLUE, ms=4)
    panel.set_xscale("log")
    panel.set_ylim(0, 1.3 * megabytes.max())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    panel.set_xlabel("crystals sampled, fingerprinted, screened")
    panel.set_ylabel("resident memory (MB)")
