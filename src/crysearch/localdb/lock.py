"""The lock that lets one server at a time serve a store."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from crysearch.localdb.errors import LocalDatabaseError

_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_PATIENCE = 2.0  # others find out whether the lock is held by holding it for a moment


class StoreBusy(LocalDatabaseError):
    """Another server holds the store."""


def hold(path: Path) -> None:
    """Take the lock until the end of the process, and write down which process that is.

    The kernel drops it when the process dies, however it dies, so a killed server never blocks the
    next one.

    Raises
    ------
    LocalDatabaseError
        Another server has it (`StoreBusy`), or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _PATIENCE
    while not _locked(descriptor, fcntl.LOCK_EX, path):
        looked_at = _locked(descriptor, fcntl.LOCK_SH, path)  # and not held by a server
        if not looked_at or time.monotonic() > until:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreBusy(f"{path.parent} is served already, by process {pid}.")
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(0.02)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)


def holder(path: Path) -> int | None:
    """The process that holds a lock, 0 if it has not said its number yet; None if it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if _locked(descriptor, fcntl.LOCK_SH, path):
            return None
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise LocalDatabaseError(
            f"The file system of {path.parent} cannot lock files ({error.strerror}): put the "
            "records on a local disk (setting `database`, or --path), or use a MongoDB server."
        ) from error
    return True
