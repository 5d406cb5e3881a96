"""Which target each crystal is moved onto, with a view to diversity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from crysearch.errors import GuidingError

Policy = Literal["nearest", "balanced"]


@dataclass(frozen=True)
class TargetChoice:
    """A rule for assigning targets to crystals by their distances at the broadest smearing.

    ``"nearest"`` takes the nearest. As a few dense, simple structures are near to many random
    crystals, that gives many crystals to few targets; ``"balanced"`` takes the target used least
    so far among those at most ``slack`` farther than the nearest, the nearest of these at a tie.
    The only state is the number of uses per target, an array that the caller keeps.

    Parameters
    ----------
    policy : {"nearest", "balanced"}
    tries : int
        Targets per crystal, in the order of preference; fewer where there are fewer targets.
    slack : float
        Pearson's distance.
    quota : int, optional
        A target used so often is passed over while others are left.

    Raises
    ------
    GuidingError
        Where a field is invalid.
    """

    policy: Policy = "balanced"
    tries: int = 1
    slack: float = 0.10
    quota: int | None = None

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise GuidingError(
                f"policy: {self.policy!r} is unknown; choose from {', '.join(get_args(Policy))}"
            )
        for name in ("tries", "quota"):
            value = getattr(self, name)
            if name == "quota" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise GuidingError(f"{name}: {value!r} is not a positive whole number")
        if not (np.isfinite(self.slack) and self.slack >= 0.0):
            raise GuidingError(f"slack: {self.slack!r} is not a Pearson's distance; give 0 or more")

    def assign(self, distances: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets for a batch, crystal after crystal.

        Parameters
        ----------
        distances : numpy.ndarray
            Shape (n, k), as ``Guide.broad_distances`` gives them.
        used : numpy.ndarray
            Shape (k,): how often each target was chosen before; zeros at first.

        Returns
        -------
        numpy.ndarray
            Shape (n, min(tries, k)): rows of the targets for ``Guide.descend``.
        numpy.ndarray
            Shape (k,): the uses afterwards, first preferences counted. A workflow that wants the
            crystals that arrive to be balanced counts these instead.

        Raises
        ------
        GuidingError
            Where the shapes do not agree.
        """
        distances = np.asarray(distances, dtype=np.float64)
        used = np.array(used, dtype=np.int64)
        if distances.ndim != 2 or used.shape != distances.shape[1:] or not used.size:
            raise GuidingError(
                f"used: shape {used.shape} for distances of shape {distances.shape}; give (n, k) "
                "distances and k counts"
            )
        chosen = np.empty((len(distances), min(self.tries, len(used))), dtype=np.int64)
        for row, away in enumerate(distances):
            key = np.zeros(len(used))
            if self.policy == "balanced":
                near = away <= away.min() + self.slack
                key = np.where(near, used, np.inf)
            full = np.zeros(len(used)) if self.quota is None else used >= self.quota
            # The last key decides first; numbers of rows make it stable.
            order = np.lexsort((np.arange(len(used)), away, key, full))
            chosen[row] = order[: chosen.shape[1]]
            used[chosen[row, 0]] += 1
        return chosen, used


def mixtures(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means of targets, as targets of their own.

    Parameters
    ----------
    targets : numpy.ndarray
        Shape (k, m).
    weights : numpy.ndarray
        Shape (j, k), not negative, at least one positive in each row; rows are scaled to 1.

    Returns
    -------
    numpy.ndarray
        Shape (j, m).

    Raises
    ------
    GuidingError
        Where shapes or weights are wrong.
    """
    targets, weights = np.asarray(targets, dtype=float), np.asarray(weights, dtype=float)
    if targets.ndim != 2 or weights.ndim != 2 or weights.shape[1] != len(targets):
        raise GuidingError(
            f"weights: shape {weights.shape} for targets of shape {targets.shape}; give (j, k) "
            "weights for (k, m) targets"
        )
    if not ((weights >= 0.0).all() and (weights.sum(axis=1) > 0.0).all()):
        raise GuidingError("weights: negative, or all zero in a row; give shares of the targets")
    return weights / weights.sum(axis=1, keepdims=True) @ targets
