"""Figures of a study of selection: errors by method and size, and the liquids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
    panel_letter,
)
from crysearch.plotting.values import Document, number, vector

#: Colour, marker and dashes of each method of selection, wherever one is drawn.
_STYLES: dict[str, tuple[str, str, Any]] = {
    "random": (GREY, "o", "-"),
    "global-energy": (ORANGE, "s", "--"),
    "forces": (BLUE, "^", "-."),
    "atomic-energies": (VERMILLION, "D", (0, (5, 1))),
    "farthest-point": (GREEN, "v", ":"),
    "cur": (PURPLE, "P", (0, (3, 1, 1, 1))),
}
_OTHER = (SKY, "x", "-")
_MEASURES = {
    "force_error_max": "largest error of a force (eV/Å)",
    "force_error_rms": "root mean square (eV/Å)",
    "force_error_mean": "mean (eV/Å)",
}
#: Errors that differ by more than this factor are drawn on a logarithmic axis.
_DECADE = 5.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def plot_selection_errors(study: Document, path: str | Path | None = None) -> Figure:
    """Errors of the forces on the test frames against the number of configurations learned from.

    A row for each potential; points are means over the seeds, bars their 95 % intervals.

    Parameters
    ----------
    study
        A document of ``selection_studies`` that is complete.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        The study has no groups yet, or the file name has another ending.
    """
    groups = study["groups"]
    if not groups:
        raise AnalysisError(
            f"the study {study['_id']} has no groups: its status is {study['status']!r}; run it to "
            "its end"
        )
    models = list(dict.fromkeys(group["model"] for group in groups))
    notes = [
        "norms of the errors of the force vectors on test frames; means over seeds, bars are their "
        "95 % intervals; points of one size are set side by side"
    ]
    with house_style(path):
        figure = new_figure(7.2, 0.6 + 2.4 * len(models))
        grid = figure.subplots(len(models), len(_MEASURES), squeeze=False)
        letters = iter(_LETTERS)
        for row, model in zip(grid, models, strict=True):
            own = [group for group in groups if group["model"] == model]
            for axes, (measure, label) in zip(row, _MEASURES.items(), strict=True):
                _errors(axes, own, measure)
                axes.set_xlabel("configurations")
                axes.set_ylabel(label)
                panel_letter(axes, next(letters))
            row[0].set_title(model, loc="left", pad=14)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(6, len(labels)))
        return finish(figure, notes, path)


def _errors(axes: Axes, groups: Sequence[Document], measure: str) -> None:
    methods = list(dict.fromkeys(group["method"] for group in groups))
    sizes = sorted({group["size"] for group in groups})
    for place, method in enumerate(methods):
        colour, marker, dashes = _STYLES.get(method, _OTHER)
        values = [
            next(g for g in groups if (g["method"], g["size"]) == (method, size))["measures"][
                measure
            ]
            for size in sizes
        ]
        means = np.array([number(value["mean"]) for value in values])
        halves = np.array([(number(value["high"]) - number(value["low"])) / 2 for value in values])
        # An interval that reaches below zero would have no end on a logarithmic axis.
        below = np.minimum(halves, 0.9 * means)
        shift = 1.04 ** (place - (len(methods) - 1) / 2)
        axes.errorbar(
            np.array(sizes) * shift,
            means,
            yerr=np.nan_to_num(np.stack([below, halves])),
            color=colour,
            marker=marker,
            linestyle=dashes,
            markersize=4,
            linewidth=1.0,
            elinewidth=0.8,
            label=method,
        )
    means = np.array([number(group["measures"][measure]["mean"]) for group in groups])
    axes.set_xscale("log")
    if np.nanmax(means) > _DECADE * np.nanmin(means):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0.0, 2.0 * np.nanmax(means))
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def plot_selection_liquids(
    study: Document, fits: Sequence[Document], path: str | Path | None = None
) -> Figure:
    """Radial distribution functions of the liquid, of the reference and of what was fitted.

    A row for each potential, a column for each pair of elements; fits of the first seed. Where the
    reference's function begins is marked: what comes before is not physical.

    Parameters
    ----------
    study
        A document of ``selection_studies`` with a liquid.
    fits
        Its fits; those with a ``melt`` are drawn.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        There is no liquid, or the file name has another ending.
    """
    run = [fit for fit in fits if fit["melt"] is not None and fit["melt"]["pairs"]]
    first = min((fit["seed"] for fit in run), default=0)
    run = [fit for fit in run if fit["seed"] == first]
    if study["melt"] is None or not run:
        raise AnalysisError(
            f"the study {study['_id']} has no liquid of a fitted potential (field melt of its "
            "fits): run it with melt in its specification, and see how its fits ended"
        )
    models = [model for model in _order(study, "model") if model in {f["model"] for f in run}]
    methods = _order(study, "method")
    run.sort(key=lambda fit: methods.index(fit["method"]))
    reference = study["melt"]["pairs"]
    with house_style(path):
        figure = new_figure(7.2, 0.6 + 2.2 * len(models))
        grid = figure.subplots(len(models), len(reference), squeeze=False, sharex=True)
        letters = iter(_LETTERS)
        for row, model in zip(grid, models, strict=True):
            own = [fit for fit in run if fit["model"] == model]
            for axes, pair in zip(row, reference, strict=True):
                _functions(axes, pair, own)
                axes.set_xlabel("r (Å)")
                axes.set_ylabel(f"g(r), {pair['pair'].replace('-', '–')}")
                panel_letter(axes, next(letters))
            row[0].set_title(model, loc="left", pad=14)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
        temperature = study["melt"]["temperature"]
        notes = [
            f"molecular dynamics at {temperature:.0f} K; fits to the largest number of "
            f"configurations, seed {first}; dotted: where the reference's g(r) begins"
        ]
        early = [
            f"{fit['model']}, {fit['method']}: {fit['melt']['status']} after "
            f"{fit['melt']['duration']:.1f} ps"
            for fit in run
            if fit["melt"]["status"] != "finished"
        ]
        return finish(figure, [*notes, *early], path)


def _order(study: Document, field: str) -> list[str]:
    """Models or methods in the order of the study."""
    return list(dict.fromkeys(group[field] for group in study["groups"]))


def _functions(axes: Axes, reference: Document, fits: Sequence[Document]) -> None:
    r = vector(reference["r"])
    axes.plot(r, vector(reference["g"]), color=BLACK, linewidth=2.2, label="reference")
    onset = None
    for fit in fits:
        found = next(p for p in fit["melt"]["pairs"] if p["pair"] == reference["pair"])
        colour, _, dashes = _STYLES.get(fit["method"], _OTHER)
        axes.plot(
            vector(found["r"]),
            vector(found["g"]),
            color=colour,
            linestyle=dashes,
            linewidth=1.0,
            label=fit["method"],
        )
        onset = found["onset"]
    if onset is not None:
        axes.axvline(onset, color=GREY, linestyle=":", linewidth=0.8)
    axes.set_xlim(1.0, r[-1])
    axes.set_ylim(bottom=0.0)
