"""Results that are fetched in batches."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from bson import Int64
from bson.raw_bson import RawBSONDocument

from crysearch.localdb.errors import NO_CURSOR, CommandError

_FIRST_BATCH = 101
_IDLE_SECONDS = 600.0
_BATCH_BYTES = 16_000_000


class Cursor:
    """The rest of a result. Nothing is locked or kept open between two batches."""

    def __init__(self, namespace: str, documents: Iterator[bytes], timeless: bool = False) -> None:
        self.namespace = namespace
        self.timeless = timeless
        self.used_at = time.monotonic()
        self.exhausted = False
        self._lock = threading.Lock()
        self._documents = documents
        self._next: bytes | None = None

    def batch(self, size: int | None) -> list[RawBSONDocument]:
        """The next documents: at most `size`, and together not more than a message can hold."""
        found: list[RawBSONDocument] = []
        amount = 0
        with self._lock:
            while size is None or len(found) < size:
                data = self._next or next(self._documents, None)
                self._next = None
                if data is None:
                    self.exhausted = True
                    break
                amount += len(data)
                if found and amount > _BATCH_BYTES:
                    self._next = data
                    break
                found.append(RawBSONDocument(data))
            self.used_at = time.monotonic()
        return found


class Cursors:
    """The open cursors of a server."""

    def __init__(self) -> None:
        self._cursors: dict[int, Cursor] = {}

    def first(self, cursor: Cursor, size: int | None, single: bool = False) -> dict[str, Any]:
        """The reply with the first batch; the cursor is kept if there is more."""
        batch = cursor.batch(_FIRST_BATCH if size is None else size)
        number = 0
        if not cursor.exhausted and not single:
            number = secrets.randbits(62) + 1
            self._cursors[number] = cursor
        reply = {"firstBatch": batch, "id": Int64(number), "ns": cursor.namespace}
        return {"cursor": reply, "ok": 1.0}

    def more(self, number: Any, namespace: str, size: int | None) -> dict[str, Any]:
        """The reply with the next batch."""
        cursor = self._cursors.get(number)
        if cursor is None or cursor.namespace != namespace:
            raise CommandError(NO_CURSOR, f"cursor id {number} not found")
        try:
            batch = cursor.batch(size or None)
        except BaseException:
            self.kill([number])
            raise
        if cursor.exhausted:
            self.kill([number])
            number = 0
        return {"cursor": {"nextBatch": batch, "id": Int64(number), "ns": namespace}, "ok": 1.0}

    def kill(self, numbers: Iterable[int]) -> dict[str, Any]:
        """Forget cursors."""
        killed: list[Int64] = []
        unknown: list[Int64] = []
        for number in numbers:
            known = self._cursors.pop(number, None) is not None
            (killed if known else unknown).append(Int64(number))
        sorts = {"cursorsKilled": killed, "cursorsNotFound": unknown}
        return {**sorts, "cursorsAlive": [], "cursorsUnknown": [], "ok": 1.0}

    def forget_idle(self) -> None:
        """Forget cursors that nobody has asked for ten minutes."""
        oldest = time.monotonic() - _IDLE_SECONDS
        kept = self._cursors.copy().items()
        self.kill([n for n, cursor in kept if cursor.used_at < oldest and not cursor.timeless])
