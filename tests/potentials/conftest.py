from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from crysearch.potentials.configuration import Configuration


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
