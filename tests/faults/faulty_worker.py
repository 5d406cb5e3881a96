"""FireWorks' rlaunch in a process where something goes wrong: `faulty_worker.py FAULT … -- …`.

``dies COLLECTION:N`` kills the process, as SIGKILL from outside does, right after it has written
documents to a collection for the N-th time; ``pauses FOLDER COLLECTION:N …`` lets it write its
number to the file ``COLLECTION paused`` at such moments and wait for ``COLLECTION go on``;
``locked`` kills it while it holds FireWorks' lock of the workflow; ``engine NAME=VOLUME,…`` makes
the engine fail on crystals of these volumes, ``broken`` on all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from fireworks import LaunchPad, Workflow
from fireworks.scripts.rlaunch_run import rlaunch

from crysearch.records import RecordStore
from crysearch.relaxation import Evaluation, Relaxer, create_relaxer
from crysearch.relaxation.ase_calculator import AseRelaxer
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.workflows import context

write = RecordStore.upsert


def on_writing(act: Callable[[str], None], *moments: str) -> None:
    """Act when documents have been written to ``COLLECTION:N`` for the N-th time."""
    times: Counter[str] = Counter()

    def upsert(self: RecordStore, collection: str, documents: Iterable[Mapping[str, Any]]) -> int:
        written = write(self, collection, documents)
        if written:
            times[collection] += 1
            if f"{collection}:{times[collection]}" in moments:
                act(collection)
        return written

    RecordStore.upsert = upsert  # type: ignore[method-assign]


def dies(moment: str) -> None:
    on_writing(lambda _: os.kill(os.getpid(), signal.SIGKILL), moment)


def pauses(folder: str, *moments: str) -> None:
    def wait(collection: str) -> None:
        Path(folder, f"{collection} paused").write_text(str(os.getpid()), encoding="utf-8")
        while not Path(folder, f"{collection} go on").exists():
            time.sleep(0.02)

    on_writing(wait, *moments)


def locked() -> None:
    """Die while the workflow is locked to distribute the relaxation of the candidates."""
    update = LaunchPad._update_wf

    def update_wf(self: LaunchPad, workflow: Workflow, updated: Sequence[int]) -> None:
        if any(fw.name.startswith("relax candidates, batch") for fw in workflow.fws):
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, workflow, updated)

    LaunchPad._update_wf = update_wf


class FaultyEngine(LockstepRelaxer):
    """A real engine that cannot stand some crystals, known by their volume (Å³)."""

    def __init__(self, engine: LockstepRelaxer, faults: Mapping[str, float]) -> None:
        self.engine, self.faults = engine, faults

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def provenance(self) -> dict[str, str]:
        return self.engine.provenance

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        return [self._evaluate(atoms, *self.engine.evaluate([atoms])) for atoms in batch]

    def _evaluate(self, atoms: Atoms, found: Evaluation) -> Evaluation:
        fault = {
            name
            for name, volume in self.faults.items()
            if abs(atoms.get_volume() - volume) < 1e-9 * volume
        }
        if "raises" in fault:
            raise ArithmeticError("the stand-in engine does not converge")
        if "hangs" in fault:
            subprocess.run(["sleep", "300"], check=True)
        if "explodes" in fault:
            return replace(found, forces=1e6 * np.ones_like(found.forces))
        if "nonsense" in fault:
            return replace(found, energy=float("nan"))
        return found


def engine(faults: str) -> None:
    """Put the faulty engine in the place of the real one; faults as ``raises=20.3,hangs=…``."""
    volumes = {name: float(volume) for name, volume in (f.split("=") for f in faults.split(","))}

    def make(name: str, **options: Any) -> Relaxer:
        real = create_relaxer(name, **options)
        assert isinstance(real, LockstepRelaxer)
        return FaultyEngine(real, volumes)

    context.create_relaxer = make


def broken() -> None:
    """An engine that raises whatever it is given, as one that is wrongly installed does."""

    def evaluate(self: AseRelaxer, batch: Sequence[Atoms]) -> list[Evaluation]:
        raise OSError("the stand-in engine's library is not there")

    AseRelaxer.evaluate = evaluate  # type: ignore[method-assign]


FAULTS: dict[str, Callable[..., None]] = {
    "dies": dies,
    "pauses": pauses,
    "locked": locked,
    "engine": engine,
    "broken": broken,
}

if __name__ == "__main__":
    split = sys.argv.index("--")
    FAULTS[sys.argv[1]](*sys.argv[2:split])
    raise SystemExit(rlaunch(sys.argv[split + 1 :]))
