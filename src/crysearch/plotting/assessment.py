"""Assessments of engines: energy against volume, parity with the reference, cost against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.equation_of_state import birch_murnaghan
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
    panel_letter,
)

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
_MARKERS = "os^Dv<>P"

#: Most engines side by side, and most phases in colours of their own.
MOST_ENGINES = 6
MOST_PHASES = len(_COLOURS)

#: Energies further above the highest minimum are out of range, eV/atom.
_HEADROOM = 0.12

Quantities = Mapping[str, Any]


def plot_assessments(
    assessments: Mapping[str, Quantities],
    reference: str | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Equations of state of each engine, energies and volumes against the reference, and cost.

    Parameters
    ----------
    assessments
        By the name of the engine the quantities that were computed, as
        :func:`crysearch.assessment.compare` takes them; the reference's too.
    reference
        Which of them is the reference; None for none.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there is none or are too many, the reference is not among them, nothing was computed
        that can be drawn, or the file name has another ending.
    """
    if not 1 <= len(assessments) <= MOST_ENGINES:
        raise AnalysisError(f"{len(assessments)} assessments: give 1 to {MOST_ENGINES}")
    if reference is not None and reference not in assessments:
        raise AnalysisError(
            f"reference={reference!r}: not among {', '.join(assessments)}, which are assessed"
        )
    curves = {name: found for name, found in assessments.items() if _states(found)}
    models = {
        name: found
        for name, found in assessments.items()
        if reference not in (None, name) and found.get("phases")
    }
    theirs = assessments[reference] if reference is not None else {}
    lower = [_draw_energies, _draw_volumes] if models and theirs.get("phases") else []
    costs = {name: found["cost"] for name, found in assessments.items() if found.get("cost")}
    if not curves and not lower and not costs:
        raise AnalysisError("nothing to draw: no equation of state, no phases and no cost")
    styles = dict(zip(assessments, zip(_COLOURS, _MARKERS, strict=True), strict=False))
    with house_style(path):
        heights = [2.9] * bool(curves) + [3.1] * bool(lower or costs)
        width = max(2.2 * len(curves) + 0.6, 2.9 * (len(lower) + bool(costs)), 4.6)
        figure = new_figure(width, sum(heights) + 0.5)
        rows = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        notes: list[str] = []
        letters = iter("abcdefghijkl")
        if curves:
            row = next(rows)
            axes = row.subplots(1, len(curves), sharey=True, squeeze=False)[0]
            notes += _draw_curves(axes, curves, theirs if reference in curves else None)
            shown: dict[str, Any] = {}
            for panel in axes:
                handles, labels = panel.get_legend_handles_labels()
                shown = dict(zip(labels, handles, strict=True)) | shown
            row.legend(
                shown.values(), shown.keys(), loc="outside upper center", ncols=4, handletextpad=0.2
            )
            for panel in axes:
                panel_letter(panel, next(letters))
        if lower or costs:
            panels = list(next(rows).subplots(1, len(lower) + bool(costs), squeeze=False)[0])
            for draw, panel in zip(lower, panels, strict=False):
                draw(panel, models, theirs, styles)
                panel.set_xlabel(f"{panel.get_xlabel()} by {reference}")
            if lower:
                panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), handletextpad=0.2)
            if costs:
                notes += _draw_costs(panels[-1], costs, styles)
            for panel in panels:
                panel_letter(panel, next(letters))
        return finish(figure, notes, path)


def _states(found: Quantities) -> list[dict[str, Any]]:
    return [s for s in found.get("equation_of_state") or [] if s["reason"] is None]


