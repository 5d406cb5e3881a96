"""The server process: ``python -m crysearch.localdb FOLDER``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path

from crysearch.localdb.errors import LocalDatabaseError
from crysearch.localdb.lifecycle import (
    BUSY_EXIT,
    FILE_NAME,
    LOCK_NAME,
    LOG_NAME,
    PASSWORD_NAME,
    STATE_NAME,
)
from crysearch.localdb.lock import StoreBusy, hold
from crysearch.localdb.server import HOST, Server

_MOST_LOG_BYTES = 1_000_000


def main() -> int:
    """Serve a store until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m crysearch.localdb", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the store")
    parser.add_argument("--port", type=int, help="port to listen on, and to remember")
    parser.add_argument("--idle-minutes", type=float, help="end after so long without a connection")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    try:
        _make_private(folder)
        hold(folder / LOCK_NAME)
        (folder / STATE_NAME).unlink(missing_ok=True)
        password = _password(folder / PASSWORD_NAME)
        server = Server(folder, password, arguments.port, arguments.idle_minutes)
        _log_to(folder / LOG_NAME)
        state = {"pid": os.getpid(), "host": HOST, "port": server.port}
        _write(folder / STATE_NAME, json.dumps(state))
    except StoreBusy as error:
        print(error, file=sys.stderr)
        return BUSY_EXIT
    except (LocalDatabaseError, OSError) as error:
        print(_explained(folder, error), file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.info("process %d serves %s at %s:%d", os.getpid(), folder, HOST, server.port)
    try:
        server.run()
    finally:
        _forget(folder / STATE_NAME)
    logging.info("ended")  # the lock goes with the process
    return 0


def _forget(path: Path) -> None:
    """Remove the address, if it is still ours.

    A folder may have been deleted and made again while we served it, with another server.
    """
    with suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")).get("pid") == os.getpid():
            path.unlink()


def _make_private(folder: Path) -> None:
    os.umask(0o077)
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if existed and (folder / FILE_NAME).exists():  # made when records were open to others
        folder.chmod(0o700)
        for path in folder.glob(f"{FILE_NAME}*"):
            path.chmod(0o600)


def _password(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_urlsafe(32))
    path.chmod(0o600)
    return path.read_text(encoding="ascii").strip()


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text + "\n", encoding="ascii")
    draft.replace(path)


def _explained(folder: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return (
            f"Cannot serve the records in {folder} ({error}): use a folder that you may write to."
        )
    return str(error)


def _log_to(path: Path) -> None:
    if path.exists() and path.stat().st_size > _MOST_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )


if __name__ == "__main__":
    sys.exit(main())
