"""A long sample as a stream of batches, made by any number of processes.

Each batch has a random stream of its own, derived from the seed and the batch's number, and batches
come in order: neither the number of processes nor who makes which batch can change a crystal.
Memory holds a few batches per process, however long the stream is.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

from crysearch.errors import SamplingError
from crysearch.sampling import create_sampler
from crysearch.sampling.base import CrystalBatch, CrystalRequest, CrystalSampler

Made = TypeVar("Made")
# Batches begun per process: one in work, one waiting, so that no process is idle.
_AHEAD = 2


@dataclass(frozen=True)
class Stream:
    """Crystals of one request, in batches.

    Parameters
    ----------
    request : CrystalRequest
    seed : tuple of int
        Batch ``b`` is made with the seed ``(*seed, b)``.
    sampler : str
        A key of :data:`crysearch.sampling.SAMPLERS`.
    batch_size : int
        Crystals in a batch; part of the random stream.
    """

    request: CrystalRequest
    seed: tuple[int, ...]
    sampler: str = "wyckoff"
    batch_size: int = 2000

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or self.batch_size < 1:
            raise SamplingError(f"batch_size: {self.batch_size!r} is not a positive whole number")

    def batches(
        self,
        number: int,
        make: Callable[[CrystalBatch, tuple[int, ...]], Made],
        processes: int = 1,
    ) -> Generator[Made, None, None]:
        """What ``make`` makes of each batch, in order, until ``number`` crystals are made.

        Parameters
        ----------
        number : int
            Crystals in all; the last batch is cut, which does not change its crystals.
        make : callable
            Takes a batch and its seed; runs in the process that made the batch, so that with
            several processes it must be a function of a module, and its result must be picklable.
        processes : int
            With 1 everything happens in this process.

        Yields
        ------
        object
            One per batch.

        Raises
        ------
        SamplingError
            Where a batch cannot be made, or a process ended.
        """
        for name, value in (("number", number), ("processes", processes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SamplingError(f"{name}: {value!r} is not a positive whole number")
        sizes = [self.batch_size] * (number // self.batch_size)
        if number % self.batch_size:
            sizes.append(number % self.batch_size)
        processes = min(processes, len(sizes))
        if processes == 1:
            sampler = create_sampler(self.sampler, self.request)
            for batch, size in enumerate(sizes):
                seed = (*self.seed, batch)
                yield make(sampler.sample(size, seed), seed)
            return
        yield from self._in_processes(sizes, make, processes)

    def _in_processes(
        self,
        sizes: Sequence[int],
        make: Callable[[CrystalBatch, tuple[int, ...]], Made],
        processes: int,
    ) -> Generator[Made, None, None]:
        # Spawned: a fork of a process with threads (progress bars, BLAS) can hang.
        pool = ProcessPoolExecutor(
            processes,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self.sampler, self.request),
        )
        begun: deque[Future[Made]] = deque()
        try:
            for batch, size in enumerate(sizes):
                begun.append(pool.submit(_make, size, (*self.seed, batch), make))
                if len(begun) >= _AHEAD * processes:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        except BrokenProcessPool:
            raise SamplingError(
                f"processes: one of {processes} ended before its batch was made (killed, or out of "
                "memory); take fewer processes or a smaller batch_size"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


_SAMPLER: CrystalSampler


def _begin(name: str, request: CrystalRequest) -> None:
    """Prepare a process; an interrupt is for the process that waits for the batches."""
    global _SAMPLER
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _SAMPLER = create_sampler(name, request)


def _make(size: int, seed: tuple[int, ...], make: Callable[..., Any]) -> Any:
    return make(_SAMPLER.sample(size, seed), seed)
