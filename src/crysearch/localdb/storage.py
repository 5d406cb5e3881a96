"""The SQLite file: documents as BSON, keys of indexes, and the transactions they change in."""

from __future__ import annotations

import os
import queue
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import bson

from crysearch.localdb import keys, migration
from crysearch.localdb.catalog import Collection, Index
from crysearch.localdb.errors import (
    DUPLICATE_KEY,
    OPERATION_FAILED,
    TOO_LARGE,
    CommandError,
    LocalDatabaseError,
)
from crysearch.localdb.lifecycle import FILE_NAME
from crysearch.localdb.wire import CODEC, MAX_DOCUMENT_BYTES

FORMAT_VERSION = 2
APPLICATION_ID = 0x63727973  # "crys", in the header of the SQLite file
SCHEMA = f"""
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL, name TEXT NOT NULL,
    UNIQUE (database, name));
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL, spec BLOB NOT NULL,
    multikey INTEGER NOT NULL DEFAULT 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
_READERS = 16
_PAGE_BYTES = 8192
_BUSY_SECONDS = 30.0

Catalog = Mapping[tuple[str, str], Collection]
Row = tuple[int, bytes, bytes, int]  # position, key, BSON, checksum
ROW = "position, key, bson, checksum"


class Storage:
    """The open file of a store. One thread writes; many read what has been committed.

    Raises
    ------
    LocalDatabaseError
        The file is damaged, of a newer format or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.working_catalog: dict[tuple[str, str], Collection] = {}  # of the open transaction
        with self._explained():
            if not self.path.exists():
                self._create()
            self._writer = self._connect()
            self._check_format()
            self._writer.execute("PRAGMA synchronous = FULL")
            self.working_catalog = self._load_catalog()
        self.catalog: Catalog = dict(self.working_catalog)
        self._readers: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()
        for _ in range(_READERS):
            self._readers.put(None)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the last commit; not to be kept."""
        reader = self._readers.get()
        try:
            if reader is None:
                reader = self._connect()
                reader.execute("PRAGMA query_only = ON")
            yield reader
        finally:
            self._readers.put(reader)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection, which sees what is not committed yet."""
        yield self._writer

    def setting(self, name: str) -> str | None:
        """A value kept with the file, such as the port."""
        row = self._writer.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return row and row[0]

    def set_setting(self, name: str, value: str) -> None:
        """Keep a value with the file."""
        with self._explained():
            self._writer.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    # Transactions and what changes in them: all in the writing thread

    def begin(self) -> None:
        """Begin a transaction."""
        self._writer.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit to disk, then show the changed catalog to readers."""
        self._writer.execute("COMMIT")
        if self.working_catalog != self.catalog:
            self.catalog = dict(self.working_catalog)

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        self.working_catalog = self._load_catalog()
        self.catalog = dict(self.working_catalog)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the block alone if it raises."""
        self._writer.execute("SAVEPOINT command")
        before = dict(self.working_catalog)
        try:
            yield
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK TO command")
                self.working_catalog = before
                # What is known of arrays stays true for readers, so the file must say it too.
                known = [i for c in before.values() for i in c.secondary if i.multikey]
                for index in known:
                    self._mark_multikey(index)
            raise
        finally:
            if self._writer.in_transaction:
                self._writer.execute("RELEASE command")

    def insert(self, collection: Collection, document: Mapping[str, Any], data: bytes) -> None:
        """Add a document; DuplicateKey if its ``_id`` or a unique index has it already."""
        _check_size(data)
        key = keys.encode(document["_id"])
        entries = [(index, self._free_keys(collection, index, document))
                   for index in collection.secondary]  # fmt: skip
        query = f"INSERT INTO {collection.table} (key, bson, checksum) VALUES (?, ?, ?)"
        try:
            cursor = self._writer.execute(query, (key, data, checksum(collection, key, data)))
        except sqlite3.IntegrityError:
            raise _duplicate(collection, collection.indexes[0], (document["_id"],)) from None
        for index, found in entries:
            self._add_keys(index, found, cursor.lastrowid)

    def replace(
        self, collection: Collection, position: int, old: Mapping[str, Any],
        new: Mapping[str, Any], data: bytes,
    ) -> None:  # fmt: skip
        """Change a document in its place."""
        _check_size(data)
        changes = []
        for index in collection.secondary:
            before, after = index.keys(old), self._free_keys(collection, index, new, position)
            changes.append((index, before.keys() - after.keys(), after.keys() - before.keys()))
        key = keys.encode(new["_id"])
        self._writer.execute(
            f"UPDATE {collection.table} SET bson = ?, checksum = ? WHERE position = ?",
            (data, checksum(collection, key, data), position),
        )
        for index, gone, added in changes:
            self._remove_keys(index, gone, position)
            self._add_keys(index, added, position)

    def delete(self, collection: Collection, position: int, document: Mapping[str, Any]) -> None:
        """Remove a document."""
        for index in collection.secondary:
            self._remove_keys(index, index.keys(document), position)
        self._writer.execute(f"DELETE FROM {collection.table} WHERE position = ?", (position,))

    def create_collection(self, database: str, name: str) -> Collection:
        """Make an empty collection."""
        query = "INSERT INTO collections (database, name) VALUES (?, ?)"
        number = self._writer.execute(query, (database, name)).lastrowid
        assert number is not None
        collection = Collection(number, database, name)
        self._writer.execute(
            f"CREATE TABLE {collection.table} (position INTEGER PRIMARY KEY, "
            "key BLOB NOT NULL UNIQUE, bson BLOB NOT NULL, checksum INTEGER NOT NULL)"
        )
        self.working_catalog[database, name] = collection
        return collection

    def drop_collection(self, collection: Collection) -> None:
        """Remove a collection with its documents and indexes."""
        for index in collection.secondary:
            self.drop_index(collection, index)
        self._writer.execute(f"DROP TABLE {collection.table}")
        self._writer.execute("DELETE FROM collections WHERE id = ?", (collection.id,))
        del self.working_catalog[collection.database, collection.name]

    def create_index(self, collection: Collection, spec: Mapping[str, Any]) -> Collection:
        """Add an index and fill it; the collection as it is then known."""
        query = "INSERT INTO indexes (collection, spec) VALUES (?, ?)"
        number = self._writer.execute(query, (collection.id, bson.encode(spec))).lastrowid
        assert number is not None
        index = Index(number, collection.id, dict(spec))
        self._writer.execute(
            f"CREATE TABLE {index.table} (key BLOB NOT NULL, position INTEGER NOT NULL, "
            "PRIMARY KEY (key, position)) WITHOUT ROWID"
        )
        for row in self._writer.execute(f"SELECT {ROW} FROM {collection.table}"):
            document = bson.decode(sound(collection, row), CODEC)
            self._add_keys(index, self._free_keys(collection, index, document, row[0]), row[0])
        return self._remember(collection.with_indexes((*collection.secondary, index)))

    def drop_index(self, collection: Collection, index: Index) -> Collection:
        """Remove an index; the collection as it is then known."""
        self._writer.execute(f"DROP TABLE {index.table}")
        self._writer.execute("DELETE FROM indexes WHERE id = ?", (index.id,))
        rest = tuple(other for other in collection.secondary if other is not index)
        return self._remember(collection.with_indexes(rest))

    def _remember(self, collection: Collection) -> Collection:
        self.working_catalog[collection.database, collection.name] = collection
        return collection

    def _free_keys(
        self, collection: Collection, index: Index, document: Mapping[str, Any],
        own: int | None = None,
    ) -> dict[bytes, tuple[Any, ...]]:  # fmt: skip
        found = index.keys(document)
        if index.unique:
            query = f"SELECT 1 FROM {index.table} WHERE key = ? AND position IS NOT ? LIMIT 1"
            for key, values in found.items():
                if self._writer.execute(query, (key, own)).fetchone():
                    raise _duplicate(collection, index, values)
        if not index.multikey and index.is_multikey(document):
            index.multikey = True  # at once: readers must know before they can see the keys
            self._mark_multikey(index)
        return found

    def _mark_multikey(self, index: Index) -> None:
        self._writer.execute("UPDATE indexes SET multikey = 1 WHERE id = ?", (index.id,))

    def _add_keys(self, index: Index, found: Iterable[bytes], position: int | None) -> None:
        query = f"INSERT INTO {index.table} VALUES (?, ?)"
        self._writer.executemany(query, ((key, position) for key in found))

    def _remove_keys(self, index: Index, gone: Iterable[bytes], position: int) -> None:
        query = f"DELETE FROM {index.table} WHERE key = ? AND position = ?"
        self._writer.executemany(query, ((key, position) for key in gone))

    # The file

    def _load_catalog(self) -> dict[tuple[str, str], Collection]:
        indexes: dict[int, list[Index]] = {}
        query = "SELECT id, collection, spec, multikey FROM indexes ORDER BY id"
        for number, owner, spec, multikey in self._writer.execute(query):
            index = Index(number, owner, bson.decode(spec, CODEC), bool(multikey))
            indexes.setdefault(owner, []).append(index)
        query = "SELECT id, database, name FROM collections ORDER BY id"
        return {
            (database, name): Collection(number, database, name, tuple(indexes.get(number, ())))
            for number, database, name in self._writer.execute(query)
        }

    def _create(self) -> None:
        # Made aside and renamed, so that a file without tables is always a damaged one.
        draft = self.path.with_name(f"{FILE_NAME}.new")
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
        os.replace(draft, self.path)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
            timeout=_BUSY_SECONDS, check_same_thread=False,
        )  # fmt: skip
        connection.execute("PRAGMA cache_size = -4000")
        return connection

    def _check_format(self) -> None:
        (application_id,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if application_id != APPLICATION_ID:
            raise self._damaged("it is not a crysearch record file")
        if version > FORMAT_VERSION:
            raise LocalDatabaseError(
                f"{self.path} has format {version}, but this crysearch reads formats up to "
                f"{FORMAT_VERSION}: it was written by a newer crysearch. Upgrade crysearch, or use "
                "another record folder."
            )
        if version < FORMAT_VERSION:
            migration.upgrade(self, self._writer, SCHEMA)

    def close(self) -> None:
        """Move everything into the one file and close it."""
        while not self._readers.empty():
            reader = self._readers.get()
            if reader is not None:
                reader.close()
        with self._explained():
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._writer.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, bson.errors.BSONError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB)
            if code in damage:
                raise self._damaged(str(error)) from error
            raise LocalDatabaseError(f"Cannot use {self.path}: {error}.") from error

    def _damaged(self, reason: str) -> LocalDatabaseError:
        return LocalDatabaseError(
            f"{self.path} cannot be read: {reason}. Put back a copy of the file, or move it away "
            "to start with empty records."
        )


