"""Forces and virials from the derivatives of the energy by the symmetry functions, and backwards.

F_j = -Σ_i Σ_f (dE/dG_if) (dG_if/dr_j) is linear in dE/dG, so that its own derivative is the same
sum turned round. Both read the stored Jacobian in place: batches copy nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

compiled: Any = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "reassoc"})


class Selection(NamedTuple):
    """Atoms of chosen crystals among the stored ones.

    ``atoms`` (a,): their places in the store; ``shifts`` (a,): what takes a place in the store to
    one in the selection; ``owners`` (a,): the crystal, in the selection, of each.
    """

    atoms: np.ndarray
    shifts: np.ndarray
    owners: np.ndarray


class Stored(NamedTuple):
    """The Jacobian of `SymmetryValues`, the derivatives as flat arrays."""

    block_starts: np.ndarray
    block_atoms: np.ndarray
    jacobian: np.ndarray
    strain: np.ndarray


@compiled
def contract(
    stored, selection, slopes, forces, virials, use_virials
):  # pragma: no cover - compiled
    """Add forces (K, a, 3) and derivatives by the strain (K, S, 6) of energies.

    ``slopes`` (K, a, F) are the derivatives of the energies by the symmetry functions.
    """
    members, atoms, features = slopes.shape
    flat = slopes.reshape(-1)
    size = np.uint64(features)
    jacobian, strain = stored.jacobian, stored.strain
    for atom in range(atoms):
        i = selection.atoms[atom]
        for block in range(stored.block_starts[i], stored.block_starts[i + 1]):
            j = stored.block_atoms[block] + selection.shifts[atom]
            row = np.uint64(block * 3 * features)
            for k in range(members):
                start = np.uint64((k * atoms + atom) * features)
                x, y, z = 0.0, 0.0, 0.0
                for f in range(size):
                    slope = flat[start + f]
                    x += jacobian[row + f] * slope
                    y += jacobian[row + size + f] * slope
                    z += jacobian[row + size + size + f] * slope
                forces[k, j, 0] -= x
                forces[k, j, 1] -= y
                forces[k, j, 2] -= z
                forces[k, atom, 0] += x
                forces[k, atom, 1] += y
                forces[k, atom, 2] += z
        for component in range(6 if use_virials else 0):
            row = np.uint64((i * 6 + component) * features)
            for k in range(members):
                start = np.uint64((k * atoms + atom) * features)
                total = 0.0
                for f in range(size):
                    total += strain[row + f] * flat[start + f]
                virials[k, selection.owners[atom], component] += total


@compiled
def contract_backwards(stored, selection, by_forces, by_virials, by_slopes, use_virials):
    # pragma: no cover - compiled
    """Add what `contract` does to slopes, turned round: (K, a, 3), (K, S, 6) to (K, a, F)."""
    members, atoms, features = by_slopes.shape
    flat = by_slopes.reshape(-1)
    size = np.uint64(features)
    jacobian, strain = stored.jacobian, stored.strain
    for atom in range(atoms):
        i = selection.atoms[atom]
        for block in range(stored.block_starts[i], stored.block_starts[i + 1]):
            j = stored.block_atoms[block] + selection.shifts[atom]
            row = np.uint64(block * 3 * features)
            for k in range(members):
                start = np.uint64((k * atoms + atom) * features)
                x = by_forces[k, atom, 0] - by_forces[k, j, 0]
                y = by_forces[k, atom, 1] - by_forces[k, j, 1]
                z = by_forces[k, atom, 2] - by_forces[k, j, 2]
                for f in range(size):
                    flat[start + f] += (
                        x * jacobian[row + f]
                        + y * jacobian[row + size + f]
                        + z * jacobian[row + size + size + f]
                    )
        for component in range(6 if use_virials else 0):
            row = np.uint64((i * 6 + component) * features)
            for k in range(members):
                start = np.uint64((k * atoms + atom) * features)
                weight = by_virials[k, selection.owners[atom], component]
                for f in range(size):
                    flat[start + f] += weight * strain[row + f]
