"""Held-out errors of potentials against the size of the data set.

    python benchmarks/potentials.py --data FILE.extxyz.gz [--model schnet] [--sizes 50 100 200]

The file holds crystals with energies and forces, as `ase.io.read` takes them. Those further than
``--window`` above the lowest energy per atom are left out. For each seed the crystals are shuffled,
the last ``--test`` are held out, and the first 50, 100, ... trained on; a tenth of these is each
member's validation set. Printed are means over the seeds ± their standard deviation: errors of the
committee's mean on what was held out, of the energies in meV/atom and of the components of the
forces in eV/Å, and the CPU seconds of a training, which uses one thread; with DeePMD-kit, those of
its process, start included. The first line is the error of the one constant that knows nothing of
the structure: the mean energy per atom, no forces. Crystals that a potential refuses are in no
error; how many there are, and why, is said.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from numpy.typing import NDArray

from crysearch.potentials import (
    Configuration,
    Prediction,
    available_potentials,
    create_potential,
)
from crysearch.potentials.deepmd_process import end_processes

COLUMNS = ("energy MAE", "energy RMSE", "force MAE", "force RMSE", "CPU seconds")


def load(path: Path, window: float) -> list[Configuration]:
    """Crystals of a file within a window of the lowest energy per atom, eV."""
    crystals = [Configuration.from_atoms(atoms) for atoms in read(path, index=":")]
    energies = np.array([(c.energy or 0.0) / len(c) for c in crystals])
    kept = energies <= energies.min() + window
    print(f"{path.name}: {kept.sum()} of {len(kept)} crystals within {window:g} eV/atom")
    return [crystal for crystal, keep in zip(crystals, kept, strict=True) if keep]


def errors(pairs: Sequence[tuple[Configuration, float, NDArray[np.float64]]]) -> list[float]:
    """Errors of energies (meV/atom) and forces (eV/Å): means of the absolute, then RMS."""
    energy = np.array([1000.0 * (e - (c.energy or 0.0)) / len(c) for c, e, _ in pairs])
    force = np.concatenate([(f - c.forces).ravel() for c, _, f in pairs])
    found = [np.abs(energy).mean(), np.sqrt(np.square(energy).mean())]
    return [*found, np.abs(force).mean(), np.sqrt(np.square(force).mean())]


def cpu_seconds() -> float:
    """Of this process, and of the processes that it has ended."""
    end_processes()
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measure(
    model: str,
    training: Sequence[Configuration],
    test: Sequence[Configuration],
    architecture: dict[str, Any],
    settings: dict[str, Any],
    seed: int,
) -> list[float]:
    """Errors on the test set and CPU seconds of the training."""
    elements = sorted({symbol for c in training for symbol in c.elements})
    potential = create_potential(model, elements=elements, **architecture)
    start = cpu_seconds()
    potential.fit(training, seed=seed, **settings)
    seconds = cpu_seconds() - start
    results = potential.evaluate(test)
    pairs = [
        (c, r.energy, r.forces)
        for c, r in zip(test, results, strict=True)
        if isinstance(r, Prediction)
    ]
    refused = Counter(r.reason for r in results if not isinstance(r, Prediction))
    if refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in refused.items())
        print(f"{len(training):>10}  seed {seed}: not in the errors, of {len(test)}: {reasons}")
    return [*errors(pairs), seconds]


def line(label: str, rows: Sequence[Sequence[float]]) -> str:
    """One line of the table: mean ± standard deviation of each column."""
    values = np.array(rows)
    cells = [
        f"{mean:.{digits}f} ± {deviation:.{digits}f}"
        for mean, deviation, digits in zip(
            values.mean(axis=0), values.std(axis=0), (1, 1, 3, 3, 0), strict=False
        )
    ]
    return f"{label:>10}  " + "  ".join(f"{cell:>15}" for cell in cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", choices=available_potentials(), default="behler-parrinello")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500, 1000])
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--window", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--cutoff", type=float, help="Å; by default the model's own")
    parser.add_argument("--optimizer", choices=("lbfgs", "adam"), help="by default the model's own")
    parser.add_argument("--epochs", type=int, help="by default the model's own")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    arguments = parser.parse_args()
    given = {
        name: getattr(arguments, name)
        for name in ("optimizer", "epochs", "batch_size", "learning_rate")
    }
    settings = {name: value for name, value in given.items() if value is not None}
    crystals = load(arguments.data, arguments.window)
    print(f"{'crystals':>10}  " + "  ".join(f"{name:>15}" for name in COLUMNS), flush=True)
    for size in [0, *arguments.sizes]:
        rows = []
        for seed in range(arguments.seeds):
            order = np.random.default_rng(seed).permutation(len(crystals))
            shuffled = [crystals[place] for place in order]
            test, rest = shuffled[-arguments.test :], shuffled[: -arguments.test]
            if size > len(rest):
                parser.error(f"--sizes {size}: only {len(rest)} crystals are left to train on")
            if size == 0:
                mean = float(np.mean([(c.energy or 0.0) / len(c) for c in rest]))
                rows.append(errors([(c, mean * len(c), np.zeros((len(c), 3))) for c in test]))
                continue
            architecture = {"members": arguments.members}
            if arguments.cutoff is not None:
                architecture["cutoff"] = arguments.cutoff
            rows.append(measure(arguments.model, rest[:size], test, architecture, settings, seed))
        print(line(str(size) if size else "constant", rows), flush=True)


if __name__ == "__main__":
    main()
