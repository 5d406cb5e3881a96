"""One run: from the input files of a folder to the output files in it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from crysearch.errors import VaspStandinError
from crysearch.vasp_standin.failures import (
    ZBRENT_STEPS,
    Failures,
    hang,
    line_minimisation_fails,
    read_failures,
    remove_stopcar,
    stop_requested,
    wait,
)
from crysearch.vasp_standin.inputs import Inputs, read_inputs
from crysearch.vasp_standin.mark import DEFAULT_ENGINE, ENGINE_VARIABLE, VERSION, label
from crysearch.vasp_standin.moves import IonicStep, Mover
from crysearch.vasp_standin.texts import TextWriters
from crysearch.vasp_standin.vasprun import VasprunWriter

SEGMENTATION_FAULT = 139
"""The status that a shell gives for a process that ended by SIGSEGV."""

_UNCONVERGED_SWING = 0.1
"""By how much the electronic steps of a run that shall not converge go up and down, eV."""


def run(folder: Path) -> int:
    """Run the calculation of a folder.

    Parameters
    ----------
    folder
        With INCAR, POSCAR, POTCAR and, unless INCAR has KSPACING, KPOINTS.

    Returns
    -------
    int
        Exit status: 0 if the run came to its end (converged or not), else 1.
    """
    engine = os.environ.get(ENGINE_VARIABLE) or DEFAULT_ENGINE
    try:
        failures = read_failures(folder)
        inputs = read_inputs(folder)
        mover = Mover(inputs, engine)
    except VaspStandinError as error:
        print(f" vasp.{VERSION} {label(engine)}\n ERROR: {error}", flush=True)
        print(f"{label(engine)}: {error}", file=sys.stderr, flush=True)
        return 1
    # The optimizers' matrices are small: several threads on busy cores take thirty times longer.
    with threadpool_limits(limits=1, user_api="blas"):
        return _Run(folder, inputs, mover, failures, engine).run()


class _Run:
    def __init__(
        self, folder: Path, inputs: Inputs, mover: Mover, failures: Failures, engine: str
    ) -> None:
        self._folder = folder
        self._inputs = inputs
        self._mover = mover
        self._failures = failures
        self._texts = TextWriters(folder, inputs, engine)
        self._vasprun = VasprunWriter(folder, inputs, engine)
        self._breaks = bool(
            inputs.relaxes and failures.zbrent and line_minimisation_fails(folder, failures)
        )

    def run(self) -> int:
        try:
            return self._steps()
        except VaspStandinError as error:
            self._texts.note(f" ERROR: {error}")
            print(error, file=sys.stderr, flush=True)
            self._vasprun.leave_open()
            self._texts.close()
            return 1

    def _steps(self) -> int:
        inputs = self._inputs
        before: IonicStep | None = None
        last = max(1, inputs.nsw) if inputs.relaxes else 1
        for number in range(1, last + 1):
            step = self._step()
            if self._failures.crash:
                self._crash()
            if self._failures.hang:
                hang()
                return 1
            if self._breaks and number >= min(ZBRENT_STEPS, last):
                return self._line_minimisation_failed()
            stop = stop_requested(self._folder)
            if stop is not None:
                self._texts.note(f" {stop} stop encountered!  aborting job ...")
                break
            if inputs.relaxes and self._mover.converged(step, before):
                self._texts.note(
                    " reached required accuracy - stopping structural energy minimisation"
                )
                break
            if number < last:
                before = step
                self._mover.move()
        self._vasprun.finish()
        self._texts.finish()
        remove_stopcar(self._folder)
        return 0

    def _step(self) -> IonicStep:
        """Evaluate the present geometry and write it."""
        started = time.perf_counter()
        step = self._mover.evaluate()
        wait(self._folder, self._failures.slow)
        electronic = [step.energy]
        if self._failures.unconverged:
            electronic = [
                step.energy + _UNCONVERGED_SWING * (-1) ** number
                for number in range(self._inputs.nelm)
            ]
        seconds = time.perf_counter() - started
        self._vasprun.add(step, electronic, seconds)
        self._texts.add(step, electronic, seconds)
        return step

    def _line_minimisation_failed(self) -> int:
        self._texts.note(
            " ZBRENT: fatal error in bracketing",
            "     please rerun with smaller EDIFF, or copy CONTCAR",
            "     to POSCAR and continue",
        )
        self._vasprun.leave_open()
        self._texts.close()
        return 1

    def _crash(self) -> None:
        self._vasprun.break_off()
        self._texts.close()
        print("forrtl: severe (174): SIGSEGV, segmentation fault occurred", file=sys.stderr)
        sys.stderr.flush()
        # Not an exception: nothing may tidy up after a crash.
        os._exit(SEGMENTATION_FAULT)
