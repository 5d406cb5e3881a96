"""Pearson's distance against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from crysearch.errors import FingerprintError
from crysearch.fingerprints import (
    NearestFingerprint,
    pearson_distance,
    pearson_distance_matrix,
)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
)
def test_matches_scipy_and_ignores_scale_and_shift(seed, scale, shift):
    x, y = np.random.default_rng(seed).random((2, 50))
    expected = 1 - pearsonr(x, y).statistic
    assert pearson_distance(x, y) == pytest.approx(expected, abs=1e-10)
    assert pearson_distance(scale * x + shift, y) == pytest.approx(expected, abs=1e-8)
    assert pearson_distance(y, x) == pytest.approx(expected, abs=1e-10)
    assert 0 <= pearson_distance(x, x) < 1e-12
    assert pearson_distance(x, -x) == pytest.approx(2)


def test_matrix_and_nearest_agree_with_single_distances():
    rng = np.random.default_rng(0)
    queries, references = rng.random((6, 40)), rng.random((4, 40))
    matrix = pearson_distance_matrix(queries, references)
    expected = [[pearson_distance(q, r) for r in references] for q in queries]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    index, distance = NearestFingerprint(references).query(queries)
    np.testing.assert_array_equal(index, matrix.argmin(axis=1))
    np.testing.assert_allclose(distance, matrix.min(axis=1), atol=1e-12)


def test_undefined_distances_are_refused():
    with pytest.raises(FingerprintError, match="fingerprint 1 is constant"):
        pearson_distance_matrix(np.array([[1.0, 2.0], [3.0, 3.0]]))
    with pytest.raises(FingerprintError, match="not finite"):
        pearson_distance(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(FingerprintError, match="2 and 3 points"):
        pearson_distance(np.array([1.0, 2.0]), np.array([1.0, 2.0, 4.0]))
    with pytest.raises(FingerprintError, match="no fingerprints"):
        NearestFingerprint(np.empty((0, 5)))
