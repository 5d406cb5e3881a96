"""How fast random crystals are guided onto targets, and how many arrive.

    python benchmarks/guiding.py [--quick] [--markdown TABLE.md]

A crystal is finished when its Pearson's distance to the target is within 0.13 and all minimum
distances are kept. Rates are per second of processor time of one process with one thread, counting
the choice of targets, not the sampling. The peer descends the same loss (RDF, Pearson's distance,
penalty, stages) in all coordinates and the cell, written with ASE's neighbour list, NumPy and
SciPy's L-BFGS-B; ours is measured beside it on the same crystals without their symmetry.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase.neighborlist import primitive_neighbor_list
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.fingerprints.distances import standardised
from crysearch.guiding import Guide, GuidingSettings, TargetChoice, without_symmetry
from crysearch.guiding.stages import BROAD_REACH, Stage, make_stages
from crysearch.references import load_snapshot
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler

TIN_SELENIDE = {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
HEADER = (
    "| crystals | targets | tries | volume | symmetry | within 0.13 (%) | and distances kept (%) "
    "| median evaluations | µs per evaluation | finished per second |"
)


@dataclass(frozen=True)
class Case:
    """Crystals of one request, guided onto known structures."""

    request: CrystalRequest
    formula: str
    by_species: bool = False
    tries: int = 1
    policy: str = "nearest"
    symmetric: bool = True
    settings: GuidingSettings = field(default_factory=GuidingSettings)

    @property
    def rdf(self) -> RadialDistributionFunction:
        """Total or species-resolved."""
        return RadialDistributionFunction(species=self.request.species if self.by_species else None)


def silicon(atoms: int) -> CrystalRequest:
    """As in the published search: 23 Å³ per atom ± 10 %, 2.1 Å."""
    return CrystalRequest(("Si",), (atoms,), 23.0 * atoms, {("Si", "Si"): 2.1})


def cases() -> list[Case]:
    """The lines of the table."""
    tin_selenide = CrystalRequest(("Sn", "Se"), (8, 8), 457.6, TIN_SELENIDE)
    si8, si16 = silicon(8), silicon(16)
    bounded, fixed = GuidingSettings(volume="bounded"), GuidingSettings(volume="fixed")
    of_target = GuidingSettings(volume="target")
    return [
        Case(si8, "Si"),
        Case(si8, "Si", tries=3),
        Case(si8, "Si", tries=3, policy="balanced"),
        Case(si8, "Si", settings=GuidingSettings(stop_distance=0.02)),
        Case(si8, "Si", settings=GuidingSettings(stop_distance=0.13)),
        Case(si8, "Si", tries=3, policy="balanced", settings=of_target),
        Case(si8, "Si", settings=bounded),
        Case(si8, "Si", settings=fixed),
        Case(si8, "Si", symmetric=False),
        Case(si16, "Si"),
        Case(si16, "Si", tries=3),
        Case(si16, "Si", tries=3, policy="balanced", settings=of_target),
        Case(si16, "Si", symmetric=False),
        Case(tin_selenide, "SnSe"),
        Case(tin_selenide, "SnSe", tries=3),
        Case(tin_selenide, "SnSe", by_species=True, tries=3),
        Case(tin_selenide, "SnSe", by_species=True, symmetric=False),
    ]


def crystals_of(case: Case, n: int, seed: int) -> CrystalBatch:
    """Random crystals; without symmetry, atoms are displaced a little to leave it."""
    batch = create_sampler("wyckoff", case.request).sample(n, seed)
    return batch if case.symmetric else without_symmetry(batch, 0.03, seed)


def guide_of(case: Case) -> Guide:
    """Targets: the bundled known structures."""
    known = [reference.structure for reference in load_snapshot(case.formula)]
    volumes = np.array([structure.volume / len(structure) for structure in known])
    targets = case.rdf.from_structures(known)
    return Guide(case.rdf, targets, case.request, case.settings, volumes)


def measure(case: Case, n: int) -> str:
    """One line of the table."""
    guide, batch = guide_of(case), crystals_of(case, n, 1)
    choice = TargetChoice(case.policy, tries=case.tries)  # type: ignore[arg-type]
    nothing = np.zeros(len(guide.targets), dtype=np.int64)
    guide.descend(batch.select([0]), np.zeros(1, dtype=np.int64))
    start = time.process_time()
    chosen, _ = choice.assign(guide.broad_distances(batch), nothing)
    middle = time.process_time()
    guided = guide.descend(batch, chosen)
    end = time.process_time()
    reached = guided.reached
    different = len(np.unique(guided.target[reached]))
    kind = " by species" if case.by_species else ""
    settings = case.settings
    stop = "" if settings.stop_distance == 0.10 else f", stop at {settings.stop_distance:g}"
    cells = (
        case.request.formula,
        f"{len(guide.targets)} {case.formula}{kind}, {case.policy}{stop} ({different} reached)",
        case.tries,
        settings.volume,
        "kept" if case.symmetric else "none",
        f"{100 * np.mean(guided.distance_after <= 0.13):.1f}",
        f"{100 * reached.mean():.1f}",
        f"{np.median(guided.steps):.0f}",
        f"{1e6 * (end - middle) / guided.steps.sum():.1f}",
        f"{reached.sum() / (end - start):,.0f}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


class Peer:
    """The same descent of a one-element crystal in plain NumPy, ASE and SciPy."""

    def __init__(self, guide: Guide) -> None:
        rdf = guide.radial_distribution_function
        self.settings, self.evaluations = guide.settings, 0
        self.limit = float(guide.request.distance_matrix[0, 0])
        self.stages = make_stages(rdf, guide.settings.smearings)
        self.targets = [standardised(stage.target(guide.targets, rdf)) for stage in self.stages]

    def loss(self, x: np.ndarray, stage: Stage, target: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient; ``x`` is the cell's nine components, then the fractions."""
        self.evaluations += 1
        cell, fractions = x[:9].reshape(3, 3), x[9:].reshape(-1, 3)
        reach = stage.end + (7.0 if stage is self.stages[-1] else BROAD_REACH) * stage.smearing
        i, j, d, vectors, shifts = primitive_neighbor_list(
            "ijdDS", (True, True, True), cell, fractions @ cell, reach
        )
        away = (stage.grid[None] - d[:, None]) / stage.smearing
        gauss = np.exp(-0.5 * away**2) / stage.grid[None] ** 2
        values = gauss.sum(axis=0)
        values -= values.mean()
        norm = np.linalg.norm(values)
        correlation = values @ target / norm
        by_value = (correlation * values / norm - target) / norm
        by_distance = (gauss * away / stage.smearing) @ by_value
        limit, weight = self.settings.margin * self.limit, self.settings.penalty / len(fractions)
        short = np.maximum(1.0 - d / limit, 0.0)
        by_distance -= 2.0 * weight * short / limit
        pull = by_distance[:, None] * vectors / d[:, None]
        by_cell = (fractions[j] - fractions[i] + shifts).T @ pull
        by_atom = np.zeros_like(fractions)
        np.add.at(by_atom, j, pull @ cell.T)
        np.add.at(by_atom, i, -pull @ cell.T)
        total = 1.0 - correlation + weight * (short**2).sum()
        return total, np.concatenate([by_cell.ravel(), by_atom.ravel()])

    def descend(self, cell: np.ndarray, fractions: np.ndarray, target: int) -> bool:
        """Whether the crystal arrives."""

        class Arrived(Exception):
            pass

        x = np.concatenate([cell.ravel(), fractions.ravel()])
        for number, stage in enumerate(self.stages):
            known = self.targets[number][target]

            def check(x: np.ndarray, known=known, stage=stage, number=number) -> None:
                if number < len(self.stages) - 1:
                    return
                near = self.loss(x, stage, known)[0] <= self.settings.stop_distance
                if near and self.keeps_distances(x):
                    raise Arrived

            try:
                x = minimize(
                    self.loss, x, (stage, known), "L-BFGS-B", jac=True, callback=check,
                    options={"maxfun": self.settings.steps[number]},
                ).x  # fmt: skip
            except Arrived:
                return True
        return self.loss(x, stage, known)[0] <= 0.13 and self.keeps_distances(x)

    def keeps_distances(self, x: np.ndarray) -> bool:
        """Whether no two atoms are too close."""
        cell, fractions = x[:9].reshape(3, 3), x[9:].reshape(-1, 3)
        found = primitive_neighbor_list("d", (True, True, True), cell, fractions @ cell, self.limit)
        return not (found < self.limit).any()


