"""Which plans answer a query: an index, or the whole collection."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def indexed(client):
    database = client["conformance_explain"]
    collection = database["things"]
    collection.insert_many(
        [{"_id": i, "a": i % 10, "b": i % 7, "c": i, "o": {"x": i}} for i in range(200)]
    )
    collection.create_index([("a", 1), ("b", 1)])
    collection.create_index("c")
    collection.create_index("o.x")
    collection.create_index("p", partialFilterExpression={"p": {"$gt": 0}})
    yield collection
    client.drop_database(database.name)


def stages(plan) -> set[str]:
    """Return the names of all stages in a plan, however deep."""
    if isinstance(plan, dict):
        inner = set().union(*map(stages, plan.values())) if plan else set()
        return inner | ({plan["stage"]} if isinstance(plan.get("stage"), str) else set())
    if isinstance(plan, list):
        return set().union(*map(stages, plan)) if plan else set()
    return set()


def winning(explained) -> set[str]:
    return stages(explained["queryPlanner"]["winningPlan"])


BY_INDEX = [
    {"a": 5},
    {"a": 5, "b": 3},
    {"a": {"$in": [1, 2]}},
    {"c": {"$gt": 10, "$lt": 20}},
    {"c": {"$gte": 190}, "unindexed": None},
    {"o.x": 7},
    {"$and": [{"c": 5}, {"unindexed": 1}]},
    {"p": {"$gt": 5}},
]
BY_SCAN = [{}, {"b": 3}, {"unindexed": 1}, {"o": {"x": 7}}, {"p": 0}, {"p": None}]


@pytest.mark.parametrize("condition", BY_INDEX, ids=str)
def test_an_index_is_used(indexed, condition):
    plan = winning(indexed.find(condition).explain())
    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan


@pytest.mark.parametrize("condition", BY_SCAN, ids=str)
def test_the_whole_collection_is_read(indexed, condition):
    assert "COLLSCAN" in winning(indexed.find(condition).explain())


def test_an_id_is_looked_up(indexed):
    plan = winning(indexed.find({"_id": 5}).explain())
    assert plan & {"IDHACK", "IXSCAN", "EXPRESS_IXSCAN"}
    assert "COLLSCAN" not in plan


def test_an_order_comes_from_an_index(indexed):
    assert "IXSCAN" in winning(indexed.find().sort("c", -1).limit(5).explain())
    assert "COLLSCAN" in winning(indexed.find().sort("unindexed", 1).explain())


def test_figures_of_an_execution(indexed):
    database = indexed.database
    command = {"find": "things", "filter": {"c": {"$lt": 20}}}
    figures = database.command("explain", command, verbosity="executionStats")["executionStats"]
    assert figures["nReturned"] == 20
    assert figures["totalDocsExamined"] == 20
    scan = {"find": "things", "filter": {"unindexed": 1}}
    figures = database.command("explain", scan, verbosity="executionStats")["executionStats"]
    assert (figures["nReturned"], figures["totalDocsExamined"]) == (0, 200)


@pytest.mark.parametrize(
    "command",
    [
        {"aggregate": "things", "pipeline": [{"$match": {"c": 5}}], "cursor": {}},
        {"count": "things", "query": {"c": 5}},
        {"distinct": "things", "key": "c", "query": {"c": {"$gt": 5}}},
        {"update": "things", "updates": [{"q": {"c": 5}, "u": {"$set": {"z": 1}}}]},
        {"delete": "things", "deletes": [{"q": {"c": 5}, "limit": 1}]},
        {"findAndModify": "things", "query": {"c": 5}, "remove": True},
    ],
    ids=lambda command: next(iter(command)),
)
def test_other_commands_are_explained_and_not_carried_out(indexed, command):
    names = stages(indexed.database.command("explain", command, verbosity="queryPlanner"))
    assert names & {"IXSCAN", "COUNT_SCAN", "DISTINCT_SCAN", "EXPRESS_IXSCAN"}
    assert "COLLSCAN" not in names
    assert indexed.count_documents({"c": 5, "z": {"$exists": False}}) == 1


def test_a_collection_that_is_not_there(indexed):
    explained = indexed.database["nothing"].find({"a": 1}).explain()
    assert winning(explained) == {"EOF"}
