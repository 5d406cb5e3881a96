"""An index may make a query faster, never change its answer: random queries of many shapes."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import ids

SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 2, 1.5, Int64(2), Decimal128("1.5"), "a", "ab", "abc", "B", "", b"a"]
)
INNER = st.dictionaries(st.sampled_from("xy"), SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
VALUES = st.one_of(
    SCALARS, INNER, st.lists(SCALARS | INNER | st.lists(SCALARS, max_size=2), max_size=3)
)
DOCUMENTS = st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2), max_size=15)
FIELDS = st.sampled_from(["a", "a.x", "a.0", "b"])
REGEXES = st.sampled_from(["^a", "^ab", "b$", "^", "^a|B", "^ab?", "^[aB]", "^a.c"])

SIMPLE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda value: {"$eq": value}, SCALARS | INNER | st.lists(SCALARS, max_size=2)),
    st.builds(lambda value: {"$ne": value}, SCALARS),
    st.builds(
        lambda name, value: {name: value},
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        SCALARS | INNER | st.lists(SCALARS, max_size=2),
    ),
    st.builds(lambda low, high: {"$gte": low, "$lte": high}, SCALARS, SCALARS),
    st.builds(
        lambda name, values: {name: values},
        st.sampled_from(["$in", "$nin"]),
        st.lists(SCALARS | st.lists(SCALARS, max_size=1), max_size=3),
    ),
    st.builds(lambda wanted: {"$exists": wanted}, st.booleans()),
    st.builds(lambda size: {"$size": size}, st.integers(0, 2)),
    st.builds(
        lambda name: {"$type": name},
        st.sampled_from(["number", "string", "null", "array", "object"]),
    ),
    st.builds(lambda divisor: {"$mod": [divisor, 0]}, st.integers(1, 2)),
    st.builds(
        lambda text, flags: {"$regex": text, "$options": flags},
        REGEXES,
        st.sampled_from(["", "i", "m"]),
    ),
)
CONDITIONS = st.one_of(
    SIMPLE,
    st.builds(lambda inner: {"$not": inner}, SIMPLE),
    st.builds(lambda values: {"$all": values}, st.lists(SCALARS, min_size=1, max_size=2)),
    st.builds(lambda inner: {"$elemMatch": inner}, SIMPLE),
    st.builds(lambda inner: {"$elemMatch": {"x": inner}}, SIMPLE),
    st.builds(lambda inner: {"$all": [{"$elemMatch": inner}]}, SIMPLE),
)
TERMS = st.builds(lambda field, condition: {field: condition}, FIELDS, CONDITIONS)
QUERIES = st.one_of(
    TERMS,
    st.builds(lambda one, other: {"$and": [one, other]}, TERMS, TERMS),
    st.builds(lambda one, other: {"$or": [one, other]}, TERMS, TERMS),
    st.builds(lambda one, other: {"$nor": [one, other]}, TERMS, TERMS),
    st.builds(lambda one, other, third: {"$or": [one, other], **third}, TERMS, TERMS, TERMS),
)
INDEXES: dict[str, list[dict[str, Any]]] = {
    "plain": [],
    "single": [{"keys": "a"}, {"keys": "b"}],
    "dotted": [{"keys": "a.x"}, {"keys": "a.0"}],
    "sparse": [{"keys": "a", "sparse": True}, {"keys": "a.x", "sparse": True}],
    "partial": [
        {"keys": "a", "partialFilterExpression": {"a": {"$gt": 1}}},
        {"keys": "b", "partialFilterExpression": {"a": {"$exists": True}}},
    ],
}
ORDERS = st.sampled_from([[], [("a", 1)], [("a", -1)], [("a.x", 1)], [("b", 1), ("a", -1)]])


@pytest.fixture(scope="module")
def collections(client):
    database = client["conformance_random_indexes"]
    for name, indexes in INDEXES.items():
        for index in indexes:
            database[name].create_index(**index)
    yield [database[name] for name in INDEXES]
    client.drop_database(database.name)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(documents=DOCUMENTS, queries=st.lists(QUERIES, min_size=1, max_size=10), order=ORDERS)
def test_an_index_changes_no_answer(collections, documents, queries, order):
    stored = [{"_id": key, **document} for key, document in enumerate(documents)]
    for collection in collections:
        collection.delete_many({})
        if stored:
            collection.insert_many(stored)
    plain, *indexed = collections
    for query in queries:
        expected = ids(plain.find(query).sort([*order, ("_id", 1)]))
        for collection in indexed:
            answer = ids(collection.find(query).sort([*order, ("_id", 1)]))
            assert answer == expected, (collection.name, query, order)
