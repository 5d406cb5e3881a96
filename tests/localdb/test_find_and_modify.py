"""One document found and changed in one step."""

from __future__ import annotations

import pytest
from pymongo import ReturnDocument

from .conftest import failure, fill, found

AFTER = ReturnDocument.AFTER


@pytest.fixture
def queue(collection):
    fill(collection, *({"priority": p, "state": "READY"} for p in (1, 5, 3)))
    return collection


def test_update_returns_the_document_before_or_after(queue):
    update = {"$set": {"state": "RUNNING"}, "$inc": {"tries": 1}}
    before = queue.find_one_and_update({"_id": 1}, update)
    assert before == {"_id": 1, "priority": 1, "state": "READY"}
    after = queue.find_one_and_update({"_id": 1}, update, return_document=AFTER)
    assert after == {"_id": 1, "priority": 1, "state": "RUNNING", "tries": 2}


def test_the_first_of_the_order_is_taken(queue):
    taken = []
    for _ in range(4):
        document = queue.find_one_and_update(
            {"state": "READY"}, {"$set": {"state": "RUNNING"}}, sort=[("priority", -1)]
        )
        taken.append(document and document["priority"])
    assert taken == [5, 3, 1, None]


def test_a_projection_applies_to_what_is_returned(queue):
    update = {"$set": {"state": "DONE"}}
    assert queue.find_one_and_update({"_id": 2}, update, {"priority": 1, "_id": 0}) == {
        "priority": 5
    }
    after = queue.find_one_and_update(
        {"_id": 2}, {"$inc": {"priority": 1}}, {"state": 0}, return_document=AFTER
    )
    assert after == {"_id": 2, "priority": 6}
    assert queue.find_one({"_id": 2})["state"] == "DONE"


def test_upserts(queue):
    update = {"$inc": {"n": 1}, "$setOnInsert": {"new": True}}
    assert queue.find_one_and_update({"_id": "c"}, update, upsert=True) is None
    after = queue.find_one_and_update({"_id": "c"}, update, upsert=True, return_document=AFTER)
    assert after == {"_id": "c", "n": 2, "new": True}
    after = queue.find_one_and_update({"_id": "d"}, update, upsert=True, return_document=AFTER)
    assert after == {"_id": "d", "n": 1, "new": True}


def test_replace(queue):
    assert queue.find_one_and_replace({"_id": 1}, {"x": 1}, return_document=AFTER) == {
        "_id": 1,
        "x": 1,
    }
    assert queue.find_one_and_replace({"_id": 9}, {"x": 1}) is None
    assert queue.find_one_and_replace({"_id": 9}, {"x": 1}, upsert=True) is None
    assert found(queue, {"x": 1}) == [1, 9]


def test_delete(queue):
    removed = queue.find_one_and_delete({}, sort=[("priority", 1)], projection={"priority": 1})
    assert removed == {"_id": 1, "priority": 1}
    assert found(queue, {}) == [2, 3]
    assert queue.find_one_and_delete({"_id": 1}) is None


def test_the_whole_reply(database, queue):
    command = {"findAndModify": "things", "query": {"_id": 1}, "update": {"$set": {"a": 1}}}
    reply = database.command(command)
    assert reply["lastErrorObject"] == {"n": 1, "updatedExisting": True}
    assert reply["value"]["_id"] == 1
    reply = database.command({**command, "query": {"_id": 8}})
    assert reply["lastErrorObject"] == {"n": 0, "updatedExisting": False}
    assert reply["value"] is None
    reply = database.command({**command, "query": {"_id": 8}, "upsert": True, "new": True})
    assert reply["lastErrorObject"] == {"n": 1, "updatedExisting": False, "upserted": 8}
    assert reply["value"] == {"_id": 8, "a": 1}
    reply = database.command("findAndModify", "things", query={"_id": 8}, remove=True)
    assert reply["lastErrorObject"] == {"n": 1}
    assert reply["value"] == {"_id": 8, "a": 1}


def test_nonsense_is_refused(database, queue):
    update = {"$set": {"a": 1}}
    with failure(9):
        database.command("findAndModify", "things", query={}, update=update, remove=True)
    with failure(9):
        database.command("findAndModify", "things", query={}, remove=True, new=True)
    with failure(9):
        database.command("findAndModify", "things", query={})
    with failure(9):
        queue.find_one_and_update({}, {"$nonsense": {"a": 1}})
    with failure(14):
        queue.find_one_and_update({"_id": 1}, {"$inc": {"state": 1}})
    with failure(66):
        queue.find_one_and_update({"_id": 1}, {"$set": {"_id": 5}})
    assert found(queue, {"a": {"$exists": True}}) == []


def test_a_duplicate_key_is_an_error_with_its_details(queue):
    queue.create_index("priority", unique=True)
    with failure(11000) as raised:
        queue.find_one_and_update({"_id": 1}, {"$set": {"priority": 5}})
    assert raised.value.details["keyValue"] == {"priority": 5}
    assert queue.find_one({"_id": 1})["priority"] == 1
