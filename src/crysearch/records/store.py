"""The record store: one interface over a MongoDB server and a local folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import bson
from bson.errors import BSONError
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import DuplicateKeyError, PyMongoError

from crysearch.errors import RecordsError
from crysearch.records import mongodb
from crysearch.records.indexes import INDEXES
from crysearch.records.journal import FILE_NAME
from crysearch.records.local import MAXIMUM_DOCUMENT_BYTES, LocalBlobs, open_local
from crysearch.records.values import plain

COLLECTIONS = (
    "searches",
    "references",
    "models",
    "replicas",
    "candidates",
    "relaxations",
    "failures",
    "batches",
)

Query = Mapping[str, Any]
Projection = Mapping[str, Any] | Sequence[str]
Sort = Sequence[tuple[str, int]]


class Blobs(Protocol):
    """Where large binary data is kept."""

    def put(self, blob_id: str, data: bytes, metadata: Mapping[str, Any]) -> None: ...
    def get(self, blob_id: str) -> tuple[bytes, dict[str, Any]] | None: ...
    def delete(self, blob_id: str) -> bool: ...


class RecordStore:
    """The records of all searches in one place. Use `open_records` to get one.

    It asks of ``database`` only what ``pymongo.database.Database`` offers, so that a folder and a
    server behave alike. Dates come back aware, in UTC, with milliseconds.

    Parameters
    ----------
    database
        A pymongo database, or an object with the same interface.
    blobs
        Where large binary data goes.
    description
        The location without secrets, for messages.
    read_only
        Refuse every write.
    refresh, close
        What to call to forget cached documents and to let go of the location.
    """

    def __init__(
        self,
        database: Any,
        blobs: Blobs,
        description: str,
        *,
        read_only: bool = False,
        refresh: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.description = description
        self.read_only = read_only
        self._database = database
        self._blobs = blobs
        self._refresh = refresh
        self._close = close
        self._closed = False

    def __repr__(self) -> str:
        return f"RecordStore({self.description!r}, read_only={self.read_only})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def upsert(self, collection: str, documents: Iterable[Mapping[str, Any]]) -> int:
        """Write documents, each replacing the one with the same ``_id``.

        When the call returns they are on disk. A batch in a local folder is written whole or not
        at all; on a server an interrupted batch is completed by writing it again.

        Returns
        -------
        int
            The number of documents written.

        Raises
        ------
        RecordsError
            A document has no ``_id``, cannot be stored, or is larger than 16 MB (nothing is then
            written); another process writes to the folder; the store is read-only or fails.
        """
        with self._use(collection, writing=True) as target:
            replacements: dict[str, ReplaceOne] = {
                document["_id"]: ReplaceOne({"_id": document["_id"]}, document, upsert=True)
                for document in (_checked(collection, document) for document in documents)
            }
            if replacements:
                target.bulk_write(list(replacements.values()), ordered=False)
        return len(replacements)

    def update(self, collection: str, changes: Mapping[str, Mapping[str, Any]]) -> int:
        """Set fields of documents that exist, leaving their other fields alone.

        Parameters
        ----------
        collection
            One of `COLLECTIONS`.
        changes
            For each ``_id``, the fields to set; a dot reaches into a field
            (``stages.sampling``).

        Returns
        -------
        int
            The number of documents changed.

        Raises
        ------
        RecordsError
            A document does not exist (nothing is then written), a value cannot be stored, or the
            document would become too large.
        """
        with self._use(collection, writing=True) as target:
            ids = list(changes)
            known = {document["_id"] for document in target.find({"_id": {"$in": ids}}, ["_id"])}
            if absent := [document_id for document_id in ids if document_id not in known]:
                raise RecordsError(
                    f"There is no document {absent[0]!r} in {collection!r} to update: "
                    "write it first with upsert()."
                )
            updates = [
                UpdateOne({"_id": document_id}, {"$set": plain(fields)})
                for document_id, fields in changes.items()
                if fields
            ]
            if updates:
                target.bulk_write(updates, ordered=False)
        return len(updates)

    def find(
        self,
        collection: str,
        query: Query | None = None,
        projection: Projection | None = None,
        sort: Sort | None = None,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Return the documents that match a MongoDB query.

        Parameters
        ----------
        collection
            One of `COLLECTIONS`.
        query, projection
            As pymongo takes them.
        sort
            Pairs of field and direction, 1 or -1. Missing values come first when ascending.
        limit
            At most so many; 0 for all.
        """
        with self._use(collection) as target:
            return list(target.find(dict(query or {}), projection, sort=sort or None, limit=limit))

    def find_one(
        self,
        collection: str,
        query: Query | None = None,
        projection: Projection | None = None,
        sort: Sort | None = None,
    ) -> dict[str, Any] | None:
        """Return the first document that matches, or None."""
        found = self.find(collection, query, projection, sort, limit=1)
        return found[0] if found else None

    def get(self, collection: str, document_id: str) -> dict[str, Any] | None:
        """Return the document with this ``_id``, or None."""
        return self.find_one(collection, {"_id": document_id})

    def count(self, collection: str, query: Query | None = None) -> int:
        """Return the number of documents that match."""
        with self._use(collection) as target:
            return target.count_documents(dict(query or {}))

    def distinct(self, collection: str, field: str, query: Query | None = None) -> list[Any]:
        """Return the different values of a field, in no particular order."""
        with self._use(collection) as target:
            return target.distinct(field, dict(query or {}))

    def delete(self, collection: str, query: Query) -> int:
        """Delete the documents that match (all, for an empty query) and return their number."""
        with self._use(collection, writing=True) as target:
            return target.delete_many(dict(query)).deleted_count

    def put_blob(
        self, blob_id: str, data: bytes, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Keep binary data of any size, replacing what had the same id."""
        if not blob_id or not isinstance(blob_id, str):
            raise RecordsError(f"blob_id is {blob_id!r}: give a non-empty string.")
        with self._use(writing=True):
            self._blobs.put(blob_id, data, dict(metadata or {}))

    def get_blob(self, blob_id: str) -> bytes:
        """Return binary data.

        Raises
        ------
        RecordsError
            There is no such blob.
        """
        return self._blob(blob_id)[0]

    def get_blob_metadata(self, blob_id: str) -> dict[str, Any]:
        """Return what was said about a blob when it was put.

        Raises
        ------
        RecordsError
            There is no such blob.
        """
        return self._blob(blob_id)[1]

    def delete_blob(self, blob_id: str) -> bool:
        """Remove a blob; False if there was none."""
        with self._use(writing=True):
            return self._blobs.delete(blob_id)

    def ensure_indexes(self) -> None:
        """Create the indexes behind the common questions; existing ones stay."""
        for collection, indexes in INDEXES.items():
            with self._explained(collection):
                for keys in indexes:
                    self._database[collection].create_index(list(keys))

    def refresh(self) -> None:
        """See what other processes have written since; a server needs no such call."""
        self._refresh()

    def close(self) -> None:
        """Let go of the location; a local folder becomes free for other writers."""
        if not self._closed:
            self._closed = True
            self._close()

    def _blob(self, blob_id: str) -> tuple[bytes, dict[str, Any]]:
        with self._use():
            found = self._blobs.get(blob_id)
        if found is None:
            raise RecordsError(f"There is no blob {blob_id!r} in {self.description}.")
        return found

    @contextmanager
    def _use(self, collection: str | None = None, *, writing: bool = False) -> Iterator[Any]:
        if self._closed:
            raise RecordsError(
                f"The records in {self.description} have been closed: open them again."
            )
        if writing and self.read_only:
            raise RecordsError(
                f"The records in {self.description} were opened for reading only: "
                "open them without read_only=True to write."
            )
        if collection is not None and collection not in COLLECTIONS:
            raise RecordsError(
                f"There is no collection {collection!r}: choose one of {', '.join(COLLECTIONS)}."
            )
        with self._explained(collection or "blobs"):
            yield None if collection is None else self._database[collection]

    @contextmanager
    def _explained(self, collection: str) -> Iterator[None]:
        try:
            yield
        except DuplicateKeyError as error:
            raise RecordsError(
                f"Two processes wrote the same new document to {collection!r} in "
                f"{self.description} at the same moment: write the batch again."
            ) from error
        except (PyMongoError, BSONError, OverflowError) as error:
            raise RecordsError(
                f"The records in {self.description} failed on {collection!r}: {error}."
            ) from error


def open_records(location: str | Path, *, read_only: bool = False) -> RecordStore:
    """Open the record store at a location.

    Parameters
    ----------
    location
        The URI of a MongoDB server (``mongodb://`` or ``mongodb+srv://``, database name from the
        URI, by default ``crysearch``), or a folder. A folder is created by the first write.
    read_only
        Refuse writes, and do not accept a folder without records.

    Raises
    ------
    RecordsError
        The server does not answer or refuses; the folder has no records (``read_only``), or its
        file is damaged or was written by a newer crysearch.
    """
    if isinstance(location, str) and mongodb.is_uri(location):
        client, database = mongodb.connect(location)
        return RecordStore(
            database,
            mongodb.GridFSBlobs(database),
            mongodb.describe(location),
            read_only=read_only,
            close=client.close,
        )
    if isinstance(location, str) and "://" in location:
        raise RecordsError(
            f"The record location {mongodb.describe(location)} is neither a folder nor a MongoDB "
            "address: it should start with mongodb:// or mongodb+srv://."
        )
    folder = Path(location).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise RecordsError(f"The record location {folder} is a file: give a folder.")
    if read_only and not (folder / FILE_NAME).exists():
        raise RecordsError(
            f"There are no records in {folder}: run a search first, or give the folder or "
            "MongoDB address where one was run."
        )
    local = open_local(folder)
    return RecordStore(
        local,
        LocalBlobs(local),
        str(folder),
        read_only=read_only,
        refresh=local.refresh,
        close=local.close,
    )


def _checked(collection: str, document: Mapping[str, Any]) -> dict[str, Any]:
    document_id = document.get("_id")
    if not isinstance(document_id, str) or not document_id:
        raise RecordsError(
            f"A document for {collection!r} has the _id {document_id!r}: "
            "give a non-empty string, such as deterministic_id() makes."
        )
    try:
        size = len(bson.encode(document))
    except (BSONError, TypeError, OverflowError, ValueError) as error:
        raise RecordsError(
            f"Document {document_id!r} for {collection!r} cannot be stored: {error}. "
            "Keys must be strings; values numbers, strings, dates, lists, dictionaries or binary."
        ) from error
    if size > MAXIMUM_DOCUMENT_BYTES:
        raise RecordsError(
            f"Document {document_id!r} for {collection!r} has {size} bytes, and the limit is "
            f"{MAXIMUM_DOCUMENT_BYTES} (16 MB): keep its large part with put_blob()."
        )
    return dict(document)
