"""Waiting for a database server that has gone away."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

logger = logging.getLogger("crysearch")

Result = TypeVar("Result")
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# ShutdownInProgress, InterruptedAtShutdown, InterruptedDueToReplStateChange
_GOING_AWAY = (91, 11600, 11602)


class Patience:
    """Repeats operations that fail because the server is away, with growing pauses.

    Only for operations that can be repeated without harm.

    Parameters
    ----------
    seconds
        For how long an operation is repeated; 0 for a single attempt.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def repeat(self, operation: Callable[[], Result], place: str) -> Result:
        """Return the operation's result, or raise what its last attempt raised."""
        deadline = time.monotonic() + self.seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return operation()
            except PyMongoError as error:
                left = deadline - time.monotonic()
                if left <= 0 or not _is_absence(error):
                    raise
                if pause == _FIRST_PAUSE:
                    logger.warning(
                        "The database at %s does not answer: trying again for %.0f s", place, left
                    )
                # Not all workers at the same moment: a random part of the pause.
                time.sleep(min(left, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, _LONGEST_PAUSE)


def _is_absence(error: PyMongoError) -> bool:
    if isinstance(error, OperationFailure):
        return error.code in _GOING_AWAY
    return isinstance(error, AutoReconnect)
