"""Indexes: made, listed, dropped, and what they forbid."""

from __future__ import annotations

import pytest
from bson import Int64
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from .conftest import failure, fill, found, ids, right_or_refused


def test_names_and_descriptions(collection):
    assert collection.create_index("a") == "a_1"
    assert collection.create_index([("b", 1), ("c.d", -1)]) == "b_1_c.d_-1"
    assert collection.create_index("e", name="mine", unique=True, sparse=True) == "mine"
    partial = {"f": {"$gt": 5}}
    collection.create_index("f", partialFilterExpression=partial)
    information = collection.index_information()
    assert list(information) == ["_id_", "a_1", "b_1_c.d_-1", "mine", "f_1"]
    assert information["_id_"]["key"] == [("_id", 1)]
    assert information["b_1_c.d_-1"]["key"] == [("b", 1), ("c.d", -1)]
    assert information["mine"]["unique"] is True
    assert information["mine"]["sparse"] is True
    assert information["f_1"]["partialFilterExpression"] == partial
    assert all(description["v"] == 2 for description in information.values())


def test_several_at_once_and_again(collection):
    models = [IndexModel("a"), IndexModel([("b", -1)], unique=True)]
    assert collection.create_indexes(models) == ["a_1", "b_-1"]
    assert collection.create_indexes(models) == ["a_1", "b_-1"]
    assert len(collection.index_information()) == 3
    reply = collection.database.command(
        "createIndexes", collection.name, indexes=[{"key": {"c": 1}, "name": "c_1"}]
    )
    assert (reply["numIndexesBefore"], reply["numIndexesAfter"]) == (3, 4)


def test_an_index_makes_the_collection(database):
    database["made"].create_index("a")
    assert database.list_collection_names() == ["made"]


def test_contradicting_definitions_are_refused(collection):
    collection.create_index("a")
    with failure(85):  # IndexOptionsConflict: the same keys by another name
        collection.create_index("a", name="other")
    with failure(86):  # IndexKeySpecsConflict: other keys by the same name
        collection.create_index("b", name="a_1")
    with failure(86):
        collection.create_index("a", unique=True)
    with failure(67, 197):  # CannotCreateIndex, InvalidIndexSpecificationOption
        collection.create_index("b", nonsense=True)
    with failure(67, 115):
        collection.create_index([("b", "nonsense")])
    assert list(collection.index_information()) == ["_id_", "a_1"]


def test_drops(collection):
    fill(collection, {"a": 1}, {"a": 1})
    for field in "abc":
        collection.create_index(field)
    collection.drop_index("a_1")
    collection.drop_index([("b", 1)])
    assert list(collection.index_information()) == ["_id_", "c_1"]
    with failure(27):  # IndexNotFound
        collection.drop_index("a_1")
    with failure(72):  # InvalidOptions
        collection.drop_index("_id_")
    with failure(26):  # NamespaceNotFound
        collection.database.command("dropIndexes", "nothing", index="a_1")
    collection.drop_indexes()
    assert list(collection.index_information()) == ["_id_"]
    assert found(collection, {"a": 1}) == [1, 2]


def test_a_dropped_unique_index_forbids_nothing(collection):
    collection.create_index("a", unique=True)
    fill(collection, {"a": 1})
    collection.drop_index("a_1")
    collection.insert_one({"a": 1})
    assert collection.count_documents({"a": 1}) == 2


def test_a_dropped_collection_takes_its_indexes_along(collection):
    collection.create_index("a", unique=True)
    fill(collection, {"a": 1})
    collection.drop()
    collection.insert_many([{"a": 1}, {"a": 1}])
    assert list(collection.index_information()) == ["_id_"]


def test_unique(collection):
    collection.create_index("a", unique=True)
    fill(collection, {"a": 1}, {"a": 2})
    with pytest.raises(DuplicateKeyError) as raised:
        collection.insert_one({"a": 1.0})
    details = raised.value.details
    assert details["code"] == 11000
    assert details["keyPattern"] == {"a": 1}
    assert details["keyValue"] == {"a": 1}
    assert "E11000 duplicate key error" in details["errmsg"]
    assert f"{collection.full_name} index: a_1 dup key" in details["errmsg"]
    for change in (
        lambda: collection.update_one({"_id": 1}, {"$inc": {"a": 1}}),
        lambda: collection.replace_one({"_id": 1}, {"a": Int64(2)}),
        lambda: collection.update_one({"_id": 5}, {"$set": {"a": 1}}, upsert=True),
        lambda: collection.find_one_and_update({"_id": 1}, {"$set": {"a": 2}}),
    ):
        with pytest.raises(DuplicateKeyError):
            change()
    assert list(collection.find().sort("_id")) == [{"_id": 1, "a": 1}, {"_id": 2, "a": 2}]
    collection.update_one({"_id": 1}, {"$set": {"a": 1, "b": 1}})  # its own key is no duplicate
    collection.delete_one({"_id": 2})
    collection.update_one({"_id": 1}, {"$set": {"a": 2}})
    collection.insert_one({"_id": 3, "a": 1})


def test_a_missing_field_is_one_null_to_a_unique_index(collection):
    collection.create_index("a", unique=True)
    collection.insert_one({})
    for same in ({}, {"a": None}):
        with failure(11000):
            collection.insert_one(same)


