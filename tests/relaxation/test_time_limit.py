"""Evaluations that hang."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Sequence

import pytest
from ase import Atoms
from pymatgen.core import Structure

from crysearch.relaxation import Evaluation, RelaxationSettings, create_relaxer
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.relaxation.time_limit import EvaluationTimeout, time_limit

SILICON = create_relaxer("stillinger-weber")


class Hangs(LockstepRelaxer):
    """A real engine that waits for ever for another program when a cell has three atoms."""

    name = "hangs"
    provenance: dict[str, str] = {}  # noqa: RUF012

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        if any(len(atoms) == 3 for atoms in batch):
            subprocess.run(["sleep", "60"], check=True)
        return SILICON.evaluate(batch)  # type: ignore[attr-defined]


def chain(atoms: int) -> Structure:
    positions = [[(i + 0.5) / atoms, 0.1 * i, 0.0] for i in range(atoms)]
    lattice = [[2.6 * atoms, 0, 0], [0, 4.2, 0], [0, 0, 4.2]]
    return Structure(lattice, ["Si"] * atoms, positions)


def test_a_structure_that_hangs_fails_alone():
    settings = RelaxationSettings(max_steps=2, evaluation_timeout=0.3)
    started = time.monotonic()
    results = Hangs().relax([chain(2), chain(3), chain(4)], settings)
    assert time.monotonic() - started < 20
    assert [result.failure for result in results] == [None, "timeout", None]
    assert "within 0.3 s" in str(results[1].failure_detail)
    undisturbed = SILICON.relax([chain(2), chain(4)], settings)
    assert [results[0].energy, results[2].energy] == [r.energy for r in undisturbed]


def test_python_code_that_never_ends_is_ended():
    with pytest.raises(EvaluationTimeout, match=r"within 0\.2 s"), time_limit(0.2):
        while True:
            pass


def test_a_timer_that_was_running_goes_on():
    rang = []
    before = signal.getsignal(signal.SIGALRM)
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with time_limit(5):
            time.sleep(0.1)
        assert not rang
        time.sleep(0.5)
        assert rang
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, remaining)


def test_in_another_thread_there_is_no_limit():
    done = []

    def work() -> None:
        with time_limit(0.05):
            time.sleep(0.2)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
