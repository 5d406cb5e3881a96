"""The servers the conformance suite runs against, and a fresh database for every test.

One suite for any MongoDB server: the local store, and the server that
``CRYSEARCH_TEST_MONGODB_URI`` names (its user must be allowed to create and drop databases).
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from bson.codec_options import CodecOptions
from fireworks import LaunchPad
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from .second_server import second_server

MONGODB_URI = os.environ.get("CRYSEARCH_TEST_MONGODB_URI")
SERVERS = ["local", *(["mongodb"] if MONGODB_URI else [])]
TIME_LIMIT = 60.0


def pytest_configure(config: pytest.Config) -> None:
    # FireWorks imports its own tests, which carry this mark, when it looks for a task by name.
    config.addinivalue_line("markers", "mongodb: used by the tests inside FireWorks")


@dataclass(frozen=True)
class Server:
    """A server under test and how to reach it."""

    name: str
    address: str

    def uri(self, database: str) -> str:
        """Return the address with a database's name in it."""
        return urlsplit(self.address)._replace(path=f"/{database}").geturl()


def start_server(name: str, folder: Path) -> Iterator[Server]:
    """Start a server (or take the running one) and stop it after use."""
    if name == "mongodb":
        assert MONGODB_URI is not None
        parts = urlsplit(MONGODB_URI)
        yield Server(name, parts._replace(path="/").geturl())
    elif name == "mongoeco":
        with second_server(folder) as address:
            yield Server(name, address)
    else:
        from crysearch import localdb

        address = localdb.start(folder / "store").uri("admin")
        try:
            yield Server(name, address)
        finally:
            localdb.stop(folder / "store")


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Server]:
    """Every server that has to conform."""
    yield from start_server(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(
    scope="session", params=[*SERVERS, pytest.param("mongoeco", marks=pytest.mark.slow)]
)
def workflow_server(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Server]:
    """Every server that FireWorks and jobflow are run against."""
    yield from start_server(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def workflow_database(workflow_server: Server) -> Iterator[str]:
    """The name of a database for workflows of the test's own, dropped afterwards."""
    name = f"workflows_{uuid.uuid4().hex[:12]}"
    yield name
    with MongoClient(workflow_server.address) as opened:
        opened.drop_database(name)


@pytest.fixture
def launchpad(workflow_server: Server, workflow_database: str, tmp_path: Path) -> LaunchPad:
    """An empty LaunchPad; ``tmp_path / "launchpad.yaml"`` leads other processes to it."""
    uri = workflow_server.uri("admin" if workflow_server.name == "local" else "")
    settings = {"host": uri, "name": workflow_database, "uri_mode": True, "strm_lvl": "CRITICAL"}
    path = tmp_path / "launchpad.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    pad = LaunchPad.from_file(str(path))
    pad.reset("", require_password=False)
    return pad


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[MongoClient]:
    with MongoClient(server.address, tz_aware=True, serverSelectionTimeoutMS=10_000) as opened:
        opened.admin.command("ping")
        yield opened


@pytest.fixture
def database(client: MongoClient) -> Iterator[Database]:
    """A database of the test's own, dropped afterwards."""
    name = f"conformance_{uuid.uuid4().hex[:12]}"
    yield client.get_database(name, CodecOptions(tz_aware=True))
    client.drop_database(name)


@pytest.fixture
def collection(database: Database) -> Collection:
    """An empty collection of the test's own."""
    return database["things"]


def fill(collection: Collection, *values: Any) -> None:
    """Insert documents {_id: 1, **value}, {_id: 2, **value}, … in this order."""
    collection.insert_many([{"_id": key, **value} for key, value in enumerate(values, start=1)])


def ids(documents: Iterable[dict[str, Any]]) -> list[Any]:
    """Return the documents' ids in the order of the answer."""
    return [document["_id"] for document in documents]


def found(collection: Collection, condition: dict[str, Any]) -> list[Any]:
    """Return the ids of the documents that match, sorted."""
    return sorted(ids(collection.find(condition, {"_id": 1})))


def failure(*codes: int) -> Any:
    """Expect an operation to be refused with one of MongoDB's error codes."""

    def refused(error: OperationFailure) -> bool:
        assert error.code in codes, f"expected {codes}, got {error.code}: {error}"
        return True

    return pytest.raises(OperationFailure, check=refused)


def start_python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a Python program in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **{**pipes, **options},
    )


def finish(processes: Sequence[subprocess.Popen[str]], timeout: float = TIME_LIMIT) -> list[str]:
    """Wait for processes, all of which must succeed, and return what they printed."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (printed, complaint) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, f"{printed}\n{complaint}"
    return [printed for printed, _ in outputs]


def right_or_refused(action: Callable[[], Any], expected: Any) -> None:
    """Check what a server need not offer: MongoDB's answer or an error, never another answer."""
    try:
        answer = action()
    except OperationFailure as error:
        assert error.code, f"refused without a code: {error}"
    else:
        assert answer == expected