def test_unique_over_several_fields(collection):
    collection.create_index([("a", 1), ("b.c", 1)], unique=True)
    fill(collection, {"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2}}, {"a": 2, "b": {"c": 1}})
    with failure(11000) as raised:
        collection.insert_one({"a": 1, "b": {"c": 2}})
    assert raised.value.details["keyValue"] == {"a": 1, "b.c": 2}
    assert list(raised.value.details["keyPattern"]) == ["a", "b.c"]
    collection.insert_one({"a": 1})
    with failure(11000):
        collection.insert_one({"a": 1, "b": None})


def test_unique_over_the_elements_of_arrays(collection):
    collection.create_index("a", unique=True)
    fill(collection, {"a": [1, 2, 2]}, {"a": 3}, {"a": []})
    for same in ({"a": [9, 2]}, {"a": 1}, {"a": [3]}, {"a": []}):
        with failure(11000):
            collection.insert_one(same)
    collection.insert_one({"a": [[1, 2]]})
    assert collection.count_documents({}) == 4


def test_sparse(collection):
    collection.create_index("a", unique=True, sparse=True)
    fill(collection, {}, {}, {"a": None}, {"a": 1})
    for same in ({"a": None}, {"a": 1}):
        with failure(11000):
            collection.insert_one(same)
    with failure(11000):
        collection.update_one({"_id": 1}, {"$set": {"a": 1}})
    # The index lacks the documents without the field, the answer does not.
    assert found(collection, {"a": None}) == [1, 2, 3]
    assert ids(collection.find().sort([("a", 1), ("_id", 1)])) == [1, 2, 3, 4]


def test_partial(collection):
    collection.create_index(
        "name", unique=True, partialFilterExpression={"state": {"$in": ["READY", "RUNNING"]}}
    )
    fill(collection, {"name": "x", "state": "READY"}, {"name": "x", "state": "DONE"})
    collection.insert_many([{"name": "x", "state": "DONE"}, {"name": "x"}])
    with failure(11000):
        collection.insert_one({"name": "x", "state": "RUNNING"})
    with failure(11000):  # the change brings it under the index
        collection.update_one({"_id": 2}, {"$set": {"state": "READY"}})
    assert collection.find_one({"_id": 2})["state"] == "DONE"
    collection.update_one({"_id": 1}, {"$set": {"state": "DONE"}})
    collection.update_one({"_id": 2}, {"$set": {"state": "READY"}})
    # What the index does not hold is found all the same.
    assert collection.count_documents({"name": "x"}) == 4


def test_partial_by_existence_and_comparison(collection):
    condition = {"a": {"$exists": True}, "b": {"$gt": 5}}
    collection.create_index("a", unique=True, partialFilterExpression=condition)
    fill(collection, {"a": 1, "b": 6}, {"a": 1, "b": 5}, {"b": 9}, {"b": 9})
    with failure(11000):
        collection.insert_one({"a": 1, "b": 7})
    with failure(67):  # CannotCreateIndex: not among the allowed conditions
        collection.create_index("c", partialFilterExpression={"c": {"$regex": "x"}})


def test_a_unique_index_is_not_made_over_duplicates(collection):
    fill(collection, {"a": 1}, {"a": 1})
    with failure(11000):
        collection.create_index("a", unique=True)
    assert list(collection.index_information()) == ["_id_"]
    collection.insert_one({"a": 1})


def test_two_arrays_cannot_share_a_compound_index(collection):
    collection.create_index([("a", 1), ("b", 1)])
    with failure(171):  # CannotIndexParallelArrays
        collection.insert_one({"a": [1], "b": [2]})
    fill(collection, {"a": [1, 2], "b": 1}, {"a": 1, "b": [1, 2]})
    assert found(collection, {"a": 1, "b": 1}) == [1, 2]


def test_a_hint_names_an_index_that_exists(collection):
    collection.create_index("a")
    fill(collection, {"a": 2}, {"a": 1})
    assert ids(collection.find({"a": {"$gt": 0}}).hint("a_1").sort("a", 1)) == [2, 1]
    assert found(collection, {"a": 1}) == [2]
    with failure(2):
        list(collection.find({"a": 1}).hint("nothing"))


def test_an_index_changes_no_answer(collection):
    fill(collection, {"a": [1, 5]}, {"a": 3}, {"a": None}, {}, {"a": "x"}, {"a": [[3]]})
    conditions = [{"a": 3}, {"a": None}, {"a": {"$gt": 2, "$lt": 4}}, {"a": {"$ne": 3}}]
    conditions += [{"a": {"$in": [1, "x"]}}, {"a": [1, 5]}, {"a": {"$exists": False}}]
    before = [found(collection, condition) for condition in conditions]
    collection.create_index("a")
    assert [found(collection, condition) for condition in conditions] == before
    assert before[2] == [1, 2]  # one element above, another below


@pytest.mark.parametrize("kind", ["text", "2dsphere", "hashed"])
def test_special_kinds_work_or_are_refused(collection, kind):
    fill(collection, {"a": "a word"} if kind != "2dsphere" else {"a": [1.0, 2.0]})
    right_or_refused(lambda: collection.create_index([("a", kind)]), f"a_{kind}")


def test_expiring_documents_are_offered_or_refused(collection):
    right_or_refused(lambda: collection.create_index("at", expireAfterSeconds=3600), "at_1")
