"""Groups, quotas and counts of the screening."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.errors import FingerprintError
from crysearch.fingerprints import pearson_distance, pearson_distance_matrix
from crysearch.screening import (
    NEAR,
    DistinctFingerprints,
    QuotaFilling,
    Screen,
    ScreeningResult,
    SetScreen,
)


def result_of(near: list[int]) -> ScreeningResult:
    zeros = np.zeros(len(near))
    return ScreeningResult(
        zeros.astype(int), zeros, zeros.astype(int), zeros, np.array(near, dtype=int)
    )


def test_classes_follow_the_definition():
    rng = np.random.default_rng(1)
    references, replicas, crystals = rng.random((4, 12)), rng.random((6, 12)), rng.random((200, 12))
    threshold = 0.6
    result = Screen(references, replicas, threshold).classify(crystals)
    for index, crystal in enumerate(crystals):
        to_references = [pearson_distance(crystal, other) for other in references]
        to_replicas = [pearson_distance(crystal, other) for other in replicas]
        near = {
            (False, False): "neither",
            (True, False): "database",
            (False, True): "replicas",
            (True, True): "both",
        }[min(to_references) <= threshold, min(to_replicas) <= threshold]
        assert NEAR[result.near[index]] == near
        assert result.nearest_reference[index] == np.argmin(to_references)
        assert result.distance_to_replica[index] == pytest.approx(min(to_replicas))
    assert sum(result.counts().values()) == 200
    assert min(result.counts().values()) > 0


def test_without_replicas_only_the_database_counts():
    rng = np.random.default_rng(2)
    result = Screen(rng.random((3, 12)), np.empty((0, 12)), 0.6).classify(rng.random((50, 12)))
    assert set(result.near) <= {0, 1}
    assert (result.nearest_replica == -1).all()


@settings(max_examples=50, deadline=None)
@given(
    near=st.lists(st.integers(0, 3), max_size=60),
    quotas=st.tuples(*[st.integers(0, 12)] * 3),
    split=st.integers(1, 20),
)
def test_quotas_do_not_depend_on_how_the_stream_is_cut(near, quotas, split):
    names = dict(zip(("I", "II", "III"), quotas, strict=True))
    whole, cut = QuotaFilling(names), QuotaFilling(names)
    expected = whole.select(result_of(near))
    found = {}
    for start in range(0, len(near), split):
        for index, groups in cut.select(result_of(near[start : start + split])).items():
            found[start + index] = groups
    assert found == expected
    for group, bit in (("I", 1), ("II", 2)):
        members = [i for i, groups in expected.items() if group in groups]
        assert members == [i for i, code in enumerate(near) if code & bit][: names[group]]
    assert [i for i, groups in expected.items() if "III" in groups] == list(
        range(min(len(near), names["III"]))
    )
    assert whole.full == (not whole.shortfall())


def test_bad_threshold_and_group_are_named():
    with pytest.raises(FingerprintError, match=r"threshold = 3"):
        Screen(np.random.default_rng(0).random((1, 5)), np.empty((0, 5)), 3)
    with pytest.raises(ValueError, match="IV"):
        QuotaFilling({"IV": 1})


def test_a_fingerprint_without_a_peak_is_far_from_everything():
    rng = np.random.default_rng(4)
    crystals = rng.random((5, 12))
    crystals[2] = 0.0
    references, replicas = rng.random((3, 12)), rng.random((2, 12))
    result = Screen(references, replicas, 2.0).classify(crystals)
    assert np.isinf(result.distance_to_reference[2])
    assert result.nearest_replica[2] == -1
    assert result.near[2] == 0
    others = np.delete(np.arange(5), 2)
    expected = Screen(references, replicas, 2.0).classify(crystals[others])
    np.testing.assert_array_equal(result.near[others], expected.near)
    np.testing.assert_array_equal(
        result.distance_to_reference[others], expected.distance_to_reference
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.0, 1.2), st.integers(1, 3))
def test_distinct_are_those_far_from_all_distinct_before(seed, number, distance, parts):
    rng = np.random.default_rng(seed)
    prints = rng.random((number, 6))
    prints[number // 2 :] = prints[: number - number // 2] + 0.01 * rng.random(6)
    expected: list[int] = []
    for row, fingerprint in enumerate(prints):
        if all(pearson_distance(fingerprint, prints[k]) > distance for k in expected):
            expected.append(row)
    distinct = DistinctFingerprints(distance)
    found = np.concatenate([distinct.add(part) for part in np.array_split(prints, parts)])
    assert np.flatnonzero(found).tolist() == expected
    assert len(distinct) == len(expected)


def test_more_distinct_fingerprints_than_room_at_first():
    prints = np.random.default_rng(0).random((200, 300))
    distinct = DistinctFingerprints(0.05)
    assert distinct.add(prints).all()
    assert not distinct.add(prints).any()


def test_many_sets_are_screened_as_one_by_one():
    rng = np.random.default_rng(5)
    crystals = rng.random((60, 40)) ** 4
    crystals[7] = 0.0  # no two atoms within the cut-off: near nothing
    sets = [rng.random((k, 40)) ** 4 for k in (1, 30)] + [np.empty((0, 40)), crystals[:3]]
    near = SetScreen(sets, 0.8).near(crystals)
    usable = np.arange(60) != 7
    expected = np.zeros((4, 60), dtype=bool)
    for row, known in zip(expected, sets, strict=True):
        if len(known):
            row[usable] = (pearson_distance_matrix(crystals[usable], known) <= 0.8).any(axis=1)
    assert np.array_equal(near, expected)
    assert 0 < near[0].sum() < near[1].sum() < 60
    assert near[3, :3].all()
    assert not SetScreen(sets, 0.8).near(crystals[7:8]).any()


def test_sets_cannot_be_screened_with_any_threshold():
    with pytest.raises(FingerprintError, match="threshold = 3"):
        SetScreen([], 3.0)
