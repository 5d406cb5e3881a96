"""Splits: the shares asked for, one split for what belongs together, no dependence on the order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.datasets import SPLITS, Facts, assign_splits, check_fractions
from crysearch.datasets.splits import clusters
from crysearch.errors import DatasetError

NONE = np.empty((0, 2), dtype=np.int64)


def some(n: int, groups: list[str | None] | None = None) -> list[Facts]:
    """Facts of which splits know only keys and groups."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("energy_per_atom", "max_force", "net_force", "max_stress", "minimum_distance")
    )
    return [
        Facts(
            key=f"key {i}",
            composition={"Si": 1},
            **nothing,
            closest_contact=None,
            fingerprint=np.zeros(1, dtype=np.float32),
            group=None if groups is None else groups[i],
        )
        for i in range(n)
    ]


def test_the_shares_are_those_asked_for() -> None:
    for n, expected in ((1000, (800, 100, 100)), (10, (8, 1, 1)), (1, (1, 0, 0)), (0, (0, 0, 0))):
        counts = Counter(assign_splits(some(n), NONE, seed=3))
        assert tuple(counts[name] for name in SPLITS) == expected
    whole = assign_splits(some(50), NONE, seed=0, fractions=(0.5, 0.5, 0.0))
    assert Counter(whole) == {"train": 25, "validation": 25}


def test_the_seed_decides_and_not_the_order() -> None:
    facts = some(200)
    first = dict(zip((f.key for f in facts), assign_splits(facts, NONE, seed=1), strict=True))
    shuffled = [facts[i] for i in np.random.default_rng(0).permutation(200)]
    assert [first[f.key] for f in shuffled] == assign_splits(shuffled, NONE, seed=1)
    other = assign_splits(facts, NONE, seed=2)
    moved = sum(a != b for a, b in zip(first.values(), other, strict=True))
    # Two independent draws of 0.8, 0.1, 0.1 agree in 66 % of the places.
    assert 40 <= moved <= 95


@st.composite
def linked(draw: st.DrawFn) -> tuple[list[Facts], np.ndarray]:
    n = draw(st.integers(1, 40))
    groups = draw(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=n, max_size=n))
    places = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(places, places), max_size=20))
    return some(n, groups), np.array(pairs, dtype=np.int64).reshape(-1, 2)


@given(linked(), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_what_belongs_together_is_never_parted(
    given: tuple[list[Facts], np.ndarray], seed: int
) -> None:
    facts, pairs = given
    splits = assign_splits(facts, pairs, seed=seed, fractions=(0.5, 0.3, 0.2))
    assert set(splits) <= set(SPLITS)
    for a, b in pairs:
        assert splits[a] == splits[b]
    for group in "abc":
        assert len({s for s, f in zip(splits, facts, strict=True) if f.group == group}) <= 1
    labels = clusters(facts, pairs)
    assert len({(int(c), s) for c, s in zip(labels, splits, strict=True)}) == len(set(labels))


@given(linked(), st.data())
@settings(max_examples=50, deadline=None)
def test_what_has_a_split_keeps_it(
    given: tuple[list[Facts], np.ndarray], data: st.DataObject
) -> None:
    facts, pairs = given
    whole = assign_splits(facts, pairs, seed=0)
    known = data.draw(st.lists(st.booleans(), min_size=len(facts), max_size=len(facts)))
    present = [s if keep else None for s, keep in zip(whole, known, strict=True)]
    again = assign_splits(facts, pairs, seed=7, present=present)
    assert all(a == p for a, p in zip(again, present, strict=True) if p is not None)
    labels = clusters(facts, pairs)
    assert len({(int(c), s) for c, s in zip(labels, again, strict=True)}) == len(set(labels))


def test_additions_fill_up_the_shares() -> None:
    present = ["train"] * 80 + ["validation"] * 10 + ["test"] * 10 + [None] * 100
    splits = assign_splits(some(200), NONE, seed=0, present=present)
    assert splits[:100] == present[:100]
    assert Counter(splits) == {"train": 160, "validation": 20, "test": 20}


def test_what_would_join_two_splits_is_in_none() -> None:
    pairs = np.array([[0, 2], [1, 2]])
    assert assign_splits(some(3), pairs, seed=0, present=["train", "test", None]) == [
        "train",
        "test",
        None,
    ]


@pytest.mark.parametrize(
    "shares", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), ()]
)
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match=r"give three shares .* that sum to 1, such as"):
        check_fractions(shares)
