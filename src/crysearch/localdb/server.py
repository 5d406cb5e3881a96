"""The server: a thread for each connection, and one that writes for all of them."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import sqlite3
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson

from crysearch.localdb import admin_commands, commands, write_commands
from crysearch.localdb.auth import Conversation, Credentials
from crysearch.localdb.cursors import Cursors
from crysearch.localdb.errors import (
    BAD_VALUE,
    OPERATION_FAILED,
    OUT_OF_DISK_SPACE,
    UNKNOWN_ERROR,
    CommandError,
    LocalDatabaseError,
)
from crysearch.localdb.scanning import View
from crysearch.localdb.storage import Storage
from crysearch.localdb.wire import ProtocolError, Request, encode_reply, read_request

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_TABLES = (admin_commands, write_commands)  # importing them fills the table of commands
_MOST_CONNECTIONS = 1000
_GROUP_SECONDS, _GROUP_SIZE = 0.02, 100
_SWEEP_SECONDS = 30.0
_IO_WRITE_ERROR = 778  # SQLite's name for other limits of space, such as that of a file's size


class Session:
    """One connection of a client."""

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self.number = number
        self.conversation = Conversation(server.credentials)


class Server:
    """A store served on a port of this machine.

    Parameters
    ----------
    folder
        The folder of the store; whoever makes the server holds its lock.
    password
        The password of the one user.
    port
        The port to listen on; None takes that of the last time, or the first time a free one.
    idle_minutes
        Minutes without a connection after which the server ends; None: it stays.
    """

    def __init__(
        self, folder: Path, password: str, port: int | None, idle_minutes: float | None
    ) -> None:
        self.credentials = Credentials(password)
        self.cursors = Cursors()
        self.started_at = time.time()
        self.storage = Storage(folder)
        self.port = int(self.storage.setting("port") or 0) if port is None else port
        try:
            self._listener = socket.create_server((HOST, self.port), backlog=256)
        except (OSError, OverflowError) as error:
            raise LocalDatabaseError(
                f"The records in {folder} cannot be served at port {self.port} ({error}): stop "
                "what has the port, or choose another with `crysearch db start --port`."
            ) from error
        self.port = self._listener.getsockname()[1]
        self.storage.set_setting("port", str(self.port))  # launchpad.yaml may name it
        self._idle_seconds = None if idle_minutes is None else 60 * idle_minutes
        self._idle_since = time.monotonic()
        self._sockets: set[socket.socket] = set()
        self._made = 0
        self._stopping = threading.Event()
        self._writer = Writer(self.storage)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._sockets)

    @property
    def stays(self) -> bool:
        """Whether the server runs until it is stopped."""
        return self._idle_seconds is None

    def stay(self) -> None:
        """Run until stopped, however idle."""
        self._idle_seconds = None

    def stop(self) -> None:
        """Make `run` return, after the commands in progress."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped or idle for too long."""
        self._writer.start()
        threading.Thread(target=self._accept, name="accept", daemon=True).start()
        swept = time.monotonic()
        while not self._stopping.wait(0.2):
            now = time.monotonic()
            if self._sockets:
                self._idle_since = now
            elif self._idle_seconds is not None and now - self._idle_since > self._idle_seconds:
                logger.info("no connection for %.0f s", self._idle_seconds)
                self.stop()
            if now - swept > _SWEEP_SECONDS:
                swept = now
                self.cursors.forget_idle()
        self._listener.close()
        self._writer.finish()
        self.storage.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if not self._stopping.wait(0.1):
                    logger.error("cannot accept a connection: %s", error)
                continue
            if len(self._sockets) >= _MOST_CONNECTIONS:
                connection.close()
                continue
            self._made += 1
            self._sockets.add(connection)
            arguments = (connection, Session(self, self._made))
            threading.Thread(target=self._serve, args=arguments, daemon=True).start()

    def _serve(self, connection: socket.socket, session: Session) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while not self._stopping.is_set() and (request := read_request(connection)):
                reply = self._answer(session, request)
                if request.wants_reply:
                    connection.sendall(reply)
        except ProtocolError as error:
            logger.warning("connection %d closed: %s", session.number, error)
            with contextlib.suppress(OSError):  # read what has come, lest the close is a reset
                connection.settimeout(1.0)
                connection.recv(1 << 16)
        except OSError:
            pass  # the client is gone
        finally:
            self._idle_since = time.monotonic()
            self._sockets.discard(connection)
            connection.close()

    def _answer(self, session: Session, request: Request) -> bytes:
        """The reply to a request, or the error that it ends in."""
        body = request.command
        try:
            found = commands.lookup(body, session.conversation.authenticated)
            until = commands.deadline(body)
            if found.writes:
                reply = self._writer.submit(Write(session, found, body, until))
            else:
                view = View(lambda: self.storage.catalog, self.storage.reading, until)
                reply = found.run(session, body, view)
            return encode_reply(request, reply)
        except Exception as error:
            return encode_reply(request, _failure(body, error))