def beside_the_peer(number: int) -> list[str]:
    """Finished crystals per second of both, on the same crystals in P1."""
    case = Case(silicon(8), "Si", symmetric=False)
    guide, batch = guide_of(case), crystals_of(case, number, 2)
    target = guide.broad_distances(batch).argmin(axis=1)
    guide.descend(batch, target)
    start = time.process_time()
    repeats = 20
    for _ in range(repeats):
        guided = guide.descend(batch, target)
    ours = (time.process_time() - start) / repeats
    peer = Peer(guide)
    start = time.process_time()
    arrived = [
        peer.descend(batch.lattices[i], batch.fractional_coordinates[i], int(target[i]))
        for i in range(number)
    ]
    theirs = time.process_time() - start
    our_rate, their_rate = guided.reached.sum() / ours, sum(arrived) / theirs
    our_cost, their_cost = ours / guided.steps.sum(), theirs / peer.evaluations
    return [
        f"| Si8 without symmetry, {number} crystals | crysearch | ASE, NumPy, SciPy | ratio |",
        "|---|--:|--:|--:|",
        f"| finished (%) | {100 * guided.reached.mean():.0f} | {100 * np.mean(arrived):.0f} | |",
        f"| finished per second | {our_rate:,.0f} | {their_rate:.2g} "
        f"| {our_rate / their_rate:,.0f} |",
        f"| evaluations per second | {1 / our_cost:,.0f} | {1 / their_cost:,.0f} "
        f"| {their_cost / our_cost:,.0f} |",
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half a minute, not three")
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    arguments = parser.parse_args()
    n, few = (200, 4) if arguments.quick else (2000, 30)
    lines = [HEADER, "|---|---|--:|---|---|--:|--:|--:|--:|--:|"]
    print("\n".join(lines))
    with threadpool_limits(1):
        for case in cases():
            lines.append(measure(case, n))
            print(lines[-1], flush=True)
        rows = beside_the_peer(few)
    note = (
        f"{n} crystals a line; {time.strftime('%Y-%m-%d')}, {platform.machine()}, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scipy", "ase"))
    )
    print("\n" + "\n".join([*rows, "", note]))
    if arguments.markdown:
        text = "\n".join([*lines, "", *rows, "", note, ""])
        arguments.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
