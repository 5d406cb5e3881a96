"""Equation of state: energy against volume."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import GPa
from pymatgen.analysis.eos import BirchMurnaghan, EOSError
from pymatgen.core import Structure

from crysearch.analysis.calculations import relax_ions
from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationSettings, Relaxer

#: Volumes relative to the given structure's.
DEFAULT_VOLUMES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)

#: A fit whose residual is a larger part of the range of energies is no equation of state.
LARGEST_RESIDUAL = 0.05


@dataclass(frozen=True)
class EquationOfState(PlainResult):
    """Birch–Murnaghan equation of state of third order.

    Attributes
    ----------
    formula
        Formula of the cell.
    volumes, energies
        Sampled volumes (Å³/atom) and energies (eV/atom), in order of volume.
    equilibrium_volume
        V₀ in Å³/atom.
    equilibrium_energy
        E₀ in eV/atom.
    bulk_modulus
        B₀ in GPa.
    bulk_modulus_derivative
        B₀′.
    residual
        Root mean square difference of the energies from the fit, eV/atom.
    engine
        Name of the engine.
    """

    formula: str
    volumes: tuple[float, ...]
    energies: tuple[float, ...]
    equilibrium_volume: float
    equilibrium_energy: float
    bulk_modulus: float
    bulk_modulus_derivative: float
    residual: float
    engine: str


def calculate_equation_of_state(
    structure: Structure,
    relaxer: Relaxer,
    volumes: Sequence[float] = DEFAULT_VOLUMES,
    settings: RelaxationSettings | None = None,
) -> EquationOfState:
    """Equation of state from energies at scaled volumes.

    The cell is scaled isotropically and its ions are relaxed, in one call of the engine. The
    shape of the cell stays: of a crystal that is not cubic the bulk modulus is therefore that
    of isotropic strain (Voigt's), not of hydrostatic pressure.

    Parameters
    ----------
    structure
        Relaxed crystal.
    relaxer
        Engine.
    volumes
        At least five different volumes relative to that of the structure.
    settings
        For the relaxation of the ions; None for forces below 0.001 eV/Å.

    Raises
    ------
    AnalysisError
        If the volumes are unusable, a calculation fails, or the energies have no minimum
        within the volumes or do not follow the equation.
    """
    scales = sorted(float(volume) for volume in volumes)
    usable = all(math.isfinite(scale) and scale > 0 for scale in scales)
    if not usable or len(set(scales)) < 5:
        raise AnalysisError(
            f"volumes={list(volumes)}: give at least five different numbers greater than 0"
        )
    scaled = []
    for scale in scales:
        cell = structure.copy()
        cell.scale_lattice(structure.volume * scale)
        scaled.append(cell)
    labels = [f"the cell at {scale:g} of its volume" for scale in scales]
    evaluations = relax_ions(relaxer, scaled, labels, settings, "equation of state")
    atoms = len(structure)
    return fit_equation_of_state(
        [cell.volume / atoms for cell in scaled],
        [evaluation.energy / atoms for evaluation in evaluations],
        structure.composition.formula.replace(" ", ""),
        relaxer.name,
    )


def fit_equation_of_state(
    volumes: Sequence[float], energies: Sequence[float], formula: str, engine: str
) -> EquationOfState:
    """Fit the Birch–Murnaghan equation of third order (Birch, Phys. Rev. 71, 809 (1947)).

    Parameters
    ----------
    volumes, energies
        Å³/atom and eV/atom, at least five, in any order.
    formula, engine
        What the energies are of, for the result and the errors.

    Raises
    ------
    AnalysisError
        If the energies have no minimum within the volumes or do not follow the equation.
    """
    order = np.argsort(volumes)
    sampled = np.array(volumes, dtype=np.float64)[order]
    values = np.array(energies, dtype=np.float64)[order]
    if len(sampled) < 5 or len(values) != len(sampled):
        raise AnalysisError(
            f"{len(sampled)} volumes and {len(values)} energies: give at least five of each"
        )
    what = f"no equation of state of {formula} by {engine}"
    lowest = int(np.argmin(values))
    if lowest in (0, len(values) - 1):
        raise AnalysisError(
            f"{what}: the lowest energy, {values[lowest]:.6g} eV/atom, is at the end of the range "
            f"({sampled[0]:.4g} to {sampled[-1]:.4g} Å³/atom); relax the structure first, or "
            "sample other volumes"
        )
    fit = BirchMurnaghan(sampled.tolist(), values.tolist())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            fit.fit()
    except EOSError as error:
        raise AnalysisError(f"{what}: {error}") from error
    bulk = float(fit.b0) / GPa
    residual = float(np.sqrt(np.mean((np.asarray(fit.func(sampled)) - values) ** 2)))
    span = float(np.ptp(values))
    if not residual <= LARGEST_RESIDUAL * span or not bulk > 0:
        raise AnalysisError(
            f"{what}: the energies do not follow the equation (residual {residual:.3g} eV/atom "
            f"of a range of {span:.3g}, bulk modulus {bulk:.4g} GPa); the structure may change "
            "its phase: sample a narrower range"
        )
    if not sampled[0] < fit.v0 < sampled[-1]:
        raise AnalysisError(
            f"{what}: the minimum of the fit, {float(fit.v0):.4g} Å³/atom, is outside the range "
            f"({sampled[0]:.4g} to {sampled[-1]:.4g} Å³/atom); sample other volumes"
        )
    return EquationOfState(
        formula=formula,
        volumes=tuple(sampled.tolist()),
        energies=tuple(values.tolist()),
        equilibrium_volume=float(fit.v0),
        equilibrium_energy=float(fit.e0),
        bulk_modulus=bulk,
        bulk_modulus_derivative=float(fit.b1),
        residual=residual,
        engine=engine,
    )
