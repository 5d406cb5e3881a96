"""Many processes and threads at one server."""

from __future__ import annotations

import threading
import time

import pytest
from pymongo import MongoClient

from .conftest import finish, start_python

PROCESSES = 8
STEPS = 40
JOBS = 120

COUNT = """
import sys
from pymongo import MongoClient, ReturnDocument
uri, name, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
counters = MongoClient(uri)[name]["counters"]
for _ in range(steps):
    after = counters.find_one_and_update(
        {"_id": "n"}, {"$inc": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER)
    print(after["n"])
    counters.update_one({"_id": "m"}, {"$inc": {"m": 1}})
"""

CHECK_OUT = """
import sys
from pymongo import MongoClient
uri, name, worker = sys.argv[1:]
jobs = MongoClient(uri)[name]["jobs"]
while True:
    job = jobs.find_one_and_update(
        {"state": "READY"}, {"$set": {"state": "RUNNING", "worker": worker}, "$inc": {"taken": 1}},
        sort=[("priority", -1), ("_id", 1)])
    if job is None:
        break
    print(job["_id"])
"""

INSERT_SAME = """
import sys
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError
uri, name = sys.argv[1:]
locks = MongoClient(uri)[name]["locks"]
for key in range(50):
    try:
        locks.insert_one({"key": key})
        print(key)
    except DuplicateKeyError:
        pass
"""


@pytest.mark.slow
def test_no_increment_is_lost(server, database):
    database["counters"].insert_one({"_id": "m", "m": 0})
    arguments = (server.uri("admin"), database.name, str(STEPS))
    printed = finish([start_python(COUNT, *arguments) for _ in range(PROCESSES)])
    total = PROCESSES * STEPS
    assert database["counters"].find_one({"_id": "n"})["n"] == total
    assert database["counters"].find_one({"_id": "m"})["m"] == total
    # Every value was handed out once.
    assert sorted(int(line) for lines in printed for line in lines.split()) == list(
        range(1, total + 1)
    )


@pytest.mark.slow
def test_every_job_is_taken_once(server, database):
    jobs = database["jobs"]
    jobs.create_index([("state", 1), ("priority", -1)])
    jobs.insert_many([{"_id": i, "state": "READY", "priority": i % 3} for i in range(JOBS)])
    arguments = (server.uri("admin"), database.name)
    printed = finish([start_python(CHECK_OUT, *arguments, f"worker-{i}") for i in range(PROCESSES)])
    assert sorted(int(line) for lines in printed for line in lines.split()) == list(range(JOBS))
    assert jobs.count_documents({"taken": 1, "state": "RUNNING"}) == JOBS


@pytest.mark.slow
def test_a_unique_key_has_one_winner(server, database):
    database["locks"].create_index("key", unique=True)
    arguments = (server.uri("admin"), database.name)
    printed = finish([start_python(INSERT_SAME, *arguments) for _ in range(4)])
    assert sorted(int(line) for lines in printed for line in lines.split()) == list(range(50))
    assert database["locks"].count_documents({}) == 50


@pytest.mark.slow
def test_scans_do_not_stall_the_others(server, database):
    """While whole collections are read, pings and single documents are answered at once."""
    things = database["things"]
    for start in range(0, 30_000, 5_000):
        things.insert_many([{"_id": start + i, "text": f"{i:0400d}"} for i in range(5_000)])
    stop = threading.Event()
    scans = []

    def scan():
        with MongoClient(server.address) as own:
            while not stop.is_set():
                began = time.monotonic()
                assert own[database.name]["things"].count_documents({"text": {"$regex": "z$"}}) == 0
                scans.append(time.monotonic() - began)

    scanners = [threading.Thread(target=scan) for _ in range(3)]
    for scanner in scanners:
        scanner.start()
    waits = []
    deadline = time.monotonic() + 3
    with MongoClient(server.address) as own:
        while time.monotonic() < deadline:
            began = time.monotonic()
            own.admin.command("ping")
            own[database.name]["things"].update_one({"_id": 7}, {"$set": {"beat": began}})
            waits.append(time.monotonic() - began)
            time.sleep(0.02)
    stop.set()
    for scanner in scanners:
        scanner.join(60)
    assert scans
    waits.sort()
    usual, longest = waits[int(0.95 * len(waits))], waits[-1]
    assert usual < 0.5 and longest < 3, f"{usual:.2f} s, {longest:.2f} s of {len(waits)} waits"


def test_many_connections_at_once(server):
    clients = [MongoClient(server.address, maxPoolSize=1) for _ in range(60)]
    try:
        for client in clients:
            assert client.admin.command("ping")["ok"] == 1
        assert clients[0].admin.command("ping")["ok"] == 1
    finally:
        for client in clients:
            client.close()


def test_threads_share_one_client(database):
    errors = []

    def work(number):
        try:
            for i in range(25):
                database["things"].insert_one({"_id": f"{number}-{i}"})
                assert database["things"].find_one({"_id": f"{number}-{i}"})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert database["things"].count_documents({}) == 200
