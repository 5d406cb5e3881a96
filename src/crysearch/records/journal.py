"""The SQLite file behind a local record folder: BSON documents and blobs as rows."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crysearch.errors import RecordsError
from crysearch.records.lock import WriterLock

FILE_NAME = "records.sqlite"
FORMAT_VERSION = 1
APPLICATION_ID = 0x63727973  # "crys", in the header of the SQLite file

_SCHEMA = f"""
CREATE TABLE documents (
    position INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL,
    bson BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (collection, id));
CREATE TABLE blobs (
    id TEXT PRIMARY KEY, metadata BLOB NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
"""
_UPSERT = (
    "INSERT INTO documents (collection, id, bson, checksum) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (collection, id) DO UPDATE SET bson = excluded.bson, checksum = excluded.checksum"
)
_UPSERT_BLOB = (
    "INSERT INTO blobs (id, metadata, data, checksum) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO"
    " UPDATE SET metadata = excluded.metadata, data = excluded.data, checksum = excluded.checksum"
)
_BUSY_SECONDS = 30.0

Signature = tuple[tuple[int, int, int] | None, ...]


class Journal:
    """Rows on disk: every write is one transaction, committed before the call returns.

    Nothing is created before the first write. Reading a folder that another process writes sees
    what that process has committed.

    Parameters
    ----------
    folder
        The record folder; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self._lock = WriterLock(folder / "records.lock")
        self._writer: sqlite3.Connection | None = None
        self._process = os.getpid()

    @property
    def writing(self) -> bool:
        """Whether this process holds the folder for writing."""
        return self._writer is not None

    def signature(self) -> Signature:
        """What changes when another process commits: inode, size and time of the files."""
        return tuple(_stamp(path) for path in (self.path, self._wal))

    def load(self, collection: str) -> list[tuple[str, bytes]]:
        """Return all documents of a collection, oldest first, as (id, BSON) pairs."""
        query = "SELECT id, bson, checksum FROM documents WHERE collection = ? ORDER BY position"
        rows = self._read(query, (collection,))
        return [(key, self._sound(key, data, checksum)) for key, data, checksum in rows]

    def write(
        self, collection: str, upserts: Iterable[tuple[str, bytes]], deletions: Iterable[str] = ()
    ) -> None:
        """Commit replacements and deletions of documents: all of them or none."""
        with self._transaction() as connection:
            connection.executemany(
                _UPSERT, ((collection, key, data, zlib.crc32(data)) for key, data in upserts)
            )
            connection.executemany(
                "DELETE FROM documents WHERE collection = ? AND id = ?",
                ((collection, key) for key in deletions),
            )

    def write_blob(self, blob_id: str, metadata: bytes, data: bytes) -> None:
        """Commit one blob, replacing the one with the same id."""
        with self._transaction() as connection:
            limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
            if len(data) + len(metadata) + len(blob_id) + 64 > limit:
                raise RecordsError(
                    f"Blob {blob_id!r} has {len(data)} bytes, more than a local record folder "
                    f"can keep in one blob ({limit} bytes): split it, or use a MongoDB server."
                )
            row = (blob_id, metadata, data, zlib.crc32(data, zlib.crc32(metadata)))
            connection.execute(_UPSERT_BLOB, row)

    def read_blob(self, blob_id: str) -> tuple[bytes, bytes] | None:
        """Return (metadata, data) of a blob, or None if there is none."""
        query = "SELECT metadata, data, checksum FROM blobs WHERE id = ?"
        for metadata, data, checksum in self._read(query, (blob_id,)):
            if zlib.crc32(data, zlib.crc32(metadata)) != checksum:
                raise self._damaged(f"the checksum of blob {blob_id} is wrong")
            return metadata, data
        return None

    def delete_blob(self, blob_id: str) -> bool:
        """Remove a blob; False if there was none."""
        with self._transaction() as connection:
            return connection.execute("DELETE FROM blobs WHERE id = ?", (blob_id,)).rowcount > 0

    def close(self) -> None:
        """Close the file and let other processes write."""
        self._check_process()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.release()

    def verify(self) -> None:
        """Check that the file, if there is one, is of a format that can be read here."""
        self._read("SELECT 1 FROM documents LIMIT 1", ())

    @property
    def _wal(self) -> Path:
        return self.path.with_name(FILE_NAME + "-wal")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RecordsError(
                f"The records in {self.folder} were opened by process {self._process} and cannot "
                f"be used by its child {os.getpid()}: open them again in the child."
            )

    def _read(self, query: str, parameters: tuple) -> list[tuple]:
        self._check_process()
        if self._writer is not None:
            with self._explained():
                return self._writer.execute(query, parameters).fetchall()
        while self.path.exists():
            # Without a WAL file nobody writes, and SQLite would create one only to read.
            alone = not self._wal.exists()
            before = self.signature()
            with (
                self._explained(),
                closing(self._connect("immutable=1" if alone else "")) as reader,
            ):
                self._check_format(reader)
                rows = reader.execute(query, parameters).fetchall()
            if not alone or self.signature() == before:
                return rows
        return []

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._check_process()
        self.begin_writing()
        writer = self._writer
        assert writer is not None
        with self._explained():
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

    def begin_writing(self) -> None:
        """Take the folder for writing, and create what is missing.

        Raises
        ------
        RecordsError
            Another process writes there, or nothing can be written there.
        """
        self._check_process()
        if self._writer is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise RecordsError(
                f"Cannot write records in {self.folder} ({error.strerror}): "
                "choose a folder that you may write to."
            ) from error
        try:
            with self._explained():
                if not self.path.exists():
                    self._create()
                writer = self._connect("")
                try:
                    self._check_format(writer)
                    writer.execute("PRAGMA synchronous = FULL")
                except BaseException:
                    writer.close()
                    raise
        except BaseException:
            self._lock.release()
            raise
        self._writer = writer

    def _create(self) -> None:
        # Made aside and renamed, so that a file without tables is always a damaged one.
        draft = self.path.with_name(f"{FILE_NAME}.new")
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("PRAGMA journal_mode = WAL")
        os.replace(draft, self.path)

    def _connect(self, options: str) -> sqlite3.Connection:
        mode = "rw" if self._lock.held else "ro"
        address = f"{self.path.absolute().as_uri()}?mode={mode}&{options}"
        return sqlite3.connect(
            address,
            uri=True,
            isolation_level=None,
            timeout=_BUSY_SECONDS,
            check_same_thread=False,  # LocalDatabase admits one thread at a time
        )

    def _check_format(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application_id != APPLICATION_ID:
            raise self._damaged("it is not a crysearch record file")
        if version > FORMAT_VERSION:
            raise RecordsError(
                f"{self.path} has format {version}, but this crysearch reads formats up to "
                f"{FORMAT_VERSION}: it was written by a newer crysearch. Upgrade crysearch, or use "
                "another record folder."
            )

    def _sound(self, key: str, data: bytes, checksum: int) -> bytes:
        if zlib.crc32(data) != checksum:
            raise self._damaged(f"the checksum of document {key} is wrong")
        return data

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
                raise self._damaged(str(error)) from error
            raise RecordsError(f"Cannot use the records in {self.path}: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> RecordsError:
        return RecordsError(
            f"{self.path} cannot be read: {reason}. Put back a copy of the file, or move it away "
            "to start with empty records."
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
