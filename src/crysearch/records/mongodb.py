"""A MongoDB server as the record store: connecting to it, and blobs in GridFS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.codec_options import CodecOptions
from gridfs import GridFS, NoFile
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from crysearch.errors import RecordsError
from crysearch.records.patience import Patience

DEFAULT_DATABASE = "crysearch"
CODEC_OPTIONS: CodecOptions = CodecOptions(tz_aware=True)
_TIMEOUT_SECONDS = 5.0
_AUTHENTICATION_FAILED = 18


def is_uri(location: str) -> bool:
    """Whether a location is the address of a MongoDB server."""
    return location.startswith(("mongodb://", "mongodb+srv://"))


def describe(uri: str) -> str:
    """Return a server's address without user name, password and options.

    Everything before the last ``@`` goes, also where a password was not escaped.
    """
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def describe_database(database: Database) -> str:
    """Return the address of a connected database, without secrets."""
    nodes = ",".join(sorted(f"{host}:{port}" for host, port in database.client.nodes))
    return f"mongodb://{nodes}/{database.name}"


def connect(uri: str, patience: float = 0.0) -> tuple[MongoClient, Database]:
    """Connect to the server and find out at once whether it answers.

    Parameters
    ----------
    uri
        Its address.
    patience
        Seconds to go on trying while no server answers.

    Raises
    ------
    RecordsError
        The address is malformed, no server answers, or it refuses the credentials.
    """
    address = describe(uri)
    try:
        client: MongoClient = MongoClient(
            uri,
            tz_aware=CODEC_OPTIONS.tz_aware,
            appname="crysearch",
            serverSelectionTimeoutMS=int(_TIMEOUT_SECONDS * 1000),
        )
        database = client.get_default_database(DEFAULT_DATABASE)
    except (PyMongoError, ValueError, TypeError) as error:
        # What cannot be parsed may have the password anywhere, and so may the error's text.
        raise RecordsError(
            f"The address of the MongoDB server is malformed ({type(error).__name__}; it is not "
            "shown, for it may hold a password). It should look like "
            "mongodb://user:password@host:27017/crysearch, with any of : / ? # [ ] @ % in the "
            "password percent-encoded."
        ) from None
    try:
        Patience(patience).repeat(lambda: client.admin.command("ping"), address)
    except ServerSelectionTimeoutError as error:
        client.close()
        raise RecordsError(
            f"No MongoDB server answered at {address} within {_TIMEOUT_SECONDS:g} s: start it, "
            "correct the address, or use a folder as the record store."
        ) from error
    except OperationFailure as error:
        client.close()
        if error.code == _AUTHENTICATION_FAILED:
            raise RecordsError(
                f"The MongoDB server at {address} refused the user name or the password: correct "
                "them, or add ?authSource=... if the user belongs to another database."
            ) from error
        raise RecordsError(f"The MongoDB server at {address} refused: {error}.") from error
    except PyMongoError as error:
        client.close()
        raise RecordsError(f"The MongoDB server at {address} failed: {error}.") from error
    return client, database


class GridFSBlobs:
    """Blobs in the server's GridFS, named by their id; the newest version counts."""

    def __init__(self, database: Database) -> None:
        self._files = GridFS(database, collection="blobs")

    def put(self, blob_id: str, data: bytes, metadata: Mapping[str, Any]) -> None:
        """Keep a blob, then drop older ones with the same id."""
        kept = self._files.put(data, filename=blob_id, metadata=dict(metadata))
        for version in list(self._files.find({"filename": blob_id, "_id": {"$ne": kept}})):
            self._files.delete(version._id)

    def get(self, blob_id: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return (data, metadata), or None if there is no such blob."""
        try:
            file = self._files.get_last_version(blob_id)
        except NoFile:
            return None
        return file.read(), dict(file.metadata or {})

    def delete(self, blob_id: str) -> bool:
        """Remove a blob; False if there was none."""
        versions = list(self._files.find({"filename": blob_id}))
        for version in versions:
            self._files.delete(version._id)
        return bool(versions)
