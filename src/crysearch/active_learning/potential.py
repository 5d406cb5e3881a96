"""A trainable potential as the ensemble of a search."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

from ase import Atoms
from ase.units import GPa

from crysearch.active_learning.ensembles import EnsembleEvaluation
from crysearch.errors import ActiveLearningError
from crysearch.potentials import Configuration, Failure, TrainablePotential


class PotentialEnsemble:
    """The members of a trained potential.

    Parameters
    ----------
    potential
        With at least two members, trained.

    Raises
    ------
    ActiveLearningError
        It has one member, or is not trained.
    """

    def __init__(self, potential: TrainablePotential) -> None:
        if potential.members < 2:
            raise ActiveLearningError(
                f"members={potential.members!r}: give the potential at least 2, whose disagreement "
                "is used"
            )
        if not potential.is_fitted:
            raise ActiveLearningError(f"potential {potential.name!r} is not trained; train it")
        self._potential = potential
        self._provenance = {
            "potential": potential.name,
            "members": str(potential.members),
            "torch_version": version("torch"),
            "checksum": hashlib.sha256(potential.to_bytes()).hexdigest(),
        }

    @property
    def provenance(self) -> dict[str, str]:
        """Kind, members, version of torch and checksum of the weights."""
        return dict(self._provenance)

    def evaluate(self, batch: Sequence[Atoms]) -> list[EnsembleEvaluation]:
        """Evaluate structures with every member.

        Raises
        ------
        ActiveLearningError
            The potential cannot take a structure.
        """
        found = []
        for prediction in self._potential.evaluate([_configuration(atoms) for atoms in batch]):
            if isinstance(prediction, Failure):
                raise ActiveLearningError(f"{prediction.reason}: {prediction.detail}")
            found.append(
                EnsembleEvaluation(
                    prediction.energies,
                    prediction.forces_of_members,
                    prediction.stresses / GPa,
                )
            )
        return found


def _configuration(atoms: Atoms) -> Configuration:
    """The crystal without any results that its calculator holds."""
    return Configuration(atoms.numbers, atoms.cell.array, atoms.positions)
