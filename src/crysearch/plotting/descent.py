"""A crystal on its way onto a target: its radial distribution function before, during, after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from crysearch.errors import AnalysisError
from crysearch.fingerprints import pearson_distance_matrix
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    LIGHT_GREY,
    ORANGE,
    VERMILLION,
    finish,
    house_style,
    new_figure,
)

_QUANTITIES = {"g": "$g(r)$", "n": "$n(r)$"}
_MOMENTS = (("before", VERMILLION), ("during", ORANGE), ("after", BLUE))
# As many as three elements have pairs.
_COLUMNS = 6


@dataclass(frozen=True, eq=False)
class Descent:
    """The way of one crystal onto its target.

    Attributes
    ----------
    target
        Fingerprint of the target, shape (m,).
    fingerprints
        Those of the crystal before the descent and after each step, shape (steps + 1, m), such as
        :meth:`crysearch.guiding.Guide.path` gives.
    name
        What stands above its panels.
    """

    target: np.ndarray
    fingerprints: np.ndarray
    name: str = ""


def plot_descent(
    grid: np.ndarray,
    descents: Sequence[Descent],
    quantity: Literal["g", "n"] = "g",
    channels: Sequence[tuple[str, str]] | None = None,
    threshold: float | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Radial distribution functions of crystals before, during and after their descents.

    Under the three panels of a descent is Pearson's distance to the target after each step. The
    panel between shows the crystal at half the distance between the first and the last.

    Parameters
    ----------
    grid
        Distances in Å, shape (p,).
    descents
        One column of panels each (and per channel), up to six columns.
    quantity
        Which function it is, "g" or "n".
    channels
        Pairs of species of a species-resolved fingerprint, in its order.
    threshold
        Pearson's distance to mark as that at which a target is reached.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there is no descent or too many, the lengths do not fit, or the file name has another
        ending.
    """
    pairs: list[tuple[str, str] | None] = [None] if channels is None else list(channels)
    grid = np.asarray(grid, dtype=np.float64)
    if quantity not in _QUANTITIES:
        raise AnalysisError(f"quantity={quantity!r}: give 'g' or 'n'")
    columns = len(descents) * len(pairs)
    if not 1 <= columns <= _COLUMNS:
        raise AnalysisError(
            f"{len(descents)} descents with {len(pairs)} channel(s): give enough for 1 to "
            f"{_COLUMNS} columns of panels"
        )
    for descent in descents:
        _check(descent, grid, len(pairs))
    with house_style(path):
        figure = new_figure(5.2 if columns == 1 else 1.0 + 2.7 * columns, 6.0)
        rows = figure.subplots(4, columns, squeeze=False, height_ratios=[1, 1, 1, 1.15])
        for number, descent in enumerate(descents):
            part = slice(number * len(pairs), (number + 1) * len(pairs))
            _draw(rows[:, part], grid, descent, pairs, quantity, threshold)
        for axes in rows[:3, 0]:
            axes.set_ylabel(_QUANTITIES[quantity])
        rows[3, 0].set_ylabel("Pearson's distance\nto the target")
        return finish(figure, [], path)


def _check(descent: Descent, grid: np.ndarray, channels: int) -> None:
    target, fingerprints = np.asarray(descent.target), np.asarray(descent.fingerprints)
    size = channels * len(grid) if grid.ndim == 1 else -1
    if target.shape != (size,) or fingerprints.ndim != 2 or fingerprints.shape[1:] != (size,):
        raise AnalysisError(
            f"fingerprints of shapes {fingerprints.shape} and {target.shape} do not fit a grid of "
            f"shape {grid.shape} with {channels} channel(s): give the grid and channels that they "
            "were computed with"
        )
    if len(fingerprints) < 2:
        raise AnalysisError("a descent without a step: give the crystal before and after")


def moments(distances: np.ndarray) -> tuple[int, int, int]:
    """Steps to show: the first, the one nearest to half of the way down, and the last."""
    last = len(distances) - 1
    half = (distances[0] + distances[last]) / 2
    inner = np.arange(1, last) if last > 1 else np.array([last])
    return 0, int(inner[np.abs(distances[inner] - half).argmin()]), last


def _draw(
    panels: np.ndarray,
    grid: np.ndarray,
    descent: Descent,
    pairs: Sequence[tuple[str, str] | None],
    quantity: Literal["g", "n"],
    threshold: float | None,
) -> None:
    """Draw the panels of one descent, shape (4, channels)."""
    distances = pearson_distance_matrix(descent.fingerprints, descent.target[None])[:, 0]
    steps = moments(distances)
    shown = np.vstack([descent.target, descent.fingerprints[list(steps)]])
    for column, pair in enumerate(pairs):
        part = slice(column * len(grid), (column + 1) * len(grid))
        top = 1.12 * max(float(shown[:, part].max()), 1e-9)
        for axes, step, (name, colour) in zip(panels[:3, column], steps, _MOMENTS, strict=True):
            axes.fill_between(grid, descent.target[part], color=LIGHT_GREY, alpha=0.6, lw=0)
            axes.plot(grid, descent.fingerprints[step, part], color=colour)
            axes.set_xlim(0, grid[-1])
            axes.set_ylim(0, top)
            _say(axes, f"{name}, {distances[step]:.3f} away", colour, 0, quantity)
            axes.tick_params(labelbottom=False)
        panels[2, column].tick_params(labelbottom=True)
        panels[2, column].set_xlabel("Distance $r$ (Å)")
        _say(panels[0, column], "target", GREY, 1, quantity)
        names = [descent.name] if column == 0 and descent.name else []
        names += [f"{pair[0]}–{pair[1]}"] if pair is not None else []
        panels[0, column].set_title("\n".join(names), loc="left")
        if column:
            panels[3, column].set_axis_off()
    _draw_distances(panels[3, 0], distances, steps, threshold)


def _say(axes: Axes, text: str, colour: str, line: int, quantity: str) -> None:
    """Write where g(r), high at short distances, or n(r), high at long ones, is low."""
    side, place = ("right", 1.0) if quantity == "g" else ("left", 0.02)
    axes.annotate(
        text,
        (place, 0.98 - 0.16 * line),
        xycoords="axes fraction",
        ha=side,
        va="top",
        color=colour,
        fontsize=8,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _draw_distances(
    axes: Axes, distances: np.ndarray, steps: Sequence[int], threshold: float | None
) -> None:
    axes.plot(distances, color=BLACK, lw=1.0)
    for step, (_, colour) in zip(steps, _MOMENTS, strict=True):
        axes.plot([step], [distances[step]], "o", ms=5, color=colour, clip_on=False, zorder=3)
    top = 1.08 * float(distances.max())
    if threshold is not None:
        top = max(top, 1.3 * threshold)
        axes.axhline(threshold, color=GREY, ls="--", lw=0.8, label=f"reached ({threshold:g})")
        # A descent starts high: the upper right corner is free.
        axes.legend(loc="upper right", labelcolor=GREY)
    axes.set_ylim(0, top)
    axes.set_xlim(0, len(distances) - 1)
    axes.set_xlabel("Step of the descent")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
