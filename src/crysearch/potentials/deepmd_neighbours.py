"""Neighbours of the atoms of crystals, as DeePMD-kit takes them: of each atom, and limited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.potentials.configuration import Configuration, Failure
from crysearch.potentials.learnable import configurations_at
from crysearch.potentials.pairs import find_pairs


@dataclass(frozen=True, eq=False)
class NeighbouredCrystals:
    """The neighbours of several crystals, one crystal after the other; see `PairedCrystals`.

    Each pair is there from both sides, sorted by ``first``. ``counts`` (A, elements): neighbours of
    each atom by element.
    """

    sound: NDArray[np.int64]
    failures: dict[int, Failure]
    starts: NDArray[np.int64]
    species: NDArray[np.int64]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pair_starts: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    vectors: NDArray[np.float64]
    counts: NDArray[np.int64]

    def most_neighbours(self) -> NDArray[np.int64]:
        """The most neighbours of each element that an atom has, (elements,)."""
        return self.counts.max(axis=0, initial=0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `crysearch.potentials.deepmd_worker.crystals` takes, and the cells."""
        names = ("starts", "species", "positions", "cells", "pair_starts", "first", "second")
        return {name: getattr(self, name) for name in (*names, "vectors")}


def find_neighbours(
    given: Sequence[Configuration | Failure],
    elements: Sequence[str],
    cutoff: float,
    room: Sequence[int] | None = None,
) -> NeighbouredCrystals:
    """Find the neighbours of all crystals that can be taken; see `find_pairs`.

    Parameters
    ----------
    room : sequence of int, optional
        The most neighbours of each element that an atom may have; crystals with more are failures.
    """
    paired = find_pairs(given, elements, cutoff)
    first = np.concatenate([paired.pairs.first, paired.pairs.second])
    second = np.concatenate([paired.pairs.second, paired.pairs.first])
    order = np.argsort(first, kind="stable")
    counts = np.zeros((len(paired.species), len(elements)), np.int64)
    np.add.at(counts, (first, paired.species[second]), 1)
    if room is not None and (counts > np.array(room)).any():
        most = np.maximum.reduceat(counts, paired.starts[:-1], axis=0)
        return find_neighbours(
            _without(given, paired.sound, most, elements, room), elements, cutoff
        )
    sound = configurations_at(given, paired.sound)
    return NeighbouredCrystals(
        paired.sound,
        paired.failures,
        paired.starts,
        paired.species,
        np.concatenate([np.empty((0, 3)), *(c.positions for c in sound)]),
        np.array([c.cell for c in sound]).reshape(-1, 3, 3),
        2 * paired.pair_starts,
        first[order],
        second[order],
        np.concatenate([paired.pairs.vectors, -paired.pairs.vectors])[order],
        counts,
    )


def _without(
    given: Sequence[Configuration | Failure],
    sound: NDArray[np.int64],
    most: NDArray[np.int64],
    elements: Sequence[str],
    room: Sequence[int],
) -> list[Configuration | Failure]:
    """The same with failures in place of crystals of too many neighbours."""
    kept = list(given)
    for place, counts in zip(sound, most, strict=True):
        over = np.flatnonzero(counts > np.array(room))
        if len(over):
            kept[place] = Failure(
                "too_dense",
                f"an atom has {counts[over[0]]} neighbours of {elements[over[0]]}, and there is "
                f"room for {room[over[0]]}; train with such crystals, or with more neighbours",
            )
    return kept
