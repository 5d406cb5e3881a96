"""Ensembles with a known answer, and one of Stillinger–Weber potentials that differ a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import GPa
from pymatgen.core import Lattice, Structure

from crysearch.active_learning import EnsembleEvaluation


def diamond(constant: float = 5.43) -> Structure:
    """Primitive cell of diamond silicon."""
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(constant), ["Si"], [[0, 0, 0]])


class StillingerWeberEnsemble:
    """Silicon of Stillinger and Weber, with other three-body strengths λ in each member."""

    def __init__(self, factors: Sequence[float] = (0.9, 1.0, 1.1)) -> None:
        from matscipy.calculators.manybody import Manybody
        from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
            Stillinger_Weber_PRB_31_5262_Si,
            StillingerWeber,
        )

        parameters = Stillinger_Weber_PRB_31_5262_Si
        self.members = [
            Manybody(**StillingerWeber({**parameters, "lambda1": factor * parameters["lambda1"]}))
            for factor in factors
        ]

    @property
    def provenance(self) -> dict[str, str]:
        return {"model": "Stillinger-Weber, perturbed"}

    def evaluate(self, batch: Sequence[Atoms]) -> list[EnsembleEvaluation]:
        return [self._evaluate(atoms) for atoms in batch]

    def _evaluate(self, atoms: Atoms) -> EnsembleEvaluation:
        energies, forces, stresses = [], [], []
        for member in self.members:
            here = atoms.copy()
            here.calc = member
            energies.append(here.get_potential_energy())
            forces.append(here.get_forces())
            stresses.append(here.get_stress(voigt=False) / GPa)
        return EnsembleEvaluation(np.array(energies), np.array(forces), np.array(stresses))
