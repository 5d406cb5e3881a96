"""Facts of configurations against ASE's neighbour lists and what cannot change them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from crysearch.datasets import facts_of
from crysearch.datasets.facts import (
    FORCES_NOT_FINITE,
    LARGEST_DISTANCE,
    NEIGHBOURS,
    NO_ENERGY,
    STRESS_NOT_FINITE,
    composition_of,
    distance_fingerprint,
)
from labelled_crystals import label, rattled

SPECIES = ["Si8", "Si4Ge4", "OSi2Na5"]


def brute_force(atoms: Atoms) -> np.ndarray:
    """The fingerprint from ASE's neighbour list, one atom and one element at a time."""
    i, j, d = neighbor_list("ijd", atoms, LARGEST_DISTANCE)
    parts = []
    for second in np.unique(atoms.numbers):
        for first in np.unique(atoms.numbers):
            rows = []
            for atom in np.flatnonzero(atoms.numbers == first):
                found = sorted(d[(i == atom) & (atoms.numbers[j] == second)])[:NEIGHBOURS]
                rows.append(found + [LARGEST_DISTANCE] * (NEIGHBOURS - len(found)))
            parts += [np.mean(rows, axis=0), np.std(rows, axis=0)]
    return np.concatenate(parts)


@pytest.mark.parametrize("symbols", SPECIES)
def test_fingerprints_agree_with_brute_force(symbols: str) -> None:
    for seed, factor in enumerate((0.8, 1.0, 1.6)):
        atoms = rattled(seed, symbols)
        atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        np.testing.assert_allclose(
            distance_fingerprint(label(atoms)), brute_force(atoms), atol=1e-6
        )


@given(st.integers(0, 1000), st.sampled_from(SPECIES))
@settings(max_examples=20, deadline=None)
def test_no_description_of_the_crystal_changes_the_fingerprint(seed: int, symbols: str) -> None:
    rng = np.random.default_rng(seed)
    atoms = rattled(seed, symbols)
    expected = distance_fingerprint(label(atoms))
    other = atoms[rng.permutation(8)]
    other.rotate(rng.uniform(0, 180), rng.normal(size=3), rotate_cell=True)
    other.translate(rng.normal(size=3) * 10)
    other.wrap()
    if rng.random() < 0.5:
        other.set_cell(-other.cell.array)
        other.positions *= -1
    other = make_supercell(other, [[1, 1, 0], [0, 1, 0], [0, 0, rng.integers(1, 3)]])
    np.testing.assert_allclose(distance_fingerprint(label(other)), expected, atol=2e-6)


@given(st.integers(0, 1000), st.floats(1e-4, 0.2))
@settings(max_examples=20, deadline=None)
def test_small_moves_change_the_fingerprint_little(seed: int, amplitude: float) -> None:
    atoms = rattled(seed)
    moved = atoms.copy()
    moves = np.random.default_rng(seed).normal(size=(8, 3))
    moves *= amplitude / np.linalg.norm(moves, axis=1).max()
    moved.positions += moves
    change = distance_fingerprint(label(moved)) - distance_fingerprint(label(atoms))
    assert np.abs(change).max() <= 2 * amplitude + 1e-5
    assert np.abs(change).max() > 0.01 * amplitude


def test_facts_agree_with_ase() -> None:
    atoms = rattled(4, "Si4Ge4")
    rng = np.random.default_rng(4)
    forces, stress = rng.normal(size=(8, 3)), rng.normal(size=6)
    facts = facts_of(label(atoms, -40.0, forces=forces, stress=stress), "run 1")
    i, j, d = neighbor_list("ijd", atoms, 6.0)
    radii = covalent_radii[atoms.numbers]
    assert facts.composition == {"Si": 4, "Ge": 4}
    assert facts.formula == Composition("Ge4Si4").formula.replace(" ", "")
    assert composition_of(facts.formula) == facts.composition
    assert facts.energy_per_atom == -5.0
    assert facts.minimum_distance == pytest.approx(d.min())
    assert facts.closest_contact == pytest.approx((d / (radii[i] + radii[j])).min())
    assert facts.max_force == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert facts.net_force == pytest.approx(np.linalg.norm(forces.sum(0)) / 8, abs=1e-7)
    assert facts.max_stress == np.abs(stress).max()
    assert (facts.faults, facts.group) == ((), "run 1")


def test_labels_that_are_missing_or_not_finite() -> None:
    forces, stress = np.zeros((8, 3)), np.zeros(6)
    forces[3, 1] = np.nan
    stress[5] = np.inf
    facts = facts_of(label(rattled(0), None, forces=forces, stress=stress))
    assert facts.faults == (NO_ENERGY, FORCES_NOT_FINITE, STRESS_NOT_FINITE)
    assert facts.energy_per_atom is facts.max_force is facts.net_force is facts.max_stress is None
    assert facts.has_forces and facts.has_stress
    assert not facts_of(label(rattled(0))).has_forces


def test_atoms_far_from_all_others() -> None:
    facts = facts_of(label(Atoms("He", cell=[20, 20, 20], pbc=True)))
    assert facts.minimum_distance is facts.closest_contact is None
    np.testing.assert_array_equal(facts.fingerprint[:NEIGHBOURS], LARGEST_DISTANCE)


def test_images_count_as_neighbours() -> None:
    facts = facts_of(label(bulk("Po", "sc", 3.35)))
    assert facts.minimum_distance == pytest.approx(3.35)
    np.testing.assert_allclose(facts.fingerprint[:6], 3.35)
    np.testing.assert_allclose(facts.fingerprint[6:18], 3.35 * 2**0.5)
