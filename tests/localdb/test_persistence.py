"""What was acknowledged stays, whatever happens to the server, its file or its disk."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import bson
import pytest
from pymongo.errors import ConnectionFailure, OperationFailure

from crysearch import localdb
from crysearch.localdb import LocalDatabaseError

from .conftest import start_python
from .local_servers import alive, connect, kill, running_pid, stopped_after, wait_until

FILE = "records.sqlite"

# Writes for ever and says what was acknowledged; the server dies under it.
WRITER = """
import sys
from pathlib import Path
from pymongo import MongoClient
from pymongo.errors import PyMongoError
uri, worker = sys.argv[1:]
database = MongoClient(uri, retryWrites=False, serverSelectionTimeoutMS=2000)["crysearch"]
database["counters"].update_one({"_id": worker}, {"$setOnInsert": {"n": 0}}, upsert=True)
step = 0
try:
    while True:
        database["single"].insert_one({"_id": f"{worker}-{step}", "text": "x" * 300})
        print("single", step, flush=True)
        database["counters"].update_one({"_id": worker}, {"$inc": {"n": 1}})
        print("counter", step + 1, flush=True)
        database["many"].insert_many([{"_id": f"{worker}-{step}-{i}"} for i in range(20)])
        print("many", step, flush=True)
        database["single"].delete_one({"_id": f"{worker}-{step - 5}"})
        print("deleted", step - 5, flush=True)
        step += 1
except PyMongoError:
    pass
