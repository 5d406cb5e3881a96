"""Histograms of the distances of many atoms in many frames.

Compiled by numba on first use and cached on disk.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    cells: NDArray[np.float64],
    fractional: NDArray[np.float64],
    kinds: NDArray[np.int64],
    channels: NDArray[np.int64],
    images: NDArray[np.int64],
    cutoff: float,
    counts: NDArray[np.int64],
) -> None:
    atoms = fractional.shape[1]
    bins = counts.shape[2]
    scale = bins / cutoff
    limit = cutoff * cutoff
    for frame in range(cells.shape[0]):
        cell = cells[frame]
        n0, n1, n2 = images[frame, 0], images[frame, 1], images[frame, 2]
        for i in range(atoms):
            for j in range(i, atoms):
                d0 = fractional[frame, i, 0] - fractional[frame, j, 0]
                d1 = fractional[frame, i, 1] - fractional[frame, j, 1]
                d2 = fractional[frame, i, 2] - fractional[frame, j, 2]
                d0 -= math.floor(d0 + 0.5)
                d1 -= math.floor(d1 + 0.5)
                d2 -= math.floor(d2 + 0.5)
                channel = channels[kinds[i], kinds[j]]
                weight = 1 if i == j else 2
                for k0 in range(-n0, n0 + 1):
                    for k1 in range(-n1, n1 + 1):
                        for k2 in range(-n2, n2 + 1):
                            if i == j and k0 == 0 and k1 == 0 and k2 == 0:
                                continue
                            f0, f1, f2 = d0 + k0, d1 + k1, d2 + k2
                            x = f0 * cell[0, 0] + f1 * cell[1, 0] + f2 * cell[2, 0]
                            y = f0 * cell[0, 1] + f1 * cell[1, 1] + f2 * cell[2, 1]
                            z = f0 * cell[0, 2] + f1 * cell[1, 2] + f2 * cell[2, 2]
                            square = x * x + y * y + z * z
                            if square < limit:
                                place = min(int(math.sqrt(square) * scale), bins - 1)
                                counts[frame, channel, place] += weight


def pair_counts(
    cells: NDArray[np.float64],
    positions: NDArray[np.float64],
    kinds: NDArray[np.int64],
    cutoff: float,
    bins: int,
) -> NDArray[np.int64]:
    """Count the distances of all ordered pairs of atoms, periodic images included.

    Parameters
    ----------
    cells
        (frames, 3, 3), rows are the cell vectors, Å; of any shape, also smaller than the cut-off.
    positions
        (frames, atoms, 3), Å.
    kinds
        (atoms,) the kind of each atom, from 0.
    cutoff, bins
        Å; bins of equal width from 0 to the cut-off.

    Returns
    -------
    ndarray
        (frames, channels, bins) with one channel for each unordered pair of kinds, in the order
        (0, 0), (0, 1), …, (1, 1), …; pairs of two kinds are counted in both orders.
    """
    kinds = np.ascontiguousarray(kinds, dtype=np.int64)
    number = int(kinds.max()) + 1 if len(kinds) else 0
    channels = np.zeros((number, number), dtype=np.int64)
    upper = np.triu_indices(number)
    channels[upper] = np.arange(len(upper[0]))
    channels.T[upper] = channels[upper]
    cells = np.ascontiguousarray(cells, dtype=np.float64)
    inverse = np.linalg.inv(cells)
    # Distances of opposite faces: 1 / |rows of the reciprocal cell|.
    heights = 1.0 / np.linalg.norm(inverse, axis=1)
    images = np.ceil(np.maximum(cutoff / heights - 0.5, 0.0)).astype(np.int64)
    counts = np.zeros((len(cells), len(upper[0]), bins), dtype=np.int64)
    _fill(
        cells,
        np.ascontiguousarray(positions @ inverse),
        kinds,
        channels,
        images,
        float(cutoff),
        counts,
    )
    return counts
