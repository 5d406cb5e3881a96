"""How fast the funnel is: random crystals, their fingerprints and their screening, beside others.

    python benchmarks/funnel.py [--quick] [--markdown TABLE.md] [--figure FIGURE.png]

One table for all of it. Rates are per second of processor time of one process with one thread,
measured alternately with the peer's on the same requests or crystals, so that another program that
takes a share of the processor changes little; figures that are wall time say so. dscribe and
matminer are measured if they are installed.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from funnel_figure import draw
from funnel_peers import every_pair, fingerprints_of_others, inputs, pymatgen_rdf, version_of
from funnel_processes import BATCH, REFERENCES, Funnel, cores, start_ups, stream
from threadpoolctl import threadpool_limits

from crysearch.errors import SamplingError
from crysearch.fingerprints import NearestFingerprint, RadialDistributionFunction
from crysearch.fingerprints.distances import standardised
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler

PACKAGES = (
    *("numpy", "numba", "scipy", "pyxtal", "pymatgen"),
    *("ase", "matscipy", "matminer", "dscribe"),
)
TIN_SELENIDE = {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
ALUMINA = {("Al", "Al"): 2.2, ("Al", "O"): 1.6, ("O", "O"): 2.1}
AGREEMENT = 1e-6


def silicon(atoms: int) -> CrystalRequest:
    """Silicon as in the published search: 23 Å³ per atom ± 10 %, 2.1 Å."""
    return CrystalRequest(("Si",), (atoms,), 23.0 * atoms, {("Si", "Si"): 2.1})


#: Request, and the goals: crystals per second, ratio to PyXtal.
REQUESTS = {
    "Si8": (silicon(8), 2000, 1000),
    "Si16": (silicon(16), 500, None),
    "Sn8Se8": (CrystalRequest(("Sn", "Se"), (8, 8), 457.6, TIN_SELENIDE), 200, None),
    "Al4O6": (CrystalRequest(("Al", "O"), (4, 6), 85.0, ALUMINA), 200, None),
}


@dataclass
class Row:
    """A line of the table; a title where only ``what`` is given."""

    what: str
    ours: str = ""
    peer: str = ""
    theirs: str = ""
    ratio: str = ""
    goal: str = ""


@dataclass
class Report:
    """Rows of the table, and the numbers that the figure shows."""

    quick: bool
    rows: list[Row] = field(default_factory=list)
    data: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """A row, printed at once."""
        self.rows.append(row)
        cells = (row.what, row.ours, row.peer, row.theirs, row.ratio, row.goal)
        line = "{:<44}{:>12}   {:<30}{:>10}{:>9}   {}".format(*cells)
        print(("\n" if not row.ours else "") + line.rstrip(), flush=True)

    def markdown(self, notes: list[str]) -> str:
        """The table and the notes."""
        lines = ["| | crysearch | beside | | ratio | goal |", "|---|--:|---|--:|--:|---|"]
        for row in self.rows:
            what = row.what if row.ours else f"**{row.what}**"
            cells = (what, row.ours, row.peer, row.theirs, row.ratio, row.goal)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", *notes, ""])


def figures(value: float) -> str:
    """Three significant digits."""
    if value >= 100:
        digits = 2 - int(np.floor(np.log10(value)))
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def reached(text: str, *conditions: bool) -> str:
    """A goal, and whether it is reached."""
    return f"{text}: {'reached' if all(conditions) else 'not reached'}"


def processor_seconds(task: Callable[[], object], at_least: float) -> float:
    """Processor time of one call, in the mean over at least so many seconds."""
    start, calls = time.process_time(), 0
    while not calls or time.process_time() - start < at_least:
        task()
        calls += 1
    return (time.process_time() - start) / calls


def alternating(ours: Callable[[], object], theirs: Callable[[], int], seconds: float):
    """Processor seconds of one call of ours, and of one unit of theirs, measured in turns."""
    ours()
    our_calls, our_time, their_units, their_time = 0, 0.0, 0, 0.0
    while their_time < seconds:
        start = time.process_time()
        their_units += theirs()
        their_time += time.process_time() - start
        while our_time < 0.2 * their_time:
            start = time.process_time()
            ours()
            our_time += time.process_time() - start
            our_calls += 1
    return our_time / our_calls, their_time / max(their_units, 1), their_units


def measure_sampling(report: Report) -> None:
    """Accepted crystals beside PyXtal's on the same request."""
    report.add(Row("Accepted random crystals per second"))
    for name, (request, goal, goal_ratio) in REQUESTS.items():
        sampler = create_sampler("wyckoff", request)
        # PyXtal gives a group up after one call, 400 attempts, not after three.
        easier = CrystalRequest(
            request.species, request.counts, request.volume, request.minimum_distances,
            attempts_per_group=400,
        )  # fmt: skip
        pyxtal = create_sampler("pyxtal", easier)
        pyxtal.sample(1, 0)
        numbers = iter(range(10**9))

        def theirs(pyxtal=pyxtal, numbers=numbers) -> int:
            try:
                return len(pyxtal.sample(1, (1, next(numbers))))
            except SamplingError:
                return 0

        def ours(sampler=sampler, numbers=numbers) -> CrystalBatch:
            return sampler.sample(500, (2, next(numbers)))

        ours_time, theirs_time, made = alternating(ours, theirs, 2 if report.quick else 16)
        rate, their_rate = 500 / ours_time, 1 / theirs_time
        text = f"≥ {goal:,}" + (f", > {goal_ratio:,} ×" if goal_ratio else "")
        distances = [
            f"{request.minimum_distances[pair]:g}"
            for pair in combinations_with_replacement(request.species, 2)
        ]
        report.add(
            Row(
                f"{name}, {request.volume:g} Å³, ≥ {'/'.join(distances)} Å",
                figures(rate),
                f"PyXtal ({made} crystals)",
                figures(their_rate),
                figures(rate / their_rate),
                reached(text, rate >= goal, rate / their_rate > (goal_ratio or 0)),
            )
        )
        report.data.setdefault("sampling", []).append((rate, their_rate))


