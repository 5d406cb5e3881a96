"""The scaler between radial distribution functions and the interval [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_fingerprints, check_positive

AboveMaximum = Literal["raise", "clip"]


@dataclass(frozen=True)
class GlobalMaximumScaler:
    """Divide by the largest value of the training fingerprints.

    One number for all grid points keeps the shape of every radial distribution function, zero
    stays zero, and Pearson's distance between two functions is the same before and after.

    Parameters
    ----------
    maximum : float
        The largest value seen, in the unit of the fingerprints; finite and above zero.

    Raises
    ------
    TrainingError
        If `maximum` is not a finite number above zero.
    """

    maximum: float

    def __post_init__(self) -> None:
        check_positive("maximum of the fingerprints", self.maximum)

    @classmethod
    def fit(cls, fingerprints: ArrayLike) -> GlobalMaximumScaler:
        """Take the maximum over all fingerprints (n, m).

        Raises
        ------
        TrainingError
            If there are none, all are zero, or any value is negative, NaN or infinite.
        """
        array = check_fingerprints(fingerprints)
        if not array.size:
            raise TrainingError("fingerprints are empty; give at least one structure.")
        return cls(float(array.max()))

    def count_above(self, fingerprints: ArrayLike) -> int:
        """Count the fingerprints (rows) with at least one value above the fitted maximum."""
        return int(np.count_nonzero((check_fingerprints(fingerprints) > self.maximum).any(axis=1)))

    def transform(
        self, fingerprints: ArrayLike, *, above_maximum: AboveMaximum = "raise"
    ) -> NDArray[np.float64]:
        """Map fingerprints (n, m) to [0, 1].

        Parameters
        ----------
        fingerprints : array_like, shape (n, m)
        above_maximum : {"raise", "clip"}
            What to do with values above the fitted maximum, which the model has never seen:
            refuse them (so that nothing is altered unnoticed), or cut them off at the maximum.
            `count_above` tells how many rows clipping would change.

        Raises
        ------
        TrainingError
            For bad fingerprints, and for values above the maximum unless they may be clipped.
        """
        if above_maximum not in ("raise", "clip"):
            raise TrainingError(f"above_maximum is {above_maximum!r}; choose 'raise' or 'clip'.")
        array = check_fingerprints(fingerprints)
        above = (array > self.maximum).any(axis=1)
        if above_maximum == "raise" and above.any():
            raise TrainingError(
                f"{np.count_nonzero(above)} of {len(array)} fingerprints (first: row "
                f"{np.flatnonzero(above)[0]}) exceed the largest value the model was trained on "
                f"({array.max():.6g} > {self.maximum:.6g}); clip them with above_maximum='clip', "
                "or train with these structures included."
            )
        return np.minimum(array / self.maximum, 1.0)

    def inverse_transform(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map values in [0, 1], of any shape, back to the scale of the fingerprints."""
        return scaled * self.maximum

    def to_dict(self) -> dict[str, Any]:
        """Return the scaler as plain data for `from_dict`."""
        return {"kind": "global-maximum", "maximum": self.maximum}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GlobalMaximumScaler:
        """Rebuild a scaler from `to_dict`; raises TrainingError for any other kind."""
        if data.get("kind") != "global-maximum":
            raise TrainingError(
                f"The stored scaler is of kind {data.get('kind')!r}, but only 'global-maximum' is "
                "known; use the crysearch version that stored the model."
            )
        return cls(data["maximum"])


@dataclass(frozen=True)
class ConditionScaler:
    """Subtract the mean and divide by the standard deviation of each condition.

    Parameters
    ----------
    means, deviations : tuple of float
        One for each condition, in its unit; deviations are above zero.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def fit(cls, conditions: NDArray[np.float64]) -> ConditionScaler:
        """Take the moments of conditions (n, c).

        Raises
        ------
        TrainingError
            If a condition is the same for all structures: nothing can be learned from it.
        """
        means, deviations = conditions.mean(axis=0), conditions.std(axis=0)
        for column in np.flatnonzero(deviations <= 1e-12 * (1.0 + np.abs(means))):
            raise TrainingError(
                f"conditions: column {column} is {means[column]:g} for all {len(conditions)} "
                "structures; leave it out, or add structures that differ in it."
            )
        return cls(tuple(means.tolist()), tuple(deviations.tolist()))

    def transform(self, conditions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardise conditions (n, c)."""
        return (conditions - np.array(self.means)) / np.array(self.deviations)

    def to_dict(self) -> dict[str, Any]:
        """Return the scaler as plain data for `from_dict`."""
        return {"means": list(self.means), "deviations": list(self.deviations)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ConditionScaler:
        """Rebuild a scaler from `to_dict`."""
        return cls(tuple(data["means"]), tuple(data["deviations"]))
