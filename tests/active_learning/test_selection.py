"""Who is chosen: the best of each cluster, then the next best, never one that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.active_learning import (
    Cluster,
    FeatureScaler,
    find_clusters,
    rank_clusters,
    select,
)
from crysearch.errors import ActiveLearningError

FEATURES = np.arange(7.0)[:, None]
SCALER = FeatureScaler(np.zeros(1), np.ones(1))
CLUSTERS = [
    Cluster((3, 4, 5), -3.0, False),
    Cluster((0, 1), -2.0, False),
    Cluster((6,), -1.0, True),
    Cluster((2,), 0.0, True),
]


def test_the_best_of_each_cluster_best_clusters_first():
    found = select(CLUSTERS, FEATURES, SCALER, 3)
    assert found.chosen == (3, 0, 6)
    assert found.clusters == (0, 1, 2)
    assert found.rounds == (0, 0, 0)
    assert found.known == 0


def test_room_is_filled_by_the_next_best_of_each_cluster():
    found = select(CLUSTERS, FEATURES, SCALER, 100)
    assert found.chosen == (3, 0, 6, 2, 4, 1, 5)
    assert found.rounds == (0, 0, 0, 0, 1, 1, 2)


def test_what_has_a_reference_calculation_is_passed_over_for_the_next_best():
    found = select(CLUSTERS, FEATURES, SCALER, 2, known=[[3.1], [0.0]], tolerance=0.2)
    assert found.chosen == (4, 1)
    assert found.known == 2


def test_what_is_like_one_chosen_before_is_passed_over():
    found = select(CLUSTERS, FEATURES, SCALER, 100, tolerance=1.0)
    # 4 and 2 are next to 3, 1 next to 0; 5 is next to 6.
    assert found.chosen == (3, 0, 6)
    assert found.known == 4


def test_all_known_leaves_nothing():
    assert select(CLUSTERS, FEATURES, SCALER, 5, known=FEATURES).chosen == ()
    assert select(CLUSTERS, FEATURES, SCALER, 0).chosen == ()
    assert select([], FEATURES, SCALER, 5).chosen == ()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(0, 12),
    st.floats(0, 0.5),
    st.integers(0, 5),
)
def test_nothing_is_chosen_twice_or_near_what_is_known_and_order_does_not_matter(
    seed, count, tolerance, references
):
    random = np.random.default_rng(seed)
    features = random.normal(size=(25, 3)).round(1)  # some are equal
    scores = random.normal(size=25)
    known = features[:references] + 0.01
    keys = [f"{place:02d}" for place in range(25)]

    def chosen(order):
        clustering = find_clusters(features[order], radius=0.4)
        names = [keys[place] for place in order]
        ranked = rank_clusters(clustering, scores[order], names)
        found = select(
            ranked, features[order], clustering.scaler, count, known=known, tolerance=tolerance
        )
        return [names[place] for place in found.chosen], clustering.scaler

    names, scaler = chosen(np.arange(25))
    assert len(set(names)) == len(names) <= count
    places = [keys.index(name) for name in names]
    together = np.concatenate([known, features[places]])
    if len(places):
        distances = scaler.distances(features[places], together)
        distances[np.arange(len(places)), references + np.arange(len(places))] = np.inf
        assert distances.min() > tolerance
    assert chosen(random.permutation(25))[0] == names


def test_a_longer_selection_begins_with_the_shorter():
    longer = select(CLUSTERS, FEATURES, SCALER, 6, tolerance=0.5).chosen
    for count in range(6):
        assert select(CLUSTERS, FEATURES, SCALER, count, tolerance=0.5).chosen == longer[:count]


@pytest.mark.parametrize(
    ("clusters", "count", "tolerance"),
    [
        (CLUSTERS, -1, 0.0),
        (CLUSTERS, 1, -1.0),
        (CLUSTERS, 1, float("nan")),
        ([Cluster((7,), 0.0, True)], 1, 0.0),
        ([Cluster((1, 1), 0.0, True)], 1, 0.0),
    ],
)
def test_bad_input_is_refused(clusters, count, tolerance):
    with pytest.raises(ActiveLearningError):
        select(clusters, FEATURES, SCALER, count, tolerance=tolerance)
