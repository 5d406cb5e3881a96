"""Clusters with a known answer; what must not matter does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.active_learning import FeatureScaler, find_clusters, rank_clusters
from crysearch.errors import ActiveLearningError

CENTRES = np.array([[0.0, 0.0, 5.0], [9.0, 1.0, 5.0], [2.0, 8.0, 5.0]])


def blobs(seed: int = 0, each: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Three tight groups and two structures of their own; the third feature never changes."""
    random = np.random.default_rng(seed)
    noise = np.zeros((3, each, 3))
    noise[:, :, :2] = random.uniform(-0.05, 0.05, size=(3, each, 2))
    points = (CENTRES[:, None] + noise).reshape(-1, 3)
    alone = np.array([[5.0, 5.0, 5.0], [-6.0, 4.0, 5.0]])
    truth = np.repeat([0, 1, 2, 3, 4], [each, each, each, 1, 1])
    return np.concatenate([points, alone]), truth


def same_partition(first, second) -> bool:
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second))


def test_separate_groups_are_found_and_outliers_are_clusters_of_their_own():
    features, truth = blobs()
    found = find_clusters(features)
    assert same_partition(found.labels, truth)
    assert found.count == 5
    assert list(np.flatnonzero(found.outliers)) == [36, 37]


@pytest.mark.parametrize("neighbours", [2, 4])
def test_the_order_of_the_pool_does_not_matter(neighbours):
    features = np.random.default_rng(3).normal(size=(60, 4))
    order = np.random.default_rng(4).permutation(60)
    plain = find_clusters(features, radius=0.6, neighbours=neighbours)
    shuffled = find_clusters(features[order], radius=0.6, neighbours=neighbours)
    assert 1 < plain.count < 60
    assert np.array_equal(shuffled.labels, plain.labels[order])
    assert np.array_equal(shuffled.outliers, plain.outliers[order])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.tuples(*[st.floats(0.01, 100)] * 3), st.floats(-50, 50))
def test_units_and_origin_of_features_do_not_matter(seed, scale, origin):
    features, truth = blobs(seed)
    assert same_partition(find_clusters(features * np.array(scale) + origin).labels, truth)


def test_one_structure_is_an_outlier():
    found = find_clusters([[1.0, 2.0]])
    assert list(found.labels) == [0]
    assert list(found.outliers) == [True]


def test_ranks_follow_the_best_member():
    features, truth = blobs()
    found = find_clusters(features)
    scores = np.linspace(1.0, 0.0, len(features))
    ranked = rank_clusters(found, scores)
    assert [cluster.best for cluster in ranked] == [37, 36, 35, 23, 11]
    assert [truth[cluster.best] for cluster in ranked] == [4, 3, 2, 1, 0]
    assert [cluster.outlier for cluster in ranked] == [True, True, False, False, False]
    assert ranked[2].members == tuple(range(35, 23, -1))
    assert ranked[2].score == scores[35]
    assert sorted(place for cluster in ranked for place in cluster.members) == list(range(38))


def test_equal_scores_are_sorted_by_key():
    found = find_clusters([[0.0], [5.0], [10.0]])
    ranked = rank_clusters(found, [1.0, 1.0, 1.0], ["c", "a", "b"])
    assert [cluster.best for cluster in ranked] == [1, 2, 0]


def test_distances_are_root_mean_squares_of_standardised_features():
    scaler = FeatureScaler.fit([[0.0, 0.0, 7.0], [2.0, 10.0, 7.0]])
    # Means 1 and 5, deviations 1 and 5; the third feature is left out.
    assert scaler.distances([[1.0, 5.0, 7.0]], [[2.0, 5.0, 9.0]]) == pytest.approx(np.sqrt(0.5))
    assert scaler.distances([[0.0, 0.0, 7.0]], [[2.0, 10.0, 7.0]]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("features", "options", "word"),
    [
        ([[1.0], [2.0]], {"radius": 0.0}, "radius"),
        ([[1.0], [2.0]], {"neighbours": 1}, "neighbours"),
        ([[1.0], [np.nan]], {}, "row 1"),
        ([1.0, 2.0], {}, "shape"),
        (np.empty((0, 3)), {}, "at least one"),
    ],
)
def test_bad_input_is_named(features, options, word):
    with pytest.raises(ActiveLearningError, match=word):
        find_clusters(features, **options)


def test_scores_must_fit():
    found = find_clusters([[0.0], [5.0]])
    with pytest.raises(ActiveLearningError, match="scores"):
        rank_clusters(found, [1.0])
    with pytest.raises(ActiveLearningError, match="finite"):
        rank_clusters(found, [1.0, np.nan])
    with pytest.raises(ActiveLearningError, match="columns"):
        found.scaler.transform([[1.0, 2.0]])
