from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mongomock_ng
import pytest
from mongomock_ng.gridfs import enable_gridfs_integration
from pymatgen.core import Lattice, Structure
from pymongo import MongoClient

from crysearch.records import RecordStore, open_records
from crysearch.records.mongodb import GridFSBlobs

MONGODB_URI = os.environ.get("CRYSEARCH_TEST_MONGODB_URI")


@pytest.fixture(scope="session")
def diamond() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])


@pytest.fixture
def local(tmp_path: Path) -> Iterator[RecordStore]:
    with open_records(tmp_path / "records") as store:
        yield store


# mongomock: an independent database with pymongo's interface.
BACKENDS = ["local", "mongomock", *(["mongodb"] if MONGODB_URI else [])]


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordStore]:
    """Every kind of database, empty, behind the same store."""
    if request.param == "local":
        with open_records(tmp_path / "records") as opened:
            yield opened
    elif request.param == "mongomock":
        enable_gridfs_integration()
        database: Any = mongomock_ng.MongoClient(tz_aware=True)["crysearch"]
        yield RecordStore(database, GridFSBlobs(database), "mongomock")
    else:
        assert MONGODB_URI is not None
        name = f"crysearch_test_{uuid.uuid4().hex}"
        with open_records(urlsplit(MONGODB_URI)._replace(path=f"/{name}").geturl()) as opened:
            yield opened
        client: MongoClient = MongoClient(MONGODB_URI)
        client.drop_database(name)
        client.close()
