"""Random documents and queries against an oracle of a few lines, with and without an index."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import ids

MISSING = object()
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-3, 3).map(lambda n: n / 2),
    st.sampled_from([2**53, 2**53 + 1, float(2**53), -(2**62)]),
    st.sampled_from(["", "a", "ab", "b", "é", "\x00"]),
    st.sampled_from([b"", b"a", b"ab", b"b"]),
)
VALUES = st.one_of(st.just(MISSING), SCALARS, st.lists(SCALARS, max_size=3))
DOCUMENTS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=25)
RANGES = ("$gt", "$gte", "$lt", "$lte")
CONDITIONS = st.one_of(
    SCALARS.map(lambda value: {"$eq": value}),
    SCALARS.map(lambda value: {"$ne": value}),
    st.tuples(st.sampled_from(RANGES), SCALARS).map(lambda pair: dict([pair])),
    st.tuples(st.sampled_from(RANGES[:2]), SCALARS, st.sampled_from(RANGES[2:]), SCALARS).map(
        lambda four: {four[0]: four[1], four[2]: four[3]}
    ),
    st.lists(SCALARS, max_size=3).map(lambda values: {"$in": values}),
    st.booleans().map(lambda wanted: {"$exists": wanted}),
)
QUERIES = st.lists(
    st.tuples(CONDITIONS, st.none() | CONDITIONS, st.sampled_from([1, -1])), min_size=1, max_size=8
)


def bracket(value: Any) -> int:
    """Return the rank of a scalar's type in MongoDB's order of types."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return 8
    if isinstance(value, int | float):
        return 2
    return 3 if isinstance(value, str) else 5


def order(value: Any) -> tuple:
    if isinstance(value, str):
        return (bracket(value), value.encode())
    if isinstance(value, bytes):
        return (bracket(value), len(value), value)
    return (bracket(value), 0 if value is None else value)


def candidates(value: Any) -> list[Any]:
    """Return the values that a condition may match: the elements of an array."""
    if isinstance(value, list):
        return value
    return [None if value is MISSING else value]


def compares(value: Any, operator: str, operand: Any) -> bool:
    if bracket(value) != bracket(operand):
        return False
    left, right = order(value), order(operand)
    return {
        "$eq": left == right,
        "$gt": left > right,
        "$gte": left >= right,
        "$lt": left < right,
        "$lte": left <= right,
    }[operator]


def matches(value: Any, condition: dict[str, Any]) -> bool:
    for operator, operand in condition.items():
        options = candidates(value)
        if operator == "$exists":
            fits = (value is not MISSING) == operand
        elif operator == "$ne":
            fits = not any(compares(option, "$eq", operand) for option in options)
        elif operator == "$in":
            fits = any(compares(o, "$eq", wanted) for o in options for wanted in operand)
        else:
            fits = any(compares(option, operator, operand) for option in options)
        if not fits:
            return False
    return True


def sort_key(value: Any, direction: int) -> tuple:
    """Arrays sort by their least or greatest element, empty ones before null."""
    if value == []:
        return (0,)
    keys = [order(option) for option in candidates(value)]
    return min(keys) if direction == 1 else max(keys)


def expected_order(kept: list[tuple[int, Any]], direction: int) -> list[int]:
    def compare(one, other):
        left, right = sort_key(one[1], direction), sort_key(other[1], direction)
        if left != right:
            return direction if left > right else -direction
        return one[0] - other[0]

    return [key for key, _ in sorted(kept, key=functools.cmp_to_key(compare))]


INDEXES: dict[str, list | None] = {
    "plain": None,
    "one field": [("a", 1)],
    "two fields": [("a", -1), ("b", 1)],
    "other field": [("b", 1)],
}


@pytest.fixture(scope="module")
def collections(client):
    database = client["conformance_random"]
    for name, keys in INDEXES.items():
        if keys:
            database[name].create_index(keys)
    yield [database[name] for name in INDEXES]
    client.drop_database(database.name)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(documents=DOCUMENTS, queries=QUERIES)
def test_answers_are_those_of_the_oracle(collections, documents, queries):
    stored = [
        {"_id": key, **{f: v for f, v in zip("ab", pair, strict=True) if v is not MISSING}}
        for key, pair in enumerate(documents)
    ]
    usable = []
    for collection in collections:
        collection.delete_many({})
        both = any(isinstance(a, list) and isinstance(b, list) for a, b in documents)
        if collection.name != "two fields" or not both:  # two arrays cannot share an index
            collection.insert_many(stored)
            usable.append(collection)
    for first, second, direction in queries:
        condition = {"a": first} if second is None else {"a": first, "b": second}
        kept = [
            (key, a)
            for key, (a, b) in enumerate(documents)
            if matches(a, first) and (second is None or matches(b, second))
        ]
        expected = expected_order(kept, direction)
        for collection in usable:
            answer = ids(collection.find(condition).sort([("a", direction), ("_id", 1)]))
            assert answer == expected, (collection.name, condition)
            assert collection.count_documents(condition) == len(kept), (collection.name, condition)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.integers(0, 5), VALUES, st.booleans()), max_size=20))
def test_indexes_follow_every_change(collections, changes):
    """After any writes an index gives the answers of the documents as they now are."""
    collection = collections[1]
    collection.delete_many({})
    model: dict[int, Any] = {}
    for key, value, gone in changes:
        if gone:
            collection.delete_one({"_id": key})
            model.pop(key, None)
        elif value is MISSING:
            collection.update_one({"_id": key}, {"$unset": {"a": ""}}, upsert=True)
            model[key] = MISSING
        else:
            collection.update_one({"_id": key}, {"$set": {"a": value}}, upsert=True)
            model[key] = value
    for wanted in (None, True, 1, 0.5, "a", b"a"):
        expected = sorted(key for key, value in model.items() if matches(value, {"$eq": wanted}))
        assert sorted(ids(collection.find({"a": wanted}))) == expected
    for condition in ({"$gt": 0}, {"$lte": "b"}, {"$gte": None}):
        expected = sorted(key for key, value in model.items() if matches(value, condition))
        assert sorted(ids(collection.find({"a": condition}))) == expected
