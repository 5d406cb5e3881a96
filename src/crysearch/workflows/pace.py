"""How long a job goes on: for some minutes, and not into the end of its time in the queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from crysearch.errors import SettingsError

#: Environment variables with the time (seconds since 1970) at which the queue ends this process.
END_VARIABLES = ("CRYSEARCH_JOB_END", "SLURM_JOB_END_TIME")
_MARGIN_SECONDS = 30.0
_SAFETY = 1.5  # one batch may take this much longer than the longest before it


class Pace:
    """Decides at each border between batches whether a job begins another one.

    The first batch is always begun, so that work goes on however short the time is.

    Parameters
    ----------
    seconds
        How long the job should take; None for no such aim.
    clock, wall_clock
        Monotonic time and time since 1970, in seconds.
    """

    def __init__(
        self,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._started = self._border = clock()
        self._longest: float | None = None
        self._seconds = seconds
        end = job_end()
        self._queue_end = None if end is None else clock() + (end - wall_clock())

    def another(self) -> bool:
        """Whether to begin another batch; the one before, if any, has just ended."""
        now = self._clock()
        if self._longest is None:
            self._longest = 0.0
        else:
            self._longest = max(self._longest, now - self._border)
        first = self._longest == 0.0
        self._border = now
        if first:
            return True
        if self._seconds is not None and now - self._started >= self._seconds:
            return False
        needed = _SAFETY * self._longest + _MARGIN_SECONDS
        return self._queue_end is None or now + needed < self._queue_end


def job_end() -> float | None:
    """When the queue ends this process, in seconds since 1970; None where nothing says so.

    Raises
    ------
    SettingsError
        The environment variable is not a number.
    """
    for name in END_VARIABLES:
        value = os.environ.get(name)
        if value:
            try:
                return float(value)
            except ValueError:
                raise SettingsError(
                    f"{name} = {value!r}: give the time in seconds since 1970 at which the queue "
                    "ends this job, or unset it"
                ) from None
    return None
