"""When a search has found its best structures: two cycles with the same best clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from crysearch.active_learning.features import FeatureScaler, check_features
from crysearch.errors import ActiveLearningError


@dataclass(frozen=True, eq=False)
class TopClusters:
    """The best clusters of a cycle, each by its best member.

    Attributes
    ----------
    energies
        (k,) mean energy of the ensemble, eV/atom.
    features
        (k, f) pooled features. Those of two cycles can be compared only if one potential gave
        both: calculate those of the earlier structures again with the later potential.
    """

    energies: NDArray[np.float64]
    features: NDArray[np.float64]

    def __post_init__(self) -> None:
        energies = np.asarray(self.energies, dtype=np.float64)
        features = check_features(self.features)
        if energies.shape != (len(features),) or not np.isfinite(energies).all():
            raise ActiveLearningError(
                f"energies have shape {energies.shape} for {len(features)} clusters; give a finite "
                "one for each"
            )
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "features", features)


@dataclass(frozen=True)
class Comparison:
    """The best clusters of two cycles beside each other.

    Attributes
    ----------
    unchanged
        Whether the search can stop.
    pairs
        For each cluster of the earlier cycle the one of the later that it is, None if it is none of
        them.
    largest_energy_change
        Largest absolute difference of the energies of a pair, eV/atom; None without pairs.
    """

    unchanged: bool
    pairs: tuple[int | None, ...]
    largest_energy_change: float | None


def compare(
    earlier: TopClusters,
    later: TopClusters,
    scaler: FeatureScaler,
    *,
    tolerance: float,
    energy_tolerance: float = 0.01,
) -> Comparison:
    """Compare the best clusters of two cycles.

    They are unchanged if each cluster of one can be paired with one of the other within both
    tolerances. Their order is not compared: that of two with nearly the same energy means nothing.
    Exchanging the cycles does not change the answer.

    Parameters
    ----------
    earlier, later
        The k best clusters of each cycle (k = 10 in the publication); fewer where there are fewer.
    scaler
        The scale of distances.
    tolerance
        Largest distance between the best members of a pair.
    energy_tolerance
        Largest absolute difference of their energies, eV/atom. Published is 0.01 eV, not of what;
        an ensemble that is trained anew scatters by some meV/atom, which for a whole cell would
        never come to rest within 0.01 eV.

    Raises
    ------
    ActiveLearningError
        A tolerance is negative or not finite.
    """
    for name, value in (("tolerance", tolerance), ("energy_tolerance", energy_tolerance)):
        if not (math.isfinite(value) and value >= 0):
            raise ActiveLearningError(f"{name}={value!r} must be a finite number of at least 0")
    near = scaler.distances(earlier.features, later.features) <= tolerance
    changes = np.abs(earlier.energies[:, None] - later.energies[None, :])
    close = _pair(near & (changes <= energy_tolerance))
    same_number = len(earlier.energies) == len(later.energies)
    unchanged = same_number and None not in close and len(close) > 0
    pairs = close if unchanged else _pair(near)
    paired = [changes[i, j] for i, j in enumerate(pairs) if j is not None]
    return Comparison(unchanged, pairs, float(max(paired)) if paired else None)


def _pair(allowed: NDArray[np.bool_]) -> tuple[int | None, ...]:
    """For each row a column of its own that is allowed, or None; as many as possible."""
    if not allowed.size:
        return (None,) * len(allowed)
    graph = csr_array(allowed.astype(np.int8))
    columns = maximum_bipartite_matching(graph, perm_type="column")
    return tuple(int(column) if column >= 0 else None for column in columns)
