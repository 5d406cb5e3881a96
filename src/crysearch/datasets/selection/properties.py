"""Random choice, and choices that are uniform in the range of a property.

A pool from molecular dynamics has most of its configurations near the mean of any property. To
choose uniformly in its range, the range is cut into bins of equal width, and the bins take turns,
in a new random order each round: each gives one configuration at random, until it has none left.
No number of configurations decides on the bins, so that choices of one seed are nested.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crysearch.datasets.selection.base import SelectionMethod, SelectionPool

#: Bins of the range of a property, for each element.
BINS = 100
#: Values that lie apart from the rest do not stretch the range if they are at most this share.
OUTLIERS = 0.01
# And apart means: by more than this part of the range.
_APART = 0.25

compiled: Any = njit(cache=True, nogil=True)


class RandomSelection(SelectionMethod):
    """Every configuration with the same probability."""

    name: ClassVar[str] = "random"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        return rng.permutation(len(pool))[:count]


class GlobalEnergySelection(SelectionMethod):
    """Uniform in the range of the energy per atom."""

    name: ClassVar[str] = "global-energy"
    needs: ClassVar[str | None] = "energies_per_atom"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert pool.energies_per_atom is not None
        every = np.arange(len(pool))
        return uniform_in_range(
            pool.energies_per_atom, np.zeros_like(every), every, len(pool), count, rng
        )


class ForceSelection(SelectionMethod):
    """Uniform in the range of the norm of the force on an atom, for each element.

    Atoms are chosen uniformly in the range, and the configurations they are in are taken.
    """

    name: ClassVar[str] = "forces"
    needs: ClassVar[str | None] = "forces"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert pool.forces is not None
        norms = np.sqrt(np.einsum("ax,ax->a", pool.forces, pool.forces))
        return uniform_in_range(norms, pool.numbers, pool.owners, len(pool), count, rng)


class AtomicEnergySelection(SelectionMethod):
    """Uniform in the range of the energy of an atom, for each element; see `ForceSelection`."""

    name: ClassVar[str] = "atomic-energies"
    needs: ClassVar[str | None] = "atomic_energies"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert pool.atomic_energies is not None
        return uniform_in_range(
            pool.atomic_energies, pool.numbers, pool.owners, len(pool), count, rng
        )


def uniform_in_range(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    owners: NDArray[np.int64],
    size: int,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose owners of values uniformly in the range that the values have in each group.

    Parameters
    ----------
    values : ndarray, shape (A,)
        Every owner has at least one.
    groups : ndarray of int, shape (A,)
        Each group has a range, and as many turns, of its own.
    owners : ndarray of int, shape (A,)
        From 0 to size - 1.
    size : int
        Owners in all.
    count : int
        Owners to choose, at most `size`.
    rng : Generator

    Returns
    -------
    ndarray of int, shape (count,)
        In the order of choice, without repeats.
    """
    bins = np.empty(len(values), np.int64)
    total = 0
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        found = bins_of(values[members])
        bins[members] = found + total
        total += int(found.max()) + 1
    shuffled = rng.permutation(len(values))
    # A stable sort of small numbers is linear in time.
    kind = np.uint16 if total < 2**16 else np.int64
    order = shuffled[np.argsort(bins[shuffled].astype(kind), kind="stable")]
    ends = np.cumsum(np.bincount(bins, minlength=total))
    places = ends - np.bincount(bins, minlength=total)
    queue = owners[order]
    chosen = np.zeros(size, np.bool_)
    picked = np.empty(count, np.int64)
    done = 0
    waiting = np.flatnonzero(places < ends)
    while done < count:
        turns = rng.permutation(waiting)
        done = _take_turns(turns, queue, places, ends, chosen, picked, done)
        waiting = waiting[places[waiting] < ends[waiting]]
    return picked


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin (n,) of each value: 0 to `BINS` - 1 by equal widths, and outliers beside these.

    Values at an end of the range, at most `OUTLIERS` of all or one, that a gap of more than a
    quarter of the range keeps apart from the rest are a bin of their own, and the range is that of
    the rest.
    """
    ordered = np.sort(values)
    low, high = 0, len(ordered) - 1
    few = max(1, int(OUTLIERS * len(ordered)))
    bins = np.full(len(values), -1, np.int64)
    apart = BINS
    # Values may be as far apart as numbers go: halves do not overflow.
    while high - low >= 2 and ordered[low] < ordered[high]:
        whole = ordered[high] / 2 - ordered[low] / 2
        gaps = np.diff(ordered[low : high + 1] / 2)
        widest = int(np.argmax(gaps))
        below, above = widest + 1, high - low - widest
        if gaps[widest] <= _APART * whole or min(below, above) > few:
            break
        if below == above:  # two values
            break
        cut = ordered[low + widest]
        if below < above:
            bins[(bins < 0) & (values <= cut)] = apart
            low += below
        else:
            bins[(bins < 0) & (values > cut)] = apart
            high -= above
        apart += 1
    rest = bins < 0
    width = ordered[high] / BINS - ordered[low] / BINS
    if width > 0.0:
        bins[rest] = np.minimum((values[rest] - ordered[low]) / width, BINS - 1).astype(np.int64)
    else:
        bins[rest] = 0
    return bins


@compiled
def _take_turns(turns, queue, places, ends, chosen, picked, done):  # pragma: no cover - compiled
    """Let each bin give its next owner that is not chosen yet; returns how many are chosen."""
    for turn in turns:
        while places[turn] < ends[turn]:
            owner = queue[places[turn]]
            places[turn] += 1
            if not chosen[owner]:
                chosen[owner] = True
                picked[done] = owner
                done += 1
                break
        if done == len(picked):
            break
    return done
