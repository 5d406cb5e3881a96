"""Many writes in one message, and what becomes of them when some fail."""

from __future__ import annotations

import time

import pytest
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from .conftest import fill, found


def test_all_kinds_of_writes(collection):
    fill(collection, *({"a": i} for i in range(4)))
    result = collection.bulk_write(
        [
            InsertOne({"_id": 10, "a": 9}),
            UpdateOne({"_id": 1}, {"$set": {"a": 100}}),
            UpdateMany({"a": {"$lt": 3}}, {"$inc": {"a": 10}}),
            ReplaceOne({"_id": 4}, {"b": 1}),
            UpdateOne({"_id": "new"}, {"$set": {"a": 1}}, upsert=True),
            ReplaceOne({"_id": "newer"}, {"a": 2}, upsert=True),
            DeleteOne({"_id": 10}),
            DeleteMany({"a": {"$gte": 100}}),
        ]
    )
    assert result.inserted_count == 1
    assert (result.matched_count, result.modified_count) == (4, 4)
    assert result.upserted_count == 2
    assert result.upserted_ids == {4: "new", 5: "newer"}
    assert result.deleted_count == 2
    expected = [
        {"_id": 2, "a": 11},
        {"_id": 3, "a": 12},
        {"_id": 4, "b": 1},
        {"_id": "new", "a": 1},
        {"_id": "newer", "a": 2},
    ]
    assert list(collection.find().sort("_id")) == expected


def test_insert_many_in_order_stops_at_the_first_error(collection):
    with pytest.raises(BulkWriteError) as raised:
        collection.insert_many([{"_id": 1}, {"_id": 2}, {"_id": 1}, {"_id": 3}, {"_id": 2}])
    details = raised.value.details
    assert details["nInserted"] == 2
    (error,) = details["writeErrors"]
    assert (error["index"], error["code"]) == (2, 11000)
    assert error["keyPattern"] == {"_id": 1}
    assert error["keyValue"] == {"_id": 1}
    assert "E11000" in error["errmsg"]
    assert found(collection, {}) == [1, 2]


def test_insert_many_in_any_order_reports_every_error(collection):
    documents = [{"_id": 1}, {"_id": 2}, {"_id": 1}, {"_id": 3}, {"_id": 2}]
    with pytest.raises(BulkWriteError) as raised:
        collection.insert_many(documents, ordered=False)
    details = raised.value.details
    assert details["nInserted"] == 3
    assert [error["index"] for error in details["writeErrors"]] == [2, 4]
    assert found(collection, {}) == [1, 2, 3]


@pytest.mark.parametrize(("ordered", "applied"), [(True, [1]), (False, [1, 3, 4])])
def test_different_kinds_of_errors(collection, ordered, applied):
    fill(collection, {"a": 1}, {"a": "text"}, {"a": 1}, {"a": 1})
    collection.create_index("u", unique=True, sparse=True)
    operations = [
        UpdateOne({"_id": 1}, {"$inc": {"a": 1}, "$set": {"u": 1}}),
        UpdateOne({"_id": 2}, {"$inc": {"a": 1}}),
        UpdateOne({"_id": 3}, {"$inc": {"a": 1}}),
        UpdateOne({"_id": 4}, {"$set": {"u": 1}}),
        UpdateOne({"_id": 4}, {"$inc": {"a": 1}}),
        InsertOne({"_id": 1}),
    ]
    with pytest.raises(BulkWriteError) as raised:
        collection.bulk_write(operations, ordered=ordered)
    codes = {error["index"]: error["code"] for error in raised.value.details["writeErrors"]}
    assert codes == ({1: 14} if ordered else {1: 14, 3: 11000, 5: 11000})
    assert found(collection, {"a": 2}) == applied


def test_thousands_of_writes_at_once(collection):
    collection.insert_many([{"_id": i} for i in range(1_500)])
    result = collection.bulk_write(
        [UpdateOne({"_id": i}, {"$set": {"n": i}}, upsert=True) for i in range(3_000)],
        ordered=False,
    )
    assert (result.matched_count, result.upserted_count) == (1_500, 1_500)
    assert collection.count_documents({"n": {"$exists": True}}) == 3_000


def test_the_driver_splits_what_exceeds_a_message(collection):
    filler = b"\x00" * 5_000_000
    collection.insert_many([{"_id": i, "filler": filler} for i in range(12)])
    assert found(collection, {}) == list(range(12))


def test_an_error_of_update_many_is_reported(collection):
    fill(collection, {"a": 1}, {"a": 2})
    collection.create_index("u", unique=True, sparse=True)
    with pytest.raises(DuplicateKeyError):
        collection.update_many({}, {"$set": {"u": 5}})
    assert collection.count_documents({"u": 5}) <= 1


def test_unacknowledged_writes_arrive(collection):
    silent = collection.with_options(write_concern=WriteConcern(w=0))
    for key in range(20):
        silent.insert_one({"_id": key})
    silent.update_many({}, {"$set": {"a": 1}})
    silent.insert_one({"_id": 0})  # a duplicate: nobody is told
    silent.delete_one({"_id": 19})
    deadline = time.monotonic() + 10
    while found(collection, {"a": 1}) != list(range(19)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found(collection, {"a": 1}) == list(range(19))
