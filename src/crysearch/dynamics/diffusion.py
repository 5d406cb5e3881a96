"""Mean squared displacements and self-diffusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from crysearch.dynamics.observables import standard_error_of
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Mean squared displacement of an element's atoms, and its slope.

    Attributes
    ----------
    symbol
        The element.
    times
        (lags,) ps.
    squared
        (lags,) mean squared displacement about the centre of mass, over atoms and time origins, Å².
    coefficient, error
        Self-diffusion coefficient by Einstein's relation, slope / 6, and its standard error over
        blocks, 1e-9 m²/s; NaN where there are too few frames.
    """

    symbol: str
    times: NDArray[np.float64]
    squared: NDArray[np.float64]
    coefficient: float
    error: float


def diffusion(
    trajectory: Trajectory, symbol: str, longest: float | None = None, blocks: int = 4
) -> Diffusion:
    """Mean squared displacement and self-diffusion of one element, at constant volume.

    Parameters
    ----------
    symbol
        The element.
    longest
        Longest time lag, ps; None: a quarter of a block. The slope is that of the second half.
    blocks
        Consecutive parts of the trajectory for the error.

    Raises
    ------
    DynamicsError
        If the element is absent, or the trajectory has fewer than four frames.
    """
    chosen = np.flatnonzero([chemical_symbols[n] == symbol for n in trajectory.numbers])
    if not len(chosen):
        raise DynamicsError(f"symbol={symbol!r}: no such atoms in the trajectory")
    if len(trajectory) < 4:
        raise DynamicsError(f"{len(trajectory)} frames are too few for displacements; give 4")
    masses = atomic_masses[trajectory.numbers]
    centre = np.einsum("fnd,n->fd", trajectory.positions, masses) / masses.sum()
    places = trajectory.positions[:, chosen] - centre[:, None]
    interval = float(trajectory.times[1] - trajectory.times[0])
    block = len(trajectory) // blocks
    lags = max(block // 4, 2) if longest is None else int(longest / interval + 0.5)
    lags = min(max(lags, 2), len(trajectory) - 1)
    squared, times = _displacements(places, lags), np.arange(lags + 1, dtype=np.float64) * interval
    of_blocks = [
        _slope(times, _displacements(places[start : start + block], lags))
        for start in range(0, block * blocks, block)
        if block > lags
    ]
    # Å²/ps are 1e-8 m²/s.
    return Diffusion(
        symbol=symbol,
        times=times,
        squared=squared,
        coefficient=_slope(times, squared) / 6 * 10,
        error=standard_error_of(of_blocks) / 6 * 10 if len(of_blocks) > 1 else float("nan"),
    )


def _displacements(places: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    moved = [
        float(np.mean(np.sum((places[lag:] - places[: len(places) - lag]) ** 2, axis=2)))
        for lag in range(lags + 1)
    ]
    return np.array(moved)


def _slope(times: NDArray[np.float64], squared: NDArray[np.float64]) -> float:
    half = len(times) // 2
    return float(np.polyfit(times[half:], squared[half:], 1)[0])
