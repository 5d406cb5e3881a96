"""What the checks and the splits of a data set need to know of each configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from crysearch.datasets.labelled import LabelledStructure

NEIGHBOURS = 24
LARGEST_DISTANCE = 8.0
# What does not depend on a limit, and is known when a frame is read.
NO_ENERGY = "no_energy"
FORCES_NOT_FINITE = "forces_not_finite"
STRESS_NOT_FINITE = "stress_not_finite"
FAULTS = (NO_ENERGY, FORCES_NOT_FINITE, STRESS_NOT_FINITE)


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of one configuration, without its atoms.

    Attributes
    ----------
    key : str
        See :attr:`crysearch.datasets.LabelledStructure.key`.
    composition : mapping
        Atoms of each element in the cell.
    energy_per_atom : float or None
        eV.
    max_force : float or None
        Largest norm of a force, eV/Å.
    net_force : float or None
        Norm of the sum of all forces over the number of atoms, eV/Å.
    max_stress : float or None
        Largest component, eV/Å³.
    minimum_distance : float or None
        Å; None if no two atoms are closer than 8 Å.
    closest_contact : float or None
        Smallest distance over the sum of the two covalent radii.
    fingerprint : numpy.ndarray
        See `distance_fingerprint`; Å.
    faults : tuple of str
        Labels that are missing or not finite.
    group : str or None
        Configurations of one group stay in one split.
    has_forces, has_stress : bool
        Whether they are there, finite or not.
    """

    key: str
    composition: Mapping[str, int]
    energy_per_atom: float | None
    max_force: float | None
    net_force: float | None
    max_stress: float | None
    minimum_distance: float | None
    closest_contact: float | None
    fingerprint: NDArray[np.float32]
    faults: tuple[str, ...] = ()
    group: str | None = None
    has_forces: bool = False
    has_stress: bool = False

    @property
    def nsites(self) -> int:
        """Number of atoms."""
        return sum(self.composition.values())

    @property
    def formula(self) -> str:
        """The composition as text, such as ``Al4O6``, as pymatgen writes it."""
        return _formula(tuple(self.composition.items()))

    @functools.cached_property
    def reduced(self) -> tuple[tuple[str, int], ...]:
        """The composition of the smallest formula unit."""
        divisor = int(np.gcd.reduce(list(self.composition.values())))
        return tuple((e, count // divisor) for e, count in sorted(self.composition.items()))


def facts_of(frame: LabelledStructure, group: str | None = None) -> Facts:
    """Work out the facts of a labelled crystal."""
    i, j, d = _neighbours(frame)
    radii = covalent_radii[frame.numbers]
    faults = []
    if frame.energy is None:
        faults.append(NO_ENERGY)
    max_force = net_force = max_stress = None
    if frame.forces is not None:
        if np.isfinite(frame.forces).all():
            max_force = float(np.linalg.norm(frame.forces, axis=1).max())
            net_force = float(np.linalg.norm(frame.forces.sum(axis=0)) / len(frame))
        else:
            faults.append(FORCES_NOT_FINITE)
    if frame.stress is not None:
        if np.isfinite(frame.stress).all():
            max_stress = float(np.abs(frame.stress).max())
        else:
            faults.append(STRESS_NOT_FINITE)
    elements, counts = np.unique(frame.numbers, return_counts=True)
    return Facts(
        key=frame.key,
        composition={chemical_symbols[z]: int(n) for z, n in zip(elements, counts, strict=True)},
        energy_per_atom=None if frame.energy is None else frame.energy / len(frame),
        max_force=max_force,
        net_force=net_force,
        max_stress=max_stress,
        minimum_distance=float(d.min()) if len(d) else None,
        closest_contact=float((d / (radii[i] + radii[j])).min()) if len(d) else None,
        fingerprint=_fingerprint(frame.numbers, i, j, d),
        faults=tuple(faults),
        group=group,
        has_forces=frame.forces is not None,
        has_stress=frame.stress is not None,
    )


def distance_fingerprint(frame: LabelledStructure) -> NDArray[np.float32]:
    """Distances of a crystal that no choice of cell, origin, orientation or order changes.

    For each ordered pair of elements: the mean and the standard deviation, over the atoms of the
    first, of the distance to the 1st, 2nd, … 24th nearest atom of the second, each at most 8 Å
    (average minimum distances: Widdowson, Mosca, Pulido, Kurlin and Cooper, MATCH Commun. Math.
    Comput. Chem. 87, 529 (2022)). If no atom moves by more than ε in a fixed cell, no mean
    or standard deviation changes by more than 2 ε. Different crystals with the same numbers exist,
    but are rare.

    Returns
    -------
    numpy.ndarray
        Å, shape (48 p²,) for p elements in the order of their atomic numbers.
    """
    return _fingerprint(frame.numbers, *_neighbours(frame))


def composition_of(formula: str) -> dict[str, int]:
    """Atoms of each element in a formula such as ``Al4O6``, in the order of atomic numbers."""
    return dict(_composition(formula))


@functools.lru_cache(maxsize=4096)
def _composition(formula: str) -> tuple[tuple[str, int], ...]:
    from pymatgen.core import Composition

    amounts = Composition(formula).get_el_amt_dict().items()
    return tuple(sorted(((e, round(n)) for e, n in amounts), key=lambda p: atomic_numbers[p[0]]))


@functools.lru_cache(maxsize=4096)
def _formula(composition: tuple[tuple[str, int], ...]) -> str:
    from pymatgen.core import Composition

    return Composition(dict(composition)).formula.replace(" ", "")


def _neighbours(
    frame: LabelledStructure,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Pairs up to a distance within which every atom has its neighbours of every element."""
    elements = np.unique(frame.numbers)
    count = len(frame)
    fewest = min(np.count_nonzero(frame.numbers == element) for element in elements)
    # Of a sphere that holds enough atoms of the rarest element at the mean density.
    needed = NEIGHBOURS * frame.volume / fewest
    cutoff = min(1.25 * (3 * needed / (4 * np.pi)) ** (1 / 3), LARGEST_DISTANCE)
    while True:
        i, j, d = neighbour_list(
            "ijd",
            positions=frame.positions,
            cell=frame.cell,
            pbc=np.array(frame.pbc),
            numbers=frame.numbers,
            cutoff=float(cutoff),
        )
        if cutoff >= LARGEST_DISTANCE or all(
            np.bincount(i[frame.numbers[j] == element], minlength=count).min() >= NEIGHBOURS
            for element in elements
        ):
            return i, j, d
        cutoff = min(1.3 * cutoff, LARGEST_DISTANCE)


def _fingerprint(
    numbers: NDArray[np.int32],
    i: NDArray[Any],
    j: NDArray[Any],
    d: NDArray[np.float64],
) -> NDArray[np.float32]:
    order = np.lexsort((d, i))
    i, j, d = i[order], j[order], d[order]
    parts = []
    for second in np.unique(numbers):
        chosen = numbers[j] == second
        atoms, distances = i[chosen], d[chosen]
        starts = np.searchsorted(atoms, np.arange(len(numbers)))
        rank = np.arange(len(atoms)) - starts[atoms]
        near = rank < NEIGHBOURS
        table = np.full((len(numbers), NEIGHBOURS), LARGEST_DISTANCE)
        table[atoms[near], rank[near]] = distances[near]
        for first in np.unique(numbers):
            rows = table[numbers == first]
            parts += [rows.mean(axis=0), rows.std(axis=0)]
    return np.concatenate(parts).astype(np.float32)
