"""Pearson's distance between fingerprints."""

from __future__ import annotations

import numpy as np

from crysearch.errors import FingerprintError


def is_comparable(fingerprints: np.ndarray) -> np.ndarray:
    """Which rows have a Pearson's distance at all: finite and not constant, shape (n,)."""
    spread = np.ptp(fingerprints, axis=1)
    return spread > 1e-12 * np.abs(fingerprints).max(axis=1, initial=0.0)


def standardised(fingerprints: np.ndarray) -> np.ndarray:
    """Rows shifted to zero mean and scaled to unit norm, so that a dot product is r_P.

    Raises
    ------
    FingerprintError
        If a row is constant or not finite.
    """
    fingerprints = np.atleast_2d(np.asarray(fingerprints, dtype=np.float64))
    bad = ~is_comparable(fingerprints)
    if bad.any():
        raise FingerprintError(
            f"fingerprint {int(np.argmax(bad))} is constant or not finite: Pearson's "
            "correlation is undefined for it (is the cut-off shorter than every distance?)"
        )
    centred = fingerprints - fingerprints.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def pearson_distance_matrix(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Pearson's distance 1 − r_P between every row of one array and every row of another.

    Parameters
    ----------
    first
        Fingerprints, shape (n, m).
    second
        Fingerprints on the same grid, shape (k, m); ``first`` itself by default.

    Returns
    -------
    numpy.ndarray
        Shape (n, k), between 0 and 2.

    Raises
    ------
    FingerprintError
        If the grids differ, or a fingerprint is constant or not finite.
    """
    x = standardised(first)
    y = x if second is None else standardised(second)
    if x.shape[1] != y.shape[1]:
        raise FingerprintError(
            f"fingerprints of {x.shape[1]} and {y.shape[1]} points: compare only RDFs made "
            "with the same settings"
        )
    return np.clip(1.0 - x @ y.T, 0.0, 2.0)


def pearson_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's distance 1 − r_P between two fingerprints on the same grid, in [0, 2]."""
    return float(pearson_distance_matrix(first, second)[0, 0])
