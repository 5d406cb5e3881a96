"""Energy against volume of one or several phases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
)
from crysearch.plotting.values import Document

#: eV/Å³ to GPa.
_GIGAPASCAL = 160.21766208

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MARKERS = "os^Dv<>"


def plot_equations_of_state(
    results: Sequence[Document],
    names: Sequence[str] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Energies at the sampled volumes with the fitted Birch–Murnaghan curves.

    Parameters
    ----------
    results
        :class:`crysearch.analysis.EquationOfState` as dictionaries, at most seven, of the same
        engine and the same reduced formula.
    names
        What the phases are called; None for their formulas.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there is no result, too many, results of several engines, names of another number, or
        the file name has another ending.
    """
    with house_style(path):
        figure = new_figure(4.6, 3.6)
        notes = draw_equations_of_state(figure.subplots(), results, names)
        return finish(figure, notes, path)


def draw_equations_of_state(
    axes: Axes, results: Sequence[Document], names: Sequence[str] | None = None
) -> list[str]:
    """Draw the curves; returns notes."""
    if not 1 <= len(results) <= len(_COLOURS):
        raise AnalysisError(
            f"{len(results)} equations of state: give 1 to {len(_COLOURS)} for one figure"
        )
    engines = sorted({result["engine"] for result in results})
    if len(engines) > 1:
        raise AnalysisError(
            f"equations of state by {', '.join(engines)} have different zeros of energy: give "
            "those of one engine"
        )
    if names is None:
        names = [result["formula"] for result in results]
    if len(names) != len(results):
        raise AnalysisError(f"{len(names)} names for {len(results)} equations of state")
    zero = min(result["equilibrium_energy"] for result in results)
    for result, name, colour, marker in zip(results, names, _COLOURS, _MARKERS, strict=False):
        volumes = np.array(result["volumes"])
        margin = 0.03 * np.ptp(volumes)
        curve = np.linspace(volumes.min() - margin, volumes.max() + margin, 200)
        label = (
            f"{name}: $V_0$ = {result['equilibrium_volume']:.2f} Å³/atom, "
            f"$B_0$ = {result['bulk_modulus']:.0f} GPa, "
            f"$B_0'$ = {result['bulk_modulus_derivative']:.1f}"
        )
        axes.plot(curve, birch_murnaghan(curve, result) - zero, color=colour, lw=1.2)
        energies = np.array(result["energies"]) - zero
        axes.plot(volumes, energies, marker, color=colour, ms=4.5, label=label)
    axes.margins(x=0.02, y=0.05)
    axes.set_xlabel("Volume (Å³/atom)")
    axes.set_ylabel("Energy (eV/atom)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), handletextpad=0.3)
    largest = max(result["residual"] for result in results)
    return [
        f"energies by {engines[0]}, above the lowest minimum",
        f"root mean square difference from the fit at most {1000 * largest:.2g} meV/atom",
    ]


def birch_murnaghan(volume: np.ndarray, result: Document) -> np.ndarray:
    """Birch–Murnaghan equation of third order, eV/atom."""
    v0, modulus = result["equilibrium_volume"], result["bulk_modulus"] / _GIGAPASCAL
    strain = (v0 / volume) ** (2 / 3) - 1
    cubic = 1 + 0.5 * (result["bulk_modulus_derivative"] - 4) * strain
    energy: np.ndarray = result["equilibrium_energy"] + 9 / 8 * v0 * modulus * strain**2 * cubic
    return energy
