"""The process in which DeePMD-kit works: finding its Python, asking it, ending it.

DeePMD-kit changes threads, defaults and the way of starting processes when it is imported, and may
need another Python than crysearch's. Idle processes are kept, since it takes seconds to start one.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from crysearch.errors import TrainingError
from crysearch.relaxation.programs import end_program, exit_reason, program_environment

_WORKER = Path(__file__).with_name("deepmd_worker.py")
#: Names a Python that can import DeePMD-kit and PyTorch; by default this one is asked.
VARIABLE = "CRYSEARCH_DEEPMD_PYTHON"
INSTALL = "pip install 'deepmd-kit>=3.2,<3.3'"
# Set by the kit's own variables too, so that it leaves them alone.
_THREADS = ("DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")


class DeepmdProcess:
    """A running worker (`crysearch.potentials.deepmd_worker`).

    Attributes
    ----------
    token : str
        Of the potential whose models it has.
    """

    def __init__(self, python: str) -> None:
        self.token = ""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [python, str(_WORKER)],
            # On the processor, whatever else is there: the same numbers everywhere.
            env={**program_environment(1), **dict.fromkeys(_THREADS, "1"), "DEVICE": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(
        self, request: dict[str, Any], news: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Send a request, pass on what it tells before it is done, and wait for the result.

        Raises
        ------
        TrainingError
            With the error of DeePMD-kit, or how its process ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise TrainingError(self._last_words()) from None
        for line in self._process.stdout:
            reply = json.loads(line)
            if "error" in reply:
                raise TrainingError(f"DeePMD-kit: {reply['error']}.")
            if "result" in reply:
                result: dict[str, Any] = reply["result"]
                return result
            if news is not None:
                news(reply)
        raise TrainingError(self._last_words())

    def close(self) -> None:
        """End it."""
        end_program(self._process)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _last_words(self) -> str:
        try:
            words = [exit_reason(self._process.wait(timeout=5))]
        except subprocess.TimeoutExpired:
            words = ["it answers no more"]
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"DeePMD-kit's process has ended: {' / '.join([*words, *said[-1:]])}."


_idle: dict[tuple[int, str], list[DeepmdProcess]] = {}


def deepmd_python() -> str:
    """The Python that is to have DeePMD-kit.

    Raises
    ------
    TrainingError
        If the one that the environment variable names is not there.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return sys.executable
    found = shutil.which(named)
    if found is None:
        raise TrainingError(
            f"{VARIABLE} is {named!r}, and there is no such program; name a Python that has "
            f"DeePMD-kit, or unset it and install the kit here ({INSTALL})."
        )
    return found


@contextmanager
def deepmd_process() -> Iterator[DeepmdProcess]:
    """An idle process for one request, or a new one; it is ended if something goes wrong.

    Raises
    ------
    TrainingError
        If there is no DeePMD-kit.
    """
    # A child of this process must not answer in its place.
    place = os.getpid(), deepmd_python()
    waiting = _idle.setdefault(place, [])
    while waiting:
        process = waiting.pop()
        if process.alive:
            break
        process.close()
    else:
        process = _start(place[1])
    try:
        yield process
    except BaseException:
        process.close()
        raise
    waiting.append(process)


def deepmd_versions() -> dict[str, str]:
    """Versions of DeePMD-kit, and of the PyTorch and Python that it runs with.

    Raises
    ------
    TrainingError
        If there is no DeePMD-kit.
    """
    with deepmd_process() as process:
        return process.ask({"task": "version"})


def end_processes() -> None:
    """End the idle processes of this one; the next request starts another."""
    for (owner, _), waiting in _idle.items():
        while owner == os.getpid() and waiting:
            waiting.pop().close()


atexit.register(end_processes)


def _start(python: str) -> DeepmdProcess:
    process = DeepmdProcess(python)
    try:
        process.ask({"task": "version"})
    except TrainingError as error:
        process.close()
        raise TrainingError(
            f"{python} cannot import DeePMD-kit ({error}) Install it ({INSTALL}), or let "
            f"{VARIABLE} name a Python that has it, with PyTorch."
        ) from None
    return process
