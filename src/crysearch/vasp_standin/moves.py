"""Energies from an engine, and ASE's optimizers that move atoms and cell as ISIF asks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.cellawarebfgs import CellAwareBFGS
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.units import GPa
from numpy.typing import NDArray

from crysearch.errors import RelaxationError, VaspStandinError
from crysearch.relaxation import Evaluation, create_relaxer
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.vasp_standin.inputs import Inputs

KBAR = 0.1
"""GPa."""

_MOVES_ATOMS = (0, 1, 2, 3, 4, 8)
_MOVES_CELL = (3, 4, 5, 6, 7, 8)
_KEEPS_VOLUME = (4, 5)
_KEEPS_SHAPE = (7, 8)


@dataclass(frozen=True)
class IonicStep:
    """One evaluated geometry.

    Attributes
    ----------
    lattice
        (3, 3), rows are lattice vectors, Å.
    positions
        (atoms, 3) fractional coordinates in [0, 1).
    energy
        eV per cell.
    enthalpy
        Energy and PSTRESS times volume, eV per cell; the energy without PSTRESS.
    forces
        (atoms, 3), eV/Å.
    stress
        (3, 3) in kBar with VASP's sign: positive where the cell wants to expand.
    """

    lattice: NDArray[np.float64]
    positions: NDArray[np.float64]
    energy: float
    enthalpy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]

    @property
    def volume(self) -> float:
        """Å^3."""
        return float(abs(np.linalg.det(self.lattice)))


class _EngineCalculator(Calculator):
    """An engine as ASE calculator."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, engine: LockstepRelaxer) -> None:
        super().__init__()
        self._engine = engine
        self.evaluation: Evaluation | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
        [evaluation] = self._engine.evaluate([bare])
        if not evaluation.is_finite:
            raise VaspStandinError("energy, forces or stress are not finite")
        self.evaluation = evaluation
        self.results = {
            "energy": evaluation.energy,
            "free_energy": evaluation.energy,
            "forces": evaluation.forces,
            "stress": full_3x3_to_voigt_6_stress(evaluation.stress * GPa),
        }


class Mover:
    """Evaluates a geometry and moves on to the next one.

    Parameters
    ----------
    inputs
        The calculation.
    engine
        Name of an engine of :func:`crysearch.relaxation.create_relaxer`.

    Raises
    ------
    VaspStandinError
        If the engine is unknown, not installed or cannot evaluate single geometries.
    """

    def __init__(self, inputs: Inputs, engine: str) -> None:
        self._inputs = inputs
        try:
            relaxer = create_relaxer(engine)
        except RelaxationError as error:
            raise VaspStandinError(str(error)) from error
        if not isinstance(relaxer, LockstepRelaxer):
            raise VaspStandinError(f"engine {engine!r} cannot evaluate single geometries")
        self._relaxer = relaxer
        structure = inputs.structure
        self._atoms = Atoms(
            symbols=[site.specie.symbol for site in structure],
            cell=structure.lattice.matrix,
            scaled_positions=structure.frac_coords,
            pbc=True,
        )
        fixed = inputs.fixed
        if inputs.isif not in _MOVES_ATOMS:
            fixed = tuple(range(len(self._atoms)))
        if fixed:
            # Fixed in fractional coordinates: the filter scales them with the cell.
            self._atoms.set_constraint(FixAtoms(indices=list(fixed)))
        self._calculator = _EngineCalculator(relaxer)
        self._atoms.calc = self._calculator
        self._filter: FrechetCellFilter | None = None
        self._optimizer = self._make_optimizer() if inputs.relaxes else None

    def _make_optimizer(self) -> Any:
        inputs = self._inputs
        target: Any = self._atoms
        kinds: dict[int, Any] = {1: LBFGS, 2: BFGS, 3: FIRE}
        if inputs.isif in _MOVES_CELL:
            # CellAwareBFGS needs the unscaled strain, the others do better with the scaled one.
            self._filter = target = FrechetCellFilter(
                self._atoms,
                exp_cell_factor=1.0 if inputs.ibrion == 2 else None,
                constant_volume=inputs.isif in _KEEPS_VOLUME,
                hydrostatic_strain=inputs.isif in _KEEPS_SHAPE,
                scalar_pressure=inputs.pstress * KBAR * GPa,
            )
            kinds[2] = CellAwareBFGS
        return kinds[inputs.ibrion](target, logfile=None)

    def evaluate(self) -> IonicStep:
        """Energy, forces and stress of the present geometry.

        Raises
        ------
        VaspStandinError
            If the engine fails.
        """
        try:
            with self._relaxer.session():
                self._atoms.get_potential_energy()
        except VaspStandinError:
            raise
        except Exception as error:
            raise VaspStandinError(f"the engine failed: {error}") from error
        evaluation = self._calculator.evaluation
        assert evaluation is not None
        pressure = self._inputs.pstress * KBAR * GPa
        return IonicStep(
            lattice=np.array(self._atoms.cell.array),
            positions=self._atoms.get_scaled_positions(wrap=True),
            energy=evaluation.energy,
            enthalpy=evaluation.energy + pressure * float(self._atoms.get_volume()),
            forces=evaluation.forces,
            stress=-evaluation.stress / KBAR,
        )

    def converged(self, step: IonicStep, before: IonicStep | None) -> bool:
        """Whether EDIFFG is reached.

        A negative EDIFFG bounds the force on each atom that may move and, where the cell moves,
        each row of the stress (less PSTRESS) times the volume per atom; a positive one bounds the
        change of the energy (with PSTRESS, the enthalpy) since the ionic step before.
        """
        if self._optimizer is None:
            return True
        bound = self._inputs.ediffg
        if bound >= 0:
            return before is not None and abs(step.enthalpy - before.enthalpy) < bound
        forces = self._atoms.get_forces()
        if np.linalg.norm(forces, axis=1).max(initial=0.0) >= -bound:
            return False
        if self._filter is None:
            return True
        # The filter leaves in ``stress`` what its constraints let relax, eV/Å^3.
        self._filter.get_forces()
        rest = voigt_6_to_full_3x3_stress(np.asarray(self._filter.stress))
        rows = rest * step.volume / len(self._atoms)
        return bool(np.linalg.norm(rows, axis=1).max() < -bound)

    def move(self) -> None:
        """Take one step of the optimizer.

        Raises
        ------
        VaspStandinError
            If the optimizer fails or the cell becomes degenerate.
        """
        assert self._optimizer is not None
        try:
            with warnings.catch_warnings(), self._relaxer.session():
                # SciPy's logm warns at rounding level.
                warnings.simplefilter("ignore", RuntimeWarning)
                self._optimizer.step()
        except Exception as error:
            raise VaspStandinError(f"the optimizer failed: {error}") from error
        volume = float(self._atoms.get_volume())
        if not np.isfinite(self._atoms.positions).all() or not 1e-3 < volume < np.inf:
            raise VaspStandinError(f"the optimizer left a cell of {volume:.3g} Å^3")
