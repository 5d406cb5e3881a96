"""The figure of docs/guiding.md: distinct low-energy structures of each group."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crysearch.plotting.style import BLUE, LIGHT_GREY, ORANGE, finish, house_style, new_figure

#: What stands below the bars of each group.
SHORT = {
    "I": "I\nknown",
    "II": "II\nreplica",
    "hamiltonian": "II\nHVAE",
    "III": "III\nany",
    "displaced": "III\ndisplaced",
    "references": "IV\nknown",
    "replicas": "IV\nreplicas",
    "lines": "IV\nlines",
    "dropped": "IV known,\ndisplaced",
}
Bars = dict[str, list[tuple[float, float]]]


def draw(systems: dict[str, tuple[int, Bars]], path: Path) -> None:
    """One panel per system.

    Parameters
    ----------
    systems
        Name → relaxations per group, and for each group mean and half-width of the 95 % interval
        of the distinct structures below 0.20 eV/atom, and of those at 0.05–0.20.
    path
        File to write.
    """
    with house_style(path):
        figure = new_figure(7.2, 2.6 * len(systems) + 0.4)
        panels = np.atleast_1d(figure.subplots(len(systems), 1))
        for panel, (name, (number, bars)) in zip(panels, systems.items(), strict=True):
            places = np.arange(len(bars))
            for shift, row, colour, label in (
                (-0.2, 0, LIGHT_GREY, "below 0.20 eV/atom"),
                (0.2, 1, BLUE, "at 0.05–0.20 eV/atom"),
            ):
                values = np.array([pair[row] for pair in bars.values()])
                means, halves = values.T
                low = np.minimum(halves, means)
                panel.bar(places + shift, means, 0.38, color=colour, label=label)
                panel.errorbar(
                    places + shift, means, yerr=[low, halves], fmt="none", ecolor=ORANGE, lw=1.2,
                    capsize=3,
                )  # fmt: skip
            panel.set_xticks(places, [SHORT[group] for group in bars])
            panel.tick_params(axis="x", length=0)
            panel.set_ylabel(f"distinct structures\nof {number}")
            panel.set_title(name, loc="left")
        panels[0].legend(loc="upper left", ncols=1)
        finish(figure, ["means over seeds with 95 % intervals"], path)
