"""Local stores in folders of a test's own, stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pymongo import MongoClient

from crysearch import localdb
from crysearch.errors import CrysearchError


@contextmanager
def stopped_after(folder: Path) -> Iterator[Path]:
    """Stop the folder's server at the end, also one that a failed test left behind."""
    try:
        yield folder
    finally:
        with contextlib.suppress(CrysearchError):
            localdb.stop(folder)


def connect(address: localdb.Address, patience: float = 5.0) -> MongoClient:
    """Return a client that looks for its server for so many seconds."""
    milliseconds = int(patience * 1000)
    return MongoClient(address.uri("admin"), tz_aware=True, serverSelectionTimeoutMS=milliseconds)


def running_pid(folder: Path) -> int:
    """Return the number of the server's process."""
    status = localdb.status(folder)
    assert status.running
    assert status.pid is not None
    return status.pid


def kill(folder: Path) -> int:
    """Kill the server as a crash of the machine would, and return its former pid."""
    pid = running_pid(folder)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    return pid


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and awaits its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
