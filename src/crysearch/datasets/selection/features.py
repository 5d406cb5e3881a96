"""Choices by features: the farthest point, and rows of a CUR decomposition."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import eigh

from crysearch.datasets.selection.base import SelectionMethod, SelectionPool

#: Share of the squared norm of the features that the directions of CUR hold.
EXPLAINED = 0.99

# Whose part of a distance is compared first.
_COLUMNS = 16

compiled: Any = njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})


class FarthestPointSelection(SelectionMethod):
    """Each choice is the configuration farthest from all chosen before; the first is random.

    Distances are Euclidean. Of equally far ones the first of the pool is taken, so that repeated
    features come last.
    """

    name: ClassVar[str] = "farthest-point"
    needs: ClassVar[str | None] = "features"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert pool.features is not None
        return farthest_points(pool.features, count, int(rng.integers(len(pool))))[0]


class CurSelection(SelectionMethod):
    """Configurations with probabilities proportional to their leverage scores.

    The score of a row of the feature matrix is its squared norm in the basis of the leading left
    singular vectors, those that hold 99 % of the squared norm of the matrix (M. W. Mahoney and
    P. Drineas, PNAS 106, 697 (2009)). Rows are drawn without replacement.
    """

    name: ClassVar[str] = "cur"
    needs: ClassVar[str | None] = "features"

    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        assert pool.features is not None
        # Exponential waiting times of these rates end in the order of drawing without replacement.
        scores = leverage_scores(pool.features)
        # A row of zeros has no score, and comes after all others.
        times = rng.exponential(size=len(pool))
        waits = np.full(len(pool), np.inf)
        drawn = scores > 0.0
        waits[drawn] = times[drawn] / scores[drawn]
        return np.lexsort((times, waits))[:count]


def farthest_points(
    features: NDArray[np.float64], count: int, first: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose points one after the other, each farthest from those before.

    A point keeps its nearest chosen one, c, and the distance h to it; a new choice farther than
    2 h from c cannot be nearer (triangle inequality), and the distance is not computed.

    Parameters
    ----------
    features : ndarray, shape (N, D)
    count : int
        At most N.
    first : int
        The first choice.

    Returns
    -------
    chosen : ndarray of int, shape (count,)
    distances : ndarray, shape (count,)
        Of each choice to the nearest before it; infinite for the first.
    """
    # The columns that vary most first: most distances are known to be too large after a few.
    columns = np.argsort(-np.var(features, axis=0), kind="stable")
    head, tail = (
        np.ascontiguousarray(features[:, part], dtype=np.float64)
        for part in (columns[:_COLUMNS], columns[_COLUMNS:])
    )
    chosen = np.empty(count, np.int64)
    distances = np.empty(count)
    _farthest(head, tail, first, chosen, distances)
    return chosen, np.sqrt(distances)


@compiled
def _farthest(head, tail, first, chosen, distances):  # pragma: no cover - compiled
    """Fill choices and squared distances; ``head`` and ``tail`` are the columns of the points.

    A distance whose part by the head is too large already, as most are, leaves the tail alone.
    """
    size = len(head)
    nearest = np.zeros(size, np.int64)
    squared = np.full(size, np.inf)
    between = np.zeros(len(chosen))
    here, away = first, np.inf
    for number in range(len(chosen)):
        chosen[number], distances[number] = here, away
        for before in range(number):
            other, total = chosen[before], 0.0
            for d in range(head.shape[1]):
                total += (head[here, d] - head[other, d]) ** 2
            for d in range(tail.shape[1]):
                total += (tail[here, d] - tail[other, d]) ** 2
            between[before] = total
        squared[here] = -1.0  # chosen: farther than this is any other
        farthest, following = -1.0, 0
        for point in range(size):
            known = squared[point]
            if known > 0.0 and (number == 0 or between[nearest[point]] < 4.0 * known):
                found = 0.0
                for d in range(head.shape[1]):
                    found += (head[here, d] - head[point, d]) ** 2
                if found < known:
                    for d in range(tail.shape[1]):
                        found += (tail[here, d] - tail[point, d]) ** 2
                    if found < known:
                        squared[point], nearest[point] = found, number
                        known = found
            if known > farthest:
                farthest, following = known, point
        here, away = following, farthest


def leverage_scores(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared norms (N,) of the rows of the leading left singular vectors of features (N, D).

    The vectors are those with the largest singular values that together hold `EXPLAINED` of the
    sum of all squared singular values; the scores add up to their number.
    """
    largest = np.abs(features).max(initial=0.0)
    if largest == 0.0:
        return np.zeros(len(features))
    scaled = features / largest
    wide = scaled.shape[1] > scaled.shape[0]
    # The leading vectors only: the square of the matrix is exact enough.
    squares, vectors = eigh(scaled @ scaled.T if wide else scaled.T @ scaled)
    squares, vectors = np.maximum(squares[::-1], 0.0), vectors[:, ::-1]
    held = np.cumsum(squares) / squares.sum()
    rank = int(np.searchsorted(held, EXPLAINED)) + 1
    leading = vectors[:, :rank]
    left = leading if wide else scaled @ leading / np.sqrt(squares[:rank])
    return np.einsum("nk,nk->n", left, left)
