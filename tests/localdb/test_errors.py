"""What MongoDB refuses, and by which code: nothing is ignored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import Int64
from pymongo.errors import DocumentTooLarge, OperationFailure, WriteError

from .conftest import failure, fill, found, ids, right_or_refused

MAXIMUM = 16 * 1024 * 1024
# BadValue, FailedToParse, TypeMismatch: as good as the particular code of a malformed argument.
MALFORMED = (2, 9, 14)
# A feature of MongoDB's that a server may do without.
NOT_OFFERED = (115, 238)

# (command, MongoDB's error code); names that are unknown have exactly this code.
COMMANDS = [
    ({"nonsense": 1}, (59,)),
    ({"Find": "things"}, (59,)),
    ({"find": "things", "nonsense": 1}, (9, 40415)),
    ({"aggregate": "things", "pipeline": [], "cursor": {}, "nonsense": 1}, (9, 40415)),
    ({"insert": "things", "documents": [{}], "nonsense": 1}, (9, 40415)),
    ({"insert": "things"}, (40414, *MALFORMED)),
    ({"insert": "things", "documents": []}, (16, *MALFORMED)),
    ({"update": "things"}, (40414, *MALFORMED)),
    ({"update": "things", "updates": [{"q": {}}]}, (40414, *MALFORMED)),
    (
        {"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}, "x": 1}]},
        (40415, *MALFORMED),
    ),
    ({"delete": "things", "deletes": [{"q": {}}]}, (40414, *MALFORMED)),
    ({"delete": "things", "deletes": [{"q": {}, "limit": 5}]}, MALFORMED),
    ({"aggregate": "things", "pipeline": []}, MALFORMED),
    ({"aggregate": "things", "pipeline": {}, "cursor": {}}, MALFORMED),
    ({"find": "things", "filter": 5}, MALFORMED),
    ({"find": "things", "filter": {}, "limit": "x"}, MALFORMED),
    ({"find": "things", "filter": {}, "skip": -1}, (51024, *MALFORMED)),
    ({"find": "things", "filter": {}, "sort": {"a": 5}}, (15975, *MALFORMED)),
    (
        {"find": "things", "filter": {}, "sort": {"a": {"$nonsense": 1}}},
        (15974, 15975, 17312, *MALFORMED),
    ),
    ({"find": ""}, (73, *MALFORMED)),
    ({"find": 5}, (73, *MALFORMED)),
    ({"insert": "a$b", "documents": [{}]}, (73, *MALFORMED)),
    ({"getMore": Int64(12345), "collection": "things"}, (43,)),
    ({"dropIndexes": "things", "index": "nothing"}, (27,)),
    ({"listIndexes": "nothing"}, (26,)),
    ({"collMod": "nothing"}, (26, 59)),
]


@pytest.mark.parametrize(("command", "codes"), COMMANDS, ids=str)
def test_command(database, command, codes):
    fill(database["things"], {"a": 1})
    with failure(*codes) as raised:
        database.command(command)
    assert raised.value.details["codeName"]
    assert raised.value.details["errmsg"]
    assert list(database["things"].find()) == [{"_id": 1, "a": 1}]


# (filter, MongoDB's error codes)
FILTERS = [
    ({"$nonsense": 1}, (2,)),
    ({"a": {"$nonsense": 1}}, (2,)),
    ({"a": {"$gt": 1, "$nonsense": 1}}, (2,)),
    ({"a": {"$not": {"$nonsense": 1}}}, (2,)),
    ({"a": {"$elemMatch": {"b": {"$nonsense": 1}}}}, (2,)),
    ({"$or": [{"a": 1}, {"b": {"$nonsense": 1}}]}, (2,)),
    ({"$and": []}, MALFORMED),
    ({"$or": {"a": 1}}, MALFORMED),
    ({"$nor": [5]}, MALFORMED),
    ({"a": {"$in": 5}}, MALFORMED),
    ({"a": {"$in": [{"$gt": 1}]}}, MALFORMED),
    ({"a": {"$nin": {"b": 1}}}, MALFORMED),
    ({"a": {"$all": 5}}, MALFORMED),
    ({"a": {"$size": "x"}}, MALFORMED),
    ({"a": {"$size": -1}}, MALFORMED),
    ({"a": {"$mod": [2]}}, MALFORMED),
    ({"a": {"$mod": [0, 1]}}, MALFORMED),
    ({"a": {"$mod": 5}}, MALFORMED),
    ({"a": {"$type": "nonsense"}}, MALFORMED),
    ({"a": {"$type": 99}}, MALFORMED),
    ({"a": {"$not": 5}}, MALFORMED),
    ({"a": {"$not": {}}}, MALFORMED),
    ({"a": {"$elemMatch": 5}}, MALFORMED),
    ({"a": {"$regex": "("}}, (51091,)),
    ({"a": {"$regex": 5}}, MALFORMED),
    ({"a": {"$options": "i"}}, MALFORMED),
    ({"a": {"$regex": "x", "$options": "q"}}, (51108, *MALFORMED)),
    ({"$expr": {"$nonsense": 1}}, (168,)),
    ({"$expr": {"$eq": [1]}}, (16020, *MALFORMED)),
]


@pytest.mark.parametrize(("condition", "codes"), FILTERS, ids=str)
def test_filter(collection, condition, codes):
    collection.database.create_collection(collection.name)
    for size in range(2):  # an empty collection refuses as well
        for use in (
            lambda: list(collection.find(condition)),
            lambda: collection.count_documents(condition),
            lambda: collection.update_many(condition, {"$set": {"b": 1}}),
            lambda: collection.delete_many(condition),
            lambda: collection.find_one_and_delete(condition),
        ):
            with failure(*codes):
                use()
        assert collection.count_documents({}) == size
        if not size:
            fill(collection, {"a": [1]})
    assert collection.find_one() == {"_id": 1, "a": [1]}


# (pipeline, MongoDB's error codes)
PIPELINES = [
    ([{"$nonsense": {}}], (40324,)),
    ([{"match": {}}], (40324,)),
    ([{"$match": {}}, {"$nonsense": {}}], (40324,)),
    ([{"$match": {}, "$limit": 1}], (40323, *MALFORMED)),
    ([{}], (40323, *MALFORMED)),
    ([{"$match": {"a": {"$nonsense": 1}}}], (2,)),
    ([{"$match": 5}], (15959, *MALFORMED)),
    ([{"$group": {"a": {"$sum": 1}}}], (15955, *MALFORMED)),
    ([{"$group": {"_id": None, "a": {"$nonsense": 1}}}], (15952,)),
    ([{"$group": {"_id": None, "a": 5}}], (40234, *MALFORMED)),
    ([{"$project": {}}], (51272, *MALFORMED)),
    ([{"$project": {"a": 1, "b": 0}}], (31253, 31254, *MALFORMED)),
    ([{"$project": {"a": {"$nonsense": 1}}}], (168, 31325)),
    ([{"$addFields": {"a": {"$nonsense": 1}}}], (168, 31325)),
    ([{"$limit": 0}], (15958, *MALFORMED)),
    ([{"$limit": "x"}], (2107201, 5107201, 15957, *MALFORMED)),
    ([{"$skip": -1}], (5107200, 15956, *MALFORMED)),
    ([{"$sort": {}}], (15976, *MALFORMED)),
    ([{"$sort": {"a": 5}}], (15975, *MALFORMED)),
    ([{"$unwind": "a"}], (28818, *MALFORMED)),
    ([{"$count": ""}], (40156, 40157, *MALFORMED)),
    ([{"$count": "$a"}], (40158, *MALFORMED)),
    ([{"$lookup": {"from": "x"}}], (4572, 40414, *MALFORMED, *NOT_OFFERED)),
    ([{"$changeStream": {}}], (40573, 40324, *NOT_OFFERED)),
    ([{"$project": {"b": {"$add": ["$a", "x"]}}}], (16554, *MALFORMED)),
    ([{"$project": {"b": {"$dateFromString": {"dateString": "nonsense"}}}}], (241, *MALFORMED)),
    ([{"$project": {"b": {"$toInt": "nonsense"}}}], (241, *MALFORMED)),
    ([{"$project": {"b": "$$nonsense"}}], (17276, *MALFORMED)),
]


@pytest.mark.parametrize(("pipeline", "codes"), PIPELINES, ids=str)
def test_pipeline(collection, pipeline, codes):
    fill(collection, {"a": 1})
    with failure(*codes):
        list(collection.aggregate(pipeline))


def test_a_document_of_the_greatest_size(collection):
    frame = 4 + 1 + len(b"_id\0") + 4 + 1 + len(b"blob\0") + 5 + 1
    collection.insert_one({"_id": 1, "blob": bytes(MAXIMUM - frame)})
    assert len(collection.find_one()["blob"]) == MAXIMUM - frame
    with pytest.raises((DocumentTooLarge, WriteError)):
        collection.insert_one({"_id": 2, "blob": bytes(MAXIMUM - frame + 1)})
    assert found(collection, {}) == [1]


def test_a_document_does_not_grow_beyond_the_greatest_size(collection):
    fill(collection, {"blobs": [bytes(8_000_000)]})
    with failure(17419, 10334, 2):
        collection.update_one({}, {"$push": {"blobs": bytes(9_000_000)}})
    assert len(collection.find_one()["blobs"]) == 1
    with failure(17419, 17420, 10334, 2):
        collection.find_one_and_update({"_id": 1}, {"$set": {"more": bytes(9_000_000)}})
    assert "more" not in collection.find_one()


def test_documents_nested_too_deeply_are_refused(collection):
    def nested(depth):
        document: dict = {}
        for _ in range(depth):
            document = {"a": document}
        return document

    collection.insert_one({"_id": 1, **nested(90)})
    assert collection.find_one() == {"_id": 1, **nested(90)}
    with failure(15):  # Overflow
        collection.insert_one(nested(400))
    assert collection.count_documents({}) == 1
    collection.database.client.admin.command("ping")


def test_transactions_are_refused_where_there_are_no_replicas(client, collection):
    if client.admin.command("hello").get("setName"):
        pytest.skip("this server has replicas and so has transactions")
    with client.start_session() as session, session.start_transaction():
        with failure(20):  # IllegalOperation
            collection.insert_one({"_id": 1}, session=session)
        session.abort_transaction()
    assert found(collection, {}) == []


def test_sessions_without_transactions_work(client, collection):
    with client.start_session() as session:
        collection.insert_one({"_id": 1}, session=session)
        assert collection.find_one({}, session=session) == {"_id": 1}


# What goes beyond the needs of this package: MongoDB's answer or a refusal.
BEYOND = {
    "bits": ({"n": {"$bitsAllSet": 4}}, [2]),
    "javascript": ({"$where": "this.n == 1"}, [1]),
    "schema": ({"$jsonSchema": {"required": ["t"]}}, [1]),
    "text search": ({"$text": {"$search": "word"}}, [1]),
    "geometry": ({"p": {"$geoWithin": {"$box": [[0, 0], [2, 2]]}}}, [1]),
}


@pytest.mark.parametrize(("condition", "expected"), BEYOND.values(), ids=BEYOND)
def test_rare_conditions_are_answered_right_or_refused(collection, condition, expected):
    fill(collection, {"n": 1, "t": "a word", "p": [1, 1]}, {"n": 5, "p": [3, 3]})
    right_or_refused(lambda: found(collection, condition), expected)


def test_collations_are_honoured_or_refused(collection):
    fill(collection, {"a": "B"}, {"a": "a"})
    ignoring_case = {"locale": "en", "strength": 2}
    right_or_refused(lambda: ids(collection.find({"a": "b"}, collation=ignoring_case)), [1])
    right_or_refused(lambda: ids(collection.find().sort("a", 1).collation(ignoring_case)), [2, 1])
    right_or_refused(lambda: collection.delete_many({"a": "b"}, ignoring_case).deleted_count, 1)


def test_rare_collections_work_or_are_refused(database):
    with_options = [
        {"capped": True, "size": 4096, "max": 2},
        {"timeseries": {"timeField": "at"}},
        {"validator": {"a": {"$gt": 0}}},
        {"viewOn": "things", "pipeline": [{"$match": {"a": 1}}]},
    ]
    fill(database["things"], {"a": 1}, {"a": 2})
    kept: list[int] = []
    for position, options in enumerate(with_options):
        try:
            database.command("create", f"rare{position}", **options)
        except OperationFailure as error:
            assert error.code
        else:
            kept.append(position)
    now = datetime.now(UTC)
    if 0 in kept:
        database["rare0"].insert_many([{"_id": i} for i in range(5)])
        assert found(database["rare0"], {}) == [3, 4]
    if 1 in kept:
        with failure(2):
            database["rare1"].insert_one({"no": now})
    if 2 in kept:
        with failure(121):
            database["rare2"].insert_one({"a": 0})
    if 3 in kept:
        assert found(database["rare3"], {}) == [1]
