"""Energies of the known structures and of the groups of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import GREY, GROUP_STYLES, finish, house_style, new_figure
from crysearch.plotting.values import Document, counted, number

_FIELD = "energy_above_reference_ground_state"


def plot_energies(
    relaxations: Sequence[Document],
    window: tuple[float, float] = (0.05, 0.20),
    maximum: float = 0.8,
    path: str | Path | None = None,
) -> Figure:
    """Energy levels of the database and of the groups, as the published figure 6.

    One line per relaxed structure; over each column the structures shown, and in the window the
    distinct structures there. A candidate in groups I and II is in both columns. Group IV has a
    column if it has a candidate.

    Parameters
    ----------
    relaxations
        Relaxation documents with ``parent_kind`` ("reference" or "candidate"), ``groups``,
        ``energy_above_reference_ground_state`` (eV/atom) and, for the count of distinct
        structures, ``_id`` and ``duplicate_of``.
    window
        Energies of interest in eV/atom.
    maximum
        Highest energy shown in eV/atom; what lies above is counted below the figure.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no structure has an energy, the window is empty or above the maximum, or the file
        name has another ending.
    """
    with house_style(path):
        figure = new_figure(5.0, 4.2)
        notes = draw_energies(figure.subplots(), relaxations, window, maximum)
        return finish(figure, notes, path)


def draw_energies(
    axes: Axes, relaxations: Sequence[Document], window: tuple[float, float], maximum: float
) -> list[str]:
    """Draw the levels; returns notes on what is not shown."""
    low, high = window
    if not 0 <= low < high <= maximum:
        raise AnalysisError(
            f"window={window}, maximum={maximum}: give 0 <= low < high <= maximum in eV/atom"
        )
    columns = {
        "Database": [d for d in relaxations if d.get("parent_kind") == "reference"],
        **{
            group: [
                d
                for d in relaxations
                if d.get("parent_kind") != "reference" and group in (d.get("groups") or ())
            ]
            for group in _groups(relaxations)
        },
    }
    energies = [number(d.get(_FIELD)) for d in relaxations]
    if not np.isfinite(energies).any():
        raise AnalysisError(
            f"none of {len(relaxations)} relaxations has an energy (field {_FIELD}): relax "
            "candidates and references first"
        )
    missing = int(np.isnan(energies).sum())
    above = int((np.array(energies) > maximum).sum())
    axes.axhspan(low, high, color="#F0E442", alpha=0.25, lw=0)
    lowest = 0.0
    for position, (name, documents) in enumerate(columns.items()):
        values = np.array([number(d.get(_FIELD)) for d in documents])
        shown = [d for d, value in zip(documents, values, strict=True) if value <= maximum]
        levels = values[values <= maximum]
        colour, _ = GROUP_STYLES[name]
        axes.hlines(levels, position - 0.32, position + 0.32, color=colour, lw=1.0, alpha=0.75)
        lowest = min(lowest, levels.min(initial=0.0))
        inside = [d for d, value in zip(shown, levels, strict=True) if low <= value <= high]
        axes.text(
            position,
            1.02,
            f"$n$ = {len(levels)}\n{_distinct(inside)} in window",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylim(lowest - 0.03 * maximum, maximum)
    axes.axhline(0, color=GREY, lw=0.8, ls=":", zorder=0)
    names = ["Database", *(f"Group {name}" for name in _groups(relaxations))]
    axes.set_xticks(range(len(columns)), names)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("Energy above the reference\nground state (eV/atom)")
    notes = [f"window: {low:.2f}–{high:.2f} eV/atom, duplicates within a group counted once"]
    if above:
        are = counted(above, "structure is", "structures are")
        notes.append(f"{are} above {maximum:g} eV/atom and not shown")
    if missing:
        have = counted(missing, "relaxation has", "relaxations have")
        notes.append(f"{have} no energy")
    return notes


def _groups(relaxations: Sequence[Document]) -> list[str]:
    guided = any("IV" in (document.get("groups") or ()) for document in relaxations)
    return ["I", "II", "III"] + ["IV"] * guided


def _distinct(documents: Sequence[Document]) -> int:
    """Number of different structures; documents that say nothing of duplicates all differ."""
    known = {d.get("duplicate_of") or d.get("_id") for d in documents} - {None}
    silent = sum(d.get("duplicate_of") is None and d.get("_id") is None for d in documents)
    return len(known) + silent
