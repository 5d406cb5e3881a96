"""The lock-step driver: queue, runaways, culprits, and agreement with ASE run alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize.cellawarebfgs import CellAwareBFGS
from ase.units import GPa
from pymatgen.core import DummySpecies, Lattice, Structure
from threadpoolctl import threadpool_limits

from crysearch.errors import RelaxationError
from crysearch.relaxation import Evaluation, RelaxationSettings, create_relaxer
from crysearch.relaxation.lockstep import LockstepRelaxer


class Scripted(LockstepRelaxer):
    """A harmonic pull of every atom to its cell's origin, with accidents on demand."""

    name = "scripted"
    provenance = {"engine": "scripted"}  # noqa: RUF012

    def __init__(self, accident=None) -> None:
        self.accident = accident
        self.batches: list[list[int]] = []

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        self.batches.append([len(atoms) for atoms in batch])
        results = [
            Evaluation(float((atoms.positions**2).sum()), -2 * atoms.positions, np.zeros((3, 3)))
            for atoms in batch
        ]
        if self.accident is not None:
            results = self.accident(batch, results, len(self.batches))
        return results


def cell(offset: float, atoms: int = 1) -> Structure:
    positions = [[offset + 3 * k, offset, offset] for k in range(atoms)]
    return Structure(
        Lattice.cubic(3 * atoms + 1), ["Si"] * atoms, positions, coords_are_cartesian=True
    )


GUILTY = 0.4


def is_guilty(atoms: Atoms) -> bool:
    return bool(math.isclose(atoms.positions[0, 0], GUILTY))


def test_only_the_structure_that_raises_fails():
    def accident(batch, results, call):
        if any(is_guilty(atoms) for atoms in batch):
            raise RuntimeError("CUDA error: the moon is full")
        return results

    results = Scripted(accident).relax([cell(0.1), cell(GUILTY), cell(0.2)])
    assert [result.status for result in results] == ["converged", "failed", "converged"]
    assert results[1].failure == "engine_error"
    assert results[1].failure_detail == "RuntimeError: CUDA error: the moon is full"


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda e: replace(e, energy=math.nan), "non_finite"),
        (lambda e: replace(e, forces=e.forces * math.inf), "non_finite"),
        (lambda e: replace(e, forces=e.forces + 1e4), "explosion"),
    ],
)
def test_mad_evaluations_fail_only_their_structure(change, failure):
    def accident(batch, results, call):
        return [
            change(result) if is_guilty(atoms) else result
            for atoms, result in zip(batch, results, strict=True)
        ]

    results = Scripted(accident).relax([cell(0.1), cell(GUILTY), cell(0.2)])
    assert [result.failure for result in results] == [None, failure, None]
    assert results[0].converged and results[2].converged


def test_energy_runaway_is_an_explosion():
    def accident(batch, results, call):
        return [replace(result, energy=result.energy - 40.0 * call) for result in results]

    (result,) = Scripted(accident).relax([cell(0.4)])
    assert (result.status, result.failure, result.steps) == ("failed", "explosion", 2)
    assert "eV/atom" in result.failure_detail


@pytest.mark.parametrize(("pressure", "failure"), [(3e4, "explosion"), (-3e4, "collapse")])
def test_volume_runaway(pressure, failure):
    def accident(batch, results, call):
        return [replace(result, stress=-pressure * np.eye(3)) for result in results]

    (result,) = Scripted(accident).relax([cell(0.0)], RelaxationSettings(max_steps=100))
    assert (result.status, result.failure) == ("failed", failure)
    assert "volume" in result.failure_detail


class Attraction(Scripted):
    """Two atoms drawn along x with a force that grows by ``growth`` as they approach."""

    growth = 1.0

    def evaluate(self, batch):
        forces = []
        for atoms in batch:
            size = 5.0 - self.growth * (atoms.positions[1, 0] - atoms.positions[0, 0])
            forces.append(np.array([[size, 0, 0], [-size, 0, 0]]))
        return [Evaluation(0.0, force, np.zeros((3, 3))) for force in forces]


PAIR = Structure(Lattice.cubic(10), ["Si", "Si"], [[0.3, 0.5, 0.5], [0.6, 0.5, 0.5]])


def test_atoms_that_meet_are_a_collapse():
    (result,) = Attraction().relax([PAIR], RelaxationSettings(max_steps=100, fixed_cell=True))
    assert (result.status, result.failure) == ("failed", "collapse")
    assert "Å apart" in result.failure_detail


def test_an_optimizer_that_breaks_fails_its_structure():
    """A force that never changes has no curvature: 0/0 in the Hessian's update."""
    engine = Attraction()
    engine.growth = 0.0
    (result,) = engine.relax([PAIR], RelaxationSettings(max_steps=100, fixed_cell=True))
    assert (result.status, result.failure) == ("failed", "optimizer_error")


