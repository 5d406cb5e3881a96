"""Record folders of the first format, which earlier releases wrote."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing

import bson
import gridfs
import pytest

from crysearch import localdb
from crysearch.localdb import LocalDatabaseError

from .local_servers import connect, stopped_after

APPLICATION_ID = 0x63727973
SCHEMA = f"""
CREATE TABLE documents (
    position INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL,
    bson BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (collection, id));
CREATE TABLE blobs (
    id TEXT PRIMARY KEY, metadata BLOB NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""
DOCUMENTS = {
    "candidates": [
        {"_id": f"c{i:03d}", "energy": -i / 7, "vector": bytes(range(i)), "o": {"l": [i, None]}}
        for i in range(60)
    ],
    "searches": [{"_id": "s1", "name": "silicon"}],
}
BLOBS = {"small": b"abc", "empty": b"", "large": bytes(range(256)) * 4000}


def write_old_folder(folder, *, wrong_checksum: bool = False) -> None:
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / "records.sqlite")) as connection, connection:
        connection.executescript(SCHEMA)
        for collection, documents in DOCUMENTS.items():
            for document in documents:
                data = bson.encode(document)
                checksum = zlib.crc32(data) ^ (wrong_checksum and document["_id"] == "c005")
                connection.execute(
                    "INSERT INTO documents (collection, id, bson, checksum) VALUES (?, ?, ?, ?)",
                    (collection, document["_id"], data, checksum),
                )
        for name, data in BLOBS.items():
            metadata = bson.encode({"kind": "model", "of": name})
            checksum = zlib.crc32(data, zlib.crc32(metadata))
            connection.execute(
                "INSERT INTO blobs VALUES (?, ?, ?, ?)", (name, metadata, data, checksum)
            )


@pytest.fixture
def folder(tmp_path):
    with stopped_after(tmp_path / "records") as place:
        yield place


def assert_all_there(database) -> None:
    for collection, documents in DOCUMENTS.items():
        assert list(database[collection].find()) == documents
    assert database["candidates"].find_one({"_id": "c042"})["o"] == {"l": [42, None]}
    files = gridfs.GridFS(database, "blobs")
    for name, data in BLOBS.items():
        stored = files.get_last_version(name)
        assert stored.read() == data
        assert stored.metadata == {"kind": "model", "of": name}


def test_an_old_folder_is_taken_over(folder):
    write_old_folder(folder)
    with connect(localdb.ensure_running(folder)) as client:
        assert_all_there(client["crysearch"])
        client["crysearch"]["candidates"].insert_one({"_id": "new"})
    localdb.stop(folder)
    with connect(localdb.ensure_running(folder)) as client:
        assert client["crysearch"]["candidates"].count_documents({}) == 61
        assert client["crysearch"]["candidates"].find_one({"_id": "new"})


def test_reading_by_the_records_package(folder):
    records = pytest.importorskip("crysearch.records")
    write_old_folder(folder)
    with records.open_records(folder) as store:
        assert store.count("candidates") == 60
        assert store.find("searches", {})[0]["name"] == "silicon"


def test_a_damaged_old_file_is_refused_and_left_as_it_is(folder):
    write_old_folder(folder, wrong_checksum=True)
    with pytest.raises(LocalDatabaseError, match="c005"):
        localdb.ensure_running(folder)
    with closing(sqlite3.connect(folder / "records.sqlite")) as connection:
        (number,) = connection.execute("SELECT COUNT(*) FROM documents").fetchone()
        assert number == 61
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_an_old_folder_open_to_others_is_closed_to_them(folder):
    write_old_folder(folder)
    folder.chmod(0o755)
    (folder / "records.sqlite").chmod(0o644)
    localdb.ensure_running(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "records.sqlite").stat().st_mode & 0o077 == 0
