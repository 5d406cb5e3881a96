from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.units import GPa
from matscipy.neighbours import neighbour_list

from crysearch.potentials.configuration import Configuration
from crysearch.relaxation import create_relaxer


def crystal(numbers, seed, volume=18.0, closest=1.7):
    """A random cell without symmetry, skewed, some atoms outside of it."""
    rng = np.random.default_rng(seed)
    atoms = len(numbers)
    while True:
        cell = (np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))) * (volume * atoms) ** (1 / 3)
        positions = rng.uniform(-0.4, 1.4, (atoms, 3)) @ cell
        found = Atoms(numbers, positions=positions, cell=cell, pbc=True)
        images = found * (3, 3, 3)
        distances = images.get_all_distances()
        np.fill_diagonal(distances, np.inf)
        if distances.min() > closest and np.linalg.det(cell) > 0:
            return Configuration(found.numbers, cell, positions)


@pytest.fixture(scope="session")
def make_crystal():
    return crystal


@pytest.fixture(scope="session")
def silicon():
    """Random cells of 3 to 5 silicon atoms with Stillinger-Weber energies, forces and stresses."""
    relaxer = create_relaxer("stillinger-weber")
    bare = [crystal([14] * (3 + seed % 3), seed, closest=2.0) for seed in range(16)]
    results = relaxer.single_point([c.to_structure() for c in bare])
    configurations = []
    for c, result in zip(bare, results, strict=True):
        assert result.evaluation is not None, result.failure_detail
        e = result.evaluation
        stress = (e.stress + e.stress.T) / 2 * GPa
        configurations.append(replace(c, energy=e.energy, forces=e.forces, stress=stress))
    return configurations


@pytest.fixture(scope="session")
def compound():
    """Random cells of silicon and oxygen with energies and forces of a soft pair potential."""
    configurations = []
    for seed in range(14):
        bare = crystal([14, 8, 8, 14][: 3 + seed % 2], 100 + seed, volume=15.0, closest=1.6)
        configurations.append(pair_potential(bare))
    return configurations


def pair_potential(bare):
    """Energy, forces and stress of pairs: A (1 - r²/c²)³ within c = 4.2 Å, by element."""
    charges = {14: 1.0, 8: -0.7}
    i, j, d, vectors = neighbour_list("ijdD", bare.to_atoms(), 4.2)
    z = np.array([charges[number] for number in bare.numbers])
    x = 1.0 - d**2 / 4.2**2
    strength = 1.5 + 2.0 * z[i] * z[j]
    slope = strength * 3.0 * x**2 * (-2.0 / 4.2**2)
    forces = np.zeros((len(bare), 3))
    np.add.at(forces, i, slope[:, None] * vectors)
    stress = 0.5 * (slope[:, None] * vectors).T @ vectors / bare.volume
    energy = 0.5 * float((strength * x**3).sum()) - 5.0 * len(bare) + 3.0 * float(z.sum())
    return replace(bare, energy=energy, forces=forces, stress=(stress + stress.T) / 2)
