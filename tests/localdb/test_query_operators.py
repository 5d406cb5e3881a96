"""What matches: comparison, arrays, logic, types, expressions."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from bson import Decimal128, Int64, ObjectId, Regex

from .conftest import fill, found

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLY, LATE = ObjectId("5" * 24), ObjectId("6" * 24)
MIXED = {
    "missing": {},
    "null": {"a": None},
    "one": {"a": 1},
    "long": {"a": Int64(1)},
    "decimal": {"a": Decimal128("1.0")},
    "half": {"a": 1.5},
    "two": {"a": 2},
    "text": {"a": "xyz"},
    "list": {"a": [1, 2]},
    "nested": {"a": [[1, 2]]},
    "empty": {"a": []},
    "object": {"a": {"b": 1}},
    "objects": {"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]},
    "true": {"a": True},
    "date": {"a": NOON},
    "early": {"a": EARLY},
    "bytes": {"a": b"xyz"},
    "null in list": {"a": [None, "xyz"]},
}
ONES = {"one", "long", "decimal", "list"}
TWOS = {"two", "list"}
NULLS = {"missing", "null", "null in list"}
ALL = set(MIXED)

MATCHES = [
    ({"a": 1}, ONES),
    ({"a": 1.0}, ONES),
    ({"a": {"$eq": Int64(1)}}, ONES),
    ({"a": True}, {"true"}),
    ({"a": None}, NULLS),
    ({"a": {"$ne": None}}, ALL - NULLS),
    ({"a": {"$exists": False}}, {"missing"}),
    ({"a": {"$exists": True}}, ALL - {"missing"}),
    ({"a": {"$exists": 1}}, ALL - {"missing"}),
    ({"a": "xyz"}, {"text", "null in list"}),
    ({"a": b"xyz"}, {"bytes"}),
    ({"a": EARLY}, {"early"}),
    ({"a": NOON}, {"date"}),
    ({"a": [1, 2]}, {"list", "nested"}),
    ({"a": [2, 1]}, set()),
    ({"a": []}, {"empty"}),
    ({"a": {"b": 1}}, {"object"}),
    ({"a": {"c": 1, "b": 1}}, set()),
    # Ranges compare values of one type only.
    ({"a": {"$gt": 1}}, {"half"} | TWOS),
    ({"a": {"$gte": 1}}, {"half"} | ONES | TWOS),
    ({"a": {"$lt": 2}}, {"half"} | ONES),
    ({"a": {"$lte": 1}}, ONES),
    ({"a": {"$gt": 1, "$lt": 2}}, {"half", "list"}),
    ({"a": {"$gt": ""}}, {"text", "null in list"}),
    ({"a": {"$lt": "xyzz"}}, {"text", "null in list"}),
    ({"a": {"$gte": datetime(2026, 1, 1, tzinfo=UTC)}}, {"date"}),
    ({"a": {"$lt": LATE}}, {"early"}),
    ({"a": {"$gte": False}}, {"true"}),
    ({"a": {"$gte": None}}, NULLS),
    ({"a": {"$gt": None}}, set()),
    ({"a": {"$gt": {"b": 0}}}, {"object", "objects"}),
    ({"a": {"$gt": float("nan")}}, set()),
    # Lists of values.
    ({"a": {"$in": [2, "xyz"]}}, TWOS | {"text", "null in list"}),
    ({"a": {"$in": [None, 2]}}, NULLS | TWOS),
    ({"a": {"$in": []}}, set()),
    ({"a": {"$in": [[1, 2]]}}, {"list", "nested"}),
    ({"a": {"$in": [re.compile("^x")]}}, {"text", "null in list"}),
    ({"a": {"$nin": [1, None]}}, ALL - ONES - NULLS),
    ({"a": {"$nin": []}}, ALL),
    ({"a": {"$ne": 1}}, ALL - ONES),
    # Logic.
    ({"a": {"$not": {"$gt": 1}}}, ALL - {"half"} - TWOS),
    ({"a": {"$not": re.compile("x")}}, ALL - {"text", "null in list"}),
    ({"a": {"$not": {"$in": [1]}}}, ALL - ONES),
    ({"$nor": [{"a": 1}, {"a": None}]}, ALL - ONES - NULLS),
    ({"$or": [{"a": 2}, {"a": "xyz"}]}, TWOS | {"text", "null in list"}),
    ({"$and": [{"a": 1}, {"a": 2}]}, {"list"}),
    ({"a": 1, "$or": [{"a": 2}, {"a": 3}]}, {"list"}),
    ({"$comment": "why", "a": 1}, ONES),
    # Arrays.
    ({"a": {"$size": 2}}, {"list", "objects", "null in list"}),
    ({"a": {"$size": 0}}, {"empty"}),
    ({"a": {"$all": [1, 2]}}, {"list"}),
    ({"a": {"$all": [1]}}, ONES),
    ({"a": {"$all": []}}, set()),
    ({"a": {"$all": [[1, 2]]}}, {"list", "nested"}),
    ({"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"c": 2}}]}}, {"objects"}),
    ({"a": {"$elemMatch": {"$gt": 1, "$lt": 3}}}, {"list"}),
    ({"a": {"$elemMatch": {"b": 1, "c": 1}}}, {"objects"}),
    ({"a": {"$elemMatch": {"b": 1, "c": 2}}}, set()),
    ({"a": {"$elemMatch": {"$elemMatch": {"$eq": 1}}}}, {"nested"}),
    ({"a": {"$elemMatch": {"$in": ["xyz"]}}}, {"null in list"}),
    ({"a.b": 1}, {"object", "objects"}),
    ({"a.b": 1, "a.c": 2}, {"objects"}),
    ({"a.0": 1}, {"list"}),  # not inside the element 0 of "nested", which is an array itself
    ({"a.1": 2}, {"list"}),
    ({"a.0.b": 1}, {"objects"}),
    ({"a.1.b": {"$exists": True}}, {"objects"}),
    ({"a.b": {"$exists": True}}, {"object", "objects"}),
    # Types.
    ({"a": {"$type": "number"}}, ONES | TWOS | {"half"}),
    ({"a": {"$type": "int"}}, {"one", "list", "two"}),
    ({"a": {"$type": 18}}, {"long"}),
    ({"a": {"$type": "decimal"}}, {"decimal"}),
    ({"a": {"$type": ["double", "bool"]}}, {"half", "true"}),
    ({"a": {"$type": "array"}}, {"list", "nested", "empty", "objects", "null in list"}),
    ({"a": {"$type": "object"}}, {"object", "objects"}),
    ({"a": {"$type": "null"}}, {"null", "null in list"}),
    ({"a": {"$type": "string"}}, {"text", "null in list"}),
    ({"a": {"$type": "date"}}, {"date"}),
    ({"a": {"$type": "objectId"}}, {"early"}),
    ({"a": {"$type": "binData"}}, {"bytes"}),
    # Arithmetic.
    ({"a": {"$mod": [2, 0]}}, TWOS),
    ({"a": {"$mod": [2, 1]}}, ONES | {"half"}),
    ({"a": {"$mod": [2.9, 1]}}, ONES | {"half"}),
    # Expressions compare across types.
    ({"$expr": {"$eq": ["$a", 1]}}, ONES - {"list"}),
    ({"$expr": {"$gt": ["$a", 1.5]}}, ALL - {"missing", "null", "one", "long", "decimal", "half"}),
    ({"$expr": {"$in": ["$_id", ["one", "two"]]}}, {"one", "two"}),
    ({"$expr": {"$and": [{"$isArray": "$a"}, {"$gt": [{"$size": {"$ifNull": ["$a", []]}}, 1]}]}},
     {"list", "objects", "null in list"}),
    # Regular expressions.
    ({"a": re.compile("Y", re.I)}, {"text", "null in list"}),
    ({"a": {"$regex": "^XY", "$options": "i"}}, {"text", "null in list"}),
    ({"a": {"$regex": "^y"}}, set()),
    ({"a": Regex("x y z", "x")}, {"text", "null in list"}),
    ({"a": {"$regex": "z$", "$ne": "abc"}}, {"text", "null in list"}),
    ({"_id": {"$in": ["one", "two", "three"]}}, {"one", "two"}),
    ({"_id": {"$gt": "text", "$lte": "two"}}, {"true", "two"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def mixed(client):
    database = client["conformance_query_operators"]
    database["mixed"].insert_many([{"_id": key, **value} for key, value in MIXED.items()])
    yield database["mixed"]
    client.drop_database(database.name)


@pytest.fixture(scope="module")
def indexed(mixed):
    """The same documents behind an index on the field that is asked for."""
    copy = mixed.database["indexed"]
    copy.create_index("a")
    copy.insert_many(list(mixed.find()))
    return copy


@pytest.mark.parametrize(
    ("condition", "expected"), MATCHES, ids=[str(condition) for condition, _ in MATCHES]
)
def test_match(mixed, indexed, condition, expected):
    assert found(mixed, condition) == sorted(expected)
    assert found(indexed, condition) == sorted(expected)
    assert mixed.count_documents(condition) == len(expected)


def test_multiline_and_dotall_expressions(collection):
    fill(collection, {"a": "first\nsecond"}, {"a": "firstsecond"})
    assert found(collection, {"a": Regex("^second", "m")}) == [1]
    assert found(collection, {"a": Regex("^second")}) == []
    assert found(collection, {"a": Regex("first.second", "s")}) == [1]
    assert found(collection, {"a": Regex("first.second")}) == []


def test_a_regex_also_matches_the_same_stored_regex(collection):
    fill(collection, {"a": Regex("b")}, {"a": "abc"}, {"a": 5})
    assert found(collection, {"a": Regex("b")}) == [1, 2]


def test_expressions_reach_nested_fields_and_variables(collection):
    fill(collection, {"o": {"x": 3}, "limit": 2}, {"o": {"x": 1}, "limit": 2}, {"limit": 2})
    assert found(collection, {"$expr": {"$gt": ["$o.x", "$limit"]}}) == [1]
    assert found(collection, {"$expr": {"$lt": [{"$multiply": ["$o.x", 2]}, 5]}}) == [2, 3]
    conditional = {"$cond": [{"$eq": ["$o.x", 3]}, "$$ROOT.limit", 0]}
    assert found(collection, {"$expr": {"$eq": [conditional, 2]}}) == [1]


def test_numbers_beyond_the_exactness_of_doubles(collection):
    fill(collection, {"a": Int64(2**53)}, {"a": Int64(2**53 + 1)}, {"a": float(2**53)})
    assert found(collection, {"a": 2**53 + 1}) == [2]
    assert found(collection, {"a": float(2**53)}) == [1, 3]
    assert found(collection, {"a": {"$gt": float(2**53)}}) == [2]
    assert found(collection, {"a": Decimal128("9007199254740993")}) == [2]


def test_an_object_matches_by_the_order_of_its_keys(collection):
    fill(collection, {"o": {"a": 1, "b": 2}}, {"o": {"b": 2, "a": 1}})
    assert found(collection, {"o": {"a": 1, "b": 2}}) == [1]
    assert found(collection, {"o": {"a": {"$gt": 0}, "b": 2}}) == []
    assert found(collection, {"o.a": 1, "o.b": 2}) == [1, 2]


def test_null_in_nested_arrays(collection):
    fill(
        collection,
        {"a": [{"b": 1}, {}]},
        {"a": [{"b": 1}]},
        {"a": []},
        {"a": 5},
        {"a": {"b": None}},
        {},
        {"a": [5]},
    )
    assert found(collection, {"a.b": {"$exists": False}}) == [3, 4, 6, 7]
    # Scalars inside an array have no field that could be null.
    assert found(collection, {"a.b": None}) == [1, 4, 5, 6]
