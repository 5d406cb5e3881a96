"""Ending an evaluation that hangs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from crysearch.errors import RelaxationError


class EvaluationTimeout(RelaxationError):
    """An evaluation has taken longer than it may."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `EvaluationTimeout` in the block after so many seconds of wall time.

    It interrupts Python code and waiting for other programs, in the main thread of a process; a
    loop inside compiled code ends first. In other threads, and for None, there is no limit. A
    timer that was running before goes on afterwards.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise EvaluationTimeout(f"the evaluation did not end within {seconds:g} s")

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    earlier, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if earlier:
            left = max(earlier - (time.monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
