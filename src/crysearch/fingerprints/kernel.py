"""Compiled loop over interatomic distances behind the radial distribution function."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: Half-width of the Gaussian that is summed, in standard deviations. What is cut off is below 3e-11
#: of the peak: g(r) divides by r², which magnifies it for atoms that nearly coincide.
SMEARING_REACH = 7.0


# Called from compiled code only: without a Python entry point it compiles in half the time.
_inner = njit(  # type: ignore[call-overload]
    nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy"
)


@_inner
def _cross(first, second):  # pragma: no cover - compiled
    """Vector product."""
    return (
        first[1] * second[2] - first[2] * second[1],
        first[2] * second[0] - first[0] * second[2],
        first[0] * second[1] - first[1] * second[0],
    )


@_inner
def _add_smeared_distance(
    histogram, distance, weight, spacing, smearing
):  # pragma: no cover - compiled
    """Add ``weight`` times a normalised Gaussian centred on ``distance`` to one channel."""
    points = histogram.shape[0]
    first = max(0, math.ceil((distance - SMEARING_REACH * smearing) / spacing - 0.5))
    last = min(points - 1, math.floor((distance + SMEARING_REACH * smearing) / spacing - 0.5))
    if first > last:
        return
    # A Gaussian on an even grid obeys a two-term recurrence, so that three exponentials per
    # distance suffice; starting at the largest value keeps rounding errors relative to it.
    start = min(max(math.floor(distance / spacing), first), last)
    offset = (start + 0.5) * spacing - distance
    inverse = 1.0 / (smearing * smearing)
    peak = weight * math.exp(-0.5 * offset * offset * inverse)
    curvature = math.exp(-spacing * spacing * inverse)
    half_step = math.exp(-0.5 * spacing * spacing * inverse)
    slope = math.exp(-offset * spacing * inverse)
    histogram[start] += peak
    value, ratio = peak, slope * half_step
    for point in range(start + 1, last + 1):
        value *= ratio
        ratio *= curvature
        histogram[point] += value
    value, ratio = peak, half_step / slope
    for point in range(start - 1, first - 1, -1):
        value *= ratio
        ratio *= curvature
        histogram[point] += value


@njit(cache=True, nogil=True, error_model="numpy")
def smeared_pair_counts(
    lattices, fractional_coordinates, channels, channel_count, cutoff, grid_points, smearing
):  # pragma: no cover - compiled
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
    counts
        Shape (crystals, channel_count, grid_points): ordered pairs per Å, grid point k at
        (k + ½)·cutoff/grid_points.
    """
    crystals, atoms = fractional_coordinates.shape[:2]
    counts = np.zeros((crystals, channel_count, grid_points))
    spacing = cutoff / grid_points
    reach = cutoff + SMEARING_REACH * smearing
    reach_squared = reach * reach
    normalisation = 2.0 / (smearing * math.sqrt(2.0 * math.pi))
    for crystal in range(crystals):
        a0, a1, a2 = lattices[crystal, 0], lattices[crystal, 1], lattices[crystal, 2]
        # Products are written out: np.cross takes longer to compile than all the rest.
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
                histogram = counts[crystal, channels[i, j]]
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
                            if squared <= 0.0:
                                squared = 0.0
                            _add_smeared_distance(
                                histogram, math.sqrt(squared), normalisation, spacing, smearing
                            )
    return counts
