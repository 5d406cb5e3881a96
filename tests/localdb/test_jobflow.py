"""jobflow through FireWorks, with maggma's stores for what the jobs return."""

from __future__ import annotations

from datetime import UTC, datetime

import jobflow
import pytest
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire
from jobflow import Flow, JobStore
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import GridFSStore, MongoStore
from pymongo.uri_parser import parse_uri

from .workflow_jobs import add, count_down, fan_out, large_array, total


@pytest.fixture
def place(workflow_server, workflow_database):
    """The arguments of maggma's stores."""
    address = parse_uri(workflow_server.address)
    ((host, port),) = address["nodelist"]
    return {
        "database": workflow_database,
        "host": host,
        "port": port,
        "username": address["username"] or "",
        "password": address["password"] or "",
        "auth_source": address["options"].get("authSource", "admin"),
    }


@pytest.fixture
def store(place, monkeypatch):
    outputs = MongoStore(collection_name="outputs", **place)
    blobs = GridFSStore(collection_name="blobs", **place)
    made = JobStore(outputs, additional_stores={"data": blobs})
    made.connect()
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", made)
    yield made
    made.close()


@pytest.fixture
def run(launchpad, store, tmp_path, monkeypatch):
    """Submit a flow and run it to its end."""
    monkeypatch.chdir(tmp_path)

    def submit_and_run(flow):
        launchpad.add_wf(flow_to_workflow(flow))
        rapidfire(launchpad, FWorker(), nlaunches=0, strm_lvl="CRITICAL")
        states = {document["state"] for document in launchpad.fireworks.find({}, {"state": 1})}
        assert states == {"COMPLETED"}

    return submit_and_run


def test_references_between_jobs(run, store):
    first = add(1, 2)
    second = add(first.output, 10)
    third = add(second.output, first.output)
    run(Flow([first, second, third]))
    assert store.get_output(third.uuid) == 16
    assert store.count() == 3


def test_large_outputs_go_through_gridfs(run, store):
    number = 300_000
    large = large_array(number)
    summed = total(large.output)
    run(Flow([large, summed]))
    assert store.get_output(summed.uuid) == number * (number - 1) / 2
    (kept,) = store.query({"uuid": large.uuid})
    assert "blob_uuid" in kept["output"]["array"]
    (whole,) = store.query({"uuid": large.uuid}, load=True)
    assert whole["output"]["array"][-1] == number - 1


def test_jobs_that_replace_themselves(run, store):
    job = count_down(3)
    run(Flow([job]))
    assert store.get_output(job.uuid, which="last") == "done"
    assert store.count({"uuid": job.uuid}) == 4
    assert [d["index"] for d in store.query({"uuid": job.uuid}, sort={"index": -1})] == [4, 3, 2, 1]


def test_jobs_that_add_others(run, store):
    run(Flow([fan_out(4)]))
    outputs = sorted(d["output"] for d in store.query({"name": "add"}))
    assert outputs == [100, 101, 102, 103]


def test_a_rerun_replaces_its_output(run, launchpad, store):
    job = add(1, 2)
    run(Flow([job]))
    launchpad.rerun_fw(1)
    rapidfire(launchpad, FWorker(), nlaunches=0, strm_lvl="CRITICAL")
    assert store.count({"uuid": job.uuid}) == 1
    assert store.get_output(job.uuid) == 3


@pytest.fixture
def plain(place):
    with MongoStore(collection_name="plain", key="name", **place) as opened:
        yield opened


def test_maggma_updates_by_key(plain):
    plain.update([{"name": f"n{i}", "v": i, "nested": {"x": i % 3}} for i in range(30)])
    plain.update([{"name": "n3", "v": 300}])
    assert plain.count() == 30
    assert plain.query_one({"name": "n3"}, ["v"])["v"] == 300
    plain.update([{"a": 1, "b": 2, "v": 1}, {"a": 1, "b": 2, "v": 2}], key=["a", "b"])
    assert plain.count({"a": 1}) == 1
    plain.remove_docs({"v": {"$gte": 20}})
    assert plain.count() == 20


def test_maggma_queries(plain):
    plain.update([{"name": f"n{i:02d}", "v": i, "nested": {"x": i % 3}} for i in range(30)])
    ordered = plain.query({"v": {"$gt": 5}}, ["name"], sort={"v": -1}, skip=2, limit=3)
    assert [document["name"] for document in ordered] == ["n27", "n26", "n25"]
    assert sorted(plain.distinct("nested.x")) == [0, 1, 2]
    assert plain.count({"nested.x": 1}) == 10
    groups = {key["nested"]["x"]: len(docs) for key, docs in plain.groupby("nested.x")}
    assert groups == {0: 10, 1: 10, 2: 10}
    limited = list(plain.groupby(["nested.x"], criteria={"v": {"$lt": 3}}, properties=["v"]))
    assert len(limited) == 3
    assert plain.ensure_index("name", unique=True)
    assert plain.ensure_index("nested.x")
    with pytest.raises(Exception, match=r"E11000|duplicate"):
        plain.update([{"name": "n01", "other": 1}], key="other")


def test_maggma_knows_what_is_new(plain, place):
    stamp = datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None)
    assert plain.last_updated == datetime.min
    plain.update([{"name": "a", "last_updated": stamp}])
    assert plain.last_updated == stamp
    with MongoStore(collection_name="newer", key="name", **place) as newer:
        newer.update([{"name": "a", "last_updated": stamp.replace(day=2)}])
        assert plain.newer_in(newer) == ["a"]
        assert newer.newer_in(plain) == []


def test_maggma_keeps_blobs(place):
    with GridFSStore(collection_name="files", key="name", **place) as files:
        files.update([{"name": "weights", "data": "x" * 3_000_000}])
        files.update([{"name": "weights", "data": "y" * 1_000}])
        assert files.query_one({"name": "weights"})["data"] == "y" * 1_000
        assert files.count() == 1
        files.remove_docs({"name": "weights"})
        assert files.count() == 0
