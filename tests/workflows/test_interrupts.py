"""An interrupt that compiled code has dropped is raised at the next step of progress."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

import pytest

from crysearch.workflows.interrupts import interrupts_kept, raise_if_interrupted
from crysearch.workflows.progress import progress_bar


@pytest.fixture(autouse=True)
def python_handles_interrupts():
    """As in a terminal; a shell ignores them for what it runs in the background."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@ctypes.CFUNCTYPE(None)
def interrupted_in_a_callback() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_lost_in_a_callback_comes_at_the_next_progress():
    with interrupts_kept(), progress_bar("work", 3, "steps") as bar:
        bar.update()
        interrupted_in_a_callback()
        with pytest.raises(KeyboardInterrupt):
            bar.update()
    raise_if_interrupted()  # it is forgotten with the block
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_and_threads_are_left_alone():
    def handler(number, frame) -> None:
        pass

    signal.signal(signal.SIGINT, handler)
    try:
        with interrupts_kept():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def elsewhere() -> None:
        with interrupts_kept():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[object] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
