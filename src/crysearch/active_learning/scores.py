"""The look-ahead score: an estimate of the energy that a structure would relax to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crysearch.active_learning.ensembles import MeanEvaluation
from crysearch.errors import ActiveLearningError


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n structures and what they were made of, each an array (n,).

    Attributes
    ----------
    scores
        Look-ahead score, eV/atom; low is good.
    energies
        Mean energy of the ensemble, eV/atom.
    largest_forces
        Largest norm of the mean force on an atom, eV/Å.
    energy_deviations
        Standard deviation of the energy over the members, eV/atom.
    force_deviations
        Largest standard deviation over the members of the force on an atom, eV/Å.
    """

    scores: NDArray[np.float64]
    energies: NDArray[np.float64]
    largest_forces: NDArray[np.float64]
    energy_deviations: NDArray[np.float64]
    force_deviations: NDArray[np.float64]


def score(evaluations: Sequence[MeanEvaluation], force_weight: float = 0.5) -> Scores:
    """Score structures by what an ensemble says of them.

    The published score of a cell is L = Ē − ω_F · max‖F̄‖₂ with the mean energy of the cell, the
    mean forces, and the largest norm over the atoms. Given here is L divided by the number of
    atoms: the order within a pool of one cell size is the published one, and cells of several sizes
    can be compared. Energies per atom in the formula itself would be another order, in which the
    forces of a cell of n atoms count n times as much.

    Parameters
    ----------
    evaluations
        Of structures of one composition.
    force_weight
        ω_F, Å; at least 0.

    Raises
    ------
    ActiveLearningError
        The weight is negative or not finite, or an evaluation is not finite.
    """
    if not math.isfinite(force_weight) or force_weight < 0:
        raise ActiveLearningError(f"force_weight={force_weight!r} must be at least 0 (in Å)")
    bad = [place for place, found in enumerate(evaluations) if not found.is_finite]
    if bad:
        raise ActiveLearningError(
            f"evaluations of {len(bad)} structures are not finite (first: number {bad[0]}); leave "
            "these structures out"
        )
    atoms = np.array([len(found.forces) for found in evaluations], dtype=np.float64)
    energies = np.array([found.energy for found in evaluations], dtype=np.float64)
    forces = np.array([found.largest_force for found in evaluations], dtype=np.float64)
    return Scores(
        scores=(energies - force_weight * forces) / atoms,
        energies=energies / atoms,
        largest_forces=forces,
        energy_deviations=np.array([found.energy_deviation for found in evaluations]),
        force_deviations=np.array([found.disagreement for found in evaluations]),
    )
