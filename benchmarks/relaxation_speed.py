"""Relaxing random silicon crystals: lock-step batches against ASE one by one, same potential.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/relaxation_speed.py --threads 1,2

The peer is the engine's own ASE calculator with a Fréchet cell filter and, once, the optimizer
that crysearch uses (CellAwareBFGS: what batching brings) and, once, LBFGS (what the optimizer
brings). All have the same tolerances, step limit and number of PyTorch threads, and one BLAS
thread. Without the passive wait policy two threads can be far slower than one when other programs
use the cores. Ratios carry over to another machine, seconds do not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS
from ase.optimize.cellawarebfgs import CellAwareBFGS
from ase.units import GPa
from pymatgen.core import Structure
from threadpoolctl import threadpool_limits

from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.sampling import CrystalRequest, create_sampler


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    settings = RelaxationSettings(
        force_tolerance=arguments.force_tolerance, max_steps=arguments.max_steps
    )
    crystals = random_crystals(arguments.crystals, arguments.seed)
    write(
        f"{len(crystals)} random Si8 crystals, {arguments.engine}, force below "
        f"{settings.force_tolerance:g} eV/Å and stress below {settings.stress_tolerance:g} GPa, "
        f"at most {settings.max_steps} steps; Python {platform.python_version()}, "
        f"torch {version('torch')}, ase {version('ase')}, {platform.machine()}"
    )
    rows = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        peers = {
            "ASE one by one, CellAwareBFGS": lambda: one_by_one(
                crystals, arguments.engine, settings, cell_aware_bfgs
            ),
            "ASE one by one, LBFGS": lambda: one_by_one(
                crystals, arguments.engine, settings, lbfgs
            ),
        }
        ours = {
            f"lock-step, {atoms} atoms per batch": lambda atoms=atoms, threads=threads: lock_step(
                crystals, arguments.engine, settings, atoms, threads
            )
            for atoms in arguments.batch_atoms
        }
        base = None
        for label, run in (peers | ours).items():
            seconds, steps, converged = run()
            base = base or seconds
            rows.append(
                {
                    "threads": threads,
                    "run": label,
                    "converged": converged,
                    "steps": steps,
                    "seconds": seconds,
                    "seconds/step": seconds / max(steps, 1),
                    "times faster": base / seconds,
                }
            )
            write(f"{threads} threads, {label}: {seconds:.1f} s", sys.stderr)
    write(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3f"))


def random_crystals(count: int, seed: int) -> list[Structure]:
    """Random Si8 crystals of 184 Å^3, no atoms nearer than 2.1 Å."""
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
    batch = create_sampler("wyckoff", request).sample(count, seed)
    return [batch.structure(index) for index in range(count)]


def lock_step(
    crystals: list[Structure],
    engine: str,
    settings: RelaxationSettings,
    batch_atoms: int,
    threads: int,
) -> tuple[float, int, int]:
    """Seconds, steps in all and converged crystals of the batched relaxation."""
    options = {} if engine == "stillinger-weber" else {"threads": threads}
    relaxer = create_relaxer(engine, **options)
    relaxer.single_point(crystals[:2])
    start = time.perf_counter()
    results = relaxer.relax(
        crystals, RelaxationSettings(**{**vars(settings), "batch_atoms": batch_atoms})
    )
    return (
        time.perf_counter() - start,
        sum(result.steps for result in results),
        sum(result.converged for result in results),
    )


def one_by_one(
    crystals: list[Structure],
    engine: str,
    settings: RelaxationSettings,
    optimize: Callable[[Any, RelaxationSettings], tuple[int, bool]],
) -> tuple[float, int, int]:
    """Seconds, steps in all and converged crystals of plain ASE."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        calculator = ase_calculator(engine)
        warm_up = crystals[0].to_ase_atoms()
        warm_up.calc = calculator
        warm_up.get_forces()
        steps = converged = 0
        start = time.perf_counter()
        with threadpool_limits(limits=1, user_api="blas"):
            for crystal in crystals:
                atoms = crystal.to_ase_atoms()
                atoms.calc = calculator
                taken, done = optimize(atoms, settings)
                steps += taken
                converged += done
        return time.perf_counter() - start, steps, converged


def cell_aware_bfgs(atoms: Any, settings: RelaxationSettings) -> tuple[int, bool]:
    """The optimizer of the lock-step driver, run by ASE."""
    optimizer = CellAwareBFGS(
        FrechetCellFilter(atoms, exp_cell_factor=1.0), logfile=None, maxstep=settings.maximum_step
    )
    done = optimizer.run(
        fmax=settings.force_tolerance,
        smax=settings.stress_tolerance * GPa,
        steps=settings.max_steps,
    )
    return optimizer.nsteps, bool(done)


def lbfgs(atoms: Any, settings: RelaxationSettings) -> tuple[int, bool]:
    """LBFGS with ASE's defaults, stopped by the same criterion."""
    optimizer = LBFGS(FrechetCellFilter(atoms), logfile=None)
    for _ in optimizer.irun(fmax=0.0, steps=settings.max_steps):
        force = (atoms.get_forces() ** 2).sum(axis=1).max() ** 0.5
        stress = abs(atoms.get_stress()).max()
        if force < settings.force_tolerance and stress < settings.stress_tolerance * GPa:
            return optimizer.nsteps, True
    return optimizer.nsteps, False


def ase_calculator(engine: str) -> Any:
    """The engine's own ASE calculator."""
    if engine == "chgnet":
        from chgnet.model import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu")
    if engine == "stillinger-weber":
        from matscipy.calculators.manybody import Manybody
        from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
            Stillinger_Weber_PRB_31_5262_Si,
            StillingerWeber,
        )

        return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    from sevenn.calculator import SevenNetCalculator

    model, fidelity = {"sevennet-0": ("7net-0", None), "sevennet-mf-0": ("7net-mf-0", "PBE")}[
        engine
    ]
    return SevenNetCalculator(model, modal=fidelity, device="cpu")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--engine",
        choices=("sevennet-0", "sevennet-mf-0", "chgnet", "stillinger-weber"),
        default="sevennet-0",
    )
    parser.add_argument("--crystals", type=int, default=12, help="random Si8 crystals")
    parser.add_argument("--seed", type=int, default=1, help="seed of the crystals")
    parser.add_argument("--force-tolerance", type=float, default=0.01, help="eV/Å")
    parser.add_argument("--max-steps", type=int, default=100, help="steps per crystal at most")
    parser.add_argument("--threads", type=numbers, default=[1], help="such as 1,2")
    parser.add_argument("--batch-atoms", type=numbers, default=[8, 32, 64, 128], help="such as 64")
    return parser.parse_args()


def write(line: str, stream=sys.stdout) -> None:
    """One line of the report."""
    stream.write(line + "\n")


if __name__ == "__main__":
    main()
