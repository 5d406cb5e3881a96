"""What an ensemble of potentials gives for a structure, and how much its members disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from crysearch.errors import ActiveLearningError
from crysearch.relaxation import Evaluation


@dataclass(frozen=True, eq=False)
class MeanEvaluation(Evaluation):
    """Mean energy, forces and stress of an ensemble, with the disagreement of its members.

    Attributes
    ----------
    energy_deviation
        Standard deviation of the energy over the members, eV/atom.
    force_deviations
        For each atom (atoms,) the standard deviation of its force vector over the members, eV/Å:
        the root of the sum of the variances of the three components, which no rotation changes.
    """

    energy_deviation: float
    force_deviations: NDArray[np.float64]

    @property
    def disagreement(self) -> float:
        """Largest standard deviation of the force on an atom, eV/Å."""
        return float(self.force_deviations.max())


@dataclass(frozen=True, eq=False)
class EnsembleEvaluation:
    """What the M members of an ensemble give for one structure of n atoms.

    Attributes
    ----------
    energies
        (M,), eV per cell.
    forces
        (M, n, 3), eV/Å.
    stresses
        (M, 3, 3) in GPa, ``(1/V) dE/dε``.

    Raises
    ------
    ActiveLearningError
        For a wrong shape, or fewer than two members: one cannot disagree.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stresses: NDArray[np.float64]

    def __post_init__(self) -> None:
        members = len(self.energies) if np.ndim(self.energies) == 1 else 0
        atoms = np.shape(self.forces)[1] if np.ndim(self.forces) == 3 else 0
        for field, shape in (
            ("energies", (members,)),
            ("forces", (members, atoms, 3)),
            ("stresses", (members, 3, 3)),
        ):
            value = np.asarray(getattr(self, field), dtype=np.float64)
            if value.shape != shape or 0 in shape:
                raise ActiveLearningError(
                    f"{field} of an ensemble have shape {value.shape}; give (members,) energies, "
                    "(members, atoms, 3) forces and (members, 3, 3) stresses"
                )
            object.__setattr__(self, field, value)
        if members < 2:
            raise ActiveLearningError(
                f"the ensemble has {members} member; give at least 2, whose disagreement is used"
            )

    def mean(self) -> MeanEvaluation:
        """Means over the members, and standard deviations with M in the denominator."""
        return MeanEvaluation(
            energy=float(self.energies.mean()),
            forces=self.forces.mean(axis=0),
            stress=self.stresses.mean(axis=0),
            energy_deviation=float(self.energies.std()) / self.forces.shape[1],
            force_deviations=np.sqrt(self.forces.var(axis=0).sum(axis=-1)),
        )


class Ensemble(Protocol):
    """An ensemble of potentials, as the search needs it."""

    @property
    def provenance(self) -> dict[str, str]:
        """What the ensemble is: kind, versions, checksum of the weights."""

    def evaluate(self, batch: Sequence[Atoms]) -> Sequence[EnsembleEvaluation]:
        """Evaluate periodic structures with every member.

        May raise for any reason; the batch is then evaluated one by one to find the culprit.
        """
