"""A MongoDB-protocol server for one user on one machine, with its documents in one SQLite file.

It listens on 127.0.0.1 only, and is meant for a laptop and for tests: several processes can use it
at once, but it is one process that answers, and there is no replica to fail over to.
"""

from __future__ import annotations

from crysearch.localdb.errors import LocalDatabaseError
from crysearch.localdb.lifecycle import (
    FILE_NAME,
    Address,
    Status,
    check,
    ensure_running,
    start,
    status,
    stop,
)

__all__ = [
    "FILE_NAME",
    "Address",
    "LocalDatabaseError",
    "Status",
    "check",
    "ensure_running",
    "start",
    "status",
    "stop",
]
