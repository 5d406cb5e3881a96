"""What every relaxation engine takes and gives: settings, results and the interface.

Units: Å, eV, eV/Å, GPa. Stress has the sign of ASE, ``σ = (1/V) dE/dε``: positive components
mean that the cell wants to shrink, and the pressure is ``-trace(σ) / 3``.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from crysearch.errors import RelaxationError

Status = Literal["converged", "step_limit", "uncertain", "single_point", "failed"]
"""How a calculation ended; ``step_limit`` and ``uncertain`` keep the last structure, ``failed``
keeps none. ``uncertain``: the engine says that its results are not to be relied on any more."""

Failure = Literal[
    "unsupported",
    "collapse",
    "explosion",
    "non_finite",
    "engine_error",
    "optimizer_error",
    "timeout",
]
"""Why a structure failed (a machine word; ``RelaxationResult.failure_detail`` is the sentence)."""

OptimizerName = Literal["bfgs", "lbfgs", "fire"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("bfgs", "lbfgs", "fire")


@dataclass(frozen=True)
class RelaxationSettings:
    """When a relaxation ends, and what counts as a runaway.

    A structure is converged when the largest Euclidean norm of the force on an atom is below
    ``force_tolerance`` and, unless the cell is fixed, the largest absolute component of the
    stress tensor is below ``stress_tolerance``; both are tested on the engine's own forces and
    stress, not on the optimizer's scaled gradient.

    Attributes
    ----------
    force_tolerance
        Largest force allowed on any atom, eV/Å.
    stress_tolerance
        Largest absolute stress component allowed, GPa. Ignored when ``fixed_cell``.
    max_steps
        Optimizer steps after which a structure is returned as it is (``step_limit``).
    fixed_cell
        Relax positions only.
    optimizer
        ``"bfgs"`` (ASE's ``CellAwareBFGS``, or ``BFGS`` for a fixed cell), ``"lbfgs"`` or
        ``"fire"``.
    maximum_step
        Longest move in one step: of an atom in Å and, for ``"bfgs"``, of a row of the
        logarithmic strain; ``"lbfgs"`` and ``"fire"`` scale the strain by the number of atoms.
    minimum_volume_ratio, maximum_volume_ratio
        Bounds of the volume relative to the initial one: below is a collapse, above an explosion.
    minimum_distance_ratio
        Atoms nearer than this fraction of the sum of their covalent radii are a collapse.
    maximum_force
        A larger force on any atom is an explosion, eV/Å.
    maximum_energy_change
        A larger change of the energy from the initial one, up or down, is an explosion, eV/atom.
    batch_atoms
        Atoms evaluated together, at most (a larger structure goes alone); None takes the
        engine's own choice for its device.
    evaluation_timeout
        Seconds (wall time) that one evaluation may take; None for no limit. Structures are then
        evaluated one by one, and those that still hang fail.

    Raises
    ------
    RelaxationError
        If a value is not finite, not positive or contradicts another.
    """

    force_tolerance: float = 0.01
    stress_tolerance: float = 0.1
    max_steps: int = 500
    fixed_cell: bool = False
    optimizer: OptimizerName = "bfgs"
    maximum_step: float = 0.2
    minimum_volume_ratio: float = 0.25
    maximum_volume_ratio: float = 4.0
    minimum_distance_ratio: float = 0.5
    maximum_force: float = 1000.0
    maximum_energy_change: float = 50.0
    batch_atoms: int | None = None
    evaluation_timeout: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not isinstance(value, bool):
                minimum = 0 if field.name == "max_steps" else math.ulp(0.0)
                if not math.isfinite(value) or value < minimum:
                    raise RelaxationError(
                        f"{field.name}={value!r} must be a finite number "
                        f"{'of at least 0' if minimum == 0 else 'greater than 0'}"
                    )
        if self.optimizer not in OPTIMIZERS:
            raise RelaxationError(
                f"optimizer={self.optimizer!r} is unknown; choose one of {', '.join(OPTIMIZERS)}"
            )
        if not self.minimum_volume_ratio < 1.0 < self.maximum_volume_ratio:
            raise RelaxationError(
                f"minimum_volume_ratio={self.minimum_volume_ratio} and maximum_volume_ratio="
                f"{self.maximum_volume_ratio} must lie on either side of 1"
            )


@dataclass(frozen=True)
class Evaluation:
    """Energy, forces and stress of one structure.

    Attributes
    ----------
    energy
        eV per cell.
    forces
        (atoms, 3) in eV/Å.
    stress
        (3, 3) in GPa, ``(1/V) dE/dε``.
    atomic_energies
        (atoms,) in eV, which add up to the energy; None for an engine without them.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    atomic_energies: NDArray[np.float64] | None = dataclasses.field(default=None, kw_only=True)

    @property
    def is_finite(self) -> bool:
        """Whether every number is finite."""
        return bool(
            math.isfinite(self.energy)
            and np.isfinite(self.forces).all()
            and np.isfinite(self.stress).all()
        )

    @property
    def largest_force(self) -> float:
        """Largest Euclidean norm of the force on an atom, eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())

    @property
    def largest_stress(self) -> float:
        """Largest absolute component of the stress tensor, GPa."""
        return float(np.abs(self.stress).max())


@dataclass(frozen=True)
class RelaxationResult:
    """What became of one structure.

    Attributes
    ----------
    initial
        The structure that was handed in.
    structure
        The last structure, sites in the initial order; None if the calculation failed.
    evaluation
        Energy, forces and stress of ``structure``; None if the calculation failed.
    steps
        Optimizer steps taken.
    status
        ``"converged"``, ``"step_limit"``, ``"uncertain"``, ``"single_point"`` or ``"failed"``.
    failure
        Machine word for the reason; None unless the status is ``"failed"``.
    failure_detail
        The reason as a sentence; None unless the status is ``"failed"``.
    initial_energy
        Energy of the cell as handed in, eV; None if the calculation failed.
    """

    initial: Structure
    structure: Structure | None
    evaluation: Evaluation | None
    steps: int
    status: Status
    failure: Failure | None = None
    failure_detail: str | None = None
    initial_energy: float | None = None

    @property
    def converged(self) -> bool:
        """Whether forces, and stress unless the cell is fixed, are within the tolerances."""
        return self.status == "converged"

    @property
    def energy(self) -> float | None:
        """Energy of the cell, eV."""
        return None if self.evaluation is None else self.evaluation.energy

    @property
    def energy_per_atom(self) -> float | None:
        """Energy per atom, eV."""
        return None if self.energy is None else self.energy / len(self.initial)

    @property
    def forces(self) -> NDArray[np.float64] | None:
        """Forces (atoms, 3), eV/Å."""
        return None if self.evaluation is None else self.evaluation.forces

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """Stress (3, 3), GPa, ``(1/V) dE/dε``."""
        return None if self.evaluation is None else self.evaluation.stress


OnStep = Callable[[int, int, Evaluation], None]
"""Takes a structure's place in the list, the steps that it has taken, and where it is now."""


class Relaxer(ABC):
    """A relaxation engine: structures in, one result per structure out, in the same order.

    An engine whose package can evaluate energies, forces and stress derives from
    :class:`crysearch.relaxation.lockstep.LockstepRelaxer` and writes only the evaluation; an
    external program that relaxes by itself derives from this class.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name by which :func:`crysearch.relaxation.create_relaxer` knows the engine."""

    @property
    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """What produced the numbers: engine, package, versions, model, weights' checksum, dtype."""

    def check_elements(self, symbols: Iterable[str]) -> None:
        """Refuse elements for which the engine lacks data here, before any work starts.

        Raises
        ------
        RelaxationError
            Naming what is missing. Nothing is raised by engines that find out as they go.
        """
        return None

    @abstractmethod
    def relax(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings | None = None,
        progress: Callable[[int], None] | None = None,
        on_step: OnStep | None = None,
    ) -> list[RelaxationResult]:
        """Relax structures; one bad structure becomes a failed result and stops nothing.

        Parameters
        ----------
        structures
            Ordered periodic structures, of any sizes and compositions.
        settings
            Convergence and bounds; None for the defaults.
        progress
            Called with the number of structures that have just finished.
        on_step
            Called after each evaluation of a structure, for engines that take long.

        Returns
        -------
        list of RelaxationResult
            One per structure, in the order given.
        """

    @abstractmethod
    def single_point(
        self,
        structures: Sequence[Structure],
        progress: Callable[[int], None] | None = None,
    ) -> list[RelaxationResult]:
        """Evaluate structures as they are (status ``"single_point"`` or ``"failed"``)."""
