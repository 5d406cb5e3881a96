"""Labelled structures: what they accept, their key, their way to ASE and pymatgen and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Lattice, Structure

from crysearch.datasets import LabelledStructure
from crysearch.errors import DatasetError
from labelled_crystals import label, rattled


def test_labels_agree_with_ase() -> None:
    forces = np.random.default_rng(0).normal(size=(8, 3))
    stress = np.arange(6.0)
    frame = label(rattled(0), -34.5, forces=forces, stress=stress)
    atoms = frame.to_atoms()
    assert atoms.get_potential_energy() == -34.5
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=5e-9)
    np.testing.assert_array_equal(atoms.get_stress(), stress)
    np.testing.assert_array_equal(frame.stress_tensor, atoms.get_stress(voigt=False))
    assert label(atoms).stress_tensor is None
    assert frame.volume == pytest.approx(atoms.get_volume())


def test_pymatgen_and_back_is_the_same() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        atoms = rattled(seed, amplitude=3.0)
        atoms.set_cell(atoms.cell.array + rng.normal(size=(3, 3)), scale_atoms=False)
        frame = label(atoms, -1.0, pbc=(True, True, False))
        again = LabelledStructure.from_structure(frame.to_structure(), energy=-1.0)
        assert again.key == frame.key
        assert again.pbc == (True, True, False)
        np.testing.assert_array_equal(again.positions, frame.positions)
        np.testing.assert_array_equal(again.cell, frame.cell)


def test_the_key_tells_calculations_apart_and_nothing_else() -> None:
    atoms = rattled(1)
    forces = np.zeros((8, 3))
    frame = label(atoms, -1.0, forces=forces)
    moved, strained, swapped = atoms.copy(), atoms.copy(), atoms.copy()
    moved.positions[3, 1] += 2e-8
    strained.cell[0, 0] += 2e-8
    swapped.symbols[0] = "Ge"
    others = [
        label(moved, -1.0, forces=forces),
        label(strained, -1.0, forces=forces),
        label(swapped, -1.0, forces=forces),
        label(atoms, -1.0 + 2e-8, forces=forces),
        label(atoms, None, forces=forces),
        label(atoms, -1.0, forces=forces + 2e-8),
        label(atoms, -1.0, forces=forces * np.nan),
        label(atoms, -1.0),
        label(atoms, -1.0, forces=forces, stress=np.zeros(6)),
        label(atoms, -1.0, forces=forces, pbc=(True, True, False)),
    ]
    assert len({one.key for one in [frame, *others]}) == len(others) + 1
    assert replace(frame, metadata={"a": 1}).key == frame.key
    assert label(atoms, -1.0, forces=-forces).key == frame.key  # minus zero


def test_energies_that_are_not_finite_are_missing() -> None:
    assert label(rattled(0), float("nan")).energy is None
    assert label(rattled(0), float("inf")).energy is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": np.array([], dtype=int)}, "one for each atom"),
        ({"numbers": np.full(8, 0)}, "atomic numbers are 1 to 118"),
        ({"positions": np.zeros((7, 3))}, r"positions has shape \(7, 3\): give \(8, 3\)"),
        ({"positions": np.full((8, 3), np.nan)}, "positions has numbers that are not finite"),
        ({"cell": np.zeros((3, 3))}, "cell has a volume of 0 Å³: give three lattice vectors"),
        ({"forces": np.zeros((8, 2))}, r"forces has shape \(8, 2\)"),
        ({"forces": [["a"] * 3] * 8}, "forces has values that are no numbers"),
        ({"stress": np.zeros((3, 3))}, r"stress has shape \(3, 3\): give \(6,\)"),
    ],
)
def test_what_is_no_crystal_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        replace(label(bulk("Si", "diamond", 5.43, cubic=True)), **changes)


def test_shared_sites_are_refused() -> None:
    alloy = Structure(Lattice.cubic(4.0), [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    with pytest.raises(DatasetError, match="give an ordered structure"):
        LabelledStructure.from_structure(alloy)
