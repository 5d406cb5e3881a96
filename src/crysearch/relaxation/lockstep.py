"""Relaxing many structures in lock-step with ASE's optimizers and one batched evaluation.

Each structure has its own ASE optimizer on its own Fréchet cell filter (positions and the
logarithm of the deformation gradient). All active structures are evaluated in one call of the
engine; each optimizer then takes one step from the results put on its atoms. A structure that
converges, fails or reaches the step limit makes room for the next one in the queue.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.cellawarebfgs import CellAwareBFGS
from ase.optimize.optimize import Optimizer
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa
from pymatgen.core import Lattice, Structure
from threadpoolctl import threadpool_limits

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import (
    Evaluation,
    Failure,
    OnStep,
    RelaxationResult,
    RelaxationSettings,
    Relaxer,
    Status,
)
from crysearch.relaxation.cell_filter import LogarithmicStrainFilter
from crysearch.relaxation.time_limit import EvaluationTimeout, time_limit

Progress = Callable[[int], None]


class _StructureFailed(Exception):
    """One structure cannot go on; carries the machine word and the sentence."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure: Failure = failure
        self.detail = detail


@dataclass
class _Member:
    """A structure on its way through the relaxation."""

    index: int
    initial: Structure
    atoms: Atoms
    optimizer: Optimizer | None
    initial_volume: float
    contact_cutoffs: dict[tuple[int, int], float]
    steps: int = 0
    initial_energy: float | None = None
    evaluation: Evaluation | None = field(default=None)


