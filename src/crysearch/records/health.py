"""The state of the database behind the records: what `crysearch doctor` asks of it."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from crysearch import localdb
from crysearch.errors import RecordsError
from crysearch.records import mongodb
from crysearch.records.indexes import INDEXES

_UNAUTHORIZED = 13
_TIMEOUT_MS = 5000


class DatabaseHealth:
    """What can be found out about a database by asking it. Use `examine` to get one.

    Parameters
    ----------
    database
        A connected database.
    uri
        Its address, with credentials.
    """

    def __init__(self, database: Database, uri: str) -> None:
        self.description = mongodb.describe_database(database)
        self._database = database
        self._uri = uri

    def version(self) -> tuple[int, ...]:
        """The version of MongoDB that the server is, or says it behaves like."""
        text = str(self._database.client.server_info()["version"])
        return tuple(int(part) for part in text.partition("-")[0].split("."))

    def on_this_machine(self) -> bool:
        """Whether every server is reached over the loopback interface."""
        return all(_is_loopback(host) for host, _ in self._database.client.nodes)

    def asks_for_password(self) -> bool | None:
        """Whether the server refuses those who do not log in; None if it cannot be told."""
        try:
            stranger: MongoClient = MongoClient(
                _without_login(self._uri), serverSelectionTimeoutMS=_TIMEOUT_MS
            )
            with stranger:
                stranger[self._database.name]["searches"].find_one({}, {"_id": 1})
        except OperationFailure as error:
            return True if error.code == _UNAUTHORIZED else None
        except PyMongoError:
            return None
        return False

    def missing_indexes(self) -> list[str]:
        """The indexes that crysearch makes and that are not there, as ``collection(field, …)``."""
        missing = []
        for collection, wanted in INDEXES.items():
            there = [
                list(index["key"])
                for index in self._database[collection].index_information().values()
            ]
            missing += [
                f"{collection}({', '.join(field for field, _ in keys)})"
                for keys in wanted
                if [(field, order) for field, order in keys] not in there
            ]
        return missing

    def is_empty(self) -> bool:
        """Whether no search has been written yet."""
        return self._database["searches"].find_one({}, {"_id": 1}) is None

    def check_write(self, other: Any = None) -> bool:
        """Write a document, look for it from another connection, and remove it.

        Parameters
        ----------
        other
            A pymongo database, such as that of a launch pad; by default this one.

        Returns
        -------
        bool
            Whether the other connection saw it: whether the two are the same database.

        Raises
        ------
        RecordsError
            The server refuses to write.
        """
        name = f"doctor_{secrets.token_hex(6)}"
        try:
            self._database[name].insert_one({"_id": name})
            try:
                seen = self._database if other is None else other
                return seen[name].find_one({"_id": name}) is not None
            finally:
                self._database.drop_collection(name)
        except PyMongoError as error:
            raise RecordsError(f"{self.description} refuses to write: {error}") from error

    def clock_skew(self) -> float | None:
        """Seconds that the server's clock is ahead of this machine's; None if it does not say."""
        before = datetime.now(UTC)
        local_time = self._database.client.admin.command("hello").get("localTime")
        if local_time is None:
            return None
        after = datetime.now(UTC)
        # Commands are decoded without the client's options, so the time is naive, and UTC.
        local_time = local_time.replace(tzinfo=UTC)
        return (local_time - before - (after - before) / 2).total_seconds()


@contextmanager
def examine(location: str | Path) -> Iterator[DatabaseHealth]:
    """Connect to the database of a record location, starting a local store that does not run.

    Raises
    ------
    RecordsError
        As `open_records` does.
    """
    if isinstance(location, str) and "://" in location:
        uri = location
    else:
        folder = Path(location).expanduser().resolve()
        uri = localdb.ensure_running(folder).uri(mongodb.DEFAULT_DATABASE)
    client, database = mongodb.connect(uri)
    try:
        yield DatabaseHealth(database, uri)
    finally:
        client.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A socket file is local, too.
        return host == "localhost" or host.startswith("/")


def _without_login(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    options = [
        option
        for option in query.split("&")
        if option and not option.lower().startswith(("authsource=", "authmechanism"))
    ]
    return f"{scheme}://{place}" + (f"?{'&'.join(options)}" if options else "")
