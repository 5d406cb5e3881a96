"""Starting, finding and stopping the server of a store."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from crysearch.localdb.errors import LocalDatabaseError
from crysearch.localdb.lock import holder

USERNAME = "crysearch"
FILE_NAME = "records.sqlite"
LOCK_NAME, STATE_NAME = "server.lock", "server.json"
PASSWORD_NAME, LOG_NAME = "password", "server.log"
BUSY_EXIT = 75  # another server was faster
_START_SECONDS = 60.0
_DYING_SECONDS = 1.0


@dataclass(frozen=True)
class Secret:
    """A text that does not show itself."""

    _value: str = field(repr=False)

    def get_secret_value(self) -> str:
        """The text."""
        return self._value

    def __str__(self) -> str:
        return "**********"


@dataclass(frozen=True)
class Address:
    """Where a store is served, and how to get in."""

    host: str
    port: int
    username: str
    password: Secret

    def uri(self, database: str = "crysearch") -> str:
        """The address in the form that MongoDB clients take; it contains the password."""
        login = f"{quote_plus(self.username)}:{quote_plus(self.password.get_secret_value())}"
        options = "authSource=admin&directConnection=true"
        return f"mongodb://{login}@{self.host}:{self.port}/{database}?{options}"


@dataclass(frozen=True)
class Status:
    """What there is to know of a store; more while it is served."""

    running: bool
    path: Path
    size_bytes: int
    format_version: int | None
    pid: int | None = None
    host: str | None = None
    port: int | None = None
    started_at: datetime | None = None
    connections: int = 0
    documents: dict[str, int] = field(default_factory=dict)
    stays: bool = False


def ensure_running(folder: Path, *, idle_minutes: float | None = 10) -> Address:
    """Find the server of a store, or start one that ends when nobody has used it for a while.

    Parameters
    ----------
    folder
        The folder of the store; made if it is missing.
    idle_minutes
        Minutes without a connection after which a server started here ends; None: it stays.

    Raises
    ------
    LocalDatabaseError
        The store cannot be served; the text says why.
    """
    options = [] if idle_minutes is None else ["--idle-minutes", str(idle_minutes)]
    return _found_or_started(_absolute(folder), options)


def start(folder: Path, *, port: int | None = None) -> Address:
    """Start the server of a store, or find it, and let it stay until it is stopped.

    Raises
    ------
    LocalDatabaseError
        The store cannot be served, or is served at another port than the one given.
    """
    folder = _absolute(folder)
    address = _found_or_started(folder, [] if port is None else ["--port", str(port)])
    if port is not None and address.port != port:
        raise LocalDatabaseError(
            f"The records in {folder} are served at port {address.port} already: stop that server "
            f"first (`crysearch db stop`), or leave out --port {port}."
        )
    run(address, "localStoreStay")
    return address


def stop(folder: Path, timeout: float = 30.0) -> bool:
    """Stop the server of a store and wait until it has ended; False if there was none."""
    folder = _absolute(folder)
    until = time.monotonic() + _DYING_SECONDS
    while (address := answering(folder)) is None and time.monotonic() < until:
        if holder(folder / LOCK_NAME) is None:
            return False
        time.sleep(0.01)  # it is about to start, or was killed and is not gone yet
    pid = holder(folder / LOCK_NAME)
    if address is not None:
        run(address, "shutdown")
    elif pid:  # it holds the lock of this very store, so the number is its own
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout
    while holder(folder / LOCK_NAME) is not None:
        if time.monotonic() > until:
            raise LocalDatabaseError(
                f"The server of {folder} (process {pid}) has not ended within {timeout:g} s; "
                f"`kill -9 {pid}` ends it without loss of what it has acknowledged."
            )
        time.sleep(0.01)
    return True


def status(folder: Path) -> Status:
    """What there is to know of a store."""
    folder = _absolute(folder)
    path = folder / FILE_NAME
    files = [path, path.with_name(f"{FILE_NAME}-wal")]
    size = sum(file.stat().st_size for file in files if file.exists())
    address = answering(folder)
    if address is None:
        return Status(False, path, size, _format_version(path))
    report = run(address, "serverStatus")
    store = report["localStore"]
    return Status(
        running=True,
        path=path,
        size_bytes=size,
        format_version=store["formatVersion"],
        pid=int(report["pid"]),
        host=address.host,
        port=address.port,
        started_at=store["startedAt"],
        connections=report["connections"]["current"],
        documents=store["documents"],
        stays=store["stays"],
    )


def check(folder: Path) -> list[str]:
    """Read every document of a store and compare the indexes with it: what is damaged."""
    address = ensure_running(folder)
    names = [name.partition(".") for name in status(folder).documents]
    reports = [run(address, "validate", name, database=database) for database, _, name in names]
    return [f"{report['ns']}: {error}" for report in reports for error in report["errors"]]


def answering(folder: Path) -> Address | None:
    """The address of the running server of a store; None if there is none that answers."""
    pid = holder(folder / LOCK_NAME)
    if not pid:
        return None
    try:
        state = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
        password = (folder / PASSWORD_NAME).read_text(encoding="ascii").strip()
    except (FileNotFoundError, ValueError):
        return None
    except PermissionError as error:
        raise LocalDatabaseError(
            f"The records in {folder} are served for another user ({error.filename} cannot be "
            "read): use a folder of your own."
        ) from error
    if state["pid"] != pid:
        return None  # left behind by one that was killed
    address = Address(state["host"], state["port"], USERNAME, Secret(password))
    return address if _answers(address) else None


def run(address: Address, command: str, *arguments: Any, database: str = "admin") -> dict[str, Any]:
    """Let a server carry out a command.

    Raises
    ------
    LocalDatabaseError
        It does not.
    """
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    client: MongoClient[dict[str, Any]]
    try:
        with MongoClient(address.uri(), serverSelectionTimeoutMS=5000, tz_aware=True) as client:
            return dict(client[database].command(command, *arguments))
    except PyMongoError as error:
        raise LocalDatabaseError(
            f"The server at {address.host}:{address.port} does not carry out {command}: {error}"
        ) from error


def _absolute(folder: Path) -> Path:
    return Path(folder).expanduser().absolute()


def _found_or_started(folder: Path, options: list[str]) -> Address:
    until = time.monotonic() + _START_SECONDS
    process: subprocess.Popen[bytes] | None = None
    while True:
        address = answering(folder)
        ended = process is not None and process.poll() is not None
        if process is not None and process.stderr is not None:
            if ended and process.returncode != BUSY_EXIT and address is None:
                message = process.stderr.read().decode("utf-8", "replace").strip()
                raise LocalDatabaseError(message or f"The server of {folder} ended at once.")
            if address is not None:
                process.stderr.close()
        if address is not None:
            return address
        if (process is None or ended) and holder(folder / LOCK_NAME) is None:
            process = _spawn(folder, options)
        if time.monotonic() > until:
            raise LocalDatabaseError(
                f"The server of {folder} does not answer after {_START_SECONDS:g} s: see "
                f"{folder / LOG_NAME}."
            )
        time.sleep(0.01)


def _spawn(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    # Errors of the start come back through the pipe; afterwards the server writes to its log.
    process = subprocess.Popen(
        [sys.executable, "-m", "crysearch.localdb", str(folder), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    # Somebody must take note of its end, lest it stays as a zombie of a long-lived process.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _answers(address: Address) -> bool:
    from crysearch.localdb.wire import encode_command, read_request

    try:
        with socket.create_connection((address.host, address.port), timeout=10) as connection:
            connection.sendall(encode_command({"ping": 1, "$db": "admin"}))
            reply = read_request(connection)
    except OSError:
        return False
    return reply is not None and reply.command.get("ok") == 1.0


def _format_version(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return None
