"""Means over repetitions with confidence intervals, and what a comparison of two says.

Source: Student's t interval for the mean of normally distributed values (Student 1908); two series
are compared by the interval of the mean difference of their pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from crysearch.errors import AnalysisError

Outcome = Literal["higher", "lower", "no difference seen", "too few pairs"]
_ROUNDING = 1e-12
Values = Sequence[float | None] | NDArray[np.float64]


@dataclass(frozen=True)
class MeanInterval:
    """A mean over repetitions and the interval in which it may lie.

    Attributes
    ----------
    n : int
        Values; those that are not known are left out.
    mean : float
        Not-a-number without a value.
    deviation : float
        Sample standard deviation (divisor n - 1); not-a-number with fewer than two values, as are
        the ends of the interval.
    low, high : float
        Ends of the confidence interval of the mean.
    """

    n: int
    mean: float
    deviation: float
    low: float
    high: float

    @property
    def outcome(self) -> Outcome:
        """What the interval of a difference says: whether it lies on one side of 0, and which."""
        if not np.isfinite(self.low):
            return "too few pairs"
        if self.low > 0.0:
            return "higher"
        return "lower" if self.high < 0.0 else "no difference seen"

    def to_dict(self) -> dict[str, float | int]:
        """Return the numbers as plain data, for records."""
        return asdict(self)


def mean_interval(values: Values, confidence: float = 0.95) -> MeanInterval:
    """Return the mean of values and Student's t interval around it.

    Parameters
    ----------
    values : sequence of float or None, shape (n,)
        None and not-a-number stand for what is not known, and are left out.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    AnalysisError
        If the confidence is out of range, or a value is infinite.
    """
    if not 0.0 < confidence < 1.0:
        raise AnalysisError(f"confidence = {confidence!r}: give a number between 0 and 1")
    array = _numbers(values)
    known = array[~np.isnan(array)]
    n = len(known)
    if n < 2:
        return MeanInterval(n, float(known[0]) if n else np.nan, np.nan, np.nan, np.nan)
    mean, deviation = float(known.mean()), float(known.std(ddof=1))
    half = float(student.ppf(0.5 + confidence / 2.0, n - 1)) * deviation / float(np.sqrt(n))
    return MeanInterval(n, mean, deviation, mean - half, mean + half)


def paired_difference(first: Values, second: Values, confidence: float = 0.95) -> MeanInterval:
    """Return the mean difference first - second over the pairs, with its interval.

    Pairs of which one value is not known are left out, and values that differ by rounding alone
    (1e-12 of the larger) count as equal. Parameters and errors are those of `mean_interval`.

    Raises
    ------
    AnalysisError
        If the two differ in length.
    """
    a, b = _numbers(first), _numbers(second)
    if a.shape != b.shape:
        raise AnalysisError(
            f"{len(a)} and {len(b)} values cannot be paired: give one of each for every pair"
        )
    rounding = np.abs(a - b) <= _ROUNDING * np.fmax(np.abs(a), np.abs(b))
    return mean_interval(np.where(rounding, 0.0, a - b), confidence)


def _numbers(values: Values) -> NDArray[np.float64]:
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if np.isinf(array).any():
        raise AnalysisError(
            f"value {int(np.flatnonzero(np.isinf(array))[0])} is infinite: a mean is not defined; "
            "leave it out as not-a-number and say so"
        )
    return array
