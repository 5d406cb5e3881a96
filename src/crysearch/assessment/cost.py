"""What one step costs: time and memory for energy, forces and stress against the atoms."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from pymatgen.core import Structure
from scipy.stats import linregress
from threadpoolctl import threadpool_limits

from crysearch.analysis.calculations import symmetrised
from crysearch.analysis.plain import PlainResult
from crysearch.assessment.resources import (
    free_memory,
    memory_growth_limit,
    peak_memory,
    release_memory,
    timed,
)
from crysearch.errors import AnalysisError
from crysearch.relaxation import Relaxer
from crysearch.relaxation.lockstep import LockstepRelaxer

#: Small cells are evaluated again until so many seconds of CPU time are spent, or so often.
LEAST_SECONDS = 1.0
MOST_EVALUATIONS = 20

#: An evaluation that takes more CPU seconds is not repeated, unless it is the first of all.
LONG_SECONDS = 10.0

#: The part of the memory free at the start that an evaluation may take.
MEMORY_PART = 0.5

#: Estimates of the memory are taken so many times: allocators keep what was freed.
MEMORY_SAFETY = 1.3

#: Standard deviation of the displacements, Å: no atom is where symmetry makes sums vanish.
DISPLACEMENT = 0.02

#: Largest change of a coordinate between two evaluations, Å.
STEP = 0.001


@dataclass(frozen=True)
class CostPoint(PlainResult):
    """The cost of one cell.

    Attributes
    ----------
    atoms
        Atoms of the supercell.
    repeats
        Of the conventional cell along its vectors.
    evaluations
        How many evaluations were counted.
    cpu_seconds, wall_seconds
        Median of one evaluation of energy, forces and stress, the neighbour list included. The CPU
        time is that of this process with all its threads and of the programs that it started.
    cpu_per_atom
        CPU seconds per atom and step.
    memory
        Largest resident memory of the process meanwhile, GB.
    """

    atoms: int
    repeats: tuple[int, int, int]
    evaluations: int
    cpu_seconds: float
    wall_seconds: float
    cpu_per_atom: float
    memory: float


@dataclass(frozen=True)
class Cost(PlainResult):
    """Cost against size.

    Attributes
    ----------
    points
        From the smallest cell to the largest.
    slope, slope_error
        Of the logarithm of the CPU time against the logarithm of the number of atoms, by least
        squares, and its standard error: 1 is linear. None with too few points.
    stopped
        Why larger cells were not evaluated; None if all were.
    largest
        Atoms asked for at most.
    engine
        Name of the engine.
    """

    points: tuple[CostPoint, ...]
    slope: float | None
    slope_error: float | None
    stopped: str | None
    largest: int
    engine: str


def measure_cost(
    structure: Structure,
    relaxer: Relaxer,
    sizes: Sequence[int] = (100, 316, 1000, 3162, 10_000, 31_623, 100_000),
    time_limit: float = 120.0,
    memory_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Cost:
    """Time energy, forces and stress of supercells of a crystal.

    The next size is left out if one evaluation of it would take longer than the time limit or more
    than the memory limit, both estimated from the sizes before. Where the estimate is wrong, the
    limit of the operating system on the address space of the processes ends the series.

    Parameters
    ----------
    structure
        Crystal; its conventional cell is repeated.
    relaxer
        Engine.
    sizes
        Atoms wanted, ascending; each cell has about so many.
    time_limit
        Seconds of CPU time that one evaluation may take.
    memory_limit
        GB of the process and its programs; None for what they have and half of what is free.
    seed
        Of the small displacements of the atoms.
    progress
        Called with 1 after each size, also one that is left out.

    Raises
    ------
    AnalysisError
        If an argument is unusable or the smallest cell cannot be evaluated.
    """
    wanted = list(sizes)
    if not wanted or wanted != sorted(set(wanted)) or wanted[0] < 1:
        raise AnalysisError(f"sizes={wanted}: give numbers of atoms in ascending order")
    if not (math.isfinite(time_limit) and time_limit > 0):
        raise AnalysisError(f"time_limit={time_limit}: give seconds greater than 0")
    unit = symmetrised(structure, 0.01).conventional
    assert unit is not None
    release_memory()
    before = peak_memory()
    limit = before + MEMORY_PART * free_memory() if memory_limit is None else memory_limit
    points: list[CostPoint] = []
    stopped: str | None = None
    for size in wanted:
        atoms, repeats = supercell(unit, size, seed)
        if points and len(atoms) == points[-1].atoms:
            continue
        stopped = stopped or _too_much(points, before, len(atoms), time_limit, limit)
        if stopped is None:
            try:
                # The first evaluation may start a device, which reserves addresses at will.
                with memory_growth_limit(limit - before) if points else nullcontext():
                    points.append(_measured(relaxer, atoms, repeats, warm=bool(points)))
            except Exception as error:  # an engine may raise whatever its package does
                stopped = f"{len(atoms):,} atoms: {type(error).__name__}: {error}"
        if progress is not None:
            progress(1)
    if not points:
        raise AnalysisError(f"no cost of {relaxer.name}: {stopped}")
    slope, deviation = fit_scaling([p.atoms for p in points], [p.cpu_seconds for p in points])
    return Cost(tuple(points), slope, deviation, stopped, wanted[-1], relaxer.name)


def fit_scaling(
    atoms: Sequence[int], seconds: Sequence[float]
) -> tuple[float | None, float | None]:
    """Slope of log(seconds) against log(atoms), and its standard error.

    The error needs three points, the slope two; what is missing is None.
    """
    if len(atoms) < 2 or min(seconds) <= 0:
        return None, None
    fit: Any = linregress(np.log10(atoms), np.log10(seconds))
    return float(fit.slope), float(fit.stderr) if len(atoms) > 2 else None


def supercell(unit: Structure, size: int, seed: int = 0) -> tuple[Atoms, tuple[int, int, int]]:
    """A supercell of about ``size`` atoms, as near to a cube as whole repeats allow.

    Parameters
    ----------
    unit
        Conventional cell.
    size
        Atoms wanted.
    seed
        Of the displacements, normal with :data:`DISPLACEMENT` in each coordinate.

    Returns
    -------
    atoms
        With the atoms displaced.
    repeats
        Along the three vectors of the conventional cell.
    """
    edge = (size * unit.volume / len(unit)) ** (1 / 3)
    ranges = []
    for length in unit.lattice.abc:
        lower = max(1, math.floor(edge / length))
        ranges.append((lower, max(1, math.ceil(edge / length))))
    # Of equally many atoms the first: fewest repeats along the first vectors.
    repeats = min(
        itertools.product(*ranges), key=lambda n: (abs(math.prod(n) * len(unit) - size), n)
    )
    atoms = Atoms(
        symbols=[site.specie.symbol for site in unit],
        cell=unit.lattice.matrix,
        scaled_positions=unit.frac_coords,
        pbc=True,
    ).repeat(repeats)
    random = np.random.default_rng([seed, size])
    atoms.positions += DISPLACEMENT * random.standard_normal(atoms.positions.shape)
    return atoms, (repeats[0], repeats[1], repeats[2])


def _measured(
    relaxer: Relaxer, atoms: Atoms, repeats: tuple[int, int, int], warm: bool
) -> CostPoint:
    evaluate = _evaluation(relaxer, atoms)
    release_memory()
    context: AbstractContextManager[object] = (
        relaxer.session() if isinstance(relaxer, LockstepRelaxer) else nullcontext()
    )
    with context, threadpool_limits(limits=1, user_api="blas"):
        # The very first evaluation compiles and fills caches; of large cells, one is enough.
        first = timed(evaluate)
        counted = [first] if warm and first[0] > LONG_SECONDS else []
        while not counted or (
            sum(cpu for cpu, _ in counted) < LEAST_SECONDS and len(counted) < MOST_EVALUATIONS
        ):
            counted.append(timed(evaluate))
    cpu = statistics.median(cpu for cpu, _ in counted)
    return CostPoint(
        atoms=len(atoms),
        repeats=repeats,
        evaluations=len(counted),
        cpu_seconds=cpu,
        wall_seconds=statistics.median(wall for _, wall in counted),
        cpu_per_atom=cpu / len(atoms),
        memory=peak_memory(),
    )


def _evaluation(relaxer: Relaxer, atoms: Atoms) -> Callable[[], None]:
    """One call of the engine for energy, forces and stress; the atoms move between two calls.

    Some engines remember what they calculated last.
    """
    rest = atoms.positions.copy()
    moves = itertools.cycle((STEP, -STEP))
    shape = np.sin(np.arange(rest.size)).reshape(rest.shape)

    def moved() -> Atoms:
        atoms.positions = rest + next(moves) * shape
        return atoms

    if isinstance(relaxer, LockstepRelaxer):
        # Without pymatgen's structures, whose conversion is no part of a step.
        def run() -> None:
            if not relaxer.evaluate([moved()])[0].is_finite:
                raise AnalysisError("energy, forces or stress are not finite")

        return run

    def run_program() -> None:
        now = moved()
        structure = Structure(
            now.cell.array, now.get_chemical_symbols(), now.get_scaled_positions()
        )
        result = relaxer.single_point([structure])[0]
        if result.evaluation is None:
            raise AnalysisError(f"{result.failure}: {result.failure_detail}")

    return run_program


def _too_much(
    points: Sequence[CostPoint], before: float, atoms: int, time_limit: float, memory_limit: float
) -> str | None:
    """Why a cell of so many atoms is not to be evaluated; None if it may be."""
    if not points:
        return None
    last = points[-1]
    slope, _ = fit_scaling([p.atoms for p in points], [p.cpu_seconds for p in points])
    seconds = last.cpu_seconds * (atoms / last.atoms) ** max(1.0, slope or 1.0)
    if seconds > time_limit:
        return (
            f"{atoms:,} atoms would take about {seconds:.0f} s, more than the time limit of "
            f"{time_limit:g} s"
        )
    memory = before + MEMORY_SAFETY * (last.memory - before) * atoms / last.atoms
    if memory > memory_limit:
        return (
            f"{atoms:,} atoms would need about {memory:.1f} GB, more than the memory limit of "
            f"{memory_limit:.1f} GB"
        )
    return None
