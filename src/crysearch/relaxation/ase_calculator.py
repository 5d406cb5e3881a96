"""Any ASE calculator as a relaxation engine, one structure at a time; two classical potentials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import GPa

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer, require_elements


class AseRelaxer(LockstepRelaxer):
    """Engine around an ASE calculator that gives energies, forces and stress.

    Parameters
    ----------
    name
        The engine's name in records.
    calculator
        Makes the calculator; called once.
    provenance
        What to record about the calculator: package, version, model, parameters.
    elements
        The elements that the calculator is for, if it does not refuse others itself; None
        leaves that to the calculator.
    """

    def __init__(
        self,
        name: str,
        calculator: Callable[[], BaseCalculator],
        provenance: dict[str, str],
        elements: frozenset[str] | None = None,
    ) -> None:
        self._name = name
        self._calculator: Any = calculator()
        self._provenance = dict(provenance)
        self._elements = elements

    @property
    def name(self) -> str:
        """The name given."""
        return self._name

    @property
    def provenance(self) -> dict[str, str]:
        """What was given, with the engine's name and ASE's version."""
        return {"engine": self._name, "ase_version": version("ase"), **self._provenance}

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements that the calculator is not for (RelaxationError)."""
        if self._elements is not None and (unknown := sorted(set(symbols) - self._elements)):
            raise RelaxationError(
                f"engine {self._name!r} does not know {', '.join(unknown)}; it is for "
                f"{', '.join(sorted(self._elements))}"
            )

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Calculate the structures one after the other.

        Raises
        ------
        RelaxationError
            If a structure has an element that the calculator is not for.
        """
        evaluations = []
        for atoms in batch:
            require_elements(self._name, atoms, self._elements)
            atoms = atoms.copy()
            atoms.calc = self._calculator
            energy = float(atoms.get_potential_energy())
            atomic = getattr(self._calculator, "results", {}).get("energies")
            evaluations.append(
                Evaluation(
                    energy=energy,
                    forces=np.array(atoms.get_forces(), dtype=float),
                    stress=np.array(atoms.get_stress(voigt=False), dtype=float) / GPa,
                    atomic_energies=None if atomic is None else np.array(atomic, dtype=float),
                )
            )
        return evaluations


def effective_medium_theory() -> AseRelaxer:
    """ASE's effective medium theory: Al, Cu, Ag, Au, Ni, Pd, Pt.

    Jacobsen, Stoltze and Nørskov, Surf. Sci. 366, 394 (1996).
    """
    from ase.calculators.emt import EMT

    return AseRelaxer(
        "emt",
        EMT,
        {"package": "ase", "package_version": version("ase"), "model": "EMT", "dtype": "float64"},
        # The calculator is of no use any more once it has met another element.
        elements=frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"}),
    )


def stillinger_weber() -> AseRelaxer:
    """Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), as matscipy has it."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
        Stillinger_Weber_PRB_31_5262_Si,
        StillingerWeber,
    )

    return AseRelaxer(
        "stillinger-weber",
        lambda: Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)),
        {
            "package": "matscipy",
            "package_version": version("matscipy"),
            "model": "Stillinger-Weber 1985",
            "dtype": "float64",
        },
        elements=frozenset({"Si"}),
    )
