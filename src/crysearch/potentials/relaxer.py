"""A trained potential as a relaxation engine: many structures at once, by the committee's mean."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from ase import Atoms
from ase.units import GPa

from crysearch import __version__
from crysearch.errors import RelaxationError, TrainingError
from crysearch.potentials.base import TrainablePotential
from crysearch.potentials.registry import load_potential
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer


class PotentialRelaxer(LockstepRelaxer):
    """Engine around a trained potential.

    Parameters
    ----------
    potential : TrainablePotential
    facts : mapping, optional
        What else the provenance is to say, such as where the potential was trained.

    Raises
    ------
    TrainingError
        If it is not trained.
    """

    def __init__(
        self, potential: TrainablePotential, facts: Mapping[str, str] | None = None
    ) -> None:
        if not potential.is_fitted:
            raise TrainingError(f"The potential {potential.name!r} is not trained; call fit first.")
        self.potential = potential
        self._facts = dict(facts or {})
        self._checksum = hashlib.sha256(potential.to_bytes()).hexdigest()

    @property
    def name(self) -> str:
        """``"self-trained"``, whatever the potential."""
        return "self-trained"

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, version, members and elements, checksum of the potential as bytes, and facts."""
        return {
            "engine": self.name,
            "package": "crysearch",
            "package_version": __version__,
            "model": f"{self.potential.name}, {self.potential.members} members for "
            f"{' '.join(self.potential.elements)}",
            "weights_sha256": self._checksum,
            "dtype": "float64",
            **self._facts,
        }

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements that the potential was not trained on (RelaxationError)."""
        unknown = sorted(set(symbols) - set(self.potential.elements))
        if unknown:
            raise RelaxationError(
                f"the potential {self.potential.name!r} was not trained on {', '.join(unknown)}; "
                f"it is for {', '.join(self.potential.elements)}"
            )

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Evaluate together; raises TrainingError for atoms that the potential cannot take."""
        return [
            Evaluation(
                energy=prediction.energy,
                forces=prediction.forces,
                stress=prediction.stress / GPa,
                atomic_energies=prediction.atomic_energies,
            )
            for prediction in self.potential.predict(batch)
        ]


def self_trained(
    model: str, weights: bytes, facts: Mapping[str, str] | None = None
) -> PotentialRelaxer:
    """Make the engine of a stored potential.

    Parameters
    ----------
    model : str
        One of `crysearch.potentials.available_potentials`.
    weights : bytes
        What the potential's `to_bytes` gave.
    facts : mapping, optional
        See `PotentialRelaxer`.

    Raises
    ------
    TrainingError
        If the name is unknown, or the weights are damaged or of another potential.
    """
    return PotentialRelaxer(load_potential(model, weights), facts)