"""


@pytest.fixture
def folder(tmp_path):
    with stopped_after(tmp_path / "store") as place:
        yield place


@pytest.mark.slow
def test_a_killed_server_loses_nothing_it_acknowledged(folder, tmp_path):
    acknowledged = 0
    for repetition in range(3):
        address = localdb.start(folder)
        workers = [f"{repetition}{letter}" for letter in "ab"]
        logs = [tmp_path / f"acknowledged-{worker}" for worker in workers]
        writers = []
        for worker, log in zip(workers, logs, strict=True):
            with log.open("w") as output:
                uri = address.uri("admin")
                writers.append(start_python(WRITER, uri, worker, stdout=output))
        try:
            for log in logs:
                wait_until(lambda log=log: log.stat().st_size > 1_000)
            time.sleep(0.13 * repetition)
            kill(folder)
            complaints = [writer.communicate(timeout=30)[1] for writer in writers]
        finally:
            for writer in writers:
                writer.kill()
        with connect(localdb.start(folder)) as client:
            database = client["crysearch"]
            assert complaints == ["", ""]
            for worker, log in zip(workers, logs, strict=True):
                lines = log.read_text()
                steps = {"single": [0], "counter": [0], "many": [], "deleted": []}
                for line in lines.splitlines():
                    kind, step = line.split()
                    steps[kind].append(int(step))
                deleted = {step for step in steps["deleted"] if step >= 0}
                assert len(steps["many"]) > 5
                kept = {
                    d["_id"] for d in database["single"].find({"_id": {"$regex": f"^{worker}-"}})
                }
                # One write may have been done without its answer having got through.
                in_doubt = {f"{worker}-{max(steps['single']) - 5 + offset}" for offset in (0, 1)}
                for step in steps["single"]:
                    name = f"{worker}-{step}"
                    assert (name in kept) != (step in deleted) or name in in_doubt, name
                counted = database["counters"].find_one({"_id": worker})["n"]
                assert counted - max(steps["counter"]) in (0, 1)
                many = database["many"].count_documents({"_id": {"$regex": f"^{worker}-"}})
                assert many - 20 * len(steps["many"]) in (0, 20)  # a command is done wholly or not
                acknowledged += len(lines.splitlines())
        assert localdb.start(folder) == address
    assert acknowledged > 100


def test_a_file_copied_in_the_midst_of_writing_is_whole(folder, tmp_path):
    """As after a power cut: what is on the disk at any moment can be opened."""
    with connect(localdb.start(folder)) as client:
        collection = client["crysearch"]["things"]
        collection.create_index("a", unique=True)
        collection.insert_many([{"_id": i, "a": i} for i in range(500)])
        collection.update_many({"_id": {"$lt": 100}}, {"$set": {"b": "x" * 200}})
        collection.delete_many({"_id": {"$gte": 400}})
        (tmp_path / "copy").mkdir(mode=0o700)
        for path in folder.glob(f"{FILE}*"):
            shutil.copy(path, tmp_path / "copy" / path.name)
    localdb.stop(folder)  # the port, which the copy remembers, becomes free
    with (
        stopped_after(tmp_path / "copy") as copy,
        connect(localdb.start(copy)) as client,
    ):
        collection = client["crysearch"]["things"]
        assert collection.count_documents({}) == 400
        assert collection.count_documents({"b": {"$exists": True}}) == 100
        with pytest.raises(OperationFailure, match="E11000"):
            collection.insert_one({"a": 5})


def test_everything_is_there_after_a_restart(folder):
    with connect(localdb.start(folder)) as client:
        database = client["crysearch"]
        database["things"].create_index([("a", 1), ("b", -1)], unique=True, name="ab")
        database["things"].create_index("c", partialFilterExpression={"c": {"$gt": 0}}, unique=True)
        keys = ["x", 1, 2.5, bson.ObjectId(), {"k": [1]}, None]
        database["things"].insert_many([{"_id": k, "a": i, "c": i} for i, k in enumerate(keys)])
        client["other"]["more"].insert_one({"_id": 1, "list": [1, {"a": bson.Int64(5)}]})
        database.create_collection("empty")
        before = (
            list(database["things"].find()),
            database["things"].index_information(),
            sorted(database.list_collection_names()),
            list(client["other"]["more"].find()),
        )
    localdb.stop(folder)
    with connect(localdb.start(folder)) as client:
        database = client["crysearch"]
        assert before == (
            list(database["things"].find()),
            database["things"].index_information(),
            sorted(database.list_collection_names()),
            list(client["other"]["more"].find()),
        )
        for duplicate in ({"a": 1}, {"a": 99, "c": 1}):
            with pytest.raises(OperationFailure, match="E11000"):
                database["things"].insert_one(duplicate)
        assert database["things"].find_one({"a": 3})["_id"] == keys[3]


def test_dropped_things_stay_dropped(folder):
    with connect(localdb.start(folder)) as client:
        for name in ("one", "two"):
            client["crysearch"][name].insert_many([{"_id": i} for i in range(10)])
        client["crysearch"]["one"].drop()
        client["away"]["things"].insert_one({})
        client.drop_database("away")
    kill(folder)
    with connect(localdb.start(folder)) as client:
        assert client["crysearch"].list_collection_names() == ["two"]
        assert "away" not in client.list_database_names()


def spoil(folder, how: str) -> None:
    """Damage the file of a stopped server."""
    path = folder / FILE
    if how == "noise":
        path.write_bytes(b"this is no database" * 1000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "pages overwritten":
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        path.write_bytes(data)
    else:
        with sqlite3.connect(path) as connection:
            if how == "newer format":
                connection.execute("PRAGMA user_version = 99")
            elif how == "another program's":
                connection.execute("PRAGMA application_id = 12345")
        connection.close()


DAMAGES = {
    "noise": "cannot be read|damaged|not a",
    "empty": "cannot be read|damaged|not a",
    "cut short": "cannot be read|damaged",
    "pages overwritten": "cannot be read|damaged",
    "newer format": "format 99",
    "another program's": "not a crysearch",
}


@pytest.mark.parametrize(("how", "words"), DAMAGES.items(), ids=DAMAGES)
def test_a_file_that_cannot_be_trusted_is_refused_and_left_alone(folder, how, words):
    with connect(localdb.start(folder)) as client:
        client["crysearch"]["things"].insert_many([{"_id": i, "t": "x" * 500} for i in range(200)])
    localdb.stop(folder)
    spoil(folder, how)
    damaged = (folder / FILE).read_bytes()
    for start in (localdb.start, localdb.ensure_running):
        with pytest.raises(LocalDatabaseError, match=words) as raised:
            start(folder)
        assert FILE in str(raised.value)
    assert (folder / FILE).read_bytes() == damaged
    assert not localdb.status(folder).running


def test_a_damaged_document_is_reported_and_not_returned(folder):
    with connect(localdb.start(folder)) as client:
        client["crysearch"]["things"].insert_many(
            [{"_id": i, "text": f"document number {i:04d}"} for i in range(50)]
        )
    localdb.stop(folder)
    data = (folder / FILE).read_bytes()
    assert data.count(b"document number 0007") == 1
    (folder / FILE).write_bytes(data.replace(b"document number 0007", b"document number 0O07"))
    try:
        address = localdb.start(folder)
    except LocalDatabaseError:
        return  # found out at once
    with connect(address) as client:
        collection = client["crysearch"]["things"]
        with pytest.raises(OperationFailure):
            collection.find_one({"_id": 7})
        assert collection.find_one({"_id": 8})["text"] == "document number 0008"


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_harms_nothing(folder):
    localdb.start(folder)
    localdb.stop(folder)
    # The kernel refuses to let the server's files grow, as a full disk would.
    limited = (
        "import resource, sys, runpy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000));"
        "sys.argv = ['crysearch.localdb', sys.argv[1]];"
        "runpy.run_module('crysearch.localdb', run_name='__main__')"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", limited, str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: localdb.status(folder).running)
        kept = 0
        with connect(localdb.ensure_running(folder)) as client:
            collection = client["crysearch"]["things"]
            with pytest.raises(OperationFailure) as raised:
                for kept in range(1000):
                    collection.insert_one({"_id": kept, "blob": bytes(100_000)})
            # OutOfDiskSpace; this limit of the kernel's may look like another failure to write.
            assert raised.value.code in (14031, 96)
            assert kept > 3
            # The server goes on: what was acknowledged can be read.
            assert collection.count_documents({}) == kept
            assert client.admin.command("ping")["ok"] == 1
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    with connect(localdb.start(folder)) as client:
        collection = client["crysearch"]["things"]
        assert sorted(document["_id"] for document in collection.find({}, {"_id": 1})) == list(
            range(kept)
        )
        collection.insert_one({"_id": kept})


def test_a_client_waits_out_a_restart(folder):
    with connect(localdb.start(folder)) as client:
        collection = client["crysearch"]["things"]
        collection.insert_one({"_id": 1})
        kill(folder)
        with pytest.raises(ConnectionFailure):
            collection.insert_one({"_id": 2})
        localdb.start(folder)
        collection.insert_one({"_id": 3})
        assert [document["_id"] for document in collection.find()] == [1, 3]


def test_a_starter_after_a_kill_needs_no_cleaning_up(folder):
    pid = None
    for _ in range(3):
        localdb.ensure_running(folder)
        assert running_pid(folder) != pid
        pid = kill(folder)
        assert not alive(pid)
