"""Documents in and out: values, projections, orders, cursors, counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from bson import (
    Binary,
    Code,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from bson.binary import BinaryVectorDtype
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import CursorNotFound

from .conftest import failure, fill, found, ids

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
VALUES = {
    "text": "Zinkblende · 閃亜鉛鉱 \U0001f48e",
    "empty text": "",
    "nul inside": "a\x00b",
    "integer": -7,
    "long": Int64(7),
    "largest long": Int64(2**63 - 1),
    "double": 0.1,
    "negative zero": -0.0,
    "infinity": float("-inf"),
    "decimal": Decimal128("5.4310"),
    "true": True,
    "null": None,
    "date": NOON,
    "date before 1970": datetime(1812, 2, 29, tzinfo=UTC),
    "object id": ObjectId("0123456789abcdef01234567"),
    "binary": b"\x00\xff",
    "user binary": Binary(b"raw", 0x80),
    "vector": Binary.from_vector([0.5, -1.25], BinaryVectorDtype.FLOAT32),
    "float32 array": np.arange(5, dtype="<f4").tobytes(),
    "regex": Regex("^a.b$", "im"),
    "code": Code("function () {}"),
    "timestamp": Timestamp(5, 6),
    "smallest": MinKey(),
    "largest": MaxKey(),
    "object": {"b": 1, "a": {"c": [1, {"d": None}]}},
    "empty object": {},
    "list": [1, "a", None, [2, []], {}],
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_comes_back_unchanged(collection, value):
    collection.insert_one({"_id": 1, "value": value})
    returned = collection.find_one({"_id": 1})["value"]
    assert returned == value
    if isinstance(value, float | dict | list):
        assert repr(returned) == repr(value)  # tells -0.0 from 0.0, and the order of keys


def test_every_bit_of_a_document_survives(database):
    raw = database.get_collection("raw", CodecOptions(document_class=RawBSONDocument))
    plain = encode({"_id": 1, "a": 0.0, "b": [Int64(3), Decimal128("1.000")]})
    not_a_number = b"\x01\x00\x00\x00\x00\x00\xf8\x7f"  # with a payload
    document = RawBSONDocument(plain.replace(b"a\0" + bytes(8), b"a\0" + not_a_number))
    assert document.raw != plain
    raw.insert_one(document)
    assert raw.find_one({}).raw == document.raw


def test_not_a_number_is_kept_and_found(collection):
    fill(collection, {"a": float("nan")}, {"a": 1.0})
    assert np.isnan(collection.find_one({"_id": 1})["a"])
    assert found(collection, {"a": float("nan")}) == [1]
    assert found(collection, {"a": {"$gte": -float("inf")}}) == [2]


def test_dates_are_instants_to_the_millisecond(collection):
    elsewhere = timezone(timedelta(hours=9))
    collection.insert_one({"_id": 1, "at": datetime(2026, 3, 1, 21, 0, 0, 123_999, elsewhere)})
    assert collection.find_one()["at"] == NOON
    assert found(collection, {"at": NOON}) == [1]
    assert found(collection, {"at": {"$lt": NOON + timedelta(milliseconds=1)}}) == [1]


def test_an_id_is_made_and_comes_first(collection):
    document = {"a": 1}
    made = collection.insert_one(document).inserted_id
    assert isinstance(made, ObjectId)
    assert list(collection.find_one()) == ["_id", "a"]
    collection.insert_one({"b": 1, "_id": 5})
    assert list(collection.find_one({"_id": 5})) == ["_id", "b"]


def test_the_server_makes_an_id_where_the_client_did_not(database):
    database.command("insert", "things", documents=[{"a": 1}])
    assert isinstance(database["things"].find_one()["_id"], ObjectId)


@pytest.mark.parametrize("key", [1, "x", 1.5, NOON, {"a": 1, "b": 2}, None, b"k"])
def test_any_value_but_an_array_is_an_id(collection, key):
    collection.insert_one({"_id": key})
    assert collection.find_one({"_id": key})["_id"] == key
    assert collection.delete_one({"_id": key}).deleted_count == 1


@pytest.mark.parametrize("key", [[1], Regex("a")], ids=["array", "regex"])
def test_an_array_or_regex_is_no_id(collection, key):
    with failure(2, 53):  # BadValue, InvalidIdField
        collection.insert_one({"_id": key})
    assert collection.count_documents({}) == 0


def test_ids_that_are_equal_numbers_are_one_id(collection):
    collection.insert_one({"_id": 1})
    for same in (1.0, Int64(1), Decimal128("1")):
        with failure(11000):
            collection.insert_one({"_id": same})
    collection.insert_one({"_id": True})
    collection.insert_one({"_id": "1"})
    assert collection.count_documents({}) == 3


def test_ids_that_are_objects_differ_by_the_order_of_keys(collection):
    collection.insert_one({"_id": {"a": 1, "b": 2}})
    collection.insert_one({"_id": {"b": 2, "a": 1}})
    assert collection.count_documents({"_id": {"b": 2, "a": 1}}) == 1


PROJECTIONS = [
    ({"a": 1}, {"_id": 1, "a": 5}),
    ({"a": 1, "_id": 0}, {"a": 5}),
    ({"a": 0}, {"_id": 1, "o": {"x": 1, "y": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}, 7]}),
    ({"_id": 0, "l": 0}, {"a": 5, "o": {"x": 1, "y": 2}}),
    ({"o.x": 1}, {"_id": 1, "o": {"x": 1}}),
    ({"o": {"x": 1}}, {"_id": 1, "o": {"x": 1}}),
    ({"o.x": 0, "l": 0}, {"_id": 1, "a": 5, "o": {"y": 2}}),
    ({"l.x": 1}, {"_id": 1, "l": [{"x": 1}, {"x": 3}]}),
    ({"l.x": 0, "o": 0, "a": 0}, {"_id": 1, "l": [{"y": 2}, {}, 7]}),
    ({"missing": 1}, {"_id": 1}),
    ({"a.deeper": 1}, {"_id": 1}),
    ({"_id": 1}, {"_id": 1}),
    ({"l": {"$slice": 1}, "o": 0}, {"_id": 1, "a": 5, "l": [{"x": 1, "y": 2}]}),
    ({"l": {"$slice": -1}, "a": 1}, {"_id": 1, "a": 5, "l": [7]}),
    ({"l": {"$slice": [1, 1]}}, {"_id": 1, "a": 5, "o": {"x": 1, "y": 2}, "l": [{"x": 3}]}),
    ({"l": {"$elemMatch": {"x": 3}}}, {"_id": 1, "l": [{"x": 3}]}),
    ({"l": {"$elemMatch": {"x": 4}}}, {"_id": 1}),
]


@pytest.mark.parametrize(("projection", "expected"), PROJECTIONS, ids=str)
def test_projection(collection, projection, expected):
    fill(collection, {"a": 5, "o": {"x": 1, "y": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}, 7]})
    returned = collection.find_one({}, projection)
    assert returned == expected
    assert list(returned) == list(expected)


def test_the_positional_projection_returns_the_element_that_matched(collection):
    fill(collection, {"l": [{"x": 1}, {"x": 2}]})
    assert collection.find_one({"l.x": 2}, {"l.$": 1}) == {"_id": 1, "l": [{"x": 2}]}
    matching = {"l": {"$elemMatch": {"x": {"$gt": 1}}}}
    assert collection.find_one(matching, {"l.$": 1}) == {"_id": 1, "l": [{"x": 2}]}


def test_a_projection_of_fields_and_without_fields_is_refused(collection):
    fill(collection, {"a": 1, "b": 2})
    with failure(31253, 31254):
        collection.find_one({}, {"a": 1, "b": 0})
    with failure(31253, 31254):
        collection.find_one({}, {"b": 0, "a": 1})
    with failure(31249, 31250):
        collection.find_one({}, {"a": 1, "a.b": 1})


# From the least to the greatest of MongoDB's order; what is equal stands together.
ASCENDING_VALUES = [
    [MinKey()],
    [None, "missing"],
    [float("nan")],
    [-(2**40)],
    [-1.5],
    [1, 1.0, Int64(1), Decimal128("1")],
    [2**53],
    [""],
    ["A", "A"],
    ["a"],
    [{}],
    [{"a": 1}],
    [{"a": 1, "b": 0}],
    [{"a": 2}],
    [{"b": 0}],
    [b"b"],
    [b"aa"],
    [Binary(b"bb", 0x80)],
    [ObjectId("0" * 24)],
    [ObjectId("f" * 24)],
    [False],
    [True],
    [datetime(1969, 1, 1, tzinfo=UTC)],
    [NOON],
    [Timestamp(1, 1)],
    [Regex("a")],
    [MaxKey()],
]


def test_the_order_of_mixed_types(collection):
    expected = []
    documents = []
    for rank, values in enumerate(ASCENDING_VALUES):
        for copy, value in enumerate(values):
            key = f"{rank:02d} {copy}"
            expected.append(key)
            documents.append(
                {"_id": key} if value == "missing" else {"_id": key, "rank": rank, "a": value}
            )
    order = np.random.default_rng(1).permutation(len(documents))
    collection.insert_many([documents[position] for position in order])
    assert ids(collection.find().sort([("a", 1), ("_id", 1)])) == expected
    descending = ids(collection.find().sort([("a", -1), ("_id", -1)]))
    assert descending == expected[::-1]


def test_arrays_sort_by_their_least_and_their_greatest_element(collection):
    fill(collection, {"a": [5, 1]}, {"a": 2}, {"a": [3, 4]}, {"a": []}, {"a": None}, {})
    assert ids(collection.find().sort([("a", 1), ("_id", 1)])) == [4, 5, 6, 1, 2, 3]
    assert ids(collection.find().sort([("a", -1), ("_id", 1)])) == [1, 3, 2, 5, 6, 4]


def test_sort_by_several_and_by_nested_fields(collection):
    fill(
        collection, *({"a": i % 2, "b": {"c": -i}, "l": [{"n": i}, {"n": 9 - i}]} for i in range(6))
    )
    assert ids(collection.find().sort([("a", DESCENDING), ("b.c", ASCENDING)])) == [
        6,
        4,
        2,
        5,
        3,
        1,
    ]
    assert ids(collection.find().sort([("l.n", ASCENDING), ("_id", DESCENDING)])) == [
        1, 2, 3, 4, 6, 5,
    ]  # fmt: skip


def test_natural_order_is_the_order_of_insertion(collection):
    keys = [5, 3, 9, 1]
    collection.insert_many([{"_id": key} for key in keys])
    assert ids(collection.find().sort("$natural", 1)) == keys
    assert ids(collection.find().sort("$natural", -1)) == keys[::-1]
    assert ids(collection.find()) == keys


def test_skip_and_limit(collection):
    collection.insert_many([{"_id": i} for i in range(20)])
    assert ids(collection.find().sort("_id", -1).skip(3).limit(2)) == [16, 15]
    assert ids(collection.find().sort("_id", 1).skip(18).limit(50)) == [18, 19]
    assert ids(collection.find().sort("_id", 1).skip(20)) == []
    assert len(list(collection.find().limit(0))) == 20
    assert ids(collection.find().sort("_id", 1).limit(-3)) == [0, 1, 2]  # one batch, no cursor


@pytest.mark.parametrize("batch", [2, 100, 1000])
def test_a_cursor_goes_through_thousands_of_documents(collection, batch):
    number = 60 if batch == 2 else 5_000
    collection.insert_many([{"_id": i, "filler": "x" * 50} for i in range(number)])
    cursor = collection.find().sort("_id", 1).batch_size(batch)
    assert ids(cursor) == list(range(number))
    assert not cursor.alive


def test_batches_stay_below_the_limit_of_a_message(collection):
    collection.insert_many([{"_id": i, "blob": b"\x00" * 6_000_000} for i in range(5)])
    assert [document["_id"] for document in collection.find().sort("_id", 1)] == list(range(5))
    first = collection.database.command("find", collection.name, batchSize=5)
    size = sum(len(document["blob"]) for document in first["cursor"]["firstBatch"])
    assert size <= 16 * 1024 * 1024 + 16 * 1024
    collection.database.command("killCursors", collection.name, cursors=[first["cursor"]["id"]])


def test_a_closed_cursor_is_gone(collection):
    collection.insert_many([{"_id": i} for i in range(10)])
    cursor = collection.find().batch_size(3)
    next(cursor)
    number = Int64(cursor.cursor_id)
    cursor.close()
    with pytest.raises(CursorNotFound) as raised:
        collection.database.command("getMore", number, collection=collection.name)
    assert raised.value.code == 43


def test_documents_changed_under_a_cursor_come_at_most_once(collection):
    collection.insert_many([{"_id": i, "n": 0} for i in range(200)])
    seen = []
    for document in collection.find().batch_size(20):
        seen.append(document["_id"])
        collection.update_one({"_id": document["_id"]}, {"$set": {"filler": "x" * 500}})
        collection.delete_one({"_id": document["_id"] + 120})
    assert len(seen) == len(set(seen))
    assert set(range(120)) <= set(seen)


def test_distinct(collection):
    fill(collection, {"a": 1}, {"a": 1.0}, {"a": [2, 3]}, {"a": [3, [4]]}, {"a": None}, {"b": 5})
    assert sorted(map(str, collection.distinct("a"))) == ["1", "2", "3", "None", "[4]"]
    assert collection.distinct("a", {"a": {"$lt": 2}}) == [1]
    assert collection.distinct("nothing") == []
    fill(collection.database["nested"], {"l": [{"x": 1}, {"x": 2}]}, {"l": {"x": 2}})
    assert sorted(collection.database["nested"].distinct("l.x")) == [1, 2]


def test_counts(collection):
    assert collection.estimated_document_count() == 0
    assert collection.count_documents({}) == 0
    fill(collection, *({"a": i % 3} for i in range(10)))
    assert collection.estimated_document_count() == 10
    assert collection.count_documents({}) == 10
    assert collection.count_documents({"a": 0}) == 4
    assert collection.count_documents({"a": 0}, skip=1, limit=2) == 2
    assert collection.count_documents({"a": 7}) == 0
    database = collection.database
    assert database.command("count", collection.name, query={"a": 0}, limit=3)["n"] == 3


def test_deletes(collection):
    fill(collection, *({"a": i % 2} for i in range(6)))
    assert collection.delete_one({"a": 0}).deleted_count == 1
    assert found(collection, {}) == [2, 3, 4, 5, 6]
    assert collection.delete_many({"a": 0}).deleted_count == 2
    assert collection.delete_many({"a": 0}).deleted_count == 0
    assert collection.delete_many({}).deleted_count == 3


def test_collections_come_and_go(database):
    assert database.list_collection_names() == []
    database.create_collection("made")
    database["filled"].insert_one({})
    assert sorted(database.list_collection_names()) == ["filled", "made"]
    assert database.list_collection_names(filter={"name": "made"}) == ["made"]
    database.drop_collection("made")
    database.drop_collection("never there")
    assert database.list_collection_names() == ["filled"]
    assert database.name in database.client.list_database_names()
    database.client.drop_database(database.name)
    assert database.name not in database.client.list_database_names()


def test_databases_are_apart(database):
    other = database.client[f"{database.name}_other"]
    try:
        database["things"].insert_one({"_id": 1})
        other["things"].insert_one({"_id": 1, "other": True})
        assert database["things"].find_one() == {"_id": 1}
        database.client.drop_database(database.name)
        assert other["things"].count_documents({}) == 1
    finally:
        database.client.drop_database(other.name)