def measure_fingerprints(report: Report) -> None:
    """Radial distribution functions beside a pymatgen-neighbour-list implementation and others."""
    report.add(Row("Fingerprints per second (RDF: 8 Å, 200 points, σ 0.06 Å)"))
    worst = 0.0
    seconds = 0.5 if report.quick else 3.0
    si8: tuple[CrystalBatch, float] | None = None
    for name, (request, _, _) in REQUESTS.items():
        species = request.species if len(request.species) > 1 else None
        rdf = RadialDistributionFunction(species=species)
        batch = create_sampler("wyckoff", request).sample(2000, 5)
        symbols = [batch.species[index] for index in batch.species_index]
        structures = [batch.structure(i) for i in range(100)]
        numbers = iter(range(10**9))
        prints = rdf.compute(batch.lattices, batch.fractional_coordinates, symbols)

        def ours(batch=batch, rdf=rdf, symbols=symbols) -> None:
            rdf.compute(batch.lattices, batch.fractional_coordinates, symbols)

        def theirs(structures=structures, rdf=rdf, numbers=numbers) -> int:
            pymatgen_rdf(structures[next(numbers) % 100], rdf)
            return 1

        ours_time, theirs_time, _ = alternating(ours, theirs, seconds)
        independent = np.stack([pymatgen_rdf(structure, rdf) for structure in structures])
        worst = max(worst, float(np.abs(prints[:100] - independent).max() / independent.max()))
        rate, ratio = 2000 / ours_time, theirs_time * 2000 / ours_time
        goal = reached("≥ 10,000, ≥ 20 ×", rate >= 1e4, ratio >= 20) if name == "Si8" else ""
        kind = ", species-resolved" if species else ""
        report.add(
            Row(f"RDF of {name}{kind}", figures(rate), "RDF, pymatgen neighbour list",
                figures(1 / theirs_time), figures(ratio), goal)
        )  # fmt: skip
        if si8 is None:
            si8 = batch, rate
    if not worst < AGREEMENT:
        raise SystemExit(f"RDFs differ from pymatgen's neighbour list's by {worst:.1e}")
    report.add(Row("largest difference from pymatgen's (peak = 1)", f"{worst:.0e}",
                   goal=reached("≤ 1e-6", worst <= AGREEMENT)))  # fmt: skip
    assert si8 is not None
    batch, rate = si8
    structures = [batch.structure(i) for i in range(50)]
    for name, (function, package) in fingerprints_of_others().items():
        if function is None:
            report.add(Row("RDF of Si8", figures(rate), name, "not installed"))
            continue
        crystals = inputs(structures, package)
        try:
            function(crystals[0])
        except Exception as error:  # of releases that do not go together
            report.add(Row("RDF of Si8", figures(rate), name, type(error).__name__))
            continue
        one = processor_seconds(lambda f=function, c=crystals: [f(x) for x in c], seconds / 3) / 50
        report.add(Row("RDF of Si8", figures(rate), name, figures(1 / one), figures(rate * one)))


