"""Measurements that need processes of their own: start-up, memory, several cores at once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.screening import Screen

BATCH = 1000
THRESHOLD = 0.13
REFERENCES = 261

# What a search does first, from the import on.
_FIRST_BATCH = """
from crysearch.fingerprints import NearestFingerprint, RadialDistributionFunction
from crysearch.sampling import CrystalRequest, create_sampler
request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
batch = create_sampler("wyckoff", request).sample(10, 0)
prints = RadialDistributionFunction().compute(batch.lattices, batch.fractional_coordinates)
print(prints.sum().hex(), NearestFingerprint(prints).query(prints)[1].max() < 1e-12)
"""


class Funnel:
    """Sample, fingerprint and screen batches of Si8, as a search does."""

    def __init__(self) -> None:
        request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
        self.sampler = create_sampler("wyckoff", request)
        self.rdf = RadialDistributionFunction()
        known = self.sampler.sample(REFERENCES, 2**31)
        prints = self.rdf.compute(known.lattices, known.fractional_coordinates)
        self.screen = Screen(prints, prints[:0], THRESHOLD)

    def batch(self, seed: tuple[int, ...]) -> int:
        """Crystals of a batch that are near a reference."""
        crystals = self.sampler.sample(BATCH, seed)
        prints = self.rdf.compute(crystals.lattices, crystals.fractional_coordinates)
        return int(self.screen.classify(prints).near.sum())


@dataclass(frozen=True)
class StartUp:
    """Wall and processor seconds from the start of Python to the first screened crystals."""

    wall: float
    processor: float
    answer: str


def start_up(cache: Path) -> StartUp:
    """Start once, with a folder for compiled code that may be empty."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"}
    before, start = os.times(), time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", _FIRST_BATCH],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    return StartUp(wall, spent, answer)


def start_ups() -> tuple[StartUp, StartUp]:
    """With an empty folder for compiled code, and with what the first has left there."""
    with tempfile.TemporaryDirectory() as folder:
        cold = start_up(Path(folder))
        cached = [start_up(Path(folder)) for _ in range(3)]
    if {run.answer for run in cached} != {cold.answer}:
        raise SystemExit("cached code gives other results than the code just compiled")
    return cold, min(cached, key=lambda run: run.processor)


def resident() -> float:
    """Resident memory of this process, MB."""
    if Path("/proc/self/statm").exists():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _stream(stages: list[int], connection: Connection) -> None:
    with threadpool_limits(1):
        funnel = Funnel()
        done, largest, near = 0, 0.0, 0
        wall, processor = time.perf_counter(), time.process_time()
        for stage in stages:
            while done < stage:
                near += funnel.batch((3, done))
                done += BATCH
                largest = max(largest, resident())
            spent = time.process_time() - processor
            connection.send((done, largest, time.perf_counter() - wall, spent, near))
        connection.close()


def stream(stages: list[int]) -> list[tuple[int, float, float, float, int]]:
    """One long stream; at each stage crystals, largest memory (MB), wall, processor s, near."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_stream, args=(stages, sender))
    process.start()
    sender.close()
    rows = [receiver.recv() for _ in stages]
    process.join()
    return rows


def _worker(number: int, batches: int, barrier: Any, queue: Any) -> None:
    with threadpool_limits(1):
        funnel = Funnel()
        barrier.wait()
        wall, processor = time.perf_counter(), time.process_time()
        for batch in range(batches):
            funnel.batch((4, number, batch))
        queue.put((time.perf_counter() - wall, time.process_time() - processor))


def _together(processes: int, batches: int) -> tuple[float, float]:
    """Crystals per second of so many processes together, and per second of processor time."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_worker, args=(number, batches, barrier, queue))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    times = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    crystals = processes * batches * BATCH
    return crystals / max(wall for wall, _ in times), crystals / sum(spent for _, spent in times)


def cores(batches: int, repeats: int) -> tuple[float, float, float]:
    """Crystals/s of one process, how many times that of two, and the same for processor time.

    The last is what is left of the rate per second of processor time when two run at once; it
    says what they cost each other (memory, caches), whatever else the machine is doing.
    """
    one, two = [], []
    for _ in range(repeats):
        one.append(_together(1, batches))
        two.append(_together(2, batches))
    one_wall, one_processor = np.median(one, axis=0)
    two_wall, two_processor = np.median(two, axis=0)
    return float(one_wall), float(two_wall / one_wall), float(two_processor / one_processor)
