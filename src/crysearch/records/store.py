"""The record store: documents and blobs of all searches in a MongoDB database."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import bson
from bson.errors import BSONError
from pymongo import IndexModel, ReplaceOne, UpdateOne
from pymongo.errors import AutoReconnect, DuplicateKeyError, PyMongoError

from crysearch import localdb
from crysearch.errors import DatabaseAbsent, RecordsError
from crysearch.records import mongodb
from crysearch.records.indexes import INDEXES
from crysearch.records.kinds import KINDS
from crysearch.records.patience import Patience
from crysearch.records.values import plain

COLLECTIONS = tuple(KINDS)

Query = Mapping[str, Any]
Projection = Mapping[str, Any] | Sequence[str]
Sort = Sequence[tuple[str, int]]
Result = TypeVar("Result")
MAXIMUM_DOCUMENT_BYTES = 16 * 1024 * 1024


class Blobs(Protocol):
    """Where large binary data is kept."""

    def put(self, blob_id: str, data: bytes, metadata: Mapping[str, Any]) -> None: ...
    def get(self, blob_id: str) -> tuple[bytes, dict[str, Any]] | None: ...
    def delete(self, blob_id: str) -> bool: ...


class RecordStore:
    """The records of all searches in one place. Use `open_records` to get one.

    Every operation can be repeated without harm, and is repeated while the server is away (for as
    long as ``patience`` lasts). Dates come back aware, in UTC, with milliseconds.

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
    patience
        Seconds to wait for a server that has gone away.
    close
        What to call to let go of the location.
    """

    def __init__(
        self,
        database: Any,
        blobs: Blobs,
        description: str,
        *,
        read_only: bool = False,
        patience: float = 0.0,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.description = description
        self.read_only = read_only
        self._database = database
        self._blobs = blobs
        self._patience = Patience(patience)
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

    @property
    def database(self) -> Any:
        """The pymongo database, for libraries that keep documents of their own beside ours."""
        return self._database

    @property
    def database_name(self) -> str:
        """The name of the database on its server."""
        return self._database.name

    def upsert(self, collection: str, documents: Iterable[Mapping[str, Any]]) -> int:
        """Write documents, each replacing the one with the same ``_id``.

        When the call returns they are on disk. A batch that is interrupted may be written in
        part, and is completed by writing it again.

        Returns
        -------
        int
            The number of documents written.

        Raises
        ------
        RecordsError
            A document has no ``_id``, cannot be stored, or is larger than 16 MB (nothing is then
            written); the store is read-only or fails.
        """
        self._check_writable()
        replacements: dict[str, ReplaceOne] = {
            document["_id"]: ReplaceOne({"_id": document["_id"]}, document, upsert=True)
            for document in (_checked(collection, document) for document in documents)
        }
        if replacements:
            requests = list(replacements.values())
            self._write(collection, lambda target: target.bulk_write(requests, ordered=False))
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
        self._check_writable()
        ids = list(changes)
        known = {found["_id"] for found in self.find(collection, {"_id": {"$in": ids}}, ["_id"])}
        if absent := [document_id for document_id in ids if document_id not in known]:
            raise RecordsError(
                f"There is no document {absent[0]!r} in {collection!r} to update: "
                "write it first with upsert()."
            )
        try:
            updates = [
                UpdateOne({"_id": document_id}, {"$set": plain(fields)})
                for document_id, fields in changes.items()
                if fields
            ]
        except (BSONError, OverflowError) as error:
            raise RecordsError(f"A change of {collection!r} cannot be stored: {error}.") from error
        if updates:
            self._write(collection, lambda target: target.bulk_write(updates, ordered=False))
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
        return self._read(
            collection,
            lambda target: list(
                target.find(dict(query or {}), projection, sort=sort or None, limit=limit)
            ),
        )

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
        return self._read(collection, lambda target: target.count_documents(dict(query or {})))

    def distinct(self, collection: str, field: str, query: Query | None = None) -> list[Any]:
        """Return the different values of a field, in no particular order."""
        return self._read(collection, lambda target: target.distinct(field, dict(query or {})))

    def aggregate(
        self, collection: str, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the outcome of an aggregation pipeline that only reads.

        Raises
        ------
        RecordsError
            The pipeline writes (``$out``, ``$merge``), or the server refuses it.
        """
        for stage in pipeline:
            if writing := {"$out", "$merge"} & set(stage):
                raise RecordsError(f"The pipeline stage {writing.pop()} writes: leave it out.")
        return self._read(collection, lambda target: list(target.aggregate(list(pipeline))))

    def explain(
        self,
        collection: str,
        query: Query | Sequence[Mapping[str, Any]] | None = None,
        sort: Sort | None = None,
    ) -> dict[str, Any]:
        """Return the server's plan for a query, or for an aggregation pipeline (a list)."""
        command: dict[str, Any]
        if isinstance(query, Mapping) or query is None:
            command = {"find": collection, "filter": dict(query or {})}
            if sort:
                command["sort"] = dict(sort)
        else:
            command = {"aggregate": collection, "pipeline": list(query), "cursor": {}}
        return self._read(
            collection,
            lambda target: target.database.command("explain", command, verbosity="queryPlanner"),
        )

    def delete(self, collection: str, query: Query) -> int:
        """Delete the documents that match (all, for an empty query) and return their number.

        If the server goes away meanwhile, those deleted before are not counted.
        """
        return self._write(collection, lambda target: target.delete_many(dict(query))).deleted_count

    def put_blob(
        self, blob_id: str, data: bytes, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Keep binary data of any size, replacing what had the same id."""
        if not blob_id or not isinstance(blob_id, str):
            raise RecordsError(f"blob_id is {blob_id!r}: give a non-empty string.")
        self._check_writable()
        self._perform("blobs", lambda: self._blobs.put(blob_id, data, dict(metadata or {})))

    def get_blob(self, blob_id: str) -> bytes:
        """Return binary data.

        Raises
        ------
        RecordsError
            There is no such blob.
        """
        return self._blob(blob_id)[0]

    def find_blob(self, blob_id: str) -> bytes | None:
        """Return binary data, or None if there is no such blob."""
        found = self._perform("blobs", lambda: self._blobs.get(blob_id))
        return None if found is None else found[0]

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
        self._check_writable()
        return self._perform("blobs", lambda: self._blobs.delete(blob_id))

    def ensure_indexes(self) -> None:
        """Create the indexes behind the common questions; existing ones stay."""
        for collection, indexes in INDEXES.items():
            models = [IndexModel(list(keys)) for keys in indexes]
            create = functools.partial(self._database[collection].create_indexes, models)
            self._perform(collection, create)

    def close(self) -> None:
        """Let go of the location."""
        if not self._closed:
            self._closed = True
            self._close()

    def _blob(self, blob_id: str) -> tuple[bytes, dict[str, Any]]:
        found = self._perform("blobs", lambda: self._blobs.get(blob_id))
        if found is None:
            raise RecordsError(f"There is no blob {blob_id!r} in {self.description}.")
        return found

    def _read(self, collection: str, operation: Callable[[Any], Result]) -> Result:
        if collection not in COLLECTIONS:
            raise RecordsError(
                f"There is no collection {collection!r}: choose one of {', '.join(COLLECTIONS)}."
            )
        return self._perform(collection, lambda: operation(self._database[collection]))

    def _write(self, collection: str, operation: Callable[[Any], Result]) -> Result:
        self._check_writable()
        return self._read(collection, operation)

    def _check_writable(self) -> None:
        if self.read_only:
            raise RecordsError(
                f"The records in {self.description} were opened for reading only: "
                "open them without read_only=True to write."
            )

    def _perform(self, subject: str, operation: Callable[[], Result]) -> Result:
        if self._closed:
            raise RecordsError(
                f"The records in {self.description} have been closed: open them again."
            )
        try:
            return self._patience.repeat(operation, self.description)
        except DuplicateKeyError as error:
            raise RecordsError(
                f"Two processes wrote the same new document to {subject!r} in "
                f"{self.description} at the same moment: write the batch again."
            ) from error
        except AutoReconnect as error:
            raise DatabaseAbsent(
                f"The database at {self.description} has not answered for "
                f"{self._patience.seconds:g} s (setting database_patience): start it again; jobs "
                "that it cost run again after `lpad detect_lostruns --rerun`."
            ) from error
        except (PyMongoError, BSONError, OverflowError) as error:
            raise RecordsError(
                f"The records in {self.description} failed on {subject!r}: {error}."
            ) from error


def open_records(
    location: str | Path, *, read_only: bool = False, patience: float = 0.0
) -> RecordStore:
    """Open the record store at a location.

    Parameters
    ----------
    location
        The URI of a MongoDB server (``mongodb://`` or ``mongodb+srv://``, database name from the
        URI, by default ``crysearch``), or the folder of a local store, whose server is started if
        it does not run.
    read_only
        Refuse writes, and do not accept a folder without records.
    patience
        Seconds to wait for a server that does not answer, now and later.

    Raises
    ------
    RecordsError
        The server does not answer or refuses; the folder has no records (``read_only``), or its
        file is damaged or was written by a newer crysearch.
    """
    if isinstance(location, str) and mongodb.is_uri(location):
        uri, description = location, mongodb.describe(location)
    elif isinstance(location, str) and "://" in location:
        raise RecordsError(
            f"The record location {mongodb.describe(location)} is neither a folder nor a MongoDB "
            "address: it should start with mongodb:// or mongodb+srv://."
        )
    else:
        folder = Path(location).expanduser().resolve()
        if folder.exists() and not folder.is_dir():
            raise RecordsError(f"The record location {folder} is a file: give a folder.")
        if read_only and not (folder / localdb.FILE_NAME).exists():
            raise RecordsError(
                f"There are no records in {folder}: run a search first, or give the folder or "
                "MongoDB address where one was run."
            )
        uri, description = localdb.ensure_running(folder).uri(mongodb.DEFAULT_DATABASE), str(folder)
    client, database = mongodb.connect(uri, patience)
    return RecordStore(
        database,
        mongodb.GridFSBlobs(database),
        description,
        read_only=read_only,
        patience=patience,
        close=client.close,
    )


def records_in(database: Any, *, patience: float = 0.0) -> RecordStore:
    """The record store in a database that somebody else has connected to and will close."""
    database = database.with_options(codec_options=mongodb.CODEC_OPTIONS)
    return RecordStore(
        database,
        mongodb.GridFSBlobs(database),
        mongodb.describe_database(database),
        patience=patience,
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