def measure_funnel(report: Report) -> None:
    """Sample, fingerprint and compare with the references; where the time goes."""
    report.add(Row(f"Sample + RDF + Pearson against {REFERENCES} references (Si8)"))
    funnel, seconds = Funnel(), 1.0 if report.quick else 3.0
    numbers = iter(range(10**9))
    whole = processor_seconds(lambda: funnel.batch((6, next(numbers))), seconds) / BATCH
    report.add(Row("crystals per second", figures(1 / whole),
                   goal=reached("≥ 1,500", 1 / whole >= 1500)))  # fmt: skip
    batch = funnel.sampler.sample(BATCH, 7)
    prints = funnel.rdf.compute(batch.lattices, batch.fractional_coordinates)
    # The same pairs, with Gaussians so narrow that each reaches one point at most.
    pairs = RadialDistributionFunction(cutoff=8.4, smearing=0.02 / 7)
    parts = {
        "sampling, µs per crystal": lambda: funnel.sampler.sample(BATCH, (8, next(numbers))),
        "RDF, µs": lambda: funnel.rdf.compute(batch.lattices, batch.fractional_coordinates),
        "of which all but adding up the Gaussians, µs": lambda: pairs.compute(
            batch.lattices, batch.fractional_coordinates
        ),
        "Pearson's distances and the nearest, µs": lambda: funnel.screen.classify(prints),
    }
    for name, part in parts.items():
        report.add(Row(name, figures(1e6 * processor_seconds(part, seconds / 3) / BATCH)))


