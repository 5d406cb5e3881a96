"""The lock that lets one process at a time write a record folder."""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from pathlib import Path

from crysearch.errors import RecordsError

_HELD: weakref.WeakSet[WriterLock] = weakref.WeakSet()


class WriterLock:
    """An advisory lock on a file, kept until `release` or the end of the process.

    The kernel drops it when the process dies, however it dies, so a killed run never blocks the
    next one. The file names the process that holds the lock and stays behind when it is released.

    Parameters
    ----------
    path
        The lock file. Its folder must exist when the lock is taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._finalizer: weakref.finalize | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock at once, or say who has it.

        Raises
        ------
        RecordsError
            Another process writes to the folder, or its file system has no locks.
        """
        if self.held:
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise RecordsError(_explain(self.path, holder, error)) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor
        self._finalizer = weakref.finalize(self, os.close, descriptor)
        _HELD.add(self)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._finalizer is not None:
            self._finalizer()  # closing the only descriptor drops the lock
        self._descriptor = self._finalizer = None
        _HELD.discard(self)


def _explain(path: Path, holder: str, error: OSError) -> str:
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
        return (
            f"The records in {path.parent} are being written by process {holder or '(unknown)'}: "
            "only one process at a time may write to a local record folder. "
            "Wait until it has finished, or use another folder or a MongoDB server."
        )
    return (
        f"The file system of {path.parent} cannot lock files ({error.strerror}): "
        "put the records on a local disk, or use a MongoDB server."
    )


def _drop_in_child() -> None:
    # A forked worker shares the lock; it must not keep it alive after its parent was killed.
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_drop_in_child)
