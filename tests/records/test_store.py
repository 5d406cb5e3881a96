"""What every record store does, whatever database is behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from crysearch.errors import RecordsError
from crysearch.records import COLLECTIONS, RecordStore
from crysearch.records.values import from_binary_vector, to_binary_vector


def numbered(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"_id": f"{i:04d}", "search": "s", "number": i, **fields} for i in range(count)]


def ids(documents: list[dict[str, Any]]) -> list[str]:
    return [document["_id"] for document in documents]


def test_documents_come_back_as_they_were_written(store: RecordStore) -> None:
    document = {
        "_id": "a",
        "text": "Å",
        "whole": 2**40,
        "number": 0.1,
        "truth": True,
        "nothing": None,
        "moment": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "nested": {"list": [1, [2.5, "x"], {"deep": False}]},
        "bytes": b"\x00\xff",
    }
    assert store.upsert("candidates", [document]) == 1
    assert store.get("candidates", "a") == document


def test_an_upsert_replaces_the_whole_document(store: RecordStore) -> None:
    store.upsert("candidates", [{"_id": "a", "old": 1}, {"_id": "b", "old": 1}])
    store.upsert("candidates", [{"_id": "a", "new": 2}])
    assert store.find("candidates", sort=[("_id", 1)]) == [
        {"_id": "a", "new": 2},
        {"_id": "b", "old": 1},
    ]


def test_writing_a_batch_again_changes_nothing(store: RecordStore) -> None:
    batch = numbered(50, fingerprint=to_binary_vector([1.0, 2.0]))
    assert store.upsert("candidates", batch) == store.upsert("candidates", batch) == 50
    assert store.find("candidates", sort=[("_id", 1)]) == batch


def test_the_last_of_two_documents_with_one_id_counts(store: RecordStore) -> None:
    assert store.upsert("candidates", [{"_id": "a", "n": 1}, {"_id": "a", "n": 2}]) == 1
    assert store.find("candidates") == [{"_id": "a", "n": 2}]


def test_no_documents_are_no_work(store: RecordStore) -> None:
    assert store.upsert("candidates", []) == 0
    assert store.update("candidates", {}) == 0
    assert store.find("candidates") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"_id": "0002"}, [2]),
        ({"_id": {"$in": ["0004", "0001", "absent"]}}, [1, 4]),
        ({"_id": {"$gte": "0003", "$lt": "0004"}}, [3]),
        ({"value": {"$lt": 0.5}}, [0, 1]),
        ({"value": {"$gte": 0.5, "$ne": 1.5}}, [2]),
        ({"value": None}, [4]),
        ({"value": {"$ne": None}}, [0, 1, 2, 3]),
        ({"groups": "II"}, [1, 3]),
        ({"groups": {"$in": ["I", "III"]}}, [0, 2, 3]),
        ({"groups": {"$nin": ["II"]}}, [0, 2, 4]),
        ({"nested.symbol": "Fd-3m"}, [0, 2, 4]),
        ({"nested.symbol": {"$regex": "^fd", "$options": "i"}}, [0, 2, 4]),
        ({"label": [7, 3]}, [3]),
        ({"$and": [{"groups": "II"}, {"$or": [{"number": 1}, {"number": 2}]}]}, [1]),
        ({"moment": {"$gte": datetime(2026, 1, 3, tzinfo=UTC)}}, [2, 3, 4]),
        ({"truth": True}, [0, 2, 4]),
        ({"absent": {"$exists": False}, "number": {"$in": [1]}}, [1]),
    ],
)
def test_queries(store: RecordStore, query: dict[str, Any], expected: list[int]) -> None:
    documents = numbered(5)
    groups = [["I"], ["II"], ["III"], ["I", "II"], []]
    for i, document in enumerate(documents):
        document["value"] = None if i == 4 else i / 2 if i == 3 else i / 4
        document["groups"] = groups[i]
        document["nested"] = {"symbol": "P1" if i % 2 else "Fd-3m"}
        document["label"] = [7, i]
        document["moment"] = datetime(2026, 1, 1 + i, tzinfo=UTC)
        document["truth"] = i % 2 == 0
    store.upsert("relaxations", documents)
    found = store.find("relaxations", query, sort=[("number", 1)])
    assert [document["number"] for document in found] == expected
    assert store.count("relaxations", query) == len(expected)


def test_sorting_puts_missing_values_first_and_keeps_to_all_keys(store: RecordStore) -> None:
    values: list[tuple[str, float | None, int]] = [
        ("a", 2.0, 1),
        ("b", None, 1),
        ("c", 1.0, 1),
        ("d", 2.0, 0),
        ("e", -1, 5),
    ]
    store.upsert("relaxations", [{"_id": i, "x": x, "y": y} for i, x, y in values])
    assert ids(store.find("relaxations", sort=[("x", 1), ("y", 1)])) == ["b", "e", "c", "d", "a"]
    assert ids(store.find("relaxations", sort=[("x", -1), ("y", 1)])) == ["d", "a", "c", "e", "b"]
    assert ids(store.find("relaxations", sort=[("x", -1), ("y", -1)], limit=2)) == ["a", "d"]
    first = store.find_one("relaxations", {"x": {"$ne": None}}, sort=[("x", 1)])
    assert first is not None and first["_id"] == "e"


def test_projections(store: RecordStore) -> None:
    document = {"_id": "a", "x": 1, "nested": {"p": 1, "q": 2}, "parts": [{"p": 1, "q": 2}]}
    store.upsert("candidates", [document])

    def projected(projection: Any) -> dict[str, Any]:
        return store.find("candidates", {}, projection)[0]

    assert projected(["x", "nested.q"]) == {"_id": "a", "x": 1, "nested": {"q": 2}}
    assert projected({"x": 1, "_id": 0}) == {"x": 1}
    assert projected({"nested": 0, "parts.p": 0}) == {"_id": "a", "x": 1, "parts": [{"q": 2}]}
    assert projected(["absent"]) == {"_id": "a"}


def test_distinct_values_of_lists_and_parts(store: RecordStore) -> None:
    store.upsert(
        "candidates",
        [
            {"_id": "a", "groups": ["I", "II"], "near": {"id": "x"}},
            {"_id": "b", "groups": ["II"], "near": {"id": "x"}},
            {"_id": "c", "groups": [], "near": {"id": "y"}},
            {"_id": "d"},
        ],
    )
    assert sorted(store.distinct("candidates", "groups")) == ["I", "II"]
    assert sorted(store.distinct("candidates", "near.id")) == ["x", "y"]
    assert store.distinct("candidates", "near.id", {"groups": "II"}) == ["x"]


def test_delete(store: RecordStore) -> None:
    store.upsert("failures", numbered(5))
    assert store.delete("failures", {"number": {"$gte": 3}}) == 2
    assert store.delete("failures", {"number": {"$gte": 3}}) == 0
    assert ids(store.find("failures", sort=[("_id", 1)])) == ["0000", "0001", "0002"]
    assert store.delete("failures", {}) == 3
    assert store.count("failures") == 0


def test_update_sets_fields_and_leaves_the_others(store: RecordStore) -> None:
    store.upsert("searches", [{"_id": "a", "x": 1, "stages": {"one": {"done": True}}}])
    changes = {"a": {"y": np.float64(2.5), "stages.two": {"done": False}, "stages.one.n": 3}}
    assert store.update("searches", changes) == 1
    assert store.get("searches", "a") == {
        "_id": "a",
        "x": 1,
        "y": 2.5,
        "stages": {"one": {"done": True, "n": 3}, "two": {"done": False}},
    }


def test_update_of_an_absent_document_writes_nothing(store: RecordStore) -> None:
    store.upsert("searches", [{"_id": "a", "x": 1}])
    with pytest.raises(RecordsError, match=r"'ghost'.*upsert"):
        store.update("searches", {"a": {"x": 2}, "ghost": {"x": 2}})
    assert store.get("searches", "a") == {"_id": "a", "x": 1}


def test_what_is_returned_is_a_copy(store: RecordStore) -> None:
    given = {"_id": "a", "nested": {"list": [1]}}
    store.upsert("candidates", [given])
    given["nested"]["list"].append(2)  # type: ignore[index]
    found = store.get("candidates", "a")
    assert found is not None
    found["nested"]["list"].append(3)
    assert store.get("candidates", "a") == {"_id": "a", "nested": {"list": [1]}}
    shown = store.find("candidates", {}, ["nested"])[0]
    shown["nested"]["list"].append(4)
    assert store.get("candidates", "a") == {"_id": "a", "nested": {"list": [1]}}


def test_collections_are_separate(store: RecordStore) -> None:
    for collection in COLLECTIONS:
        store.upsert(collection, [{"_id": "same", "where": collection}])
    for collection in COLLECTIONS:
        assert store.find(collection) == [{"_id": "same", "where": collection}]


def test_vectors_survive(store: RecordStore) -> None:
    values = np.random.default_rng(1).normal(size=200)
    store.upsert("replicas", [{"_id": "a", "fingerprint": to_binary_vector(values)}])
    found = store.get("replicas", "a")
    assert found is not None
    np.testing.assert_array_equal(
        from_binary_vector(found["fingerprint"]), values.astype(np.float32)
    )


def test_blobs(store: RecordStore) -> None:
    data = np.random.default_rng(2).bytes(20_000_000)
    store.put_blob("weights", b"first", {"version": 1})
    store.put_blob("weights", data, {"version": 2, "kind": "vae"})
    store.put_blob("other", b"")
    assert store.get_blob("weights") == data
    assert store.get_blob_metadata("weights") == {"version": 2, "kind": "vae"}
    assert store.get_blob("other") == b""
    assert store.delete_blob("weights")
    assert not store.delete_blob("weights")
    with pytest.raises(RecordsError, match="no blob 'weights'"):
        store.get_blob("weights")


def test_a_document_over_16_mb_is_refused_with_its_whole_batch(store: RecordStore) -> None:
    just_fits = "x" * (16 * 1024 * 1024 - 100)
    assert store.upsert("candidates", [{"_id": "fits", "x": just_fits}]) == 1
    with pytest.raises(RecordsError, match=r"'large'.*16777216.*put_blob"):
        store.upsert("candidates", [{"_id": "small"}, {"_id": "large", "x": just_fits + "x" * 99}])
    assert ids(store.find("candidates", {}, ["_id"])) == ["fits"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "_id None"),
        ({"_id": 7}, "_id 7"),
        ({"_id": ""}, "_id ''"),
        ({"_id": "a", "x": np.zeros(3)}, "'a'.*cannot be stored"),
        ({"_id": "a", 7: 1}, "'a'.*Keys must be strings"),
        ({"_id": "a", "x": 2**70}, "'a'.*cannot be stored"),
    ],
)
def test_bad_documents_are_named(store: RecordStore, document: Any, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        store.upsert("candidates", [{"_id": "good"}, document])
    assert store.count("candidates") == 0


def test_bad_requests_are_explained(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match=r"no collection 'candidate'.*candidates"):
        store.find("candidate")
    with pytest.raises(RecordsError, match="relaxations"):
        store.find("relaxations", {"$nonsense": 1})
    with pytest.raises(RecordsError, match="blob_id"):
        store.put_blob("", b"")


def test_indexes_can_be_ensured_twice(store: RecordStore) -> None:
    store.upsert("relaxations", numbered(3))
    store.ensure_indexes()
    store.ensure_indexes()
    store.upsert("relaxations", numbered(4))  # nothing but _id is unique
    assert store.count("relaxations") == 4


def test_a_closed_store_says_so(store: RecordStore) -> None:
    store.close()
    store.close()
    with pytest.raises(RecordsError, match="closed"):
        store.find("searches")
