from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import mongomock_ng
import pytest
from mongomock_ng.gridfs import enable_gridfs_integration
from pymatgen.core import Lattice, Structure
from pymongo import MongoClient

from crysearch import localdb
from crysearch.records import RecordStore, open_records
from crysearch.records.mongodb import GridFSBlobs

MONGODB_URI = os.environ.get("CRYSEARCH_TEST_MONGODB_URI")


@pytest.fixture(scope="session")
def diamond() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])


@pytest.fixture(scope="session")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[localdb.Address]:
    """A local store for many tests, each of which has a database of its own in it."""
    folder = tmp_path_factory.mktemp("server")
    yield localdb.start(folder)
    localdb.stop(folder)


# mongomock: an independent database with pymongo's interface.
BACKENDS = ["local", "mongomock", *(["mongodb"] if MONGODB_URI else [])]


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest) -> Iterator[RecordStore]:
    """Every kind of database, empty, behind the same store."""
    if request.param == "mongomock":
        enable_gridfs_integration()
        database: Any = mongomock_ng.MongoClient(tz_aware=True)["crysearch"]
        yield RecordStore(database, GridFSBlobs(database), "mongomock")
        return
    name = f"crysearch_test_{uuid.uuid4().hex}"
    if request.param == "local":
        uri = request.getfixturevalue("local_server").uri(name)
    else:
        assert MONGODB_URI is not None
        uri = urlsplit(MONGODB_URI)._replace(path=f"/{name}").geturl()
    with open_records(uri) as opened:
        yield opened
    with MongoClient(uri) as client:
        client.drop_database(name)
