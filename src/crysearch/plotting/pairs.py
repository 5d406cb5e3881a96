"""Two crystals side by side: radial distribution functions and X-ray patterns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.fingerprints import pearson_distance
from crysearch.plotting.style import BLUE, VERMILLION, finish, house_style, new_figure

if TYPE_CHECKING:
    from crysearch.analysis import DiffractionPattern

_QUANTITIES = {"g": "$g(r)$", "n": "$n(r)$ (atoms per grid step)"}


def plot_rdf_pair(
    grid: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    names: tuple[str, str] = ("first", "second"),
    quantity: Literal["g", "n"] = "g",
    channels: Sequence[tuple[str, str]] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Radial distribution functions of two crystals and Pearson's distance between them.

    Parameters
    ----------
    grid
        Distances in Å, shape (p,).
    first, second
        Fingerprints, shape (p,), or (c·p,) with ``channels``.
    names
        What the crystals are called.
    quantity
        Which function it is, "g" or "n".
    channels
        Pairs of species of a species-resolved fingerprint, c of them, in its order.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If the lengths do not fit, or the file name has another ending.
    """
    panels = [None] if channels is None else list(channels)
    with house_style(path):
        figure = new_figure(5.2, 1.2 + 1.6 * len(panels))
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        draw_rdf_pair(list(all_axes), grid, first, second, names, quantity, panels)
        return finish(figure, [], path)


def draw_rdf_pair(
    all_axes: Sequence[Axes],
    grid: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    names: tuple[str, str],
    quantity: Literal["g", "n"],
    channels: Sequence[tuple[str, str] | None],
) -> None:
    """Draw one panel per channel."""
    grid, first, second = (np.asarray(array, dtype=np.float64) for array in (grid, first, second))
    if quantity not in _QUANTITIES:
        raise AnalysisError(f"quantity={quantity!r}: give 'g' or 'n'")
    if (
        grid.ndim != 1
        or len(grid) < 2
        or not first.shape == second.shape == (len(channels) * len(grid),)
    ):
        raise AnalysisError(
            f"fingerprints of shapes {first.shape} and {second.shape} do not fit a grid of shape "
            f"{grid.shape} with {len(channels)} channel(s): give the grid and channels that they "
            "were computed with"
        )
    distance = pearson_distance(first, second)
    rows = zip(
        all_axes,
        channels,
        np.split(first, len(channels)),
        np.split(second, len(channels)),
        strict=True,
    )
    for axes, channel, one, other in rows:
        axes.fill_between(grid, one, color=BLUE, alpha=0.15, lw=0)
        axes.plot(grid, one, color=BLUE, label=names[0])
        axes.plot(grid, other, color=VERMILLION, ls="--", label=names[1])
        axes.set_ylabel(_QUANTITIES[quantity])
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, grid[-1] + (grid[-1] - grid[-2]) / 2)
        if channel is not None:
            axes.set_title(f"{channel[0]}–{channel[1]}", loc="right")
    all_axes[-1].set_xlabel("Distance $r$ (Å)")
    all_axes[0].legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0 if channels[0] is None else 1.12),
        ncols=2,
        title=f"Pearson's distance {distance:.3f}",
        title_fontsize=8,
    )


def plot_xray_pair(
    first: DiffractionPattern,
    second: DiffractionPattern,
    names: tuple[str, str] = ("first", "second"),
    width: float = 0.3,
    path: str | Path | None = None,
) -> Figure:
    """X-ray powder patterns of two crystals, one above the other.

    Parameters
    ----------
    first, second
        Patterns from :func:`crysearch.analysis.xray_pattern`, of the same wavelength and range.
    names
        What the crystals are called.
    width
        Full width at half maximum of the lines in degrees of 2θ.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If the patterns differ in wavelength or range or have no lines, or the file name has
        another ending.
    """
    if (first.wavelength, first.two_theta_range) != (second.wavelength, second.two_theta_range):
        raise AnalysisError(
            f"patterns of {first.wavelength} Å over {first.two_theta_range}° and of "
            f"{second.wavelength} Å over {second.two_theta_range}° cannot be compared: compute "
            "both with the same wavelength and range"
        )
    if not first.peaks and not second.peaks:
        raise AnalysisError(
            f"neither pattern has a line within {first.two_theta_range}°: give a wider range"
        )
    with house_style(path):
        figure = new_figure(6.2, 3.8)
        panels = zip(
            figure.subplots(2, 1, sharex=True),
            (first, second),
            names,
            (BLUE, VERMILLION),
            strict=True,
        )
        for axes, pattern, name, colour in panels:
            two_theta, intensity = pattern.profile(width, points=4000)
            axes.plot(two_theta, intensity, color=colour, lw=1.0)
            axes.fill_between(two_theta, intensity, color=colour, alpha=0.2, lw=0)
            axes.vlines([peak.two_theta for peak in pattern.peaks], -9, -3, color=colour, lw=0.7)
            axes.set_ylim(-12, 108)
            axes.set_yticks([0, 50, 100])
            axes.set_title(name, loc="right", color=colour)
        axes.set_xlim(*first.two_theta_range)
        axes.set_xlabel("2θ (degrees)")
        figure.supylabel("Relative intensity", fontsize=9)
        note = f"X-ray wavelength {first.wavelength:.5f} Å; ticks mark the lines"
        return finish(figure, [note], path)