def _draw_curves(
    axes: Sequence[Axes], curves: Mapping[str, Quantities], reference: Quantities | None
) -> list[str]:
    """Energies above each engine's first minimum, the reference's curves dashed."""
    names: dict[str, str] = {}
    for found in curves.values():
        names |= {state["name"]: state["label"] for state in _states(found)}
    shown = dict(list(names.items())[:MOST_PHASES])
    highest = 0.0
    for panel, (engine, found) in zip(axes, curves.items(), strict=True):
        states = _states(found)
        zero = states[0]["equilibrium_energy"]
        for state in states:
            if state["name"] not in shown:
                continue
            place = list(shown).index(state["name"])
            colour, marker = _COLOURS[place], _MARKERS[place]
            volumes = np.array(state["volumes"])
            grid = np.linspace(volumes.min(), volumes.max(), 100)
            panel.plot(grid, birch_murnaghan(grid, state) - zero, color=colour, lw=1.0)
            energies = np.array(state["energies"]) - zero
            panel.plot(volumes, energies, marker, color=colour, ms=3, label=shown[state["name"]])
            highest = max(highest, state["equilibrium_energy"] - zero)
        if reference is not None and found is not reference:
            others = _states(reference)
            for state in others:
                if state["name"] in shown:
                    grid = np.linspace(min(state["volumes"]), max(state["volumes"]), 100)
                    heights = birch_murnaghan(grid, state) - others[0]["equilibrium_energy"]
                    colour = _COLOURS[list(shown).index(state["name"])]
                    panel.plot(grid, heights, color=colour, lw=0.8, ls=(0, (3, 2)), alpha=0.7)
        panel.set_title(engine)
        panel.set_xlabel("Volume (Å³/atom)")
    axes[0].set_ylabel("Energy (eV/atom)")
    lowest = min(float(panel.dataLim.y0) for panel in axes)
    axes[0].set_ylim(min(lowest, 0) - 0.03 * (highest + _HEADROOM), highest + _HEADROOM)
    notes = ["energies above each engine's own minimum of the first phase"]
    if reference is not None and len(curves) > 1:
        notes.append("dashed: the reference")
    if len(names) > len(shown):
        notes.append(f"{len(names) - len(shown)} phases not drawn")
    return notes


def _draw_energies(
    panel: Axes,
    models: Mapping[str, Quantities],
    reference: Quantities,
    styles: Mapping[str, tuple[str, str]],
) -> None:
    first = reference["phases"][0]["name"]
    _draw_parity(panel, models, reference, styles, "energy", first)
    panel.set_xlabel("Energy (eV/atom)")
    panel.set_ylabel("Energy by the model")


def _draw_volumes(
    panel: Axes,
    models: Mapping[str, Quantities],
    reference: Quantities,
    styles: Mapping[str, tuple[str, str]],
) -> None:
    _draw_parity(panel, models, reference, styles, "volume", None)
    panel.set_xlabel("Volume (Å³/atom)")
    panel.set_ylabel("Volume by the model")


def _draw_parity(
    panel: Axes,
    models: Mapping[str, Quantities],
    reference: Quantities,
    styles: Mapping[str, tuple[str, str]],
    field: str,
    zero: str | None,
) -> None:
    """A value of each relaxed phase by the models against the reference's."""
    theirs = _values(reference, field, zero)
    ends: list[float] = []
    for name, found in models.items():
        mine = _values(found, field, zero)
        known = [key for key in mine if key in theirs]
        colour, marker = styles[name]
        x, y = [theirs[key] for key in known], [mine[key] for key in known]
        panel.plot(x, y, marker, color=colour, ms=5, mfc="none", mew=1.2, label=name)
        ends += x + y
    if ends:
        margin = 0.05 * (max(ends) - min(ends)) or 0.1
        line = [min(ends) - margin, max(ends) + margin]
        panel.plot(line, line, color=LIGHT_GREY, lw=0.8, zorder=0)
        panel.set(xlim=line, ylim=line, aspect="equal")


def _values(found: Quantities, field: str, zero: str | None) -> dict[str, float]:
    values = {p["name"]: p[field] for p in found["phases"] if p[field] is not None}
    if zero is None:
        return values
    if zero not in values:
        return {}
    return {name: value - values[zero] for name, value in values.items()}


def _draw_costs(
    panel: Axes, costs: Mapping[str, Mapping[str, Any]], styles: Mapping[str, tuple[str, str]]
) -> list[str]:
    """CPU time of one evaluation against the number of atoms, with the fitted power."""
    for name, cost in costs.items():
        colour, marker = styles[name]
        atoms = np.array([point["atoms"] for point in cost["points"]], dtype=float)
        seconds = np.array([point["cpu_seconds"] for point in cost["points"]])
        label = name
        if cost["slope"] is not None:
            label = f"{name}: {cost['slope']:.2f}"
            if cost["slope_error"] is not None:
                label += f" ± {cost['slope_error']:.2f}"
            offset = np.mean(np.log10(seconds) - cost["slope"] * np.log10(atoms))
            panel.plot(atoms, 10**offset * atoms ** cost["slope"], color=colour, lw=0.8)
        panel.plot(atoms, seconds, marker, color=colour, ms=5, mfc="none", mew=1.2, label=label)
    panel.set(xscale="log", yscale="log", xlabel="Atoms", ylabel="CPU time of one step (s)")
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), title="power of the fit")
    return ["one step: energy, forces and stress"]
