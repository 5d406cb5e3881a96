"""A trained potential as an ASE calculator, for everything that ASE can do with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from crysearch.errors import TrainingError
from crysearch.potentials.base import Prediction, TrainablePotential


class PotentialCalculator(Calculator):
    """ASE calculator of the mean of a potential's members.

    Besides the usual results, `results` has ``energy_deviation`` (eV) and ``force_deviations``
    (eV/Å, one for each atom), the spread of the members.

    Parameters
    ----------
    potential : TrainablePotential
        Trained.

    Raises
    ------
    TrainingError
        In a calculation: if the potential cannot take the atoms, with the reason.
    """

    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]
        "energy", "free_energy", "energies", "forces", "stress",
    ]  # fmt: skip

    def __init__(self, potential: TrainablePotential) -> None:
        super().__init__()
        if not potential.is_fitted:
            raise TrainingError(f"The potential {potential.name!r} is not trained; call fit first.")
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate the atoms; see `Prediction`."""
        super().calculate(atoms, list(properties), list(system_changes))
        given: Any = self.atoms
        (prediction,) = self.potential.predict([given])
        self.results = results_of(prediction)


def results_of(prediction: Prediction) -> dict[str, Any]:
    """The results of an ASE calculator of a prediction."""
    return {
        "energy": prediction.energy,
        "free_energy": prediction.energy,
        "energies": prediction.atomic_energies,
        "forces": prediction.forces,
        "stress": full_3x3_to_voigt_6_stress(prediction.stress),
        "energy_deviation": prediction.energy_deviation,
        "force_deviations": prediction.force_deviations,
    }
