"""Choice of targets: nearest, or balanced; resumed from plain counts."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.errors import GuidingError
from crysearch.guiding import TargetChoice, mixtures

AWAY = np.array([[0.1, 0.15, 0.5], [0.1, 0.19, 0.5], [0.1, 0.3, 0.12], [0.3, 0.2, 0.1]])


def test_nearest() -> None:
    chosen, used = TargetChoice("nearest", tries=2).assign(AWAY, np.zeros(3, dtype=int))
    assert chosen.tolist() == [[0, 1], [0, 1], [0, 2], [2, 1]]
    assert used.tolist() == [3, 0, 1]


def test_balanced_takes_the_least_used_of_the_near_ones() -> None:
    chosen, used = TargetChoice("balanced", tries=2).assign(AWAY, np.zeros(3, dtype=int))
    assert chosen[:, 0].tolist() == [0, 1, 2, 2]
    assert chosen[:, 1].tolist() == [1, 0, 0, 1]
    assert used.tolist() == [1, 1, 2]
    everything, _ = TargetChoice("balanced", slack=2.0).assign(AWAY, np.array([5, 5, 0]))
    assert everything[:, 0].tolist() == [2, 2, 2, 2]


def test_quota() -> None:
    chosen, used = TargetChoice("nearest", quota=1).assign(AWAY, np.zeros(3, dtype=int))
    assert chosen[:, 0].tolist() == [0, 1, 2, 2]  # all full at the end: the nearest
    assert used.tolist() == [1, 1, 2]


def test_resumed_from_the_counts() -> None:
    rng = np.random.default_rng(1)
    away = rng.random((60, 7))
    choice = TargetChoice(tries=3, quota=9)
    whole, used = choice.assign(away, np.zeros(7, dtype=int))
    first, between = choice.assign(away[:25], np.zeros(7, dtype=int))
    second, after = choice.assign(away[25:], between)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    np.testing.assert_array_equal(after, used)


def test_balanced_is_flatter_than_nearest() -> None:
    away = np.random.default_rng(2).random((400, 10)) * 0.3 + np.arange(10) * 0.02
    spread = [
        np.ptp(TargetChoice(policy).assign(away, np.zeros(10))[1])
        for policy in ("nearest", "balanced")
    ]
    assert spread[1] < 0.5 * spread[0]


def test_crystals_without_distances_and_few_targets() -> None:
    away = np.array([[np.inf, np.inf], [0.2, 0.1]])
    for policy in ("nearest", "balanced"):
        chosen, _ = TargetChoice(policy, tries=5).assign(away, np.zeros(2))
        assert chosen.shape == (2, 2) and sorted(chosen[0]) == [0, 1]


def test_mixtures() -> None:
    targets = np.array([[0.0, 2.0], [4.0, 0.0]])
    assert mixtures(targets, np.array([[1.0, 1.0], [3.0, 1.0]])).tolist() == [[2, 1], [1, 1.5]]
    with pytest.raises(GuidingError, match="negative, or all zero"):
        mixtures(targets, np.array([[0.0, 0.0]]))
    with pytest.raises(GuidingError, match="give \\(j, k\\)"):
        mixtures(targets, np.ones((1, 3)))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"policy": "random"}, "policy: 'random' is unknown"),
        ({"tries": 0}, "tries: 0"),
        ({"quota": 0}, "quota: 0"),
        ({"slack": -1.0}, "slack: -1.0"),
    ],
)
def test_wrong_settings(settings, text) -> None:
    with pytest.raises(GuidingError, match=text):
        TargetChoice(**settings)


def test_wrong_shapes() -> None:
    with pytest.raises(GuidingError, match="used: shape"):
        TargetChoice().assign(AWAY, np.zeros(4))
