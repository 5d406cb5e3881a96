from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.core import Lattice, Structure

from crysearch.errors import TrainingError
from crysearch.potentials.configuration import (
    Configuration,
    Failure,
    as_configurations,
    check_elements,
)

BOX = 5.0 * np.eye(3)


def quartz_like():
    rng = np.random.default_rng(0)
    return Configuration(
        np.array([14, 8, 8]),
        BOX + rng.normal(0, 0.3, (3, 3)),
        rng.normal(0, 4, (3, 3)),
        energy=-12.5,
        forces=rng.normal(0, 1, (3, 3)),
        stress=np.diag([0.1, 0.2, 0.3]),
    )


def test_it_becomes_pymatgen_and_ase_and_comes_back():
    one = quartz_like()
    for other in (
        Configuration.from_structure(one.to_structure(), one.energy, one.forces, one.stress),
        Configuration.from_atoms(one.to_atoms()),
    ):
        np.testing.assert_array_equal(other.numbers, one.numbers)
        np.testing.assert_allclose(other.cell, one.cell, atol=1e-12)
        away = (other.positions - one.positions) @ np.linalg.inv(one.cell)
        np.testing.assert_allclose(away, np.round(away), atol=1e-9)
    assert one.elements == ("O", "Si")
    assert len(one) == 3
    assert one.volume == pytest.approx(one.to_atoms().get_volume())


def test_results_of_a_calculator_are_taken_and_nothing_is_calculated():
    one = quartz_like()
    atoms = one.to_atoms()
    assert Configuration.from_atoms(atoms).energy is None
    atoms.calc = SinglePointCalculator(
        atoms, energy=one.energy, forces=one.forces, stress=[1, 2, 3, 4, 5, 6]
    )
    taken = Configuration.from_atoms(atoms)
    assert taken.energy == one.energy
    np.testing.assert_array_equal(taken.forces, one.forces)
    np.testing.assert_array_equal(taken.stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    atoms.positions += 0.1  # the results belong to other positions now
    assert Configuration.from_atoms(atoms).energy is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"numbers": [[14]]}, "numbers"),
        ({"numbers": []}, "numbers"),
        ({"numbers": [14.5]}, "numbers"),
        ({"numbers": [0]}, "numbers"),
        ({"numbers": [200]}, "numbers"),
        ({"cell": np.eye(2)}, "cell"),
        ({"positions": [[0, 0]]}, "positions"),
        ({"positions": [[0, 0, np.nan]]}, "positions"),
        ({"positions": [["a", "b", "c"]]}, "positions"),
        ({"energy": np.inf}, "energy"),
        ({"energy": [1.0, 2.0]}, "energy"),
        ({"forces": [[0, 0, 0]] * 2}, "forces"),
        ({"stress": np.arange(9.0).reshape(3, 3)}, "stress"),
    ],
)
def test_bad_configurations_are_refused(changes, field):
    with pytest.raises(TrainingError, match=field):
        Configuration(**{"numbers": [14], "cell": BOX, "positions": [[0, 0, 0]], **changes})


def test_a_structure_that_cannot_be_taken_is_a_failure_of_its_own():
    disordered = Structure(Lattice(BOX), [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    slab, lost = Atoms("Si", cell=BOX, pbc=(1, 1, 0)), Atoms("Si", cell=BOX, pbc=True)
    lost.positions[0, 0] = np.nan
    one, *failures = as_configurations([quartz_like(), disordered, slab, lost])
    assert isinstance(one, Configuration)
    for failure, word in zip(failures, ("disordered", "pbc", "positions"), strict=True):
        assert isinstance(failure, Failure)
        assert failure.reason == "unsupported"
        assert word in failure.detail


def test_what_is_no_crystal_is_refused():
    with pytest.raises(TrainingError, match="str is no structure"):
        as_configurations(["Si"])
    with pytest.raises(TrainingError, match="single"):
        as_configurations(quartz_like())


def test_elements_are_sorted_and_checked():
    assert check_elements(["Si", "O"]) == ("O", "Si")
    for bad in ("Si", [], ["Si", "Si"], ["Xx"], ["X"], [14], None):
        with pytest.raises(TrainingError, match="elements"):
            check_elements(bad)
