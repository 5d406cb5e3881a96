"""A pool of structures in a plane: the principal components of their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.active_learning.features import FeatureScaler


@dataclass(frozen=True, eq=False)
class PoolMap:
    """A relaxed pool in the plane of the two principal components of its standardised features.

    Distances in the plane are at most those of :class:`FeatureScaler`.

    Attributes
    ----------
    points
        (n, 2) of the pool.
    shares
        (2,) shares of the variance of the pool.
    ranks
        (n,) rank of the cluster of each structure, from 0; -1 for one in none that is known.
    names
        Names of the best clusters by rank, such as the known structure that one is.
    chosen
        (n,) whether it was chosen for a reference calculation.
    calculated
        (m, 2) structures that had a reference calculation before.
    """

    points: NDArray[np.float64]
    shares: NDArray[np.float64]
    ranks: NDArray[np.int64]
    names: dict[int, str]
    chosen: NDArray[np.bool_]
    calculated: NDArray[np.float64]


def principal_plane(
    features: ArrayLike, scaler: FeatureScaler, others: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Project structures onto the two principal components of the pool.

    Parameters
    ----------
    features
        (n, f) of the pool, n ≥ 1.
    scaler
        The scale of distances.
    others
        (m, f) of structures that are shown in the same plane, m ≥ 0.

    Returns
    -------
    tuple
        Points (n, 2) of the pool, points (m, 2) of the others, and the shares (2,) of the variance.
        A component that the pool does not have is 0.

    Raises
    ------
    ActiveLearningError
        The features are no table of finite numbers, or not of the scaler's potential.
    """
    from sklearn.decomposition import PCA  # takes a second to import

    table = scaler.transform(features)
    rest = scaler.transform(others) if np.size(others) else np.empty((0, table.shape[1]))
    points, shown, shares = np.zeros((len(table), 2)), np.zeros((len(rest), 2)), np.zeros(2)
    count = min(2, *table.shape)
    if table.std(axis=0).any():
        analysis = PCA(count, svd_solver="full")
        points[:, :count] = analysis.fit_transform(table)
        shares[:count] = analysis.explained_variance_ratio_
        if len(rest):
            shown[:, :count] = analysis.transform(rest)
    return points, shown, shares
