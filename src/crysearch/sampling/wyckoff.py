"""Wyckoff positions of the 230 space groups and the ways to fill them with a composition.

Settings are the standard ones of the International Tables, volume A: full conventional cell with
its centring, unique axis b for monoclinic groups, origin choice 2 where there are two, hexagonal
axes for rhombohedral groups.

A *combination* says how many times each species occupies each Wyckoff position of a group so
that the atoms of the conventional cell add up to the composition. A position with no free
parameter is a fixed set of points and can be used at most once, by one species; a position with
free parameters can be used any number of times. Combinations are multisets: the order in which a
position is used twice does not count.

The number of combinations grows too fast to list them (millions for a few formula units), so they
are counted by dynamic programming and drawn uniformly by walking the counts.
With ``a(p)`` the multiplicity of position ``p``, the number of ways for one species to make ``n``
atoms from the free positions ``i, i+1, ...`` is ``f_i(n) = f_{i+1}(n) + f_i(n - a(i))``, and for
all species to make the counts ``N`` from the fixed positions ``j, j+1, ...`` and any free ones

    F_j(N) = F_{j+1}(N) + sum over species s of F_{j+1}(N - a(j) e_s),   F_end(N) = prod_s f_0(N_s).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crysearch.errors import SamplingError
from crysearch.sampling.build_tables import TABLES_PATH, TRANSLATION_UNIT

LETTERS = "abcdefghijklmnopqrstuvwxyzA"
LARGEST_TABLE = 20_000_000
"""Largest number of counts (8 bytes each) kept for one space group."""

Combination = tuple[tuple[int, ...], ...]
"""Per species the positions it occupies, as indices into the group's list (0 is the general)."""


