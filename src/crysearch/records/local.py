"""The local in-process store: collections as pymongo has them, for one writing process.

Queries have the semantics of mongomock-ng; documents are kept in memory by ``_id``, because
mongomock-ng's own collections scan all documents for every ``_id`` and their cursors take a time
quadratic in the number of results. What is in memory is what the `Journal` has committed.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bson
import mongomock_ng
from bson.codec_options import CodecOptions
from mongomock_ng.filtering import NOTHING, filter_applies, iter_key_candidates, resolve_sort_key
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import DocumentTooLarge, OperationFailure
from pymongo.results import BulkWriteResult, DeleteResult

from crysearch.records.journal import Journal, Signature

CODEC_OPTIONS: CodecOptions = CodecOptions(tz_aware=True)
MAXIMUM_DOCUMENT_BYTES = 16 * 1024 * 1024
_RACY_NANOSECONDS = 100_000_000  # file times are coarser than two quick commits

_OPEN: weakref.WeakValueDictionary[Path, LocalDatabase] = weakref.WeakValueDictionary()
_OPEN_LOCK = threading.Lock()
_INHERITED: list[LocalDatabase] = []


def open_local(folder: Path) -> LocalDatabase:
    """Open a record folder; all who open it in one process share one database.

    Raises
    ------
    RecordsError
        The file in the folder is damaged or of a newer format.
    """
    with _OPEN_LOCK:
        database = _OPEN.get(folder)
        if database is None:
            database = _OPEN[folder] = LocalDatabase(Journal(folder))
        with database.thread_lock:
            database.refresh()
            database.journal.verify()
            database.users += 1
    return database


class LocalDatabase:
    """Collections by name, as ``pymongo.database.Database`` gives them."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.users = 0
        self.thread_lock = threading.RLock()
        self._documents: dict[str, dict[str, dict[str, Any]]] = {}
        self._signature: Signature | None = None

    def __getitem__(self, name: str) -> LocalCollection:
        return LocalCollection(self, name)

    def refresh(self) -> None:
        """Forget what was read, so that the next question reads what is on disk."""
        with self.thread_lock:
            self._documents.clear()

    def close(self) -> None:
        """Let go of the folder once all who opened it in this process have closed it."""
        with _OPEN_LOCK, self.thread_lock:
            self.users -= 1
            if self.users <= 0:
                self.journal.close()
                self._documents.clear()

    def documents(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the documents of a collection by id, read again if another process wrote."""
        if not self.journal.writing:
            signature = self.journal.signature()
            if signature != self._signature or _recent(signature):
                self._documents.clear()
                self._signature = signature
        if name not in self._documents:
            self._documents[name] = {
                key: bson.decode(data, CODEC_OPTIONS) for key, data in self.journal.load(name)
            }
        return self._documents[name]

    def begin_writing(self) -> None:
        """Become the one process that writes, and forget what others may have changed since."""
        if not self.journal.writing:
            self.journal.begin_writing()
            self._documents.clear()

    def write(self, name: str, upserts: Mapping[str, bytes], deletions: Sequence[str] = ()) -> None:
        """Commit to disk, then to memory."""
        try:
            self.journal.write(name, upserts.items(), deletions)
            if name in self._documents:
                documents = self._documents[name]
                documents.update(
                    {key: bson.decode(data, CODEC_OPTIONS) for key, data in upserts.items()}
                )
                for key in deletions:
                    documents.pop(key, None)
        except BaseException:
            self._documents.clear()  # interrupted in between: the disk knows better
            raise


class LocalCollection:
    """The part of ``pymongo.collection.Collection`` that the records use."""

    def __init__(self, database: LocalDatabase, name: str) -> None:
        self._database = database
        self.name = name

    def bulk_write(self, requests: Iterable[Any], ordered: bool = True) -> BulkWriteResult:
        """Apply ``ReplaceOne`` (with upsert) and ``UpdateOne`` (``$set``) by ``_id``, all or none.

        Raises
        ------
        pymongo.errors.OperationFailure
            Another kind of request.
        pymongo.errors.DocumentTooLarge
            A document is larger than 16 MB.
        """
        with self._database.thread_lock:
            self._database.begin_writing()
            batch = _Batch(self._database.documents(self.name))
            for request in requests:
                if not isinstance(request, ReplaceOne | UpdateOne):
                    raise OperationFailure(f"the local store has no {type(request).__name__}")
                request._add_to_bulk(batch)  # type: ignore[arg-type]
            self._database.write(self.name, batch.written)
        counts = {"nMatched": batch.matched, "nUpserted": batch.upserted}
        return BulkWriteResult(dict.fromkeys(("nInserted", "nRemoved"), 0) | counts, True)

    def find(
        self,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        *,
        skip: int = 0,
        limit: int = 0,
        sort: Sequence[tuple[str, int]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Return copies of the documents that match."""
        with self._database.thread_lock:
            matching = self._matching(filter or {})
            for field, direction in reversed(sort or ()):
                matching.sort(key=functools.partial(resolve_sort_key, field), reverse=direction < 0)
            stop = skip + limit if limit else None
            chosen = itertools.islice(matching, skip, stop)
            return iter([_project(document, projection) for document in chosen])

    def find_one(
        self,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        *,
        sort: Sequence[tuple[str, int]] | None = None,
    ) -> dict[str, Any] | None:
        """Return the first document that matches."""
        return next(self.find(filter, projection, sort=sort, limit=1), None)

    def count_documents(self, filter: Mapping[str, Any]) -> int:
        """Return the number of documents that match."""
        with self._database.thread_lock:
            return len(self._matching(filter))

    def distinct(self, key: str, filter: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the different values of a field; those of a list one by one."""
        values: dict[Any, Any] = {}
        with self._database.thread_lock:
            for document in self._matching(filter or {}):
                for candidate in iter_key_candidates(key, document):
                    if candidate is not NOTHING:
                        for value in candidate if isinstance(candidate, list) else [candidate]:
                            values.setdefault(bson.encode({"": value}), value)
        return [_copy(value) for value in values.values()]

    def delete_many(self, filter: Mapping[str, Any]) -> DeleteResult:
        """Delete the documents that match, all or none."""
        with self._database.thread_lock:
            self._database.begin_writing()
            keys = [document["_id"] for document in self._matching(filter)]
            if keys:
                self._database.write(self.name, {}, keys)
        return DeleteResult({"n": len(keys)}, True)

    def create_index(self, keys: Sequence[tuple[str, int]] | str) -> str:
        """Return the index's name; documents in memory need no index."""
        pairs = [(keys, 1)] if isinstance(keys, str) else keys
        return "_".join(f"{field}_{direction}" for field, direction in pairs)

    def _matching(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        documents = self._database.documents(self.name)
        query = bson.decode(bson.encode(query), CODEC_OPTIONS)  # dates and numbers as stored
        filter_applies(query, {})  # an unknown operator is an error without documents, too
        chosen: Iterable[dict[str, Any]] = documents.values()
        wanted = query.get("_id")
        if isinstance(wanted, Mapping) and set(wanted) == {"$in"}:
            chosen = [documents[key] for key in wanted["$in"] if key in documents]
        elif isinstance(wanted, str):
            chosen = [documents[wanted]] if wanted in documents else []
        return [document for document in chosen if filter_applies(query, document)]


class LocalBlobs:
    """Blobs as rows of the record file; none are kept in memory."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database

    def put(self, blob_id: str, data: bytes, metadata: Mapping[str, Any]) -> None:
        """Keep a blob, replacing the one with the same id."""
        with self._database.thread_lock:
            self._database.journal.write_blob(blob_id, bson.encode(metadata), data)

    def get(self, blob_id: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return (data, metadata), or None if there is no such blob."""
        with self._database.thread_lock:
            row = self._database.journal.read_blob(blob_id)
        return None if row is None else (row[1], bson.decode(row[0], CODEC_OPTIONS))

    def delete(self, blob_id: str) -> bool:
        """Remove a blob; False if there was none."""
        with self._database.thread_lock:
            return self._database.journal.delete_blob(blob_id)


class _Batch:
    """What pymongo's requests add themselves to."""

    def __init__(self, known: Mapping[str, dict[str, Any]]) -> None:
        self.written: dict[str, bytes] = {}
        self.matched = self.upserted = 0
        self._known = known

    def add_replace(
        self, selector: Mapping[str, Any], replacement: Any, upsert: bool | None, **options: Any
    ) -> None:
        key = _selected(selector, options)
        if not upsert:
            raise OperationFailure("the local store replaces only with upsert=True")
        if key in self.written or key in self._known:
            self.matched += 1
        else:
            self.upserted += 1
        self._write(key, replacement)

    def add_update(
        self, selector: Mapping[str, Any], update: Any, multi: bool, upsert: bool, **options: Any
    ) -> None:
        key = _selected(selector, options)
        if upsert or not isinstance(update, Mapping) or set(update) != {"$set"}:
            raise OperationFailure("the local store updates only with $set and without upsert")
        if key in self.written:
            document = bson.decode(self.written[key], CODEC_OPTIONS)
        elif key in self._known:
            document = _copy(self._known[key])
        else:
            return
        self.matched += 1
        for path, value in update["$set"].items():
            *parents, last = path.split(".")
            target = document
            for part in parents:
                target = target.setdefault(part, {})
                if not isinstance(target, dict):
                    raise OperationFailure(f"cannot set {path!r}: {part!r} has no fields")
            target[last] = value
        self._write(key, document)

    def _write(self, key: str, document: Any) -> None:
        data = bson.encode(document)
        if len(data) > MAXIMUM_DOCUMENT_BYTES:
            raise DocumentTooLarge(
                f"document {key!r} has {len(data)} bytes; the limit is {MAXIMUM_DOCUMENT_BYTES}"
            )
        self.written[key] = data


def _selected(selector: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    if set(selector) != {"_id"} or not isinstance(selector["_id"], str):
        raise OperationFailure("the local store writes by _id, and an _id is a string")
    if used := [name for name, option in options.items() if option is not None]:
        raise OperationFailure(f"the local store does not know the option {used[0]!r}")
    return selector["_id"]


# Only for mongomock-ng's projections, which are methods of a collection.
_PROJECTOR: Any = mongomock_ng.MongoClient()["records"]["projections"]


def _project(
    document: dict[str, Any], projection: Mapping[str, Any] | Sequence[str] | None
) -> dict[str, Any]:
    if not projection:
        return _copy(document)
    fields = dict(projection) if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)
    return _PROJECTOR._copy_only_fields(document, fields, dict)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value  # everything else that BSON decodes to is immutable


def _recent(signature: Signature) -> bool:
    changes = [stamp[2] for stamp in signature if stamp is not None]
    return bool(changes) and time.time_ns() - max(changes) < _RACY_NANOSECONDS


def _forget_parent() -> None:
    # SQLite connections do not survive a fork: keep them from being closed in the child.
    global _OPEN_LOCK
    _OPEN_LOCK = threading.Lock()
    _INHERITED.extend(_OPEN.values())
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget_parent)
