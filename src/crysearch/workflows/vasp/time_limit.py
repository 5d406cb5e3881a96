"""Ending a VASP that has used its time: first asked, then killed.

This module needs custodian.
"""

from __future__ import annotations

import os
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

from atomate2.vasp.run import DEFAULT_HANDLERS
from custodian.custodian import ErrorHandler
from custodian.vasp.handlers import WalltimeHandler

#: Names of the handlers whose correction means that the time was up.
TIME_HANDLERS = frozenset({"WalltimeHandler", "TimeLimitHandler"})

_WALLTIME_START = "CUSTODIAN_WALLTIME_START"


class TimeLimitHandler(ErrorHandler):
    """Kill a VASP that does not end in time, be it that it hangs.

    custodian's own `WalltimeHandler` only asks: it writes STOPCAR, which a VASP that hangs, or
    that is within a long electronic loop, does not read.

    Parameters
    ----------
    seconds
        Time from the making of the handler.
    """

    is_monitor = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    def check(self, directory: str = "./") -> bool:
        """Whether the time is up for a VASP that has not written its last line."""
        elapsed = time.monotonic() - self._start
        # A run that ended just before this look is none that was late; one that has written all
        # and yet does not go away, is.
        return elapsed > 1.2 * self.seconds or (elapsed > self.seconds and not _complete(directory))

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Nothing can be done."""
        return {"errors": [f"time limit of {self.seconds:g} s"], "actions": None}


def custodian_arguments(walltime: float | None, poll_seconds: float | None) -> dict[str, Any]:
    """Arguments of atomate2's ``run_vasp`` for custodian's handlers and how often they look.

    Parameters
    ----------
    walltime
        Seconds that the calculation may take, its repairs included; None: no limit. VASP is
        asked to stop at its next step some time before (a tenth, at most 300 s), and killed then.
    poll_seconds
        Seconds between looks at the process; None: custodian's 10.
    """
    # The handlers count what they have tried: each calculation gets its own.
    handlers: list[Any] = [deepcopy(handler) for handler in DEFAULT_HANDLERS]
    poll = 10.0 if poll_seconds is None else poll_seconds
    monitor_frequency = 30  # custodian's default
    if walltime is not None:
        notice = min(300.0, 0.1 * walltime)
        handlers += [_walltime_handler(walltime, notice), TimeLimitHandler(walltime)]
        monitor_frequency = max(1, min(monitor_frequency, int(0.5 * notice / poll)))
    custodian = {"polling_time_step": poll, "monitor_freq": monitor_frequency}
    return {"handlers": handlers, "custodian_kwargs": custodian}


def _walltime_handler(walltime: float, notice: float) -> WalltimeHandler:
    # custodian counts from the first handler that a process has made, by way of the environment;
    # here the time is that of one calculation.
    before = os.environ.pop(_WALLTIME_START, None)
    try:
        return WalltimeHandler(wall_time=walltime, buffer_time=notice)
    finally:
        if before is None:
            os.environ.pop(_WALLTIME_START, None)
        else:
            os.environ[_WALLTIME_START] = before


def _complete(directory: str) -> bool:
    try:
        with (Path(directory) / "vasprun.xml").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(-min(200, file.tell()), os.SEEK_END)
            return b"</modeling>" in file.read()
    except OSError:
        return False
