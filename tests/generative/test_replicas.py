from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import norm

from crysearch.errors import TrainingError
from crysearch.fingerprints import pearson_distance_matrix
from crysearch.generative.replicas import (
    interpolate,
    latent_arithmetic,
    latent_grid,
    random_latent_points,
    replica_diagnostics,
)


def test_the_published_grid():
    grid = latent_grid()
    assert grid.shape == (225, 2)
    axis = norm.ppf(np.linspace(0.05, 0.95, 15))
    np.testing.assert_allclose(grid[:15, 1], axis, atol=1e-14)
    np.testing.assert_allclose(grid[::15, 0], axis, atol=1e-14)
    assert (grid[112] == 0.0).all()
    assert len(np.unique(grid, axis=0)) == 225


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(2, 9), st.floats(0.01, 0.999))
def test_grid_quantiles(latent_dimension, points, interval):
    grid = latent_grid(latent_dimension, points, interval)
    assert grid.shape == (points**latent_dimension, latent_dimension)
    for coordinate in grid.T:
        axis = np.unique(coordinate)
        probabilities = norm.cdf(axis)
        assert len(axis) == points
        assert probabilities[-1] - probabilities[0] == pytest.approx(interval)
        np.testing.assert_allclose(np.diff(probabilities), interval / (points - 1), atol=1e-12)
        assert (coordinate[:, None] == axis).sum(axis=0).tolist() == [
            points ** (latent_dimension - 1)
        ] * points


def test_grid_of_one_point_is_the_median():
    assert latent_grid(3, 1).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"latent_dimension": 0}, "latent_dimension is 0"),
        ({"points": 0}, "points is 0"),
        ({"points": 2.5}, "points is 2.5"),
        ({"interval": 0.0}, "interval is 0.0"),
        ({"interval": 1.0}, "interval is 1.0"),
        ({"interval": np.nan}, "interval is nan"),
        ({"latent_dimension": 8}, "2562890625 points"),
    ],
)
def test_impossible_grids(arguments, field):
    with pytest.raises(TrainingError, match=field):
        latent_grid(**arguments)


def test_random_points_are_standard_normal_and_seeded():
    points = random_latent_points(20_000, 2, seed=3)
    assert points.shape == (20_000, 2)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), np.eye(2), atol=0.03)
    assert (points == random_latent_points(20_000, 2, seed=3)).all()
    assert (points != random_latent_points(20_000, 2, seed=4)).any()
    for bad in (
        {"n": 0, "latent_dimension": 2, "seed": 0},
        {"n": 1, "latent_dimension": 0, "seed": 0},
        {"n": 1, "latent_dimension": 2, "seed": -1},
    ):
        with pytest.raises(TrainingError):
            random_latent_points(**bad)


def test_interpolation_is_even_and_includes_both_ends():
    line = interpolate([0.0, 1.0], [1.0, -1.0], points=5)
    assert line.tolist() == [[0.0, 1.0], [0.25, 0.5], [0.5, 0.0], [0.75, -0.5], [1.0, -1.0]]
    assert interpolate([0.3], [0.7], points=2).tolist() == [[0.3], [0.7]]


@pytest.mark.parametrize(
    ("start", "end", "points", "message"),
    [
        ([0.0, 0.0], [0.0], 3, "start has 2 latent coordinates and end has 1"),
        ([[0.0, 0.0]], [0.0, 0.0], 3, "start has shape"),
        ([0.0, 0.0], [0.0, np.nan], 3, "end has shape"),
        ([0.0], [1.0], 1, "points is 1"),
    ],
)
def test_impossible_interpolations(start, end, points, message):
    with pytest.raises(TrainingError, match=message):
        interpolate(start, end, points)


def test_latent_arithmetic():
    a, b, c = np.random.default_rng(0).normal(size=(3, 2))
    np.testing.assert_allclose(latent_arithmetic([a, b, c], [1, -1, 1]), a - b + c)
    np.testing.assert_allclose(latent_arithmetic([a, b], [0.5, 0.5]), (a + b) / 2)
    with pytest.raises(TrainingError, match="each of the 2 points"):
        latent_arithmetic([a, b], [1.0])
    with pytest.raises(TrainingError, match="points has shape"):
        latent_arithmetic(a, [1.0])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_diagnostics_against_explicit_pairs(n, k, m, seed):
    random = np.random.default_rng(seed)
    replicas, database = random.random((n, m)), random.random((k, m))
    found = replica_diagnostics(replicas, database)
    union = np.concatenate([replicas, database])
    assert (found.replica_count, found.database_count) == (n, k)
    for name, array in (("replicas", replicas), ("database", database), ("both", union)):
        pairs = pdist(array, metric="correlation")
        assert getattr(found, f"{name}_mean") == pytest.approx(pairs.mean(), abs=1e-12)
        assert getattr(found, f"{name}_std") == pytest.approx(pairs.std(), abs=1e-7)


def test_diagnostics_use_the_fingerprints_distance(silicon):
    found = replica_diagnostics(silicon[:20], silicon[20:])
    upper = np.triu_indices(len(silicon), 1)
    distances = pearson_distance_matrix(silicon)[upper]
    assert found.both_mean == pytest.approx(distances.mean(), abs=1e-12)
    assert found.both_std == pytest.approx(distances.std(), abs=1e-10)


def test_silicon_database_figures(silicon):
    """With the present-day cells the database is about 0.62 ± 0.34 apart in g(r)."""
    found = replica_diagnostics(silicon, silicon)
    assert found.database_mean == pytest.approx(0.62, abs=0.05)
    assert found.database_std == pytest.approx(0.34, abs=0.03)


def test_diagnostics_of_equal_replicas_are_zero(small):
    found = replica_diagnostics(np.repeat(small[:1], 50, axis=0), small)
    assert found.replicas_mean == pytest.approx(0.0, abs=1e-12)
    assert found.replicas_std < 1e-6
    assert found.to_dict()["database_mean"] == found.database_mean


def test_diagnostics_are_fast():
    random = np.random.default_rng(0)
    replicas, database = random.random((20_000, 200)), random.random((36, 200))
    start = time.perf_counter()
    replica_diagnostics(replicas, database)
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize(
    ("replicas", "database", "message"),
    [
        (np.ones((1, 4)), np.eye(4), "replicas hold 1 rows"),
        (np.eye(4), np.ones((0, 4)), "database hold 0 rows"),
        (np.eye(4), np.eye(5), "database have 5 grid points"),
        (np.ones((3, 4)), np.eye(4), "replicas hold 3 constant rows"),
        (np.eye(4), np.full((3, 4), np.nan), "database hold NaN"),
    ],
)
def test_impossible_diagnostics(replicas, database, message):
    with pytest.raises(TrainingError, match=message):
        replica_diagnostics(replicas, database)


def test_replicas_need_no_torch():
    code = (
        "import sys, crysearch.generative, crysearch.generative.replicas; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
