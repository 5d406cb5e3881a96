"""Whether an ensemble knows how far off it is: its disagreement beside its errors.

After Levi, Gispan, Giladi and Fetaya, Sensors 22, 5540 (2022), doi 10.3390/s22155540: predictions
are sorted into bins by their uncertainty, and in each bin the root mean square error is compared
with the root mean square uncertainty. They are equal in every bin if the uncertainty is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from crysearch.errors import ActiveLearningError

# Force components below, eV/Å, are rounding: symmetry makes them zero, and no potential can err.
_ZERO_FORCE = 1e-8

#: Predictions of a bin, at least: the root mean square of fewer says little.
PER_BIN = 15


@dataclass(frozen=True, eq=False)
class Predictions:
    """What ensembles said of n structures before they learned from them, beside the reference.

    Attributes
    ----------
    cycles
        (n,) the cycle of the ensemble.
    energies, reference_energies
        (n,) mean of the members and reference, eV/atom.
    energy_deviations
        (n,) standard deviation over the members, eV/atom.
    atom_cycles
        (m,) the cycle of the ensemble for each of the m atoms of all structures.
    forces, reference_forces
        (m, 3) mean of the members and reference, eV/Å.
    force_deviations
        (m, 3) standard deviation over the members of each component, eV/Å.
    members
        Members of an ensemble.
    """

    cycles: NDArray[np.int64]
    energies: NDArray[np.float64]
    reference_energies: NDArray[np.float64]
    energy_deviations: NDArray[np.float64]
    atom_cycles: NDArray[np.int64]
    forces: NDArray[np.float64]
    reference_forces: NDArray[np.float64]
    force_deviations: NDArray[np.float64]
    members: int

    @property
    def count(self) -> int:
        """Number of structures."""
        return len(self.energies)

    def of_energies(self) -> Calibration:
        """Calibration of the energies, eV/atom."""
        return calibrate(self.energies - self.reference_energies, self.energy_deviations)

    def of_forces(self) -> Calibration:
        """Calibration of the components of the forces, eV/Å.

        Components that symmetry makes zero, for reference and members alike, are left out.

        Raises
        ------
        ActiveLearningError
            Symmetry leaves no component.
        """
        errors = (self.forces - self.reference_forces).ravel()
        deviations = self.force_deviations.ravel()
        free = (np.abs(errors) > _ZERO_FORCE) | (deviations > _ZERO_FORCE)
        return calibrate(errors[free], deviations[free])


@dataclass(frozen=True, eq=False)
class Calibration:
    """Errors of n predictions beside their standard deviations, in the unit of both.

    Attributes
    ----------
    errors, deviations
        (n,) absolute errors, and standard deviations over the members.
    bin_errors, bin_deviations
        (b,) root mean squares of both in bins of about as many predictions, by deviation.
    """

    errors: NDArray[np.float64]
    deviations: NDArray[np.float64]
    bin_errors: NDArray[np.float64]
    bin_deviations: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """Root mean square error over root mean square deviation; infinite without deviations."""
        deviation = _root_mean_square(self.deviations)
        return _root_mean_square(self.errors) / deviation if deviation else float("inf")

    def coverage(self, factors: ArrayLike) -> NDArray[np.float64]:
        """Share of the errors within each of several multiples of the standard deviation."""
        limits = np.multiply.outer(np.asarray(factors, dtype=np.float64), self.deviations)
        return (self.errors <= limits).mean(axis=-1)


def calibrate(errors: ArrayLike, deviations: ArrayLike, bins: int = 10) -> Calibration:
    """Set errors beside the standard deviations that were to foretell them.

    Parameters
    ----------
    errors
        (n,) prediction minus reference; their sign does not matter.
    deviations
        (n,) standard deviations over the members, at least 0.
    bins
        At most; there are fewer where a bin would have fewer than :data:`PER_BIN` predictions.

    Raises
    ------
    ActiveLearningError
        There are none, their numbers differ, one is not finite, or a deviation is negative.
    """
    away = np.abs(np.asarray(errors, dtype=np.float64))
    spread = np.asarray(deviations, dtype=np.float64)
    if away.ndim != 1 or away.shape != spread.shape or not away.size:
        raise ActiveLearningError(
            f"errors have shape {away.shape} and deviations {spread.shape}; give one of each for "
            "every prediction, and at least one prediction"
        )
    if not (np.isfinite(away).all() and np.isfinite(spread).all() and spread.min() >= 0):
        raise ActiveLearningError(
            "errors and deviations must be finite, and deviations at least 0; leave out "
            "predictions that are not"
        )
    if bins < 1:
        raise ActiveLearningError(f"bins={bins!r} must be at least 1")
    order = np.argsort(spread, kind="stable")
    parts = np.array_split(order, min(bins, max(1, len(order) // PER_BIN)))
    return Calibration(
        errors=away,
        deviations=spread,
        bin_errors=np.array([_root_mean_square(away[part]) for part in parts]),
        bin_deviations=np.array([_root_mean_square(spread[part]) for part in parts]),
    )


def expected_coverage(factors: ArrayLike, members: int | None = None) -> NDArray[np.float64]:
    """Share of errors within multiples of a standard deviation that is right.

    Parameters
    ----------
    factors
        The multiples z, any shape.
    members
        None for errors from a normal distribution of the given standard deviation: 68.3 % within
        one and 95.4 % within two. For an ensemble of M members the share if the reference were one
        more member, drawn from the same normal distribution. The mean and the standard deviation s
        (with M in the denominator) are then estimates from M numbers, and |error| ≤ z·s means
        |t| ≤ z √((M − 1)/(M + 1)) for a variable t of Student's distribution with M − 1 degrees of
        freedom. Five members that are right cover 54 % and 82 %.

    Raises
    ------
    ActiveLearningError
        There are fewer than two members.
    """
    z = np.asarray(factors, dtype=np.float64)
    if members is None:
        return np.asarray(2 * stats.norm.cdf(z) - 1)
    limit = z / expected_ratio(members)
    return np.asarray(2 * stats.t.cdf(limit, members - 1) - 1)


def expected_ratio(members: int) -> float:
    """Root mean square error over deviation of an ensemble that is right, as above.

    √((M + 1)/(M − 1)) for M members: the error of the mean has the variance σ²(1 + 1/M), the
    deviation from it the mean square σ²(M − 1)/M.

    Raises
    ------
    ActiveLearningError
        There are fewer than two members.
    """
    if members < 2:
        raise ActiveLearningError(f"members={members!r}: give at least 2, whose deviation is used")
    return float(np.sqrt((members + 1) / (members - 1)))


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean()))
