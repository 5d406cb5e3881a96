"""Observables of trajectories against brute force, known crystals and known statistics."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase.build import bulk
from ase.data import chemical_symbols
from hypothesis import given, settings
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list
from pymatgen.core import Lattice, Structure

from crysearch.dynamics.bonding import bonding
from crysearch.dynamics.diffusion import diffusion
from crysearch.dynamics.observables import pair_distributions, unphysical_short_range
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError
from crysearch.fingerprints.rdf import RadialDistributionFunction


def trajectory(numbers, cells, positions, interval: float = 0.01) -> Trajectory:
    positions = np.asarray(positions, dtype=float)
    count, atoms = positions.shape[:2]
    nothing = np.zeros(count)
    return Trajectory(
        numbers=np.asarray(numbers, dtype=np.int64),
        steps=np.arange(count),
        times=np.arange(count) * interval,
        temperatures=nothing,
        pressures=nothing,
        potential_energies=nothing,
        total_energies=nothing,
        cells=np.broadcast_to(np.asarray(cells, dtype=float), (count, 3, 3)).copy(),
        positions=positions,
        velocities_of_last=np.zeros((atoms, 3)),
    )


def salt(count: int, cell, frames: int, seed: int) -> Trajectory:
    random = np.random.default_rng(seed)
    positions = random.uniform(-2, 3, (frames, 2 * count, 3)) @ np.asarray(cell)
    return trajectory([11, 17] * count, cell, positions)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 6.0))
def test_counts_are_those_of_a_neighbour_list(seed, cutoff):
    """In cells of any shape, also smaller than the cut-off, with atoms outside of them."""
    random = np.random.default_rng(seed)
    cell = np.eye(3) * random.uniform(3, 8, 3) + random.uniform(-3, 3, (3, 3))
    if abs(np.linalg.det(cell)) < 20:
        cell = cell + 6 * np.eye(3)
    found = salt(3, cell, 2, seed)
    distributions = pair_distributions(found, cutoff, bins=20)
    for (a, b), distribution in distributions.items():
        expected = np.zeros(20)
        for index in range(2):
            atoms = found.atoms(index)
            i, j, d = neighbour_list("ijd", atoms, cutoff)
            names = np.array([chemical_symbols[number] for number in atoms.numbers])
            expected += np.histogram(d[(names[i] == a) & (names[j] == b)], 20, (0, cutoff))[0]
        np.testing.assert_allclose(distribution.neighbours, np.cumsum(expected) / 6, atol=1e-9)


def test_an_ideal_gas_has_no_structure():
    found = salt(100, np.eye(3) * 15, 60, 1)
    for distribution in pair_distributions(found, 10.0, bins=10, blocks=6).values():
        deviation = np.abs(distribution.g[3:] - 1)
        # Among 100 alike atoms, each has 99 others.
        assert deviation.max() < 0.03
        assert (deviation < 5 * distribution.error[3:] + 0.011).all()


def test_error_bars_are_those_of_independent_frames():
    """Blocks of independent frames scatter as Poisson counts do."""
    found = salt(50, np.eye(3) * 15, 200, 2)
    (_, distribution, _) = pair_distributions(found, 7.0, bins=7, blocks=20).values()
    volume, atoms = 15.0**3, 50
    shells = 4 / 3 * np.pi * (np.arange(1, 8) ** 3 - np.arange(7) ** 3)
    expected = 1 / np.sqrt(200 * atoms * atoms * shells / volume)
    np.testing.assert_allclose(distribution.error[1:], expected[1:], rtol=0.5)


def test_it_agrees_with_the_fingerprint():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.3, seed=1)
    found = trajectory(atoms.numbers, atoms.cell.array, atoms.positions[None])
    fingerprint = RadialDistributionFunction(
        cutoff=8.0, grid_points=160, smearing=0.05, species=("Na", "Cl")
    )
    smeared = fingerprint.compute(
        atoms.cell.array[None],
        atoms.get_scaled_positions()[None],
        atoms.get_chemical_symbols(),
    )[0].reshape(3, 160)
    fine = pair_distributions(found, 8.0, bins=1600)
    coarse = 4 * np.pi * fingerprint.grid**2 * 0.05 * 4 / atoms.get_volume()
    for row, distribution in zip(smeared, fine.values(), strict=True):
        neighbours = np.cumsum(row * coarse)[:150]
        exact = distribution.neighbours[9::10][:150]
        assert abs(np.mean(neighbours - exact)) < 0.05


def test_peaks_and_shells_of_rock_salt():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    random = np.random.default_rng(3)
    positions = atoms.positions + 0.08 * random.normal(size=(50, 64, 3))
    found = pair_distributions(trajectory(atoms.numbers, atoms.cell.array, positions), 8.0, 320)
    assert found["Na", "Cl"].first_peak()[0] == pytest.approx(2.82, abs=0.03)
    assert found["Na", "Cl"].coordination() == (
        pytest.approx(6, abs=0.01),
        pytest.approx(0, abs=0.02),
    )
    assert found["Cl", "Cl"].first_peak()[0] == pytest.approx(5.64 / np.sqrt(2), abs=0.03)
    assert found["Cl", "Cl"].coordination()[0] == pytest.approx(12, abs=0.02)
    assert 3.2 < found["Na", "Cl"].first_minimum() < 4.6


def test_short_distances_that_the_reference_does_not_have():
    random = np.random.default_rng(4)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    positions = atoms.positions + 0.15 * random.normal(size=(40, 64, 3))
    reference = pair_distributions(trajectory(atoms.numbers, atoms.cell.array, positions), 8.0)
    again = atoms.positions + 0.15 * random.normal(size=(40, 64, 3))
    same = pair_distributions(trajectory(atoms.numbers, atoms.cell.array, again), 8.0)
    wrong = again.copy()
    sodium = np.flatnonzero(atoms.numbers == 11)
    wrong[::2, sodium[0]] = wrong[::2, sodium[1]] + [1.5, 0, 0]
    fused = pair_distributions(trajectory(atoms.numbers, atoms.cell.array, wrong), 8.0)
    for pair in reference:
        assert not unphysical_short_range(same[pair], reference[pair]).unphysical
    check = unphysical_short_range(fused["Na", "Na"], reference["Na", "Na"])
    # At least two of 32 sodium atoms in half of the frames.
    assert check.unphysical and 1 / 32 <= check.weight < 0.2 and check.reference_weight < 0.001
    assert 2.5 < check.onset < 3.6
    with pytest.raises(DynamicsError, match="differ; compare the same pair"):
        unphysical_short_range(fused["Na", "Na"], reference["Na", "Cl"])


def test_bonds_and_angles_of_diamond_and_graphite_like_sheets():
    diamond = bulk("Si", "diamond", a=5.43, cubic=True)
    found = trajectory(diamond.numbers, diamond.cell.array, diamond.positions[None])
    neighbours, angles = bonding(found, 2.8)
    assert neighbours.mean == 4 and neighbours.fractions == {4: 1.0}
    assert angles.mean == pytest.approx(109.4712, abs=1e-3)
    assert angles.standard_deviation == pytest.approx(0, abs=1e-3)
    assert (angles.density * 2).sum() == pytest.approx(1)
    cubic = trajectory([84], np.eye(3) * 3, [[[0.1, 0, 0]]])
    neighbours, angles = bonding(cubic, 3.5)
    assert neighbours.fractions == {6: 1.0}
    # Each bond has one opposite and four at right angles.
    assert angles.mean == pytest.approx((180 + 4 * 90) / 5)
    lonely, none = bonding(cubic, 2.0)
    assert lonely.mean == 0 and np.isnan(none.mean)


def test_bonding_is_pymatgens():
    random = np.random.default_rng(5)
    structure = Structure(
        Lattice([[6, 0, 0], [1, 7, 0], [2, -1, 6]]), ["Si"] * 6, random.random((6, 3))
    )
    found = trajectory([14] * 6, structure.lattice.matrix, structure.cart_coords[None])
    expected = [len(near) for near in structure.get_all_neighbors(3.0)]
    neighbours, angles = bonding(found, 3.0)
    assert neighbours.mean == pytest.approx(np.mean(expected))
    pairs = [
        np.degrees(
            np.arccos(
                np.clip(
                    np.dot(a.coords - site.coords, b.coords - site.coords)
                    / (a.nn_distance * b.nn_distance),
                    -1,
                    1,
                )
            )
        )
        for site, near in zip(structure, structure.get_all_neighbors(3.0), strict=True)
        for a in near
        for b in near
        if a is not b
    ]
    assert angles.mean == pytest.approx(np.mean(pairs)) if pairs else np.isnan(angles.mean)


def test_a_random_walk_diffuses_as_einstein_says():
    random = np.random.default_rng(6)
    step, interval = 0.05, 0.02
    walk = np.cumsum(step * random.normal(size=(2000, 100, 3)), axis=0)
    # A drift of everything does not count.
    walk += np.arange(2000)[:, None, None] * 0.1
    found = diffusion(trajectory([11, 17] * 50, np.eye(3) * 20, walk, interval), "Na", longest=0.4)
    expected = step**2 / (2 * interval) * 10
    assert found.coefficient == pytest.approx(expected, rel=0.05)
    assert 0 < found.error < 0.1 * expected
    np.testing.assert_allclose(found.squared[1:], 3 * step**2 * np.arange(1, 21), rtol=0.1)


def test_a_thousand_atoms_take_little_time():
    found = salt(500, np.eye(3) * 30, 4, 7)
    pair_distributions(found, 10.0)
    start = time.process_time()
    pair_distributions(found, 10.0)
    assert time.process_time() - start < 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff": -1.0}, "cutoff=-1.0 must be"),
        ({"bins": 1}, "bins=1"),
        ({"frames": []}, "no frames"),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(DynamicsError, match=message):
        pair_distributions(salt(2, np.eye(3) * 5, 1, 0), **arguments)


def test_what_is_not_there():
    found = salt(2, np.eye(3) * 50, 1, 0)
    with pytest.raises(DynamicsError, match="no such atoms"):
        diffusion(found, "Si")
    with pytest.raises(DynamicsError, match="give 4"):
        diffusion(found, "Na")
    far = trajectory([14, 14], np.eye(3) * 50, [[[0, 0, 0], [20, 0, 0]]])
    with pytest.raises(DynamicsError, match="has no peak within"):
        pair_distributions(far, 5.0)["Si", "Si"].first_peak()
    with pytest.raises(DynamicsError, match="cutoff=nan"):
        bonding(far, float("nan"))
