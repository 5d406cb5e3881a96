"""Nearest of many known fingerprints by Pearson's distance, exactly.

Fingerprints with zero mean and unit norm, as Pearson's correlation r is the scalar product of such
two. Let P x be the components of x along a few orthonormal directions and s(x) the norm of what is
left of it; then r(x, y) ≤ P x · P y + s(x) s(y) (Cauchy and Schwarz). Radial distribution functions
are smooth, so that a quarter of the directions makes the bound tight: one product of narrow
matrices in single precision leaves one or two of a hundred thousand fingerprints to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from crysearch.errors import FingerprintError
from crysearch.fingerprints.distances import standardised

#: Up to so many known fingerprints, the product of the whole matrices is faster.
FEW = 1000
_KNOWN_BLOCK = 4096
_QUERY_BLOCK = 4096
_BOUND_QUERIES = 256
_PAIRS = 16384
# The directions are found from so many fingerprints, and leave out so much of their squares.
_SAMPLE = 8192
_LEFT_OUT = 0.02
# Rounding of a single-precision product of two vectors of norm 1 and n terms is below
# (n + 3)·2⁻²⁴, and of a double-precision one below n·2⁻⁵².
_SINGLE, _DOUBLE = 2.0**-23, 2.0**-51
# Above this share of pairs that the bound leaves, whole correlations are the faster second look.
_DENSE = 0.02


@dataclass(frozen=True)
class NearestFingerprint:
    """Nearest of a fixed set of fingerprints by Pearson's distance, for many queries.

    Memory is that of a few copies of the fingerprints, whatever the number of queries. Above
    :data:`FEW` fingerprints most of them are ruled out by an upper bound of the correlation; index
    and distance are those of a comparison with each of them all the same.

    Parameters
    ----------
    fingerprints
        Shape (k, m), at least one row.
    """

    fingerprints: np.ndarray
    _standardised: np.ndarray = field(init=False, repr=False)
    _bounds: _Bounds | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if np.asarray(self.fingerprints).ndim != 2 or len(self.fingerprints) == 0:
            raise FingerprintError("no fingerprints to compare with: give at least one row")
        known = standardised(self.fingerprints)
        object.__setattr__(self, "_standardised", known)
        object.__setattr__(self, "_bounds", _Bounds(known) if len(known) > FEW else None)

    def query(self, fingerprints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of, and distance to, the nearest: arrays of shape (n,); ties go to the first."""
        fingerprints = np.atleast_2d(fingerprints)
        known = self._standardised
        if fingerprints.shape[1] != known.shape[1]:
            raise FingerprintError(
                f"fingerprints of {fingerprints.shape[1]} and {known.shape[1]} points: compare "
                "only RDFs made with the same settings"
            )
        nearest = np.empty(len(fingerprints), dtype=np.intp)
        distances = np.empty(len(fingerprints))
        size = _QUERY_BLOCK if self._bounds is None else _BOUND_QUERIES
        for start in range(0, len(fingerprints), size):
            rows = slice(start, start + size)
            queries = standardised(fingerprints[rows])
            nearest[rows], distances[rows] = (
                _nearest_of_few(queries, known)
                if self._bounds is None
                else self._bounds.nearest(queries)
            )
        return nearest, distances


def _nearest_of_few(queries: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distances = queries @ known.T
    np.subtract(1.0, distances, out=distances)
    np.clip(distances, 0.0, 2.0, out=distances)
    nearest = distances.argmin(axis=1)
    return nearest, distances[np.arange(len(nearest)), nearest]


class _Bounds:
    """Upper bounds of the correlations with many known fingerprints, and the search by them."""

    def __init__(self, known: np.ndarray) -> None:
        self._known = known
        sample = known[:: -(-len(known) // _SAMPLE)]
        shares, directions = np.linalg.eigh(sample.T @ sample / len(sample))
        # Eigenvalues ascend and add up to 1.
        number = int((np.cumsum(shares) > _LEFT_OUT).sum())
        self._directions = directions[:, ::-1][:, :number]
        # One matrix a block, each row in one piece, as the product likes it best.
        self._blocks = [
            np.ascontiguousarray(self._project(known[start : start + _KNOWN_BLOCK]).T)
            for start in range(0, len(known), _KNOWN_BLOCK)
        ]
        self._margin = np.float32((number + 8) * _SINGLE)

    def _project(self, fingerprints: np.ndarray) -> np.ndarray:
        """Components along the directions, then the norm of what is left, single precision."""
        components = fingerprints @ self._directions
        rest = np.linalg.norm(fingerprints - components @ self._directions.T, axis=1)
        return np.column_stack([components, rest]).astype(np.float32)

    def nearest(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of, and distance to, the nearest for standardised queries."""
        components = self._project(queries)
        every = np.arange(len(queries))
        best = _Best(queries, self._known)
        # Written to again and again: fresh memory would cost as much as the product.
        memory = np.empty(len(queries) * _KNOWN_BLOCK, dtype=np.float32)
        for number, block in enumerate(self._blocks):
            start, size = number * _KNOWN_BLOCK, block.shape[1]
            bounds = memory[: len(queries) * size].reshape(len(queries), size)
            np.matmul(components, block, out=bounds)
            # The correlation with the most promising one rules out most of the others.
            first = bounds.argmax(axis=1)
            promising = np.flatnonzero(bounds[every, first] >= best.correlations - self._margin)
            if not len(promising):
                continue
            best.compare(promising, start + first[promising])
            limits = (best.correlations - self._margin).astype(np.float32) - self._margin
            near = np.flatnonzero(bounds >= limits[:, None])
            if len(near) > _DENSE * bounds.size:
                exact = queries @ self._known[start : start + size].T
                limits = np.maximum(best.correlations, exact.max(axis=1))
                near = np.flatnonzero(exact >= limits[:, None] - (queries.shape[1] + 8) * _DOUBLE)
            query, column = np.divmod(near, size)
            best.compare(query, start + column)
        return best.indices, best.distances


class _Best:
    """The nearest known fingerprint of each query as far as compared."""

    def __init__(self, queries: np.ndarray, known: np.ndarray) -> None:
        self._queries, self._known = queries, known
        self.indices = np.zeros(len(queries), dtype=np.intp)
        self.distances = np.full(len(queries), np.inf)

    @property
    def correlations(self) -> np.ndarray:
        """Of the best; −∞ before the first comparison."""
        return 1.0 - self.distances

    def compare(self, query: np.ndarray, index: np.ndarray) -> None:
        """Compare pairs of a query and a known fingerprint."""
        for start in range(0, len(query), _PAIRS):
            q, k = query[start : start + _PAIRS], index[start : start + _PAIRS]
            # Summed row by row, so that a distance does not depend on what else is compared.
            correlations = (self._queries[q] * self._known[k]).sum(axis=1)
            distances = np.clip(1.0 - correlations, 0.0, 2.0)
            order = np.lexsort((k, distances, q))
            q, k, distances = q[order], k[order], distances[order]
            leads = np.concatenate([[True], q[1:] != q[:-1]])
            q, k, distances = q[leads], k[leads], distances[leads]
            ahead = (distances < self.distances[q]) | (
                (distances == self.distances[q]) & (k < self.indices[q])
            )
            self.indices[q[ahead]] = k[ahead]
            self.distances[q[ahead]] = distances[ahead]
