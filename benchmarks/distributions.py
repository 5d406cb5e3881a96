"""Random crystals beside PyXtal's on the same request: as drawn, and after relaxation.

    python benchmarks/distributions.py

Two samples are compared with PyXtal's: ours as it is, and ours with PyXtal's space groups and
Wyckoff combinations, which shows what of a difference lies in the choice of those. The relaxation
is with the Stillinger–Weber potential. Prints the tables of docs/sampling.md; seeds are fixed, so
that another run prints the same ones, times apart.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version

import numpy as np
import spglib

from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.comparison import (
    CRYSTAL_SYSTEMS,
    Comparison,
    compare_categories,
    compare_numbers,
    crystal_systems,
    features,
    matching,
)

REQUESTS = {
    "Si8": CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1}),
    "Sn4Se4": CrystalRequest(
        ("Sn", "Se"),
        (4, 4),
        229.0,
        {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2},
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--crystals",
        type=int,
        default=500,
        help="of PyXtal's per request; ours are 8 times as many",
    )
    parser.add_argument(
        "--relaxed", type=int, default=300, help="of PyXtal's; ours are twice as many"
    )
    parser.add_argument("--pool", type=int, default=200_000, help="to choose matching ones from")
    arguments = parser.parse_args()
    write(
        f"Python {platform.python_version()}, numba {version('numba')}, "
        f"pyxtal {version('pyxtal')}, spglib {version('spglib')}, scipy {version('scipy')}"
    )
    batches = {}
    for name, request in REQUESTS.items():
        started = time.perf_counter()
        theirs = create_sampler("pyxtal", request).sample(arguments.crystals, 1)
        seconds = time.perf_counter() - started
        pool = create_sampler("wyckoff", request).sample(arguments.pool, 1)
        ours = pool.select(slice(0, 8 * arguments.crystals))
        mine, yours = matching(pool, theirs)
        batches[name] = ours, theirs, pool.select(mine)
        write(
            f"\n### {name}, {request.volume:g} Å³ ± 10 %: {len(ours)} of ours, {len(theirs)} of "
            f"PyXtal's ({seconds:.0f} s), {len(mine)} matched\n"
        )
        drawn(ours, theirs, pool.select(mine), theirs.select(yours))
    relaxed(batches["Si8"], arguments.relaxed)


def drawn(
    ours: CrystalBatch, theirs: CrystalBatch, matched: CrystalBatch, partners: CrystalBatch
) -> None:
    """One row per number: as drawn, and with the same groups and combinations."""
    samples = [features(batch) for batch in (ours, theirs, matched, partners)]
    for sample, batch in zip(samples, (ours, theirs, matched, partners), strict=True):
        sample["crystal system found"] = crystal_systems(sample["space group found"])
        general = [
            max(int(label[:-1]) for labels in batch.wyckoff(i).values() for label in labels)
            for i in range(len(batch))
        ]
        sample["largest multiplicity"] = np.array(general)
    write("| | ours | PyXtal | difference | p | difference, same combinations | p |")
    write("|---|---|---|---|---|---|---|")
    for name in samples[0]:
        compare = compare_categories if "group" in name or "system" in name else compare_numbers
        whole = compare(samples[0][name], samples[1][name])
        same = compare(samples[2][name], samples[3][name])
        write(row(name, whole) + f" {same.statistic:.3f} | {same.p:.2g} |")


def relaxed(batches: tuple[CrystalBatch, ...], number: int) -> None:
    """The same after relaxation: ours, PyXtal's, and ours with PyXtal's combinations."""
    numbers = [
        min(len(batch), n) for batch, n in zip(batches, (2 * number, number, number), strict=True)
    ]
    started = time.perf_counter()
    ours, theirs, matched = map(after_relaxation, batches, numbers)
    write(
        f"\n### Si8 after relaxation (Stillinger–Weber, {time.perf_counter() - started:.0f} s): "
        f"{len(ours['space group'])}, {len(theirs['space group'])} and "
        f"{len(matched['space group'])} of {', '.join(map(str, numbers))} converged\n"
    )
    write("| | ours | PyXtal | difference | p | difference, same combinations | p |")
    write("|---|---|---|---|---|---|---|")
    for name in ours:
        compare = compare_categories if "group" in name or "system" in name else compare_numbers
        same = compare(matched[name], theirs[name])
        whole = row(name, compare(ours[name], theirs[name]))
        write(whole + f" {same.statistic:.3f} | {same.p:.2g} |")
    for place, system in enumerate(CRYSTAL_SYSTEMS):
        shares = [np.mean(sample["crystal system"] == place) for sample in (ours, theirs)]
        write(f"| … {system} | {shares[0]:.0%} | {shares[1]:.0%} | | | | |")


def after_relaxation(batch: CrystalBatch, number: int) -> dict[str, np.ndarray]:
    """Numbers that describe the first crystals of a batch, relaxed; those that converged."""
    engine = create_relaxer("stillinger-weber")
    settings = RelaxationSettings(force_tolerance=0.02, max_steps=300)
    rows = []
    for result in engine.relax([batch.structure(i) for i in range(number)], settings):
        if not result.converged or result.structure is None:
            continue
        cell = result.structure
        numbers = [site.specie.Z for site in cell]
        dataset = spglib.get_symmetry_dataset(
            (cell.lattice.matrix.tolist(), cell.frac_coords.tolist(), numbers), symprec=0.1
        )
        if dataset is None:
            raise ValueError(f"spglib has no answer for {cell}")
        rows.append((result.energy_per_atom, float(cell.density), dataset.number))
    energies, densities, groups = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "energy, eV/atom": energies,
        "density, g/cm³": densities,
        "space group": groups,
        "crystal system": crystal_systems(groups),
    }


def row(name: str, result: Comparison) -> str:
    """The beginning of a line of a table."""
    means = f"{result.first:.4g} | {result.second:.4g}"
    return f"| {name} | {means} | {result.statistic:.3f} | {result.p:.2g} |"


def write(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
