"""What every crystal of every sampler must satisfy, checked by other people's code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crysearch.sampling.base import CrystalBatch, CrystalRequest
from crysearch.sampling.wyckoff import wyckoff_tables

if TYPE_CHECKING:
    from pymatgen.core import Structure


def violations(batch: CrystalBatch, request: CrystalRequest) -> list[str]:
    """Everything that is wrong with a batch; empty where nothing is.

    Composition and volume are counted, distances come from the neighbour lists of pymatgen and of
    ASE, and the space group is found again by spglib: all operations of the requested group, taken
    from spglib's own database, must be among those that spglib finds, which makes the group found
    the requested one or a supergroup.

    Parameters
    ----------
    batch : CrystalBatch
    request : CrystalRequest
        The request that the batch was sampled for.

    Returns
    -------
    list of str
        One sentence per crystal and violation.
    """
    found = []
    n, atoms = len(batch), request.number_of_atoms
    expected = np.repeat(np.arange(len(request.species)), request.counts)
    if batch.species != request.species or not np.array_equal(batch.species_index, expected):
        found.append("species or species_index do not spell the composition")
    for name, array, shape in (
        ("lattices", batch.lattices, (n, 3, 3)),
        ("fractional_coordinates", batch.fractional_coordinates, (n, atoms, 3)),
        ("space_groups", batch.space_groups, (n,)),
    ):
        if array.shape != shape:
            found.append(f"{name} has shape {array.shape}, expected {shape}")
    if found:
        return found
    coordinates = batch.fractional_coordinates
    if not ((coordinates >= 0.0) & (coordinates < 1.0)).all():
        found.append("fractional_coordinates are not all in [0, 1)")
    for i in range(n):
        found += [f"crystal {i}: {text}" for text in _crystal_violations(batch, request, i)]
    return found


def _crystal_violations(batch: CrystalBatch, request: CrystalRequest, i: int) -> list[str]:
    found = []
    group = int(batch.space_groups[i])
    if group not in request.drawn_groups:
        found.append(f"space group {group} was not requested")
    structure = batch.structure(i)
    low, high = request.volume_range
    if not low * (1 - 1e-9) <= structure.volume <= high * (1 + 1e-9):
        found.append(f"volume {structure.volume:g} is not in {low:g} to {high:g}")

    counted = structure.composition.get_el_amt_dict()
    if counted != dict(zip(request.species, request.counts, strict=True)):
        found.append(f"composition {structure.formula} is not {request.formula}")
    allowed = request.distance_matrix
    for library, (first, second, distances) in _neighbours(structure, float(allowed.max())).items():
        short = distances - allowed[batch.species_index[first], batch.species_index[second]]
        if (short < 0.0).any():
            worst = int(np.argmin(short))
            found.append(
                f"atoms {first[worst]} and {second[worst]} are {distances[worst]:g} Å apart "
                f"({library})"
            )

    missing = missing_operations(batch, i)
    if missing:
        found.append(f"spglib misses {missing} operations of space group {group}")
    for (name, labels), count in zip(batch.wyckoff(i).items(), request.counts, strict=True):
        if sum(int(label[:-1]) for label in labels) != count:
            found.append(f"positions {labels} of {name} do not add up to {count}")
    tables = wyckoff_tables()
    used = [int(code) // len(request.species) for code in batch.sites[i] if code >= 0]
    for index in sorted({index for index in used if used.count(index) > 1}):
        if tables.freedom[tables.positions(group)[index]] == 0:
            found.append(f"position {tables.label(group, index)} is a fixed point and used twice")
    return found


def _neighbours(
    structure: Structure, cutoff: float
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of atoms nearer than ``cutoff`` (Å) and their distances, by two libraries."""
    from ase.neighborlist import primitive_neighbor_list

    first, second, _, distances = structure.get_neighbor_list(cutoff)
    return {
        "pymatgen": (first, second, distances),
        "ASE": primitive_neighbor_list(
            "ijd", (True, True, True), structure.lattice.matrix, structure.cart_coords, cutoff
        ),
    }


def missing_operations(batch: CrystalBatch, i: int, symprec: float = 1e-4) -> int:
    """How many operations of its space group spglib does not find in crystal ``i``.

    Parameters
    ----------
    batch : CrystalBatch
    i : int
    symprec : float
        Tolerance of the search, Å.

    Raises
    ------
    ValueError
        Where spglib fails.
    """
    import spglib

    hall_number = int(wyckoff_tables().hall_numbers[batch.space_groups[i] - 1])
    wanted = spglib.get_symmetry_from_database(hall_number)
    cell = (
        batch.lattices[i].tolist(),
        batch.fractional_coordinates[i].tolist(),
        batch.species_index.tolist(),
    )
    seen = spglib.get_symmetry(cell, symprec=symprec)
    if wanted is None or seen is None:
        raise ValueError(f"spglib has no answer for crystal {i} (Hall number {hall_number})")
    missing = 0
    for rotation, translation in zip(wanted["rotations"], wanted["translations"], strict=True):
        same = (seen["rotations"] == rotation).all(axis=(1, 2))
        shift = seen["translations"][same] - translation
        shift -= np.rint(shift)
        missing += not (np.abs(shift) < 1e-3).all(axis=1).any()
    return missing
