"""The search among many known fingerprints against a comparison with each of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.errors import FingerprintError
from crysearch.fingerprints import (
    NearestFingerprint,
    RadialDistributionFunction,
    nearest,
    pearson_distance_matrix,
)
from crysearch.fingerprints.distances import standardised
from crysearch.sampling import CrystalRequest, create_sampler


def brute_force(queries: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair, with the scalar products summed in one fixed order."""
    x, y = standardised(queries), standardised(known)
    distances = np.clip(1.0 - np.array([(row * y).sum(axis=1) for row in x]), 0.0, 2.0)
    index = distances.argmin(axis=1)
    return index, distances[np.arange(len(x)), index]


def smooth(rng: np.random.Generator, number: int, points: int) -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    return np.array([np.convolve(row, kernel, "same") for row in rng.random((number, points)) ** 6])


def low_rank(rng: np.random.Generator, number: int, points: int) -> np.ndarray:
    basis = np.random.default_rng(7).normal(size=(2, points))
    return rng.normal(size=(number, 2)) @ basis + 1e-9 * rng.random((number, points))


def noise(rng: np.random.Generator, number: int, points: int) -> np.ndarray:
    return rng.normal(size=(number, points))


@pytest.fixture
def small_blocks(monkeypatch):
    """Sizes such that a few dozen fingerprints go through every branch."""
    for name, size in {
        "FEW": 1, "_KNOWN_BLOCK": 16, "_BOUND_QUERIES": 8, "_PAIRS": 5, "_SAMPLE": 10,
    }.items():  # fmt: skip
        monkeypatch.setattr(nearest, name, size)


@pytest.mark.parametrize("kind", [smooth, low_rank, noise])
def test_index_and_distance_are_those_of_brute_force(kind, small_blocks):
    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        known=st.integers(2, 70),
        points=st.integers(3, 40),
        copies=st.integers(0, 20),
        scale=st.sampled_from([1e-6, 1.0, 1e6]),
    )
    def check(seed, known, points, copies, scale):
        rng = np.random.default_rng(seed)
        references = kind(rng, known, points)
        # Equal ones, whose first is the answer, and queries that are among the known.
        references[rng.integers(known, size=copies)] = references[rng.integers(known)]
        queries = np.concatenate([scale * kind(rng, 20, points), references[:3]])
        index, distance = NearestFingerprint(references).query(queries)
        expected_index, expected = brute_force(queries, references)
        np.testing.assert_array_equal(index, expected_index)
        np.testing.assert_array_equal(distance, expected)
        whole = pearson_distance_matrix(queries, references).min(axis=1)
        np.testing.assert_allclose(distance, whole, rtol=0, atol=1e-14)

    check()


def test_bounds_hold_with_room_for_rounding(small_blocks):
    rng = np.random.default_rng(2)
    for kind in (smooth, low_rank, noise):
        known, queries = standardised(kind(rng, 50, 30)), standardised(kind(rng, 40, 30))
        bounds = nearest._Bounds(known)
        upper = bounds._project(queries) @ np.concatenate(bounds._blocks, axis=1)
        assert (upper + bounds._margin >= queries @ known.T).all()


@pytest.mark.parametrize("species", [("Si",), ("Sn", "Se"), ("Al", "O", "Mg")])
def test_real_crystals(species):
    """Unary, binary and ternary, species-resolved, more of them than are compared one by one."""
    pairs = {(a, b): 1.6 for i, a in enumerate(species) for b in species[i:]}
    counts = {1: (8,), 2: (4, 4), 3: (2, 4, 1)}[len(species)]
    request = CrystalRequest(species, counts, 20.0 * sum(counts), pairs)
    batch = create_sampler("wyckoff", request).sample(nearest.FEW + 700, 3)
    symbols = [batch.species[index] for index in batch.species_index]
    rdf = RadialDistributionFunction(species=species)
    prints = rdf.compute(batch.lattices, batch.fractional_coordinates, symbols)
    known, queries = prints[: nearest.FEW + 500], prints[nearest.FEW + 500 :]
    searched = NearestFingerprint(known)
    assert searched._bounds is not None
    index, distance = searched.query(queries)
    expected_index, expected = brute_force(queries, known)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_array_equal(distance, expected)
    # However the queries are cut.
    for part in (slice(0, 1), slice(1, 60), slice(60, None)):
        np.testing.assert_array_equal(searched.query(queries[part])[1], distance[part])


def test_few_are_compared_by_one_product_of_matrices():
    rng = np.random.default_rng(1)
    known, queries = rng.random((261, 200)), rng.random((1000, 200))
    index, distance = NearestFingerprint(known).query(queries)
    distances = pearson_distance_matrix(queries, known)
    np.testing.assert_array_equal(index, distances.argmin(axis=1))
    np.testing.assert_array_equal(distance, distances.min(axis=1))


@pytest.mark.parametrize("number", [nearest.FEW, 20_000])
def test_memory_does_not_grow_with_the_queries(number):
    rng = np.random.default_rng(4)
    known, queries = rng.random((number, 20)), rng.random((10_000, 20))
    searched = NearestFingerprint(known)
    peaks = []
    for some in (queries[:5000], queries):
        tracemalloc.start()
        searched.query(some)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Beside the answer, 16 bytes each; all distances at once would be 80 MB or more.
    assert peaks[1] - peaks[0] < 16 * 5000 + 1e6


def test_other_settings_are_named():
    with pytest.raises(FingerprintError, match="6 and 5 points"):
        NearestFingerprint(np.eye(5)).query(np.eye(6))
