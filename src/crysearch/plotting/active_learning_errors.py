"""Figures of what ensembles said before they learned from it, and of how far they trusted it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from crysearch.active_learning import Calibration, Predictions, expected_coverage
from crysearch.errors import ActiveLearningError, AnalysisError
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    ENERGY_COLOURS,
    GREY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
    panel_letter,
    plain_log_ticks,
)
from crysearch.plotting.values import counted

_MAXIMUM_POINTS = 5000
_QUANTILE = 0.995  # of the values, within the range of a panel
_LARGEST_FACTOR = 3.0


def plot_predictions(predictions: Predictions, path: str | Path | None = None) -> Figure:
    """Energies and forces of the ensembles against those of the reference method, by cycle.

    Parameters
    ----------
    predictions
        See `crysearch.active_learning.Predictions`: from before the ensembles learned from them.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there are none, or the file name has another ending.
    """
    _check(predictions)
    notes = []
    cycles = np.unique(predictions.cycles)
    with house_style(path):
        figure = new_figure(7.0, 3.4)
        grid = figure.subplots(1, 2)
        steps = np.append(cycles, cycles[-1] + 1) - 0.5
        norm = BoundaryNorm(steps, 256)
        panels = (
            (
                "energy (eV/atom)",
                predictions.reference_energies,
                predictions.energies,
                predictions.cycles,
                9.0,
            ),
            (
                "force component (eV/Å)",
                predictions.reference_forces.ravel(),
                predictions.forces.ravel(),
                np.repeat(predictions.atom_cycles, 3),
                3.0,
            ),
        )
        for axes, letter, (label, true, told, own, size) in zip(grid, "ab", panels, strict=True):
            shown = _some(len(true))
            low, high = _range(true, told)
            outside = int(((true < low) | (true > high) | (told < low) | (told > high)).sum())
            if outside:
                notes.append(f"panel {letter}: {counted(outside, 'point', 'points')} outside")
            if len(shown) < len(true):
                notes.append(f"panel {letter}: {len(shown):,} of {len(true):,} points, evenly")
            axes.plot([low, high], [low, high], "-", color=GREY, lw=0.8, zorder=0)
            drawn = axes.scatter(
                true[shown],
                told[shown],
                c=own[shown],
                s=size,
                cmap=ENERGY_COLOURS,
                norm=norm,
                lw=0,
                alpha=0.8,
                rasterized=True,
            )
            axes.set_xlim(low, high)
            axes.set_ylim(low, high)
            axes.set_aspect("equal")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=5))
            axes.set_xlabel(f"Reference {label}")
            axes.set_ylabel(f"Predicted {label}")
            error = np.abs(told - true).mean()
            axes.set_title(f"mean absolute error {error:.3f} {_unit(label)}", fontsize=8)
            panel_letter(axes, letter)
        every = -(-len(cycles) // 10)
        bar = figure.colorbar(
            drawn, ax=list(grid), ticks=cycles[::every], label="Cycle", pad=0.02, shrink=0.85
        )
        bar.ax.minorticks_off()
        return finish(figure, notes, path)


def plot_calibration(predictions: Predictions, path: str | Path | None = None) -> Figure:
    """Errors against the disagreement of the members, and how many errors it covers.

    For energies and for the components of the forces: each error with the standard deviation over
    the members, the line where both are equal, and root mean squares of both in bins. Then the
    share of errors within multiples of the standard deviation, beside that of a normal
    distribution, and of an ideal ensemble of as many members
    (:func:`crysearch.active_learning.expected_coverage`).

    Parameters
    ----------
    predictions
        See `crysearch.active_learning.Predictions`: from before the ensembles learned from them.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there are none, or the file name has another ending.
    """
    _check(predictions)
    notes = ["root mean squares are those of equally large bins"]
    kinds = [("energies", "eV/atom", BLUE, "o", predictions.of_energies())]
    try:
        kinds.append(("forces", "eV/Å", VERMILLION, "s", predictions.of_forces()))
    except ActiveLearningError:
        notes.append("symmetry makes all forces zero")
    with house_style(path):
        figure = new_figure(8.4, 3.1)
        *panels, last = figure.subplots(1, 3)
        for axes, (name, unit, colour, _, found) in zip(panels, kinds, strict=False):
            _draw_errors(axes, found, name, unit, colour, notes)
        panels[0].legend(loc="upper left", fontsize=7, borderaxespad=0.2)
        for axes in panels[len(kinds) :]:
            axes.set_axis_off()
        factors = np.linspace(0, _LARGEST_FACTOR, 121)
        members = predictions.members
        last.plot(factors, expected_coverage(factors), "-", color=BLACK, lw=1.0,
                  label="normal distribution")  # fmt: skip
        last.plot(factors, expected_coverage(factors, members), "--", color=GREY, lw=1.0,
                  label=f"ideal ensemble of {members}")  # fmt: skip
        for name, _, colour, marker, found in kinds:
            last.plot(factors, found.coverage(factors), "-", color=colour, lw=1.4)
            one, two = found.coverage((1, 2))
            told = f"{name}: {100 * one:.0f} and {100 * two:.0f} %"
            last.plot((1, 2), (one, two), marker, ls="", ms=5, color=colour, label=told)
        last.set_box_aspect(1)
        last.set_xlim(0, _LARGEST_FACTOR)
        last.set_ylim(0, 1.0)
        last.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
        last.set_xlabel("Standard deviations")
        last.set_ylabel("Errors within (%)")
        last.legend(loc="lower right", fontsize=7, handlelength=1.2, borderaxespad=0.2)
        for axes, letter in zip((*panels, last), "abc", strict=True):
            if axes.axison:
                panel_letter(axes, letter)
        return finish(figure, notes, path)


def _draw_errors(
    axes: Axes, found: Calibration, name: str, unit: str, colour: str, notes: list[str]
) -> None:
    drawn = (found.errors > 0) & (found.deviations > 0)
    x, y = found.deviations[drawn], found.errors[drawn]
    ends = np.concatenate([found.bin_errors, found.bin_deviations, x, y])
    ends = ends[ends > 0]
    if not len(ends):
        raise AnalysisError(f"all {name} are predicted exactly: there is no error to draw")
    low, high = float(np.quantile(ends, 1 - _QUANTILE)), float(ends.max()) * 1.6
    # Far below the line nothing is to be seen but chance: a bell curve has errors near zero.
    low = max(low, 1e-4 * high)
    outside = int(((x < low) | (y < low)).sum()) + len(drawn) - int(drawn.sum())
    if outside:
        notes.append(f"{counted(outside, 'point', 'points')} of the {name} below the panel")
    shown = _some(len(x))
    axes.scatter(x[shown], y[shown], s=5, color=_light(colour), lw=0, rasterized=True)
    axes.plot([low, high], [low, high], "-", color=BLACK, lw=0.8, label="error = disagreement")
    axes.plot(found.bin_deviations, found.bin_errors, "D-", ms=4, lw=1.0, color=BLACK,
              mfc="white", label="root mean squares")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_ticks(axis, decades=True)
    axes.set_title(name[0].upper() + name[1:])
    axes.set_xlabel(f"Standard deviation of members ({unit})")
    axes.set_ylabel(f"Absolute error ({unit})")


def _check(predictions: Predictions) -> None:
    if not predictions.count:
        raise AnalysisError("there are no predictions: let a cycle calculate what it chose")


def _some(count: int) -> NDArray[np.int64]:
    """Places of points evenly among all, as many as a figure can show."""
    return np.unique(np.linspace(0, count - 1, min(count, _MAXIMUM_POINTS)).astype(np.int64))


def _range(*values: NDArray[np.float64]) -> tuple[float, float]:
    """Nearly all values, with a margin; those far away would hide the others."""
    everything = np.concatenate(values)
    low, high = np.quantile(everything, (1 - _QUANTILE, _QUANTILE))
    margin = 0.06 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def _light(colour: str) -> tuple[float, ...]:
    """The colour at four tenths on white, without letting others show through."""
    return tuple(1 - 0.4 * (1 - part) for part in to_rgb(colour))


def _unit(label: str) -> str:
    return label[label.index("(") + 1 : -1]
