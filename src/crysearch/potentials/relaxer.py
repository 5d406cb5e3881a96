"""A trained potential as a relaxation engine: many structures at once, by the committee's mean."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from ase import Atoms
from ase.units import GPa

from crysearch import __version__
from crysearch.errors import RelaxationError, TrainingError
from crysearch.potentials.base import TrainablePotential
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer


class PotentialRelaxer(LockstepRelaxer):
    """Engine around a trained potential.

    Parameters
    ----------
    potential : TrainablePotential

    Raises
    ------
    TrainingError
        If it is not trained.
    """

    def __init__(self, potential: TrainablePotential) -> None:
        if not potential.is_fitted:
            raise TrainingError(f"The potential {potential.name!r} is not trained; call fit first.")
        self.potential = potential
        self._checksum = hashlib.sha256(potential.to_bytes()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the potential in its registry."""
        return self.potential.name

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, version, members and elements, and the checksum of the potential as bytes."""
        return {
            "engine": self.name,
            "package": "crysearch",
            "package_version": __version__,
            "model": f"{self.potential.members} members for {' '.join(self.potential.elements)}",
            "weights_sha256": self._checksum,
            "dtype": "float64",
        }

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements that the potential was not trained on (RelaxationError)."""
        unknown = sorted(set(symbols) - set(self.potential.elements))
        if unknown:
            raise RelaxationError(
                f"the potential {self.name!r} was not trained on {', '.join(unknown)}; it is for "
                f"{', '.join(self.potential.elements)}"
            )

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Evaluate together; raises TrainingError for atoms that the potential cannot take."""
        return [
            Evaluation(
                energy=prediction.energy,
                forces=prediction.forces,
                stress=prediction.stress / GPa,
            )
            for prediction in self.potential.predict(batch)
        ]
