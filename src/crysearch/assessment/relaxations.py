"""Relaxation energies and volumes, and the energies of relaxed phases."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from crysearch.analysis import CrystalMatcher, MatchTolerances, analyse_symmetry
from crysearch.analysis.plain import PlainResult
from crysearch.assessment.phases import Phase
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationResult, RelaxationSettings, Relaxer

#: Standard deviations of the disturbance: of each Cartesian coordinate in Å, and of each of the
#: six components of the strain.
DISPLACEMENT = 0.1
STRAIN = 0.03

#: Distance in Å within which the space group of a relaxed cell is found.
SYMMETRY_TOLERANCE = 0.01


@dataclass(frozen=True)
class RelaxedPhase(PlainResult):
    """One phase relaxed from its listed cell and from a disturbed one.

    Attributes
    ----------
    name, label, atoms
        The phase, and the atoms of its primitive cell.
    listed_volume
        Volume of the listed cell, Å³/atom.
    reason
        Why there is no relaxed cell; None if there is one. What could not be computed is None.
    structure
        Cell relaxed from the listed one, as pymatgen's dictionary.
    energy
        Its energy, eV/atom.
    volume
        Its volume, Å³/atom.
    space_group
        Its space group.
    is_kept
        Whether it is still the listed crystal (:class:`~crysearch.analysis.CrystalMatcher`).
    steps
        Optimizer steps.
    relaxation_energy
        Energy of the disturbed cell minus that of the cell relaxed from it, eV/atom.
    relaxation_volume
        Volume of the cell relaxed from the disturbed one minus that of the disturbed cell,
        Å³/atom. All engines start from the same disturbed cell, so that differences between
        engines are differences of relaxed volumes.
    returns
        Whether the disturbed cell relaxes to the same crystal, and within 1 meV/atom to the same
        energy, as the listed one.
    disturbed_reason
        Why the disturbed cell has no relaxed one; None if it has.
    """

    name: str
    label: str
    atoms: int
    listed_volume: float
    reason: str | None = None
    structure: dict[str, Any] | None = None
    energy: float | None = None
    volume: float | None = None
    space_group: str | None = None
    is_kept: bool | None = None
    steps: int | None = None
    relaxation_energy: float | None = None
    relaxation_volume: float | None = None
    returns: bool | None = None
    disturbed_reason: str | None = None


#: Relaxed cells with a larger difference of their energies are not the same, eV/atom.
SAME_ENERGY = 1e-3


def disturbed(
    phase: Phase, seed: int, displacement: float = DISPLACEMENT, strain: float = STRAIN
) -> Structure:
    """The listed cell strained and its atoms displaced at random, the same for every engine.

    Parameters
    ----------
    phase
        Its name and the seed decide the random numbers, whatever the other phases are.
    seed
    displacement
        Standard deviation of each Cartesian coordinate, Å.
    strain
        Standard deviation of each of the six components of a symmetric strain.

    Raises
    ------
    AnalysisError
        If a standard deviation is not a number of at least 0, or the strain leaves no volume.
    """
    for name, value in (("displacement", displacement), ("strain", strain)):
        if not (math.isfinite(value) and value >= 0):
            raise AnalysisError(f"{name}={value}: give a number of at least 0")
    digest = hashlib.sha256(phase.name.encode()).digest()
    random = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    tensor = np.zeros((3, 3))
    upper = np.triu_indices(3)
    tensor[upper] = strain * random.standard_normal(6)
    tensor = tensor + tensor.T - np.diag(np.diag(tensor))
    deformation = np.eye(3) + tensor
    if not np.linalg.eigvalsh(deformation)[0] > 0:
        raise AnalysisError(
            f"strain={strain}: leaves no volume of {phase.name}; give a smaller one"
        )
    cell = phase.structure
    positions = cell.cart_coords @ deformation
    positions += displacement * random.standard_normal(positions.shape)
    return Structure(
        Lattice(cell.lattice.matrix @ deformation),
        cell.species,
        positions,
        coords_are_cartesian=True,
    )


def relax_phases(
    phases: Sequence[Phase],
    relaxer: Relaxer,
    settings: RelaxationSettings,
    seed: int = 0,
    displacement: float = DISPLACEMENT,
    strain: float = STRAIN,
    progress: Callable[[int], None] | None = None,
) -> list[RelaxedPhase]:
    """Relax each phase from its listed cell and from a disturbed one, in one call of the engine.

    Parameters
    ----------
    phases
    relaxer
    settings
        A cell that does not converge by them is kept, with the force and stress left in its
        ``reason`` or ``disturbed_reason``.
    seed, displacement, strain
        See :func:`disturbed`.
    progress
        Called with the number of cells that have just finished, of twice as many as phases.

    Returns
    -------
    list of RelaxedPhase
        In the order given; a failure is a reason in its phase.
    """
    starts = [disturbed(phase, seed, displacement, strain) for phase in phases]
    listed = [phase.structure for phase in phases]
    results = relaxer.relax([*listed, *starts], settings, progress)
    matcher = CrystalMatcher(MatchTolerances())
    count = len(phases)
    return [
        _relaxed(phase, first, second, matcher)
        for phase, first, second in zip(phases, results[:count], results[count:], strict=True)
    ]


def _relaxed(
    phase: Phase, listed: RelaxationResult, start: RelaxationResult, matcher: CrystalMatcher
) -> RelaxedPhase:
    atoms = len(phase.structure)
    facts: dict[str, Any] = {
        "name": phase.name,
        "label": phase.label,
        "atoms": atoms,
        "listed_volume": phase.structure.volume / atoms,
        "reason": _trouble(listed),
        "disturbed_reason": _trouble(start),
    }
    if listed.structure is not None and listed.energy is not None and listed.converged:
        symmetry = analyse_symmetry(listed.structure, SYMMETRY_TOLERANCE)
        facts |= {
            "structure": listed.structure.as_dict(),
            "energy": listed.energy / atoms,
            "volume": listed.structure.volume / atoms,
            "space_group": symmetry.symbol,
            "is_kept": matcher.same(phase.structure, listed.structure),
            "steps": listed.steps,
        }
    if start.structure is not None and start.energy is not None and start.converged:
        assert start.initial_energy is not None
        facts |= {
            "relaxation_energy": (start.initial_energy - start.energy) / atoms,
            "relaxation_volume": (start.structure.volume - start.initial.volume) / atoms,
        }
        if "energy" in facts:
            assert listed.structure is not None
            near = abs(start.energy / atoms - facts["energy"]) < SAME_ENERGY
            facts["returns"] = near and matcher.same(listed.structure, start.structure)
    return RelaxedPhase(**facts)


def _trouble(result: RelaxationResult) -> str | None:
    """Why a relaxation is of no use; None if it converged."""
    if result.evaluation is None:
        return f"{result.failure}: {result.failure_detail}"
    if result.converged:
        return None
    left = result.evaluation
    return (
        f"not converged after {result.steps} steps: force {left.largest_force:.3g} eV/Å, stress "
        f"{left.largest_stress:.3g} GPa"
    )