def checksum(collection: Collection, key: bytes, data: bytes) -> int:
    """The checksum of a document, which also ties it to its collection and ``_id``."""
    return zlib.crc32(data, zlib.crc32(key, collection.id))


def sound(collection: Collection, row: Row) -> bytes:
    """The BSON of a row whose checksum is right."""
    position, key, data, expected = row
    if data is None or checksum(collection, key, data) != expected:
        message = (
            f"a document of {collection.namespace} (position {position}) is damaged on disk: its "
            "checksum is wrong; put back a copy of the record file"
        )
        raise CommandError(OPERATION_FAILED, message)
    return data


def _check_size(data: bytes) -> None:
    if len(data) > MAX_DOCUMENT_BYTES:
        message = f"a document of {len(data)} bytes is larger than {MAX_DOCUMENT_BYTES} bytes"
        raise CommandError(TOO_LARGE, message)


def _duplicate(collection: Collection, index: Index, values: tuple[Any, ...]) -> CommandError:
    unset = (keys.MISSING, keys.EMPTY)
    known = [None if any(value is u for u in unset) else value for value in values]
    found = dict(zip(index.spec["key"], known, strict=True))
    shown = ", ".join(f"{path}: {value!r}" for path, value in found.items())
    message = (
        f"E11000 duplicate key error collection: {collection.namespace} index: {index.name} "
        f"dup key: {{ {shown} }}"
    )
    pattern = index.spec["key"]
    return CommandError(DUPLICATE_KEY, message, keyPattern=pattern, keyValue=found)
