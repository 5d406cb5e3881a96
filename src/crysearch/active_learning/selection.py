"""Which structures of a pool get a reference calculation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.active_learning.clusters import Cluster
from crysearch.active_learning.features import FeatureScaler
from crysearch.errors import ActiveLearningError


@dataclass(frozen=True)
class Selection:
    """Structures chosen for reference calculations.

    Attributes
    ----------
    chosen
        Places in the pool, in the order of choice.
    clusters
        For each the rank of its cluster, from 0.
    rounds
        For each the round in which it was chosen: 0 for the best of a cluster.
    known
        Structures passed over because a reference calculation of one like them exists, or one like
        them was chosen before.
    """

    chosen: tuple[int, ...]
    clusters: tuple[int, ...]
    rounds: tuple[int, ...]
    known: int


def select(
    clusters: Sequence[Cluster],
    features: ArrayLike,
    scaler: FeatureScaler,
    count: int,
    *,
    known: ArrayLike | None = None,
    tolerance: float = 0.0,
) -> Selection:
    """Choose the best-scoring member of each cluster, best clusters first.

    A structure within `tolerance` of one that has a reference calculation, or of one chosen before,
    is passed over for the next best of its cluster. When every cluster has had its turn and there
    is room left, the clusters have another, and so on.

    Parameters
    ----------
    clusters
        By rank, best first (:func:`~crysearch.active_learning.clusters.rank_clusters`).
    features
        (n, f) of the pool.
    scaler
        The scale of distances.
    count
        Structures to choose, at most.
    known
        Features (m, f) of the structures that have a reference calculation, of the same potential.
    tolerance
        A distance of the scaler; with 0 only structures of the very same features are passed over.

    Raises
    ------
    ActiveLearningError
        The count or the tolerance is negative, or the clusters name structures that are not there.
    """
    if count < 0 or not (np.isfinite(tolerance) and tolerance >= 0):
        raise ActiveLearningError(
            f"count={count!r} and tolerance={tolerance!r} must both be at least 0"
        )
    points = scaler.transform(features)
    places = [place for cluster in clusters for place in cluster.members]
    if any(not 0 <= place < len(points) for place in places) or len(set(places)) < len(places):
        raise ActiveLearningError(
            f"clusters name places outside the {len(points)} structures, or one twice; give those "
            "of the same pool"
        )
    nearest = np.full(len(points), np.inf)
    if known is not None and np.size(known):
        nearest = scaler.distances(features, known).min(axis=1)
    chosen: list[tuple[int, int, int]] = []
    passed = 0
    waiting = [list(cluster.members) for cluster in clusters]
    turn = 0
    while any(waiting) and len(chosen) < count:
        for rank, members in enumerate(waiting):
            if len(chosen) == count:
                break
            place, skipped = _next(members, nearest, tolerance)
            passed += skipped
            if place is None:
                continue
            chosen.append((place, rank, turn))
            nearest = np.minimum(nearest, _distances(points, place))
        turn += 1
    return Selection(
        chosen=tuple(place for place, _, _ in chosen),
        clusters=tuple(rank for _, rank, _ in chosen),
        rounds=tuple(turn for _, _, turn in chosen),
        known=passed,
    )


def _next(
    members: list[int], nearest: NDArray[np.float64], tolerance: float
) -> tuple[int | None, int]:
    """Take the next member that is far enough from all known; and how many were passed over."""
    skipped = 0
    while members:
        place = members.pop(0)
        if nearest[place] > tolerance:
            return place, skipped
        skipped += 1
    return None, skipped


def _distances(points: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.linalg.norm(points - points[place], axis=1)
