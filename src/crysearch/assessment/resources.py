"""CPU time and memory of this process and of the programs that work for it."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil


def timed(action: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of an action, its programs' included, and wall seconds."""
    programs, own, wall = _seconds_of_programs(), time.process_time(), time.perf_counter()
    action()
    own, wall = time.process_time() - own, time.perf_counter() - wall
    return own + _seconds_of_programs() - programs, wall


def _seconds_of_programs() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for program in _programs():
        with suppress(psutil.Error):  # it has just ended
            total += _program_seconds(program)
    return total


def peak_memory() -> float:
    """Largest resident memory since `release_memory`, or ever, GB, of this process and programs.

    Of programs only those that run now count.
    """
    peak = _peak_of("self")
    if peak is None:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    for program in _programs():
        with suppress(psutil.Error):
            peak += _peak_of(str(program.pid)) or program.memory_info().rss
    return peak / 1e9


def release_memory() -> None:
    """Give freed memory back and begin to record the largest memory anew, where that is known."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    for place in ("self", *(str(program.pid) for program in _programs())):
        with suppress(OSError):
            Path(f"/proc/{place}/clear_refs").write_text("5", encoding="ascii")


def free_memory() -> float:
    """Memory that the machine has free, GB; without what file caches hold."""
    return float(psutil.virtual_memory().free) / 1e9


@contextmanager
def memory_growth_limit(growth: float) -> Iterator[None]:
    """Let allocations fail, and not the machine, that take more than so many GB in addition.

    Of this process, and of each program that runs when the limit is set.
    """
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    with ExitStack() as stack:
        # Devices reserve addresses at will; elsewhere than on Linux the limit has no effect.
        if sys.platform == "linux" and not on_gpu:
            for process in (psutil.Process(), *_programs()):
                with suppress(psutil.Error):
                    stack.enter_context(_limited(process, int(growth * 1e9)))
        yield


@contextmanager
def _limited(process: psutil.Process, growth: int) -> Iterator[None]:
    before = process.rlimit(psutil.RLIMIT_AS)
    wanted = process.memory_info().vms + max(0, growth)
    if before[0] != psutil.RLIM_INFINITY:
        wanted = min(wanted, before[0])
    process.rlimit(psutil.RLIMIT_AS, (wanted, before[1]))
    try:
        yield
    finally:
        with suppress(psutil.Error):
            process.rlimit(psutil.RLIMIT_AS, before)


def _programs() -> list[psutil.Process]:
    """What this process runs now, and what that runs."""
    return psutil.Process().children(recursive=True)


def _program_seconds(program: psutil.Process) -> float:
    times = program.cpu_times()
    waited = float(times.children_user + times.children_system)
    clock = ctypes.c_int()
    # The times above are in hundredths of a second; evaluations of small cells are shorter.
    with suppress(AttributeError, OSError):  # not on macOS
        if not ctypes.CDLL(None).clock_getcpuclockid(program.pid, ctypes.byref(clock)):
            return waited + time.clock_gettime(clock.value)
    return waited + float(times.user + times.system)


def _peak_of(place: str) -> int | None:
    """Largest resident memory of a process of ``/proc``, bytes; None where that is not known."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{place}/status").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return None
