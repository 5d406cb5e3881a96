"""Progress bars of long steps: live in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from crysearch.workflows.interrupts import raise_if_interrupted

#: Seconds between two lines of progress where there is no terminal.
LOG_INTERVAL = 15.0


class _Lines:
    """Writes each state of the bar on a line of its own, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        text = text.replace("\r", "").strip()
        if text and text != self._last:
            self._stream.write(text + "\n")
            self._last = text

    def flush(self) -> None:
        self._stream.flush()


class _Bar(tqdm):
    def update(self, n: float | None = 1) -> bool | None:
        raise_if_interrupted()
        return super().update(n)


@contextmanager
def progress_bar(description: str, total: int | None, unit: str) -> Iterator[tqdm[Any]]:
    """A bar on standard error; call its ``update`` with the number of newly finished items."""
    terminal = sys.stderr.isatty()
    with _Bar(
        desc=f"{description:<34}",
        total=total,
        unit=f" {unit}",
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.1 if terminal else LOG_INTERVAL,
        dynamic_ncols=terminal,
        ncols=None if terminal else 110,
    ) as bar:
        yield bar
