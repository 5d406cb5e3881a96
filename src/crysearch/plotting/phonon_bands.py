"""Phonon bands of one crystal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLUE,
    GREY,
    LIGHT_GREY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
)
from crysearch.plotting.values import Document, counted

#: Part of the width that two names and a bar between them take.
_ROOM = 0.07


def plot_phonon_bands(
    result: Document, name: str | None = None, path: str | Path | None = None
) -> Figure:
    """Phonon bands along the special points; imaginary frequencies are drawn as negative.

    Parameters
    ----------
    result
        :class:`crysearch.analysis.Phonons` as a dictionary.
    name
        What the crystal is called.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If the result has no bands, or the file name has another ending.
    """
    with house_style(path):
        figure = new_figure(5.2, 3.4)
        notes = draw_phonon_bands(figure.subplots(), result, name)
        return finish(figure, notes, path)


def draw_phonon_bands(axes: Axes, result: Document, name: str | None = None) -> list[str]:
    """Draw the bands; returns notes."""
    segments = result["bands"]
    if not segments:
        raise AnalysisError("bands=[]: the phonons have no bands to draw; calculate them again")
    lowest = 0.0
    for segment in segments:
        distances = np.array(segment["distances"])
        frequencies = np.array(segment["frequencies"])
        lowest = min(lowest, frequencies.min())
        axes.plot(distances, frequencies, color=BLUE, lw=1.0)
        below = np.where(frequencies < -result["tolerance"], frequencies, np.nan)
        axes.plot(distances, below, color=VERMILLION, lw=1.4)
    positions, labels = _ticks(segments)
    for position in positions[1:-1]:
        axes.axvline(position, color=LIGHT_GREY, lw=0.7, zorder=0)
    axes.axhline(0, color=GREY, lw=0.8, ls=":", zorder=0)
    axes.set_xticks(positions, labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(positions[0], positions[-1])
    if lowest >= -result["tolerance"]:
        axes.set_ylim(bottom=0)
    else:
        bottom = axes.get_ylim()[0]
        axes.axhspan(bottom, 0, color=VERMILLION, alpha=0.08, lw=0, zorder=0)
        axes.set_ylim(bottom=bottom)
    axes.set_ylabel("Frequency (THz)")
    if name is not None:
        axes.set_title(name)
    notes = [
        f"forces by {result['engine']} in supercells of "
        f"{counted(result['supercell_atoms'], 'atom', 'atoms')}"
    ]
    if lowest < -result["tolerance"]:
        notes.append("imaginary frequencies are drawn as negative")
    elif not result["is_stable"]:
        notes.append("imaginary frequencies lie on the mesh, away from these lines")
    if not result["is_relaxed"]:
        notes.append(
            f"the crystal was not at rest (forces up to {result['residual_force']:.2g} eV/Å)"
        )
    return notes


def _ticks(segments: Sequence[Document]) -> tuple[list[float], list[str]]:
    """Special points; both names where the path jumps, stacked if points are close."""
    ends = [float(segments[0]["distances"][0])] + [float(s["distances"][-1]) for s in segments]
    between = "|" if np.diff(ends).min() > _ROOM * (ends[-1] - ends[0]) else "\n"
    positions = [float(segments[0]["distances"][0])]
    labels = [_label(segments[0]["labels"][0])]
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        positions.append(float(segment["distances"][-1]))
        end = segment["labels"][1]
        jumps = following is not None and following["labels"][0] != end
        labels.append(
            f"{_label(end)}{between}{_label(following['labels'][0])}"
            if following is not None and jumps
            else _label(end)
        )
    return positions, labels


def _label(name: str) -> str:
    if name in ("G", "GAMMA", "Γ"):
        return "Γ"
    # Numbers follow the letter: X1 is X with an index.
    return f"{name[0]}$_{{{name[1:]}}}$" if len(name) > 1 else name
