"""Means of correlated series with their standard errors, and the drift of a conserved energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.errors import DynamicsError

# The sum over lags ends where the lag is so many correlation times (Sokal).
_WINDOW = 5.0


@dataclass(frozen=True)
class Mean:
    """The mean of a series.

    Attributes
    ----------
    mean, standard_deviation
        In the unit of the series.
    standard_error
        Of the mean, with the correlation of the series; None for fewer than two values, or where
        the series is shorter than ten correlation times and so says nothing of its error.
    correlation_time
        Integrated autocorrelation time in intervals of the series, 0.5 if it is not correlated;
        None for fewer than two values.
    """

    mean: float
    standard_deviation: float
    standard_error: float | None
    correlation_time: float | None


def mean_of(values: ArrayLike) -> Mean:
    """Mean of a stationary series of correlated values.

    The variance of the mean is 2 τ s² / n with the integrated autocorrelation time
    τ = 1/2 + Σ ρ(t), summed up to the first lag of five times τ: A. Sokal, in Functional
    Integration (Plenum, 1997), section 3.

    Parameters
    ----------
    values
        (n,) with equal intervals.

    Raises
    ------
    DynamicsError
        There is no value, or one is not finite.
    """
    series = np.asarray(values, dtype=float)
    if series.ndim != 1 or not len(series) or not np.isfinite(series).all():
        raise DynamicsError(
            f"values: shape {series.shape} — give at least one number, all of them finite"
        )
    mean, count = float(series.mean()), len(series)
    if count < 2:
        return Mean(mean, 0.0, None, None)
    spread = float(series.std(ddof=1))
    deviations = series - mean
    if not np.abs(deviations).max() > 1e-14 * max(abs(mean), 1e-300):
        return Mean(mean, 0.0, 0.0, 0.5)
    time = _correlation_time(_autocorrelation(deviations))
    error = spread * np.sqrt(2 * time / count) if count >= 10 * time else None
    return Mean(mean, spread, None if error is None else float(error), time)


def drift_of(times: ArrayLike, energies: ArrayLike, atoms: int) -> float | None:
    """Slope of the least-squares line through a total energy, eV per atom and ps.

    Parameters
    ----------
    times
        (n,) in ps.
    energies
        (n,) in eV, of the cell.
    atoms
        In the cell.

    Returns
    -------
    float or None
        None for fewer than two frames.
    """
    when, what = np.asarray(times, dtype=float), np.asarray(energies, dtype=float)
    if len(when) < 2:
        return None
    centred = when - when.mean()
    return float(centred @ (what - what.mean()) / (centred @ centred) / atoms)


def _autocorrelation(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """ρ(t) of all lags, by the Wiener–Khinchin theorem."""
    count = len(deviations)
    spectrum = np.fft.rfft(deviations, 2 * count)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * count)[:count]
    return np.asarray(covariance / covariance[0])


def _correlation_time(correlation: NDArray[np.float64]) -> float:
    times = 0.5 + np.cumsum(correlation[1:])
    lags = np.arange(1, len(correlation))
    within = np.flatnonzero(lags >= _WINDOW * times)
    time = times[within[0]] if len(within) else times[-1]
    # Series that alternate are better than independent ones; nothing is made of that.
    return float(max(time, 0.5))