class LockstepRelaxer(Relaxer):
    """Relaxer for engines that evaluate energies, forces and stress of a list of structures.

    A derived engine writes :meth:`evaluate` and the two properties of
    :class:`~crysearch.relaxation.base.Relaxer`.
    """

    default_batch_atoms: int = 64

    @abstractmethod
    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Energy (eV), forces (eV/Å) and stress (GPa, ``(1/V) dE/dε``) of each structure.

        May raise for any reason; the batch is then evaluated one by one to find the culprit.
        """

    def early_end(self, evaluation: Evaluation) -> Status | None:
        """Status with which a relaxation is to end at this evaluation; None to go on.

        Asked for each structure after each evaluation of a relaxation, before anything else is
        judged. An engine that knows where it is not to be relied on answers ``"uncertain"``.
        """
        return None

    def session(self) -> AbstractContextManager[object]:
        """Context entered around all evaluations of one call (threads, for example)."""
        return nullcontext()

    def relax(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings | None = None,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
    ) -> list[RelaxationResult]:
        """See :meth:`crysearch.relaxation.base.Relaxer.relax`."""
        settings = settings or RelaxationSettings()
        with self.session(), _single_threaded_linear_algebra():
            return self._run(structures, settings, progress, on_step, move=True)

    def single_point(
        self, structures: Sequence[Structure], progress: Progress | None = None
    ) -> list[RelaxationResult]:
        """See :meth:`crysearch.relaxation.base.Relaxer.single_point`."""
        with self.session(), _single_threaded_linear_algebra():
            return self._run(structures, RelaxationSettings(), progress, None, move=False)

    def _run(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings,
        progress: Progress | None,
        on_step: OnStep | None,
        move: bool,
    ) -> list[RelaxationResult]:
        results: list[RelaxationResult | None] = [None] * len(structures)
        waiting = deque(enumerate(structures))
        active: list[_Member] = []
        limit = settings.batch_atoms or self.default_batch_atoms

        def finish(index: int, result: RelaxationResult) -> None:
            results[index] = result
            if progress is not None:
                progress(1)

        while waiting or active:
            room = limit - sum(len(member.atoms) for member in active)
            while waiting and (not active or len(waiting[0][1]) <= room):
                index, structure = waiting.popleft()
                try:
                    member = _enter(index, structure, settings, move)
                except _StructureFailed as failed:
                    finish(index, _failed_result(structure, 0, failed))
                    continue
                active.append(member)
                room -= len(member.atoms)
            staying = []
            for member, outcome in self._evaluate_safely(active, settings.evaluation_timeout):
                if on_step is not None and isinstance(outcome, Evaluation):
                    on_step(member.index, member.steps, outcome)
                try:
                    result = _advance(member, outcome, settings, move, self.early_end)
                except _StructureFailed as failed:
                    result = _failed_result(member.initial, member.steps, failed)
                if result is None:
                    staying.append(member)
                else:
                    finish(member.index, result)
            active = staying
        return [result for result in results if result is not None]

    def _evaluate_safely(
        self, members: Sequence[_Member], timeout: float | None
    ) -> Iterator[tuple[_Member, Evaluation | Exception]]:
        """Evaluate together; if that raises, one by one, so that only the guilty one fails."""
        if not members:
            return
        batch = [member.atoms for member in members]
        outcomes: list[Evaluation | Exception]
        try:
            with time_limit(timeout):
                outcomes = list(self.evaluate(batch))
        except Exception as error:
            if len(batch) == 1:
                outcomes = [error]
            else:
                for member in members:
                    yield from self._evaluate_safely([member], timeout)
                return
        if len(outcomes) != len(members):
            raise RelaxationError(
                f"engine {self.name!r} returned {len(outcomes)} evaluations for {len(members)} "
                "structures; an engine must return one per structure"
            )
        yield from zip(members, outcomes, strict=True)


def require_elements(engine: str, atoms: Atoms, known: frozenset[str] | None) -> None:
    """Refuse a structure with elements outside ``known`` (None: any element is fine).

    Raises
    ------
    RelaxationError
        Naming the engine and the elements.
    """
    unknown = set() if known is None else set(atoms.symbols) - known
    if unknown:
        raise RelaxationError(
            f"engine {engine!r} does not know {', '.join(sorted(unknown))}; choose another engine"
        )


def _single_threaded_linear_algebra() -> AbstractContextManager[object]:
    """One thread for NumPy's and SciPy's BLAS, none of PyTorch's business.

    The optimizers' matrices are small: with several threads on busy cores they took thirty times
    longer.
    """
    return threadpool_limits(limits=1, user_api="blas")


def _enter(index: int, structure: Structure, settings: RelaxationSettings, move: bool) -> _Member:
    """Make the ASE atoms and the optimizer of a structure, refusing what no engine can take."""
    if not structure.is_ordered:
        raise _StructureFailed("unsupported", "the structure is disordered; order its sites first")
    if len(structure) == 0:
        raise _StructureFailed("unsupported", "the structure has no atoms")
    try:
        atoms = Atoms(
            symbols=[site.specie.symbol for site in structure],
            cell=structure.lattice.matrix,
            scaled_positions=structure.frac_coords,
            pbc=True,
        )
    except Exception as error:
        raise _StructureFailed(
            "unsupported", f"ASE cannot take the structure: {type(error).__name__}: {error}"
        ) from error
    volume = float(atoms.get_volume())
    if not (np.isfinite(atoms.positions).all() and np.isfinite(volume) and volume > 1e-3):
        raise _StructureFailed(
            "unsupported", f"the cell is degenerate (volume {volume:.3g} Å^3) or not finite"
        )
    member = _Member(
        index=index,
        initial=structure,
        atoms=atoms,
        optimizer=_optimizer(atoms, settings) if move else None,
        initial_volume=volume,
        contact_cutoffs=_contact_cutoffs(atoms, settings.minimum_distance_ratio),
    )
    if move:
        _check_geometry(member, settings)
    return member


def _optimizer(atoms: Atoms, settings: RelaxationSettings) -> Optimizer:
    """The ASE optimizer of one structure."""
    kind: Callable[..., Optimizer]
    if settings.fixed_cell:
        target: Atoms | LogarithmicStrainFilter = atoms
        kind = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}[settings.optimizer]
    else:
        # CellAwareBFGS starts from an elastic Hessian of the unscaled logarithmic strain.
        target = LogarithmicStrainFilter(
            atoms, exp_cell_factor=1.0 if settings.optimizer == "bfgs" else None
        )
        kind = {"bfgs": CellAwareBFGS, "lbfgs": LBFGS, "fire": FIRE}[settings.optimizer]
    return kind(target, logfile=None, maxstep=settings.maximum_step)


def _advance(
    member: _Member,
    outcome: Evaluation | Exception,
    settings: RelaxationSettings,
    move: bool,
    early_end: Callable[[Evaluation], Status | None],
) -> RelaxationResult | None:
    """Take in an evaluation: a result if the structure is done, else one optimizer step."""
    if isinstance(outcome, EvaluationTimeout):
        raise _StructureFailed("timeout", str(outcome)) from outcome
    if isinstance(outcome, Exception):
        raise _StructureFailed("engine_error", f"{type(outcome).__name__}: {outcome}") from outcome
    if not outcome.is_finite:
        raise _StructureFailed("non_finite", "energy, forces or stress are not finite")
    member.evaluation = outcome
    if not move:
        return _result(member, "single_point")
    if member.initial_energy is None:
        member.initial_energy = outcome.energy
    ended = early_end(outcome)
    if ended is not None:
        return _result(member, ended)
    _check_runaway(member, outcome, settings)
    if outcome.largest_force < settings.force_tolerance and (
        settings.fixed_cell or outcome.largest_stress < settings.stress_tolerance
    ):
        return _result(member, "converged")
    if member.steps >= settings.max_steps:
        return _result(member, "step_limit")
    member.atoms.calc = SinglePointCalculator(
        member.atoms,
        energy=outcome.energy,
        free_energy=outcome.energy,
        forces=outcome.forces,
        stress=full_3x3_to_voigt_6_stress(outcome.stress * GPa),
    )
    assert member.optimizer is not None
    try:
        # What goes wrong in earnest is not finite, and found below.
        with np.errstate(all="ignore"):
            member.optimizer.step()
    except Exception as error:
        raise _StructureFailed("optimizer_error", f"{type(error).__name__}: {error}") from error
    member.steps += 1
    _check_geometry(member, settings)
    return None


def _check_runaway(member: _Member, evaluation: Evaluation, settings: RelaxationSettings) -> None:
    assert member.initial_energy is not None
    if evaluation.largest_force > settings.maximum_force:
        raise _StructureFailed(
            "explosion",
            f"a force of {evaluation.largest_force:.4g} eV/Å exceeds "
            f"maximum_force={settings.maximum_force:g}",
        )
    change = (evaluation.energy - member.initial_energy) / len(member.atoms)
    if abs(change) > settings.maximum_energy_change:
        raise _StructureFailed(
            "explosion",
            f"the energy changed by {change:.4g} eV/atom, more than "
            f"maximum_energy_change={settings.maximum_energy_change:g}",
        )


def _check_geometry(member: _Member, settings: RelaxationSettings) -> None:
    """Stop runaway cells before an engine sees them (their neighbour lists grow without bound)."""
    from matscipy.neighbours import neighbour_list

    if not (np.isfinite(member.atoms.positions).all() and np.isfinite(member.atoms.cell).all()):
        raise _StructureFailed("non_finite", "the optimizer moved atoms to non-finite positions")
    ratio = float(member.atoms.get_volume()) / member.initial_volume
    if ratio > settings.maximum_volume_ratio:
        raise _StructureFailed(
            "explosion",
            f"the volume grew to {ratio:.3g} times the initial one "
            f"(maximum_volume_ratio={settings.maximum_volume_ratio:g})",
        )
    if ratio < settings.minimum_volume_ratio:
        raise _StructureFailed(
            "collapse",
            f"the volume shrank to {ratio:.3g} times the initial one "
            f"(minimum_volume_ratio={settings.minimum_volume_ratio:g})",
        )
    distances = neighbour_list("d", member.atoms, member.contact_cutoffs)
    if len(distances):
        raise _StructureFailed(
            "collapse",
            f"atoms are {distances.min():.3g} Å apart, nearer than minimum_distance_ratio="
            f"{settings.minimum_distance_ratio:g} times the sum of their covalent radii",
        )


def _contact_cutoffs(atoms: Atoms, ratio: float) -> dict[tuple[int, int], float]:
    numbers = sorted({int(number) for number in atoms.numbers})
    return {
        (first, second): ratio * float(covalent_radii[first] + covalent_radii[second])
        for first in numbers
        for second in numbers
    }


def _result(member: _Member, status: Status) -> RelaxationResult:
    assert member.evaluation is not None
    moved = status != "single_point"
    return RelaxationResult(
        initial=member.initial,
        structure=_to_structure(member) if moved else member.initial,
        evaluation=member.evaluation,
        steps=member.steps,
        status=status,
        initial_energy=member.initial_energy if moved else member.evaluation.energy,
    )


def _failed_result(structure: Structure, steps: int, failed: _StructureFailed) -> RelaxationResult:
    return RelaxationResult(
        initial=structure,
        structure=None,
        evaluation=None,
        steps=steps,
        status="failed",
        failure=failed.failure,
        failure_detail=failed.detail,
    )


def _to_structure(member: _Member) -> Structure:
    return Structure(
        Lattice(member.atoms.cell.array),
        member.initial.species,
        member.atoms.get_scaled_positions(wrap=True),
    )
