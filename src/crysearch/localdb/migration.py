"""Older record files: the first format kept documents by collection, and blobs as rows."""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING, Any

import bson

from crysearch.localdb.errors import LocalDatabaseError
from crysearch.localdb.wire import CODEC

if TYPE_CHECKING:
    from crysearch.localdb.storage import Storage

DATABASE = "crysearch"
_CHUNK_BYTES = 255 * 1024
_FILES_INDEX = {"filename": 1, "uploadDate": 1}
_CHUNKS_INDEX = {"files_id": 1, "n": 1}


def upgrade(storage: Storage, connection: sqlite3.Connection, schema: str) -> None:
    """Bring a file of format 1 to the present one: wholly, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("ALTER TABLE documents RENAME TO old_documents")
        for statement in schema.split(";"):
            connection.execute(statement)
        _move_documents(storage, connection)
        _move_blobs(storage, connection)
        connection.execute("DROP TABLE old_documents")
        connection.execute("DROP TABLE blobs")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _move_documents(storage: Storage, connection: sqlite3.Connection) -> None:
    query = "SELECT collection, id, bson, checksum FROM old_documents ORDER BY position"
    for name, key, data, checksum in connection.execute(query):
        if zlib.crc32(data) != checksum:
            raise _damaged(storage, f"document {key}")
        collection = storage.working_catalog.get((DATABASE, name))
        if collection is None:
            collection = storage.create_collection(DATABASE, name)
        storage.insert(collection, bson.decode(data, CODEC), data)


def _move_blobs(storage: Storage, connection: sqlite3.Connection) -> None:
    """Write the blobs as files of a GridFS bucket, under their old names."""
    blobs = [blob for (blob,) in connection.execute("SELECT id FROM blobs ORDER BY id")]
    if not blobs:
        return
    files = storage.create_collection(DATABASE, "blobs.files")
    spec: dict[str, Any] = {"v": 2, "key": _FILES_INDEX, "name": "filename_1_uploadDate_1"}
    files = storage.create_index(files, spec)
    chunks = storage.create_collection(DATABASE, "blobs.chunks")
    spec = {"v": 2, "key": _CHUNKS_INDEX, "name": "files_id_1_n_1", "unique": True}
    chunks = storage.create_index(chunks, spec)
    for blob in blobs:
        query = "SELECT metadata, data, checksum FROM blobs WHERE id = ?"
        metadata, data, checksum = connection.execute(query, (blob,)).fetchone()
        if zlib.crc32(data, zlib.crc32(metadata)) != checksum:
            raise _damaged(storage, f"blob {blob}")
        number = bson.ObjectId()
        described: dict[str, Any] = {
            "_id": number, "filename": blob, "metadata": bson.decode(metadata, CODEC),
            "chunkSize": _CHUNK_BYTES, "length": bson.Int64(len(data)),
            "uploadDate": number.generation_time,
        }  # fmt: skip
        storage.insert(files, described, bson.encode(described))
        for n, start in enumerate(range(0, len(data), _CHUNK_BYTES)):
            part = data[start : start + _CHUNK_BYTES]
            chunk = {"_id": bson.ObjectId(), "files_id": number, "n": n, "data": part}
            storage.insert(chunks, chunk, bson.encode(chunk))


def _damaged(storage: Storage, what: str) -> LocalDatabaseError:
    return LocalDatabaseError(
        f"{storage.path} cannot be brought to the present format: the checksum of {what} is wrong. "
        "Put back a copy of the file, or move it away to start with empty records."
    )
