"""The cell filter against ASE's, whose variables and forces it must have."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS
from ase.optimize.cellawarebfgs import CellAwareBFGS

from crysearch.relaxation.cell_filter import LogarithmicStrainFilter


def strained_copper(seed: int):
    """Four atoms, off their places, in a sheared cell, with ASE's effective-medium potential."""
    atoms = bulk("Cu", cubic=True)
    generator = np.random.default_rng(seed)
    strain = generator.normal(0, 0.05, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    atoms.rattle(0.15, seed=seed)
    atoms.calc = EMT()
    return atoms


@pytest.mark.parametrize("factor", [None, 1.0, 7.5])
@pytest.mark.parametrize("seed", range(3))
def test_variables_and_forces_are_those_of_ase(seed, factor):
    """After some steps in the variables, the symmetric and the rotating part of L included."""
    ours = LogarithmicStrainFilter(strained_copper(seed), factor)
    theirs = FrechetCellFilter(strained_copper(seed), exp_cell_factor=factor)
    generator = np.random.default_rng(seed)
    # ASE adds a constant, the logarithm of the number of atoms, to the diagonal of L.
    offset = theirs.get_positions() - ours.get_positions()
    assert offset[:4] == pytest.approx(np.zeros((4, 3)), abs=1e-12)
    for _ in range(4):
        step = generator.normal(0, 0.1, (7, 3)) * ([[1.0]] * 4 + [[ours.exp_cell_factor]] * 3)
        ours.set_positions(ours.get_positions() + step)
        theirs.set_positions(theirs.get_positions() + step)
        assert ours.atoms.cell.array == pytest.approx(theirs.atoms.cell.array, abs=1e-10)
        assert ours.atoms.positions == pytest.approx(theirs.atoms.positions, abs=1e-10)
        assert ours.get_forces() == pytest.approx(theirs.get_forces(), abs=1e-8, rel=1e-8)
        assert ours.stress == pytest.approx(theirs.stress, abs=1e-10)
        difference = theirs.get_positions() - ours.get_positions()
        assert difference == pytest.approx(offset, abs=1e-8)


def test_forces_are_the_derivatives_of_the_energy():
    """By central differences of all 21 variables, away from where the filter was made."""
    target = LogarithmicStrainFilter(strained_copper(0))
    generator = np.random.default_rng(1)
    start = target.get_positions() + generator.normal(0, 0.2, (7, 3))
    target.set_positions(start)
    forces, found, width = target.get_forces(), np.zeros((7, 3)), 1e-4
    for index in np.ndindex(7, 3):
        energies = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * width
            target.set_positions(moved)
            energies.append(target.atoms.get_potential_energy())
        found[index] = -(energies[0] - energies[1]) / (2 * width)
    assert forces == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("optimizer", [LBFGS, CellAwareBFGS])
def test_a_relaxation_takes_the_same_steps(optimizer):
    """Both filters, the same optimizer: the same number of steps to the same crystal."""
    ends = []
    for kind in (LogarithmicStrainFilter, FrechetCellFilter):
        atoms = strained_copper(2)
        with optimizer(kind(atoms, exp_cell_factor=1.0), logfile=None) as run:
            assert run.run(fmax=0.01, steps=200)
        ends.append((run.nsteps, atoms.get_potential_energy(), atoms.get_volume()))
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert ends[0][0] > 3
