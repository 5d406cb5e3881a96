"""Distances between structures: their pooled features on a common scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from crysearch.errors import ActiveLearningError

# Relative to the largest magnitude of a feature: differences below are of rounding.
_CONSTANT = 1e-9


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Standardises features to zero mean and unit variance over a set of structures.

    A distance between structures is the root of the mean squared difference of their standardised
    features: two that have nothing in common are about √2 apart, however many features there are.
    Features that are the same in all structures are left out.

    Attributes
    ----------
    mean, deviation
        (features,) of the set; a deviation of 0 marks a feature that is left out.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, features: ArrayLike) -> Self:
        """Measure mean and deviation of features (n, f), n ≥ 1.

        Raises
        ------
        ActiveLearningError
            The features are no table of finite numbers.
        """
        table = check_features(features)
        if not len(table):
            raise ActiveLearningError("features: none given; give those of at least one structure")
        # Sorted, so that the order of the structures does not change the last digits.
        table = np.sort(table, axis=0)
        deviation = table.std(axis=0)
        deviation[deviation <= _CONSTANT * np.abs(table).max(axis=0)] = 0.0
        return cls(table.mean(axis=0), deviation)

    def transform(self, features: ArrayLike) -> NDArray[np.float64]:
        """Standardise features (n, f) so that Euclidean distances are those described above."""
        table = check_features(features)
        if table.shape[1] != len(self.mean):
            raise ActiveLearningError(
                f"features have {table.shape[1]} columns, those the scale was made of "
                f"{len(self.mean)}; give features of the same potential"
            )
        varying = self.deviation > 0
        if not varying.any():
            return np.zeros((len(table), 1))
        scaled = (table[:, varying] - self.mean[varying]) / self.deviation[varying]
        return scaled / np.sqrt(varying.sum())

    def distances(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
        """Distances (n, m) between structures of features (n, f) and (m, f)."""
        return cdist(self.transform(first), self.transform(second))


def check_features(features: ArrayLike) -> NDArray[np.float64]:
    """Features as an array (n, f), or ActiveLearningError."""
    try:
        table = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ActiveLearningError(f"features cannot be read as numbers ({error})") from error
    if table.ndim != 2 or table.shape[1] == 0:
        raise ActiveLearningError(
            f"features have shape {table.shape}; give one row for each structure"
        )
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise ActiveLearningError(
            f"features of {len(bad)} structures are not finite (first: row {bad[0]}); leave these "
            "structures out"
        )
    return table
