"""Pearson's distance before against after relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    ENERGY_COLOURS,
    GREY,
    GROUP_STYLES,
    energy_scale,
    finish,
    house_style,
    new_figure,
)
from crysearch.plotting.values import Document, counted, group_of, numbers


def plot_distances(
    relaxations: Sequence[Document],
    colour_by: Literal["group", "energy"] = "group",
    threshold: float | None = None,
    maximum: float = 0.8,
    path: str | Path | None = None,
) -> Figure:
    """Pearson's distance to the nearest known structure, before and after relaxation.

    Parameters
    ----------
    relaxations
        Relaxation documents with ``distance_before``, ``distance_after``, ``groups`` and
        ``energy_above_reference_ground_state`` (eV/atom); those of references are left out.
    colour_by
        "group", or "energy" (markers still tell the groups apart).
    threshold
        Pearson's distance of the screening, drawn as a line if given.
    maximum
        Energy at the end of the colour scale in eV/atom; higher ones get its colour.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no candidate has both distances (and an energy, if that is the colour), ``colour_by``
        is unknown, or the file name has another ending.
    """
    with house_style(path):
        figure = new_figure(4.6, 4.5)
        notes = draw_distances(figure.subplots(), relaxations, colour_by, threshold, maximum)
        return finish(figure, notes, path)


def draw_distances(
    axes: Axes,
    relaxations: Sequence[Document],
    colour_by: Literal["group", "energy"],
    threshold: float | None,
    maximum: float,
) -> list[str]:
    """Draw the scatter; returns notes on what is not shown."""
    if colour_by not in ("group", "energy"):
        raise AnalysisError(f"colour_by={colour_by!r}: give 'group' or 'energy'")
    candidates = [d for d in relaxations if d.get("parent_kind") != "reference"]
    before, after = numbers(candidates, "distance_before"), numbers(candidates, "distance_after")
    complete = np.isfinite(before) & np.isfinite(after)
    energies = numbers(candidates, "energy_above_reference_ground_state")
    shown = complete & np.isfinite(energies) if colour_by == "energy" else complete
    if not shown.any():
        fields = "distance_before, distance_after"
        if complete.any():
            fields = "energy_above_reference_ground_state"
        raise AnalysisError(
            f"none of {len(candidates)} relaxed candidates has what the figure shows (fields "
            f"{fields}): relax candidates first"
        )
    groups = np.array([group_of(d) or "none" for d in candidates])
    notes = []
    if not complete.all():
        lack = counted(int((~complete).sum()), "candidate lacks", "candidates lack")
        notes.append(f"{lack} a distance")
    if (complete & ~shown).any():
        have = counted(int((complete & ~shown).sum()), "candidate has", "candidates have")
        notes.append(f"{have} no energy to colour by")

    top = 1.05 * max(before[shown].max(), after[shown].max(), threshold or 0.0, 0.05)
    axes.plot([0, top], [0, top], color=GREY, lw=0.8, ls=":", zorder=0)
    if threshold is not None:
        axes.axvline(threshold, color=GREY, lw=0.8, ls="--", zorder=0)
        notes.append(f"dashed: threshold of the screening, {threshold:g}")
    norm = energy_scale(energies[np.isfinite(energies)], maximum)
    handles = []
    for name, (colour, marker) in GROUP_STYLES.items():
        chosen = shown & (groups == name)
        if not chosen.any():
            continue
        prefix = (
            "no group" if name == "none" else f"groups {name}" if " " in name else f"group {name}"
        )
        if colour_by == "energy":
            colour = GREY
            axes.scatter(
                before[chosen],
                after[chosen],
                c=energies[chosen],
                cmap=ENERGY_COLOURS,
                norm=norm,
                marker=marker,
                s=20,
            )
        else:
            axes.scatter(
                before[chosen], after[chosen], color=colour, marker=marker, s=20, alpha=0.8
            )
        label = f"{prefix} ({int(chosen.sum())})"
        handles.append(Line2D([], [], ls="", marker=marker, ms=5, color=colour, label=label))
    if colour_by == "energy":
        axes.figure.colorbar(
            ScalarMappable(norm, ENERGY_COLOURS),
            ax=axes,
            label="Energy above the reference ground state (eV/atom)",
            extend="max" if energies[shown].max() > maximum else "neither",
        )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.set_xlabel("Pearson's distance to the nearest\nknown structure, before relaxation")
    axes.set_ylabel("Pearson's distance to the nearest\nknown structure, after relaxation")
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return notes