@dataclass(frozen=True, eq=False)
class WyckoffTables:
    """The Wyckoff positions of all space groups, flattened.

    Attributes
    ----------
    group_start : (231,) int32
        Positions of group ``g`` are ``group_start[g-1]:group_start[g]``, the general one first.
    operation_start : (positions + 1,) int32
        Operations of position ``p`` are ``operation_start[p]:operation_start[p+1]``.
    multiplicity : (positions,) int32
        Atoms per conventional cell.
    freedom : (positions,) int32
        Number of free parameters, 0 to 3.
    rotations : (operations, 3, 3) int8
        Atom ``j`` of a position is at ``rotations[j] @ (x, y, z) + translations[j] / 24``.
    translations : (operations, 3) int8
        In twenty-fourths of the cell.
    hall_numbers : (230,) int32
        The setting, as spglib counts Hall symbols.
    """

    group_start: np.ndarray
    operation_start: np.ndarray
    multiplicity: np.ndarray
    freedom: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    hall_numbers: np.ndarray

    def positions(self, group: int) -> range:
        """Positions of a space group as indices into the flat arrays."""
        return range(int(self.group_start[group - 1]), int(self.group_start[group]))

    def label(self, group: int, index: int) -> str:
        """Multiplicity and Wyckoff letter, such as ``"4a"``, of a group's position."""
        positions = self.positions(group)
        return f"{self.multiplicity[positions[index]]}{LETTERS[len(positions) - 1 - index]}"

    def operations(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (m, 3, 3) and translations (m, 3), fractional, of a flat position."""
        where = slice(self.operation_start[position], self.operation_start[position + 1])
        return (
            self.rotations[where].astype(np.float64),
            self.translations[where] / TRANSLATION_UNIT,
        )


@lru_cache(maxsize=1)
def wyckoff_tables() -> WyckoffTables:
    """Load the shipped tables (once per process)."""
    with np.load(TABLES_PATH, allow_pickle=False) as archive:
        return WyckoffTables(**{name: archive[name] for name in archive.files})


@dataclass(frozen=True, eq=False)
class CombinationTable:
    """Counts of the Wyckoff combinations of one group and one composition.

    Attributes
    ----------
    group : int
        International number of the space group.
    fixed, free : tuple of int
        Indices, in the group's list, of usable positions without and with free parameters; the
        free ones in the order in which atoms are placed (fewest parameters, then largest, first).
    fixed_size, free_size : (len,) int64
        Multiplicities divided by ``unit``.
    unit : int
        Greatest common divisor of the usable multiplicities.
    counts : tuple of int
        Atoms of each species divided by ``unit``.
    fixed_ways : (len(fixed) + 1, states) float64
        ``F_j(N)``; the state is the row-major index of ``N`` in an array of shape ``counts + 1``.
    free_ways : (len(free) + 1, max(counts) + 1) float64
        ``f_i(n)``.
    """

    group: int
    fixed: tuple[int, ...]
    free: tuple[int, ...]
    fixed_size: np.ndarray
    free_size: np.ndarray
    unit: int
    counts: tuple[int, ...]
    fixed_ways: np.ndarray
    free_ways: np.ndarray

    @property
    def total(self) -> float:
        """Number of combinations (exact below 2**53)."""
        return float(self.fixed_ways[0, -1])

    @property
    def strides(self) -> np.ndarray:
        """(species,) int64: how far the state moves per unit of each species."""
        shape = np.array([*self.counts[1:], 0]) + 1
        return np.cumprod(shape[::-1])[::-1].astype(np.int64)


def combination_table(group: int, counts: Sequence[int]) -> CombinationTable | None:
    """Count the combinations of a composition in a space group.

    Parameters
    ----------
    group : int
        International number, 1 to 230.
    counts : sequence of int
        Atoms of each species in the conventional cell, all positive.

    Returns
    -------
    CombinationTable or None
        None where no combination exists.

    Raises
    ------
    SamplingError
        When the counts would not fit in memory.
    """
    tables = wyckoff_tables()
    positions = tables.positions(group)
    sizes = tables.multiplicity[positions.start : positions.stop]
    freedoms = tables.freedom[positions.start : positions.stop]
    usable = [index for index in range(len(positions)) if sizes[index] <= max(counts)]
    if not usable:
        return None
    unit = math.gcd(*(int(sizes[index]) for index in usable))
    if any(count % unit for count in counts):
        return None
    reduced = tuple(count // unit for count in counts)
    fixed = tuple(index for index in usable if freedoms[index] == 0)
    free = tuple(
        sorted(
            (index for index in usable if freedoms[index] > 0),
            key=lambda index: (freedoms[index], -sizes[index], index),
        )
    )
    shape = tuple(count + 1 for count in reduced)
    if (len(fixed) + 1) * math.prod(shape) > LARGEST_TABLE:
        raise SamplingError(
            f"counts: {tuple(counts)} atoms have too many ways to occupy space group {group}; "
            "use a smaller cell, fewer species or leave that group out of space_groups"
        )
    free_size = np.array([sizes[index] // unit for index in free], dtype=np.int64)
    fixed_size = np.array([sizes[index] // unit for index in fixed], dtype=np.int64)

    free_ways = np.zeros((len(free) + 1, max(reduced) + 1))
    free_ways[-1, 0] = 1.0
    for row in range(len(free) - 1, -1, -1):
        free_ways[row] = _sums_at_stride(free_ways[row + 1], int(free_size[row]))

    fixed_ways = np.zeros((len(fixed) + 1, *shape))
    last: np.ndarray = np.ones(())
    for count in reduced:
        last = np.multiply.outer(last, free_ways[0, : count + 1])
    fixed_ways[-1] = last
    for row in range(len(fixed) - 1, -1, -1):
        fixed_ways[row] = fixed_ways[row + 1]
        size = int(fixed_size[row])
        for axis, count in enumerate(reduced):
            if count >= size:
                used = np.moveaxis(fixed_ways[row], axis, 0)[size:]
                used += np.moveaxis(fixed_ways[row + 1], axis, 0)[:-size]
    fixed_ways = fixed_ways.reshape(len(fixed) + 1, -1)
    if fixed_ways[0, -1] == 0.0:
        return None
    return CombinationTable(
        group, fixed, free, fixed_size, free_size, unit, reduced, fixed_ways, free_ways
    )


def _sums_at_stride(row: np.ndarray, stride: int) -> np.ndarray:
    """``result[n] = row[n] + row[n - stride] + row[n - 2 stride] + ...``."""
    padded = np.zeros(-(-len(row) // stride) * stride)
    padded[: len(row)] = row
    return padded.reshape(-1, stride).cumsum(axis=0).ravel()[: len(row)]


@lru_cache(maxsize=64)
def hosting_groups(
    counts: tuple[int, ...], groups: tuple[int, ...] = tuple(range(1, 231))
) -> tuple[int, ...]:
    """Those of ``groups`` that have at least one combination for the composition."""
    return tuple(group for group in groups if combination_table(group, counts) is not None)


def count_combinations(group: int, counts: Sequence[int]) -> float:
    """Number of Wyckoff combinations (exact below 2**53); see :func:`combination_table`."""
    table = combination_table(group, counts)
    return 0.0 if table is None else table.total


def enumerate_combinations(group: int, counts: Sequence[int]) -> Iterator[Combination]:
    """Yield every combination of a composition in a space group, one after the other.

    Parameters
    ----------
    group : int
        International number, 1 to 230.
    counts : sequence of int
        Atoms of each species in the conventional cell.

    Yields
    ------
    Combination
        Per species the sorted indices of the positions it occupies; ask
        :func:`count_combinations` first how many there will be.
    """
    table = combination_table(group, counts)
    if table is None:
        return

    def choose_free(row: int, left: int) -> Iterator[tuple[int, ...]]:
        if table.free_ways[row, left] == 0.0:
            return
        if row == len(table.free):
            yield ()
            return
        yield from choose_free(row + 1, left)
        if left >= table.free_size[row]:
            for rest in choose_free(row, left - int(table.free_size[row])):
                yield (table.free[row], *rest)

    def choose_all_free(lefts: tuple[int, ...]) -> Iterator[Combination]:
        if not lefts:
            yield ()
            return
        for first in choose_free(0, lefts[0]):
            for others in choose_all_free(lefts[1:]):
                yield (first, *others)

    def choose_fixed(row: int, lefts: tuple[int, ...]) -> Iterator[Combination]:
        if row == len(table.fixed):
            yield from choose_all_free(lefts)
            return
        yield from choose_fixed(row + 1, lefts)
        size = int(table.fixed_size[row])
        for species, left in enumerate(lefts):
            if left >= size:
                fewer = (*lefts[:species], left - size, *lefts[species + 1 :])
                for chosen in choose_fixed(row + 1, fewer):
                    mine = (table.fixed[row], *chosen[species])
                    yield (*chosen[:species], mine, *chosen[species + 1 :])

    for combination in choose_fixed(0, table.counts):
        yield tuple(tuple(sorted(chosen)) for chosen in combination)