def measure_sizes(report: Report) -> None:
    """How cost grows with the atoms of the cell."""
    report.add(Row("Cost against atoms per cell (Si, 23 Å³ per atom, 2.1 Å), µs per crystal"))
    for atoms in (4, 8, 16, 32, 64):
        sampler, rdf = create_sampler("wyckoff", silicon(atoms)), RadialDistributionFunction()
        numbers = iter(range(10**9))
        seconds, number = (0.3 if report.quick else 2.0), max(50, 4000 // atoms)

        def sample(sampler=sampler, number=number, numbers=numbers) -> None:
            sampler.sample(number, (9, next(numbers)))

        batch = sampler.sample(number, 10)

        def fingerprint(batch=batch, rdf=rdf) -> None:
            rdf.compute(batch.lattices, batch.fractional_coordinates)

        sampling = processor_seconds(sample, seconds) / number
        printing = processor_seconds(fingerprint, seconds / 2) / number
        report.add(Row(f"{atoms} atoms: sampling", figures(1e6 * sampling), "crysearch, RDF",
                       figures(1e6 * printing)))  # fmt: skip
        report.data.setdefault("sizes", []).append((atoms, sampling, printing))


def measure_references(report: Report) -> None:
    """How cost grows with the number of references."""
    report.add(Row("Nearest of many references, queries per second (Si8)"))
    sampler, rdf = create_sampler("wyckoff", silicon(8)), RadialDistributionFunction()
    batch = sampler.sample(101_000, 11)
    prints = rdf.compute(batch.lattices, batch.fractional_coordinates)
    queries, references = prints[:1000], prints[1000:]
    for number in (100, 300, 1000, 3000, 10_000, 30_000, 100_000):
        some = queries if number <= 10_000 else queries[:300]
        known = references[:number]
        start = time.process_time()
        searched = NearestFingerprint(known)
        built = time.process_time() - start
        every = standardised(known)
        distances = searched.query(some)[1]
        if not np.allclose(distances, every_pair(some, every)[1], rtol=0, atol=1e-13):
            raise SystemExit(f"the nearest of {number} references is not the nearest")
        ours, theirs, _ = alternating(
            lambda searched=searched, some=some: searched.query(some),
            lambda every=every, some=some: len(every_pair(some, every)[0]),
            0.2 if report.quick else 1.5,
        )
        rate = len(some) / ours
        report.add(
            Row(f"{number:,} references (index made in {built:.2g} s)", figures(rate),
                "every pair, BLAS", figures(1 / theirs), figures(rate * theirs))
        )  # fmt: skip
        report.data.setdefault("references", []).append((number, rate, 1 / theirs))


def measure_processes(report: Report) -> None:
    """Start-up, two processes, memory of a long stream."""
    report.add(Row("Start-up: from the start of Python to the first screened crystals"))
    cold, cached = start_ups()
    report.add(Row("nothing compiled yet, wall s", figures(cold.wall), "processor s",
                   figures(cold.processor), goal=reached("< 5 s", cold.wall < 5)))  # fmt: skip
    report.add(Row("compiled before, wall s", figures(cached.wall), "processor s",
                   figures(cached.processor)))  # fmt: skip
    report.add(Row("Processes on batches of their own (the whole funnel, Si8)"))
    rate, gain, share = cores(*((20, 1) if report.quick else (100, 3)))
    report.add(Row("one process, crystals per wall second", figures(rate)))
    report.add(Row("two processes, times that", f"{gain:.2f}", "per processor second",
                   f"{share:.2f}", goal=reached("≥ 1.8", gain >= 1.8)))  # fmt: skip
    report.add(Row("One long stream: sample, RDF, Pearson; nothing kept"))
    stages = [10_000, 20_000, 50_000, 100_000]
    rows = stream(stages if report.quick else [*stages, 200_000, 500_000, 1_000_000])
    for done, megabytes, wall, _, near in rows:
        report.add(Row(f"{done:,} crystals, largest resident memory MB", figures(megabytes),
                       f"in wall s ({near:,} near)", figures(wall)))  # fmt: skip
        report.data.setdefault("memory", []).append((done, megabytes))
    growth = rows[-1][1] / rows[0][1]
    report.add(Row("memory at the end over that at the beginning", f"{growth:.3f}",
                   goal=reached("constant", growth < 1.05)))  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, not five")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--figure", type=Path, help="write the figure there")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    wall = time.perf_counter()
    report = Report(arguments.quick)
    with threadpool_limits(1):
        # Before the rest, so that no memory or file of it is in the way.
        measure_processes(report)
        in_process = time.perf_counter(), time.process_time()
        Funnel().batch((0,))
        measure_funnel(report)
        measure_fingerprints(report)
        measure_sampling(report)
        measure_sizes(report)
        measure_references(report)
    shares = (time.process_time() - in_process[1]) / (time.perf_counter() - in_process[0])
    notes = [
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {processor_name()}, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{name} {version_of(name)}" for name in PACKAGES)
        + f". The process had {100 * shares:.0f} % of a core; "
        f"{time.perf_counter() - wall:.0f} s in all."
    ]
    print("\n" + "\n".join(notes))
    if arguments.markdown:
        arguments.markdown.write_text(report.markdown(notes), encoding="utf-8")
    if arguments.figure:
        draw(report.data, list(REQUESTS), arguments.figure)


def processor_name() -> str:
    """The model of the processor, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


if __name__ == "__main__":
    main()