def test_what_ase_cannot_represent_is_unsupported():
    ghost = Structure(Lattice.cubic(4), [DummySpecies("Xq")], [[0, 0, 0]])
    results = Scripted().relax([ghost, cell(0.1)])
    assert [result.failure for result in results] == ["unsupported", None]


def test_wrong_number_of_evaluations_is_the_engines_fault():
    with pytest.raises(RelaxationError, match="returned 1 evaluations for 2"):
        Scripted(lambda batch, results, call: results[:1]).relax([cell(0.1), cell(0.2)])


def test_batches_fill_up_to_the_limit_and_refill():
    engine = Scripted()
    sizes = [2, 2, 1, 3, 9, 1]
    structures = [cell(0.1 * (k + 1), atoms) for k, atoms in enumerate(sizes)]
    finished: list[int] = []
    results = engine.relax(
        structures, RelaxationSettings(fixed_cell=True, batch_atoms=4, max_steps=5), finished.append
    )
    assert [len(result.initial) for result in results] == sizes
    assert len(finished) == len(sizes)
    assert engine.batches[0] == [2, 2]
    assert all(sum(batch) <= 4 or len(batch) == 1 for batch in engine.batches)
    assert [9] in engine.batches, "a structure above the limit goes alone"


def test_lock_step_is_ase_run_alone():
    structures = [
        Structure(Lattice.from_parameters(2.6, 2.7, 2.8, 62, 58, 63), ["Cu"], [[0, 0, 0]]),
        Structure(Lattice.orthorhombic(2.9, 3.0, 3.9), ["Cu", "Au"], [[0, 0, 0], [0.45, 0.5, 0.6]]),
    ]
    settings = RelaxationSettings(force_tolerance=0.01, stress_tolerance=0.05)
    for structure, result in zip(
        structures, create_relaxer("emt").relax(structures, settings), strict=True
    ):
        atoms = Atoms(
            numbers=structure.atomic_numbers,
            cell=structure.lattice.matrix,
            scaled_positions=structure.frac_coords,
            pbc=True,
            calculator=EMT(),
        )
        optimizer = CellAwareBFGS(FrechetCellFilter(atoms, exp_cell_factor=1.0), logfile=None)
        with threadpool_limits(limits=1, user_api="blas"):
            assert optimizer.run(fmax=0.01, smax=0.05 * GPa, steps=500)
        assert result.steps == optimizer.nsteps > 2
        assert result.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(result.structure.lattice.matrix, atoms.cell.array, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire"])
def test_every_optimizer_finds_stillinger_weber_diamond(optimizer):
    """−2 ε = −4.3366 eV/atom at a = 5.431 Å: Stillinger and Weber, Phys. Rev. B 31, 5262."""
    squeezed = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.2), ["Si"], [[0, 0, 0]])
    (result,) = create_relaxer("stillinger-weber").relax(
        [squeezed], RelaxationSettings(optimizer=optimizer, stress_tolerance=0.01)
    )
    assert result.converged
    assert result.energy_per_atom == pytest.approx(-2 * 2.1683, abs=1e-4)
    assert result.structure.lattice.a == pytest.approx(5.431, abs=2e-3)


def test_random_crystals_end_converged_or_with_a_reason():
    random = np.random.default_rng(5)
    structures = []
    while len(structures) < 8:
        lattice = Lattice.from_parameters(*random.uniform(4, 8, 3), *random.uniform(50, 130, 3))
        if not lattice.volume > 1:
            continue
        structure = Structure(lattice.scale(184), ["Si"] * 8, random.random((8, 3)))
        if structure.is_valid(1.6):
            structures.append(structure)
    settings = RelaxationSettings(max_steps=300)
    results = create_relaxer("stillinger-weber").relax(structures, settings)
    for result in results:
        if result.status == "failed":
            assert result.failure and result.failure_detail
            continue
        assert np.linalg.norm(result.forces, axis=1).max() < 0.01 or not result.converged
        assert np.abs(result.stress).max() < 0.1 or not result.converged
    assert sum(result.converged for result in results) >= 7


def test_every_evaluation_is_told():
    told = []
    settings = RelaxationSettings(fixed_cell=True, force_tolerance=1e-3)
    results = Scripted().relax(
        [cell(0.3), cell(0.2)],
        settings,
        on_step=lambda index, steps, now: told.append((index, steps, now.largest_force)),
    )
    for index, result in enumerate(results):
        own = [(steps, force) for place, steps, force in told if place == index]
        assert [steps for steps, _ in own] == list(range(result.steps + 1))
        assert own[-1][1] == result.evaluation.largest_force
