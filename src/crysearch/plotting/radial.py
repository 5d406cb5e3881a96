"""Radial distribution functions with error bands, and the bonding of amorphous networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    finish,
    house_style,
    new_figure,
    panel_letter,
)

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY)


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of distance or angle.

    Attributes
    ----------
    label
        In the legend.
    x, y
        (points,).
    error
        (points,) half the width of the band; None for no band.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """The bonding of one amorphous network.

    Attributes
    ----------
    label
        In the legend.
    radial, angles
        g(r), r in Å; density of the bond angles per degree.
    neighbours
        Share of the atoms by number of neighbours.
    """

    label: str
    radial: Curve
    angles: Curve
    neighbours: Mapping[int, float]


def plot_radial_distributions(
    curves: Sequence[Curve], path: str | Path | None = None, notes: Sequence[str] = ()
) -> Figure:
    """Radial distribution functions over each other.

    Parameters
    ----------
    curves
        Up to six; distances in Å.
    path
        File to write (.png, .pdf or .svg).
    notes
        Under the figure.

    Raises
    ------
    AnalysisError
        If there is no curve or too many, or the file name has another ending.
    """
    _check(len(curves), "curves")
    with house_style(path):
        figure = new_figure(5.2, 3.4)
        axes = figure.subplots()
        _draw_radial(axes, curves)
        axes.legend(loc="upper right")
        return finish(figure, notes, path)


def plot_networks(
    networks: Sequence[Network], path: str | Path | None = None, notes: Sequence[str] = ()
) -> Figure:
    """g(r), bond angles and numbers of neighbours of amorphous networks beside each other.

    Parameters
    ----------
    networks
        Up to six.
    path
        File to write (.png, .pdf or .svg).
    notes
        Under the figure.

    Raises
    ------
    AnalysisError
        If there is no network or too many, or the file name has another ending.
    """
    _check(len(networks), "networks")
    with house_style(path):
        figure = new_figure(9.6, 3.3)
        radial, angular, counted = figure.subplots(1, 3, width_ratios=[1.5, 1.2, 1.0])
        _draw_radial(radial, [network.radial for network in networks])
        radial.legend(loc="upper right")
        width = 0.8 / len(networks)
        for place, (network, colour) in enumerate(zip(networks, _COLOURS, strict=False)):
            angular.plot(network.angles.x, network.angles.y, color=colour)
            numbers = np.array(sorted(network.neighbours))
            shares = [100 * network.neighbours[int(number)] for number in numbers]
            offset = (place - (len(networks) - 1) / 2) * width
            counted.bar(numbers + offset, shares, width, color=colour)
        angular.axvline(float(np.degrees(np.arccos(-1 / 3))), color=GREY, ls="--", lw=0.8)
        angular.set(xlim=(40, 180), xlabel="Bond angle (°)", ylabel="Probability per degree")
        angular.set_ylim(bottom=0)
        counted.set(xlabel="Neighbours", ylabel="Atoms (%)")
        counted.xaxis.get_major_locator().set_params(integer=True)
        for axes, letter in zip((radial, angular, counted), "abc", strict=True):
            panel_letter(axes, letter)
        return finish(figure, notes, path)


def _check(count: int, what: str) -> None:
    if not 1 <= count <= len(_COLOURS):
        raise AnalysisError(f"{count} {what}: give 1 to {len(_COLOURS)}")


def _draw_radial(axes: Axes, curves: Sequence[Curve]) -> None:
    axes.axhline(1, color=GREY, lw=0.6)
    for curve, colour in zip(curves, _COLOURS, strict=False):
        axes.plot(curve.x, curve.y, color=colour, label=curve.label)
        if curve.error is not None:
            low, high = curve.y - curve.error, curve.y + curve.error
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.3, lw=0)
    axes.set(xlabel="Distance $r$ (Å)", ylabel="$g(r)$")
    axes.set_xlim(0, max(float(curve.x[-1]) for curve in curves))
    axes.set_ylim(bottom=0)
    # The axis ends above the highest peak, not at it.
    axes.margins(y=0.08)
