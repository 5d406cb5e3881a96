"""What updates do to documents, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson import Decimal128, Int64, Timestamp

from .conftest import failure, fill, found, right_or_refused

# (before, update, after); the document's _id is 1.
UPDATES = [
    ({"a": 1}, {"$set": {"b": 2}}, {"a": 1, "b": 2}),
    ({"a": 1}, {"$set": {"a": {"x": [1]}}}, {"a": {"x": [1]}}),
    ({}, {"$set": {"a.b.c": 1}}, {"a": {"b": {"c": 1}}}),
    ({"a": {"b": 1}}, {"$set": {"a.c": 2}}, {"a": {"b": 1, "c": 2}}),
    ({"a": [1, 2]}, {"$set": {"a.0": 5}}, {"a": [5, 2]}),
    ({"a": [1]}, {"$set": {"a.3": 5}}, {"a": [1, None, None, 5]}),
    ({}, {"$set": {"a.0": 5}}, {"a": {"0": 5}}),
    ({"a": [{"b": 1}]}, {"$set": {"a.0.c": 2}}, {"a": [{"b": 1, "c": 2}]}),
    ({"a": 1}, {"$set": {}}, {"a": 1}),
    ({"a": 1, "b": 2}, {"$unset": {"a": "", "none": 1}}, {"b": 2}),
    ({"a": {"b": 1, "c": 2}}, {"$unset": {"a.b": ""}}, {"a": {"c": 2}}),
    ({"a": [1, 2]}, {"$unset": {"a.0": ""}}, {"a": [None, 2]}),
    ({"a": 1}, {"$inc": {"a": 2, "b": -1}}, {"a": 3, "b": -1}),
    ({"a": 1}, {"$inc": {"a": 0.5}}, {"a": 1.5}),
    ({"a": 2**31 - 1}, {"$inc": {"a": 1}}, {"a": 2**31}),
    ({"a": Decimal128("0.1")}, {"$inc": {"a": Decimal128("0.2")}}, {"a": Decimal128("0.3")}),
    ({"a": {"b": [1]}}, {"$inc": {"a.b.0": 4}}, {"a": {"b": [5]}}),
    ({"a": 3}, {"$mul": {"a": 1.5, "b": 2}}, {"a": 4.5, "b": 0}),
    ({"a": 3, "b": 3}, {"$min": {"a": 2, "b": 4, "c": 1}}, {"a": 2, "b": 3, "c": 1}),
    ({"a": 3, "b": 3}, {"$max": {"a": 2, "b": 4, "c": 1}}, {"a": 3, "b": 4, "c": 1}),
    ({"a": 3, "b": 3}, {"$max": {"a": "x"}, "$min": {"b": None}}, {"a": "x", "b": None}),
    ({"a": 1, "b": 2}, {"$rename": {"a": "c.d", "none": "x"}}, {"b": 2, "c": {"d": 1}}),
    ({"a": 1, "b": 2}, {"$rename": {"a": "b"}}, {"b": 1}),
    ({"a": [1]}, {"$push": {"a": 2, "b": 3}}, {"a": [1, 2], "b": [3]}),
    ({"a": [1]}, {"$push": {"a": [2, 3]}}, {"a": [1, [2, 3]]}),
    ({"a": [1]}, {"$push": {"a": {"$each": [2, 3]}}}, {"a": [1, 2, 3]}),
    ({"a": [1]}, {"$push": {"a": {"$each": [2, 3], "$position": 0}}}, {"a": [2, 3, 1]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -1}}}, {"a": [1, 9, 2]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [3], "$slice": -2}}}, {"a": [2, 3]}),
    ({"a": [1, 2, 3]}, {"$push": {"a": {"$each": [4], "$slice": 2}}}, {"a": [1, 2]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [], "$slice": 0}}}, {"a": []}),
    ({"a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": 1}}}, {"a": [1, 2, 3]}),
    ({"a": [{"n": 1}, {"n": 3}]},
     {"$push": {"a": {"$each": [{"n": 2}], "$sort": {"n": -1}, "$slice": 2}}},
     {"a": [{"n": 3}, {"n": 2}]}),
    ({"a": [1]}, {"$addToSet": {"a": 1, "b": 1}}, {"a": [1], "b": [1]}),
    ({"a": [1]}, {"$addToSet": {"a": 1.0}}, {"a": [1]}),
    ({"a": [1]}, {"$addToSet": {"a": {"$each": [1, 2, 2]}}}, {"a": [1, 2]}),
    ({"a": [{"x": 1, "y": 2}]}, {"$addToSet": {"a": {"x": 1, "y": 2}}}, {"a": [{"x": 1, "y": 2}]}),
    ({"a": [1, 2, 1]}, {"$pull": {"a": 1, "b": 1}}, {"a": [2]}),
    ({"a": [1, 5, 9]}, {"$pull": {"a": {"$gte": 5}}}, {"a": [1]}),
    ({"a": [1, 2, 3]}, {"$pull": {"a": {"$in": [1, 3]}}}, {"a": [2]}),
    ({"a": [{"x": 1, "y": 1}, {"x": 2}]}, {"$pull": {"a": {"x": 1}}}, {"a": [{"x": 2}]}),
    ({"a": [{"x": [1, 2]}, {"x": [3]}]},
     {"$pull": {"a": {"x": {"$gt": 2}}}},
     {"a": [{"x": [1, 2]}]}),
    ({"a": [[1], [2]]}, {"$pull": {"a": [1]}}, {"a": [[2]]}),
    ({"a": [1, 2, 3, 1]}, {"$pullAll": {"a": [1, 3]}}, {"a": [2]}),
    ({"a": [1, 2, 3]}, {"$pop": {"a": 1}}, {"a": [1, 2]}),
    ({"a": [1, 2, 3]}, {"$pop": {"a": -1, "b": 1}}, {"a": [2, 3]}),
    ({"a": []}, {"$pop": {"a": 1}}, {"a": []}),
    ({"a": 1}, {"$setOnInsert": {"b": 1}, "$set": {"c": 1}}, {"a": 1, "c": 1}),
    ({"a": 13}, {"$bit": {"a": {"and": 10}}}, {"a": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "update", "after"), UPDATES, ids=str)
def test_update(collection, before, update, after):
    fill(collection, before, {"untouched": True})
    result = collection.update_one({"_id": 1}, update)
    assert collection.find_one({"_id": 1}) == {"_id": 1, **after}
    assert result.matched_count == 1
    assert result.modified_count == (0 if before == after else 1)
    assert collection.find_one({"_id": 2}) == {"_id": 2, "untouched": True}


# (before, update, MongoDB's error codes)
REFUSED = [
    ({"a": 1}, {"$nonsense": {"a": 1}}, (9,)),
    ({"a": 1}, {"$set": {"b": 1}, "$nonsense": {"a": 1}}, (9,)),
    ({"a": 1}, {"$set": 5}, (9,)),
    ({"a": "x"}, {"$inc": {"a": 1}}, (14,)),
    ({"a": 1}, {"$inc": {"a": "x"}}, (14,)),
    ({"a": Int64(2**63 - 1)}, {"$inc": {"a": 1}}, (2,)),
    ({"a": "x"}, {"$mul": {"a": 2}}, (14,)),
    ({"a": 1}, {"$mul": {"a": "x"}}, (14,)),
    ({"a": 1}, {"$push": {"a": 1}}, (2,)),
    ({"a": [1]}, {"$push": {"a": {"$each": 1}}}, (2,)),
    ({"a": [1]}, {"$push": {"a": {"$each": [1], "$nonsense": 1}}}, (2,)),
    ({"a": 1}, {"$addToSet": {"a": 1}}, (2,)),
    ({"a": 1}, {"$pull": {"a": 1}}, (2,)),
    ({"a": 1}, {"$pop": {"a": 1}}, (14, 2)),
    ({"a": [1]}, {"$pop": {"a": 2}}, (9,)),
    ({"a": 1}, {"$rename": {"a": "a"}}, (2,)),
    ({"a": 1}, {"$rename": {"a": 5}}, (2,)),
    ({"a": 1}, {"$set": {"a.b": 1}}, (28,)),
    ({"a": [1]}, {"$set": {"a.b": 1}}, (28,)),
    ({"a": 1}, {"$set": {"_id": 2}}, (66,)),
    ({"a": 1}, {"$unset": {"_id": ""}}, (66,)),
    ({"a": 1}, {"$inc": {"_id": 1}}, (66,)),
    ({"a": 1}, {"$set": {"b": 1}, "$inc": {"b": 1}}, (40,)),
    ({"a": 1}, {"$set": {"b": 1, "b.c": 1}}, (40,)),
    ({"a": [1]}, {"$set": {"a.$": 1}}, (2,)),
    ({"a": [1]}, {"$set": {"a.$[x]": 1}}, (2, 115)),
    ({"a": 1}, {"$set": {"": 1}}, (56,)),
    ({"a": 1}, {"$set": {"b..c": 1}}, (56,)),
    ({"a": 1}, {"$currentDate": {"a": {"$type": "year"}}}, (2,)),
]


@pytest.mark.parametrize(("before", "update", "codes"), REFUSED, ids=str)
def test_a_refused_update_changes_nothing(collection, before, update, codes):
    fill(collection, before)
    with failure(*codes):
        collection.update_one({"_id": 1}, update)
    assert collection.find_one({}) == {"_id": 1, **before}


def test_the_same_id_may_be_set(collection):
    fill(collection, {"a": 1})
    assert collection.update_one({"_id": 1}, {"$set": {"_id": 1, "a": 2}}).modified_count == 1


def test_number_types_are_kept(collection):
    fill(collection, {"int": 1, "long": Int64(1), "edge": 2**31 - 1})
    collection.update_one({}, {"$inc": {"int": 1, "long": 1, "edge": 1, "new": Int64(1)}})
    conditions = {"int": "int", "long": "long", "edge": "long", "new": "long"}
    for field, kind in conditions.items():
        assert found(collection, {field: {"$type": kind}}) == [1], field


def test_current_date(collection):
    fill(collection, {"old": 1})
    before = datetime.now(UTC) - timedelta(seconds=5)
    kinds = {"old": True, "date": {"$type": "date"}, "stamp": {"$type": "timestamp"}}
    collection.update_one({}, {"$currentDate": kinds})
    document = collection.find_one()
    for field in ("old", "date"):
        assert before < document[field] < before + timedelta(minutes=1)
    assert isinstance(document["stamp"], Timestamp)


def test_the_positional_operator_changes_the_first_element_that_matched(collection):
    fill(collection, {"a": [1, 5, 5]}, {"l": [{"n": 1, "x": 0}, {"n": 2, "x": 0}]})
    collection.update_one({"a": 5}, {"$set": {"a.$": 7}})
    assert collection.find_one({"_id": 1})["a"] == [1, 7, 5]
    collection.update_one({"l.n": 2}, {"$inc": {"l.$.x": 3}})
    collection.update_one({"l": {"$elemMatch": {"n": 1, "x": 0}}}, {"$set": {"l.$.y": 1}})
    assert collection.find_one({"_id": 2})["l"] == [{"n": 1, "x": 0, "y": 1}, {"n": 2, "x": 3}]


def test_array_filters(collection):
    fill(collection, {"a": [1, 5, 9]}, {"l": [{"n": 1, "x": 0}, {"n": 2, "x": 0}]})

    def change(key, update, filters=None):
        collection.update_one({"_id": key}, update, array_filters=filters)
        return collection.find_one({"_id": key}, {"_id": 0})

    below = {"$set": {"a.$[small]": 0}}
    right_or_refused(lambda: change(1, below, [{"small": {"$lt": 6}}]), {"a": [0, 0, 9]})
    expected = {"l": [{"n": 1, "x": 0}, {"n": 2, "x": 4}]}
    right_or_refused(lambda: change(2, {"$inc": {"l.$[e].x": 4}}, [{"e.n": 2}]), expected)
    everywhere = {"l": [{"n": 1, "x": 7}, {"n": 2, "x": 7}]}
    right_or_refused(lambda: change(2, {"$set": {"l.$[].x": 7}}), everywhere)
    with failure(9, 2, 115, 238):  # FailedToParse, or not offered at all
        change(1, {"$set": {"b": 1}}, [{"unused": 1}])


def test_updates_by_a_pipeline(collection):
    fill(collection, {"a": 2, "b": 3})

    def change():
        collection.update_one({}, [{"$set": {"c": {"$add": ["$a", "$b"]}}}, {"$unset": "b"}])
        return collection.find_one()

    right_or_refused(change, {"_id": 1, "a": 2, "c": 5})


def test_update_many(collection):
    fill(collection, *({"a": i % 2} for i in range(6)))
    result = collection.update_many({"a": 0}, {"$set": {"b": 1}})
    assert (result.matched_count, result.modified_count) == (3, 3)
    result = collection.update_many({}, {"$set": {"b": 1}})
    assert (result.matched_count, result.modified_count) == (6, 3)
    assert found(collection, {"b": 1}) == [1, 2, 3, 4, 5, 6]
    assert collection.update_many({"a": 9}, {"$set": {"b": 1}}).matched_count == 0


def test_an_upsert_takes_the_equalities_of_its_filter(collection):
    condition = {"_id": "k", "a": 1, "o.x": 2, "n": {"$gt": 5}, "e": {"$eq": 6}}
    update = {"$set": {"b": 2}, "$setOnInsert": {"c": 3}, "$inc": {"count": 1}}
    result = collection.update_one(condition, update, upsert=True)
    assert (result.matched_count, result.upserted_id) == (0, "k")
    expected = {"_id": "k", "a": 1, "o": {"x": 2}, "e": 6, "b": 2, "c": 3, "count": 1}
    assert collection.find_one() == expected
    result = collection.update_one({"_id": "k"}, update, upsert=True)
    assert (result.matched_count, result.upserted_id) == (1, None)
    assert collection.find_one()["count"] == 2
    assert collection.count_documents({}) == 1


def test_an_upsert_makes_an_id(collection):
    made = collection.update_one({"a": {"$in": [1]}}, {"$set": {"b": 1}}, upsert=True).upserted_id
    assert made is not None
    assert collection.find_one({"_id": made}) in (
        {"_id": made, "b": 1},
        {"_id": made, "a": 1, "b": 1},
    )
    made = collection.update_many({"$and": [{"x": 5}]}, {"$set": {"y": 1}}, upsert=True).upserted_id
    assert collection.find_one({"_id": made}) == {"_id": made, "x": 5, "y": 1}


def test_replace(collection):
    fill(collection, {"a": 1, "b": 2})
    result = collection.replace_one({"a": 1}, {"c": 3})
    assert (result.matched_count, result.modified_count) == (1, 1)
    assert collection.find_one() == {"_id": 1, "c": 3}
    assert collection.replace_one({"c": 3}, {"c": 3}).modified_count == 0
    assert collection.replace_one({"c": 9}, {"c": 4}).matched_count == 0
    with failure(66):
        collection.replace_one({"_id": 1}, {"_id": 2})
    result = collection.replace_one({"_id": 7, "q": 1}, {"r": 1}, upsert=True)
    assert result.upserted_id == 7
    assert collection.find_one({"_id": 7}) == {"_id": 7, "r": 1}


def test_an_update_of_operators_and_fields_is_refused(database):
    fill(database["things"], {"a": 1})
    for update in ({"$set": {"a": 2}, "b": 1}, {"b": 1, "$set": {"a": 2}}):
        reply = database.command("update", "things", updates=[{"q": {}, "u": update}])
        assert reply["writeErrors"][0]["code"] in (9, 52), reply
    several = {"q": {}, "u": {"b": 1}, "multi": True}
    reply = database.command("update", "things", updates=[several])
    assert reply["writeErrors"][0]["code"] == 9
    assert database["things"].find_one() == {"_id": 1, "a": 1}


def test_a_failing_element_does_not_leave_half_an_update(collection):
    fill(collection, {"a": 1, "b": "text", "c": [1]})
    with failure(14):
        collection.update_one({}, {"$set": {"a": 2}, "$push": {"c": 2}, "$inc": {"b": 1}})
    assert collection.find_one() == {"_id": 1, "a": 1, "b": "text", "c": [1]}
