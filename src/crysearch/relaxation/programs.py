"""Running other programs: finding them, giving them threads, ending them with their children."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import Any

from crysearch.errors import RelaxationError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE_SECONDS = 5.0


def require_program(engine: str, command: str, option: str, setting: str, install: str) -> str:
    """The program that a command line starts with, if it is on this machine.

    Raises
    ------
    RelaxationError
        If the command is empty, cannot be split into words or starts with no program.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise RelaxationError(
            f"engine {engine!r}: {option}={command!r} is no command line ({error})"
        ) from error
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise RelaxationError(
            f"engine {engine!r}: {option}={command!r}: there is no such program here; install it "
            f"({install}), or say where it is ({setting})"
        )
    return found


def program_environment(threads: int) -> dict[str, str]:
    """This process's environment with so many threads for OpenMP and linear algebra."""
    return {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}


def end_program(process: subprocess.Popen[Any]) -> None:
    """End a program that leads a process group, and its children.

    SIGTERM comes first, since mpirun keeps its processes in groups of their own and ends them
    only when it is asked to; what is left after some seconds is killed.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_SECONDS)
            break
    with suppress(ProcessLookupError):  # children that have outlived it
        os.killpg(process.pid, signal.SIGKILL)


def exit_reason(status: int) -> str:
    """How a program ended, in words."""
    if status < 0:
        return f"it was killed by signal {-status} ({signal.Signals(-status).name})"
    return f"it ended with exit status {status}"
