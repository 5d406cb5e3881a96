"""Interrupts (Ctrl-C) that are not lost.

Python raises KeyboardInterrupt wherever the main thread is. Where that is a callback of compiled
code, such as llvmlite's while code is loaded, the exception is printed and dropped, and the search
would go on for hours. So the wish is kept, and raised again at the next step of any progress.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = False


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Remember an interrupt within the block, in the main thread with Python's own handler."""
    global _asked
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _asked = False
    signal.signal(signal.SIGINT, _ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _asked = False


def raise_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that was asked for and lost."""
    if _asked:
        raise KeyboardInterrupt


def _ask(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
