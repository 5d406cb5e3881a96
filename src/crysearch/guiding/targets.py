"""Which crystal is moved onto which target."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from crysearch.errors import GuidingError

TargetChoice = Literal["balanced", "nearest"]


def choose_targets(distances: np.ndarray, choice: TargetChoice = "balanced") -> np.ndarray:
    """Choose a target for each crystal of a batch.

    Parameters
    ----------
    distances : numpy.ndarray
        Shape (n, k): Pearson's distances to the targets, such as
        :meth:`crysearch.guiding.Guide.broad_distances`; infinite where there is none.
    choice : {"balanced", "nearest"}
        ``"nearest"``: the nearest target of each crystal; easy targets are chosen often, others
        never. ``"balanced"``: every target as often as every other (n/k times, rounded down or
        up, so that of more targets than crystals some are left out), with the smallest sum of
        distances (a linear assignment).

    Returns
    -------
    numpy.ndarray
        Shape (n,): rows of the targets.

    Raises
    ------
    GuidingError
        For an unknown choice, or without targets.
    """
    distances = np.asarray(distances, dtype=np.float64)
    if distances.ndim != 2 or not distances.shape[1]:
        raise GuidingError(f"distances: shape {distances.shape}; give (n, k), at least one target")
    if choice not in get_args(TargetChoice):
        raise GuidingError(
            f"choice: {choice!r} is unknown; choose from {', '.join(get_args(TargetChoice))}"
        )
    if choice == "nearest":
        return distances.argmin(axis=1).astype(np.int64)
    from scipy.optimize import linear_sum_assignment

    crystals, targets = distances.shape
    # Farther than any distance: used only where nothing else is left.
    cost = np.where(np.isfinite(distances), distances, 4.0)
    sure = crystals // targets
    repeats = math.ceil(crystals / targets)
    columns = np.tile(np.arange(targets), repeats)
    cost = cost[:, columns]
    # The first copies of each target must be taken before any of the last, if that one is partial.
    cost[:, : sure * targets] -= 8.0
    rows, places = linear_sum_assignment(cost)
    chosen = np.empty(crystals, dtype=np.int64)
    chosen[rows] = columns[places]
    return chosen
