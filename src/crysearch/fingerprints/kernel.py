"""Compiled loop over interatomic distances behind the radial distribution function."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

#: Half-width of the Gaussian that is summed, in standard deviations. What is cut off is below 3e-11
#: of the peak: g(r) divides by r², which magnifies it for atoms that nearly coincide.
SMEARING_REACH = 7.0
# Gaussians that are made together: loops over them become vector instructions.
_LANES = 64

# Called from compiled code only: without a Python entry point it compiles in half the time.
_inner = njit(  # type: ignore[call-overload]
    nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy"
)


class _Grid(NamedTuple):
    """Grid points and Gaussians; ``width`` is the largest number of points beside the start."""

    points: int
    spacing: float
    smearing: float
    normalisation: float
    curvature: float
    half_step: float
    width: int


class _Lanes(NamedTuple):
    """Gaussians in the making: distance, channel, starting point and the two recurrences.

    ``table`` (2 width + 1, lanes) holds their values, the starting point in the middle row.
    """

    distance: np.ndarray
    channel: np.ndarray
    start: np.ndarray
    up: np.ndarray
    up_ratio: np.ndarray
    up_points: np.ndarray
    down: np.ndarray
    down_ratio: np.ndarray
    down_points: np.ndarray
    table: np.ndarray


@_inner
def _cross(first, second):  # pragma: no cover - compiled
    """Vector product; np.cross takes longer to compile than all the rest of this file."""
    return (
        first[1] * second[2] - first[2] * second[1],
        first[2] * second[0] - first[0] * second[2],
        first[0] * second[1] - first[1] * second[0],
    )


@_inner
def _add_gaussians(histograms, lanes, number, grid):  # pragma: no cover - compiled
    """Add a normalised Gaussian for each of the first so many lanes.

    ``histograms`` (channels, points + 2 width) has room at both ends, so that all Gaussians take
    equally many steps; the processor would guess wrong where each of them ends.
    """
    spacing, smearing, width = grid.spacing, grid.smearing, grid.width
    inverse = 1.0 / (smearing * smearing)
    most = 0
    for lane in range(number):
        distance = lanes.distance[lane]
        first = max(0, math.ceil((distance - SMEARING_REACH * smearing) / spacing - 0.5))
        last = math.floor((distance + SMEARING_REACH * smearing) / spacing - 0.5)
        last = min(grid.points - 1, last)
        # A Gaussian on an even grid obeys a two-term recurrence, so that two exponentials per
        # distance suffice; starting at the largest value keeps rounding errors relative to it.
        start = min(max(math.floor(distance / spacing), first), last)
        offset = (start + 0.5) * spacing - distance
        peak = grid.normalisation * math.exp(-0.5 * offset * offset * inverse)
        slope = math.exp(-offset * spacing * inverse)
        if first > last:
            peak = 0.0  # beyond the last grid point
        lanes.start[lane] = start
        lanes.up[lane] = peak
        lanes.down[lane] = peak
        lanes.table[width, lane] = peak
        lanes.up_ratio[lane] = slope * grid.half_step
        lanes.down_ratio[lane] = grid.half_step / slope
        lanes.up_points[lane] = last - start
        lanes.down_points[lane] = start - first
        most = max(most, last - start, start - first)
    for step in range(1, most + 1):
        for lane in range(_LANES):
            value = lanes.up[lane] * lanes.up_ratio[lane]
            lanes.up[lane] = value
            lanes.up_ratio[lane] *= grid.curvature
            lanes.table[width + step, lane] = value if step <= lanes.up_points[lane] else 0.0
        for lane in range(_LANES):
            value = lanes.down[lane] * lanes.down_ratio[lane]
            lanes.down[lane] = value
            lanes.down_ratio[lane] *= grid.curvature
            lanes.table[width - step, lane] = value if step <= lanes.down_points[lane] else 0.0
    for lane in range(number):
        histogram = histograms[lanes.channel[lane]]
        start = lanes.start[lane]
        for row in range(width - most, width + most + 1):
            histogram[start + row] += lanes.table[row, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    lattices, fractional_coordinates, channels, reach, grid, lanes, histograms, counts
):  # pragma: no cover - compiled
    """Loop over crystals, pairs of atoms and lattice vectors."""
    crystals, atoms = fractional_coordinates.shape[:2]
    reach_squared = reach * reach
    none = np.int64(0)  # 0 is a type of its own, for which all would be compiled again
    for crystal in range(crystals):
        histograms[:] = 0.0
        filled = none
        a0, a1, a2 = lattices[crystal, 0], lattices[crystal, 1], lattices[crystal, 2]
        x, y, z = _cross(a1, a2)
        volume = abs(a0[0] * x + a0[1] * y + a0[2] * z)
        # An image can be within reach only if its fractional offset times the distance
        # between the lattice planes is: exact however skewed the cell is.
        range0 = reach * math.sqrt(x * x + y * y + z * z) / volume
        x, y, z = _cross(a2, a0)
        range1 = reach * math.sqrt(x * x + y * y + z * z) / volume
        a22 = np.dot(a2, a2)
        for i in range(atoms):
            for j in range(i, atoms):
                d0 = fractional_coordinates[crystal, j, 0] - fractional_coordinates[crystal, i, 0]
                d1 = fractional_coordinates[crystal, j, 1] - fractional_coordinates[crystal, i, 1]
                d2 = fractional_coordinates[crystal, j, 2] - fractional_coordinates[crystal, i, 2]
                first0 = math.ceil(-range0 - d0)
                if i == j:
                    first0 = 0  # an atom's images come in ± pairs: visit one of each
                for k0 in range(first0, math.floor(range0 - d0) + 1):
                    first1 = math.ceil(-range1 - d1)
                    if i == j and k0 == 0:
                        first1 = 0
                    for k1 in range(first1, math.floor(range1 - d1) + 1):
                        x = (d0 + k0) * a0[0] + (d1 + k1) * a1[0] + d2 * a2[0]
                        y = (d0 + k0) * a0[1] + (d1 + k1) * a1[1] + d2 * a2[1]
                        z = (d0 + k0) * a0[2] + (d1 + k1) * a1[2] + d2 * a2[2]
                        # |v + t·a2|² ≤ reach² is a quadratic in t: only its roots' interval.
                        along = x * a2[0] + y * a2[1] + z * a2[2]
                        square = x * x + y * y + z * z
                        discriminant = along * along - a22 * (square - reach_squared)
                        if discriminant < 0.0:
                            continue
                        root = math.sqrt(discriminant)
                        first2 = math.ceil((-along - root) / a22)
                        if i == j and k0 == 0 and k1 == 0:
                            first2 = 1
                        for k2 in range(first2, math.floor((-along + root) / a22) + 1):
                            squared = square + k2 * (2.0 * along + k2 * a22)
                            lanes.distance[filled] = math.sqrt(max(squared, 0.0))
                            lanes.channel[filled] = channels[i, j]
                            filled += 1
                            if filled == _LANES:
                                _add_gaussians(histograms, lanes, filled, grid)
                                filled = none
        _add_gaussians(histograms, lanes, filled, grid)
        for channel in range(counts.shape[1]):
            for point in range(grid.points):
                counts[crystal, channel, point] = histograms[channel, grid.width + point]


def smeared_pair_counts(
    lattices: np.ndarray,
    fractional_coordinates: np.ndarray,
    channels: np.ndarray,
    channel_count: int,
    cutoff: float,
    grid_points: int,
    smearing: float,
) -> np.ndarray:
    """Sum the smeared distances of every ordered pair of atoms, per pair channel.

    Parameters
    ----------
    lattices
        Lattice vectors as rows, shape (crystals, 3, 3), Å.
    fractional_coordinates
        Shape (crystals, atoms, 3).
    channels
        Channel that the pair (i, j) belongs to, shape (atoms, atoms), symmetric.
    channel_count, cutoff, grid_points, smearing
        Channels, Å, points, Å.

    Returns
    -------
    numpy.ndarray
        Shape (crystals, channel_count, grid_points): ordered pairs per Å, grid point k at
        (k + ½)·cutoff/grid_points.
    """
    spacing = cutoff / grid_points
    inverse = 1.0 / (smearing * smearing)
    grid = _Grid(
        points=grid_points,
        spacing=spacing,
        smearing=smearing,
        normalisation=2.0 / (smearing * math.sqrt(2.0 * math.pi)),
        curvature=math.exp(-spacing * spacing * inverse),
        half_step=math.exp(-0.5 * spacing * spacing * inverse),
        width=math.floor(SMEARING_REACH * smearing / spacing + 0.5) + 1,
    )
    lanes = _Lanes(
        distance=np.zeros(_LANES),
        channel=np.zeros(_LANES, dtype=np.int64),
        start=np.zeros(_LANES, dtype=np.int64),
        up=np.zeros(_LANES),
        up_ratio=np.zeros(_LANES),
        up_points=np.zeros(_LANES),
        down=np.zeros(_LANES),
        down_ratio=np.zeros(_LANES),
        down_points=np.zeros(_LANES),
        table=np.zeros((2 * grid.width + 1, _LANES)),
    )
    histograms = np.zeros((channel_count, grid_points + 2 * grid.width))
    counts = np.empty((len(lattices), channel_count, grid_points))
    reach = cutoff + SMEARING_REACH * smearing
    _fill(lattices, fractional_coordinates, channels, reach, grid, lanes, histograms, counts)
    return counts