@dataclass
class Write:
    """A command that waits for the writing thread."""

    session: Session
    found: commands.Command
    body: dict[str, Any]
    until: float | None
    done: Future[dict[str, Any]] = field(default_factory=Future)


class Writer(threading.Thread):
    """The thread that writes. Commands that wait together share one transaction."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="writer", daemon=True)
        self._storage = storage
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()

    def submit(self, write: Write) -> dict[str, Any]:
        """Run a command and wait for its commit."""
        self._queue.put(write)
        return write.done.result()

    def finish(self) -> None:
        """Finish what is waiting, and end."""
        self._queue.put(None)
        self.join()

    def run(self) -> None:
        """Write until told to finish."""
        while (write := self._queue.get()) is not None:
            group = [write]
            if not self._commit(group, gather=True):
                for write in group:  # each alone, so that one failure is nobody else's
                    self._commit([write], gather=False)

    def _commit(self, group: list[Write], gather: bool) -> bool:
        """Run commands in one transaction, with those that come meanwhile; False if it failed."""
        replies = []
        until = time.monotonic() + _GROUP_SECONDS
        try:
            self._storage.begin()
            for write in group:
                replies.append(self._run(write))
                if gather and time.monotonic() < until and len(group) < _GROUP_SIZE:
                    self._gather(group)
            self._storage.commit()
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._storage.rollback()
            if gather:
                return False
            replies = [_failure(write.body, error) for write in group]
        for write, reply in zip(group, replies, strict=True):
            write.done.set_result(reply)
        return True

    def _gather(self, group: list[Write]) -> None:
        with contextlib.suppress(queue.Empty):
            following = self._queue.get_nowait()
            if following is None:
                self._queue.put(None)  # the end comes after this group
            else:
                group.append(following)

    def _run(self, write: Write) -> dict[str, Any]:
        storage = self._storage
        view = View(lambda: storage.working_catalog, storage.writing, write.until)
        try:
            with storage.savepoint():
                return write.found.run(write.session, write.body, view)
        except sqlite3.Error:
            raise  # the transaction may be gone: nothing in it has happened
        except Exception as error:
            return _failure(write.body, error)


def _failure(body: dict[str, Any], error: Exception) -> dict[str, Any]:
    """The reply that an error amounts to; only defects of this server are logged whole."""
    name = next(iter(body))
    if not isinstance(error, CommandError):
        code, message = UNKNOWN_ERROR, f"{type(error).__name__}: {error}"
        if isinstance(error, sqlite3.Error):
            full = (sqlite3.SQLITE_FULL, _IO_WRITE_ERROR)
            written = getattr(error, "sqlite_errorcode", None) in full
            code = OUT_OF_DISK_SPACE if written else OPERATION_FAILED
            message = f"the record file cannot be used, nothing was written: {error}"
            logger.error("%s: %s", name, error)
        elif isinstance(error, bson.errors.BSONError | OverflowError | RecursionError):
            code = BAD_VALUE
        else:
            logger.error("the command %s failed", name, exc_info=error)
        error = CommandError(code, message)
    return error.reply()
