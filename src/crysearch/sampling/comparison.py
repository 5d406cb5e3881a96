"""Two samples of crystals compared statistically."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from crysearch.sampling.base import CrystalBatch

CRYSTAL_SYSTEMS = {
    "triclinic": 2,
    "monoclinic": 15,
    "orthorhombic": 74,
    "tetragonal": 142,
    "trigonal": 167,
    "hexagonal": 194,
    "cubic": 230,
}
"""Last space group of each crystal system."""
SMALLEST_EXPECTED = 5.0
"""Categories of which fewer are expected are counted together (the rule of the χ² test)."""


@dataclass(frozen=True)
class Comparison:
    """How two samples of a number, or of a category, differ.

    Attributes
    ----------
    first, second : float
        Means; of categories, how many there are.
    statistic : float
        Largest difference of the two cumulative distributions (Kolmogorov–Smirnov); of categories,
        Cramér's V. Both lie between 0 and 1.
    p : float
        Probability of a difference at least as large where both samples have one distribution.
    """

    first: float
    second: float
    statistic: float
    p: float


def features(batch: CrystalBatch, symprec: float = 1e-3) -> dict[str, np.ndarray]:
    """Numbers that describe each crystal of a batch.

    Returns
    -------
    dict of str to numpy.ndarray
        ``volume`` (Å^3), ``shortest edge``, ``longest edge`` (Å), ``smallest angle``, ``largest
        angle`` (degrees; of the conventional cell), ``nearest distance`` (Å, pymatgen's neighbour
        list), ``orbits`` (occupied Wyckoff positions) and ``space group found`` (by spglib).

    Raises
    ------
    ValueError
        Where spglib fails.
    """
    import spglib
    from pymatgen.core import Lattice

    cells = [Lattice(matrix) for matrix in batch.lattices]
    edges = np.array([cell.abc for cell in cells])
    angles = np.array([cell.angles for cell in cells])
    nearest = np.empty(len(batch))
    found = np.empty(len(batch), dtype=np.int64)
    for i, volume in enumerate(batch.volumes):
        cutoff = 1.5 * (volume / len(batch.species_index)) ** (1.0 / 3.0)
        distances = batch.structure(i).get_neighbor_list(cutoff)[3]
        nearest[i] = distances.min()
        cell = (
            batch.lattices[i].tolist(),
            batch.fractional_coordinates[i].tolist(),
            batch.species_index.tolist(),
        )
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
        if dataset is None:
            raise ValueError(f"spglib has no answer for crystal {i}")
        found[i] = dataset.number
    return {
        "volume": batch.volumes,
        "shortest edge": edges.min(axis=1),
        "longest edge": edges.max(axis=1),
        "smallest angle": angles.min(axis=1),
        "largest angle": angles.max(axis=1),
        "nearest distance": nearest,
        "orbits": (batch.sites >= 0).sum(axis=1),
        "space group found": found,
    }


def compare_numbers(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compare two samples of a number by the Kolmogorov–Smirnov test."""
    from scipy import stats

    # Fixed angles and edges differ in their last digits, which is not what is asked.
    first, second = np.round(first, 6), np.round(second, 6)
    result = stats.ks_2samp(first, second)
    return Comparison(first.mean(), second.mean(), float(result.statistic), float(result.pvalue))


def compare_categories(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compare two samples of a category by the χ² test of homogeneity."""
    from scipy import stats

    values = np.unique(np.concatenate([first, second]))
    table = np.array([[(sample == value).sum() for value in values] for sample in (first, second)])
    kinds = len(np.unique(first)), len(np.unique(second))
    smaller = table.sum(axis=0) * min(len(first), len(second)) / table.sum()
    rare = smaller < SMALLEST_EXPECTED
    table = np.hstack([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] == 1:
        return Comparison(*kinds, 0.0, 1.0)
    result = stats.chi2_contingency(table)
    strength = float(np.sqrt(result.statistic / table.sum()))
    return Comparison(*kinds, strength, float(result.pvalue))


def crystal_systems(space_groups: np.ndarray) -> np.ndarray:
    """Index into ``CRYSTAL_SYSTEMS`` of each space group."""
    return np.searchsorted(list(CRYSTAL_SYSTEMS.values()), space_groups)


def matching(pool: CrystalBatch, target: CrystalBatch) -> tuple[np.ndarray, np.ndarray]:
    """Crystals of a pool with the space groups and Wyckoff combinations of a target.

    Returns
    -------
    (n,) int64, (n,) int64
        Indices into the pool, none twice, and into the target; crystals of the target that the
        pool has no more of are missing.
    """
    there: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i in range(len(pool))[::-1]:
        there[_combination(pool, i)].append(i)
    pairs = []
    for j in range(len(target)):
        if there[_combination(target, j)]:
            pairs.append((there[_combination(target, j)].pop(), j))
    indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return indices[:, 0], indices[:, 1]


def _combination(batch: CrystalBatch, i: int) -> tuple[int, ...]:
    return (int(batch.space_groups[i]), *sorted(int(code) for code in batch.sites[i] if code >= 0))
