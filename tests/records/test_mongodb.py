"""Addresses of MongoDB servers: what is said about them, and what is never said."""

from __future__ import annotations

import os
import socket
import time
import traceback
from pathlib import Path

import pytest
from pymongo import MongoClient

from crysearch.errors import RecordsError
from crysearch.records import mongodb, open_records
from crysearch.records.store import RecordStore

SECRET = "hunter2"


def test_a_server_to_test_against_is_given():
    """The conformance tests of the store ran against a real server, or this says not."""
    if not os.environ.get("CRYSEARCH_TEST_MONGODB_URI"):
        pytest.skip("CRYSEARCH_TEST_MONGODB_URI names no MongoDB server: none was tested against")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://localhost", "mongodb://localhost"),
        (f"mongodb://me:{SECRET}@db:27017/silicon", "mongodb://db:27017/silicon"),
        (f"mongodb://me:{SECRET}@a,b:1/x?tlsCertificateKeyFilePassword=z", "mongodb://a,b:1/x"),
        (f"mongodb+srv://me:{SECRET}@cluster.example.org/x", "mongodb+srv://cluster.example.org/x"),
        (f"mongodb://me:p@{SECRET}/@db/x", "mongodb://db/x"),
    ],
)
def test_descriptions_have_no_secrets(uri: str, shown: str) -> None:
    assert mongodb.describe(uri) == shown


def test_a_silent_server_is_reported_soon_and_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mongodb, "_TIMEOUT_SECONDS", 0.5)
    port = free_port()
    start = time.monotonic()
    with pytest.raises(RecordsError, match=rf"No MongoDB server answered at .*:{port}/x") as caught:
        open_records(f"mongodb://me:{SECRET}@127.0.0.1:{port}/x")
    assert time.monotonic() - start < 5
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{SECRET}",
        f"mongodb://me:{SECRET}:x@localhost/x",
        f"mongodb://me:{SECRET}/x@localhost",
        f"mongodb://me:{SECRET}%@localhost/x",
        f"mongodb://me:{SECRET}@/x",
        f"mongodb://me:{SECRET}@localhost:port/x",
        f"mongodb+srv://me:{SECRET}@localhost/x",
        "mongodb://",
    ],
)
def test_malformed_addresses_are_reported_without_the_password(uri: str) -> None:
    with pytest.raises(RecordsError, match=r"malformed.*should look like") as caught:
        open_records(uri)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_another_kind_of_address_is_not_taken_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordsError, match="neither a folder nor a MongoDB address") as caught:
        open_records(f"postgres://me:{SECRET}@localhost/x")
    assert SECRET not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_representations_have_no_secrets() -> None:
    uri = f"mongodb://me:{SECRET}@127.0.0.1:1/x"
    client: MongoClient = MongoClient(uri, connect=False)
    store = RecordStore(client["x"], mongodb.GridFSBlobs(client["x"]), mongodb.describe(uri))
    assert repr(store) == "RecordStore('mongodb://127.0.0.1:1/x', read_only=False)"
    assert SECRET not in f"{store!r} {client!r} {store._database!r}"
    client.close()
