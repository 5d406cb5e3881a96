"""Groups of similar structures, by density in the space of their pooled features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.active_learning.features import FeatureScaler, check_features
from crysearch.errors import ActiveLearningError

#: Radius of a neighbourhood. Of 150 random cells of 8 silicon atoms, relaxed with Stillinger and
#: Weber's potential to 0.05 eV/Å, those with equal energies were 0.006 apart in the median and nine
#: in ten of them less than 0.025, while different minima were 0.2 and more apart.
RADIUS = 0.1


@dataclass(frozen=True, eq=False)
class Clustering:
    """The cluster of each structure of a pool.

    Attributes
    ----------
    labels
        (n,) number of the cluster, from 0, by the first of its structures in the order of features.
    outliers
        (n,) whether the structure has too few like it; it is then a cluster of its own.
    radius
        The radius of a neighbourhood (DBSCAN's eps), a distance of :class:`FeatureScaler`.
    scaler
        The scale of the features.
    """

    labels: NDArray[np.int64]
    outliers: NDArray[np.bool_]
    radius: float
    scaler: FeatureScaler

    @property
    def count(self) -> int:
        """Number of clusters, outliers included."""
        return int(self.labels.max(initial=-1)) + 1


@dataclass(frozen=True)
class Cluster:
    """Structures that are alike, as places in the pool, the best first.

    Attributes
    ----------
    members
        Places in the pool, by score.
    score
        Of the best member, eV/atom.
    outlier
        Whether it is a structure without any like it.
    """

    members: tuple[int, ...]
    score: float
    outlier: bool

    @property
    def best(self) -> int:
        """Place in the pool of the best-scoring member."""
        return self.members[0]


def find_clusters(
    features: ArrayLike,
    *,
    radius: float = RADIUS,
    neighbours: int = 2,
) -> Clustering:
    """Cluster structures with DBSCAN on their standardised features.

    Outliers are clusters of their own: a structure that was found once may be the best there is.
    The clusters do not depend on the order of the structures.

    Parameters
    ----------
    features
        (n, f) pooled features; those of cells of different sizes should be means over the atoms.
    radius
        DBSCAN's eps, a distance of :class:`FeatureScaler`: one scale for all pools and potentials.
    neighbours
        Structures within the radius, itself included, that make a structure the core of a cluster
        (DBSCAN's min_samples). With 2, clusters are what steps no longer than the radius connect.

    Raises
    ------
    ActiveLearningError
        A setting is out of its bounds, or the features are not finite.
    """
    from sklearn.cluster import DBSCAN  # takes a second to import

    table = check_features(features)
    if not (math.isfinite(radius) and radius > 0):
        raise ActiveLearningError(f"radius={radius!r} must be a finite number greater than 0")
    if neighbours < 2:
        raise ActiveLearningError(f"neighbours={neighbours!r} must be at least 2")
    if not len(table):
        raise ActiveLearningError("features: none given; give those of at least one structure")
    scaler = FeatureScaler.fit(table)
    # A border structure goes to the first cluster that reaches it: the order must be its own.
    order = np.lexsort(table.T[::-1])
    points = scaler.transform(table[order])
    found = DBSCAN(eps=radius, min_samples=neighbours).fit_predict(points)
    outliers = found < 0
    found = np.where(outliers, len(points) + np.arange(len(points)), found)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))[inverse]
    labels = np.empty(len(points), dtype=np.int64)
    labels[order] = numbers
    lonely = np.empty(len(points), dtype=np.bool_)
    lonely[order] = outliers
    return Clustering(labels, lonely, float(radius), scaler)


def rank_clusters(
    clustering: Clustering, scores: ArrayLike, keys: Sequence[str] | None = None
) -> list[Cluster]:
    """Sort the members of each cluster, and the clusters by their best member, best first.

    Parameters
    ----------
    clustering
    scores
        (n,), low is good.
    keys
        Names (n,) by which equal scores are sorted; None for the places in the pool.

    Raises
    ------
    ActiveLearningError
        The numbers of scores, keys and structures differ, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    names = [f"{place:09d}" for place in range(len(values))] if keys is None else list(keys)
    if values.shape != clustering.labels.shape or len(names) != len(values):
        raise ActiveLearningError(
            f"{len(clustering.labels)} structures have {values.size} scores and {len(names)} keys; "
            "give one of each for every structure"
        )
    if not np.isfinite(values).all():
        raise ActiveLearningError("scores: not all are finite; leave these structures out")
    members: dict[int, list[int]] = {}
    for place in sorted(range(len(values)), key=lambda place: (values[place], names[place])):
        members.setdefault(int(clustering.labels[place]), []).append(place)
    # Labels were met in the order of their best members.
    return [
        Cluster(tuple(places), float(values[places[0]]), bool(clustering.outliers[places[0]]))
        for places in members.values()
    ]
