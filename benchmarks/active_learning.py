"""Reference calculations until the lowest minima are found, against relaxing the same pool.

    python benchmarks/active_learning.py

Of each system and seed a pool of random crystals is relaxed with the reference method itself
(every step is a reference calculation), and searched by active learning (single points, and the
steps of the final relaxations of the best). Runs what is missing (searches are kept in the folder
of ``--database``, and interrupted ones go on) and prints the table of docs/active-learning.md.
Intervals are 95 % of the mean over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.analysis import find_duplicates, mean_interval
from crysearch.analysis.matching import CrystalMatcher, MatchTolerances
from crysearch.records import open_records
from crysearch.records.values import from_binary_vector, structure_from_document
from crysearch.workflows import run_search
from crysearch.workflows.active_learning import run_active_learning


@dataclass(frozen=True)
class System:
    """A composition in one cell size, with the reference method and the known minima."""

    search: dict[str, Any]
    engine: str
    known: dict[str, str]
    pool: int = 100
    batch: int = 25
    cycles: int = 6


SILICON = {
    "composition": "Si",
    "formula_units": [16],
    "volume_per_formula_unit": 23.0,
    "minimum_distances": {"Si-Si": 1.6},
}
SYSTEMS = {
    # A larger pool, with a reference method that is cheap enough for it.
    "Si16-classical": System(
        SILICON,
        "stillinger-weber",
        pool=500,
        batch=40,
        cycles=8,
        known={"mp-149": "diamond", "mp-165": "lonsdaleite", "mp-168": "BC8"},
    ),
    "Si16": System(
        SILICON,
        "sevennet-0",
        known={"mp-149": "diamond", "mp-165": "lonsdaleite", "mp-168": "BC8"},
    ),
    "Na8Cl8": System(
        {
            "composition": "NaCl",
            "formula_units": [8],
            "volume_per_formula_unit": 50.0,
            "minimum_distances": {"Na-Na": 2.2, "Cl-Na": 2.0, "Cl-Cl": 2.4},
        },
        "chgnet",
        known={"mp-22862": "rock salt", "mp-1120767": "P6_3/mmc", "mp-22851": "CsCl"},
    ),
    "Ga8As8": System(
        {
            "composition": "GaAs",
            "formula_units": [8],
            "volume_per_formula_unit": 50.0,
            "minimum_distances": {"Ga-Ga": 1.9, "As-Ga": 1.9, "As-As": 1.9},
        },
        "chgnet",
        known={"mp-2534": "zinc blende", "mp-8883": "wurtzite"},
    ),
    "Al4O6": System(
        {
            "composition": "Al2O3",
            "formula_units": [2],
            "volume_per_formula_unit": 48.0,
            "minimum_distances": {"Al-Al": 2.0, "Al-O": 1.5, "O-O": 1.8},
        },
        "chgnet",
        known={"mp-1143": "corundum"},
    ),
}


def specification(name: str, seed: int) -> ActiveLearningSpec:
    """The active learning of a system; its `known` is the search that relaxes the same pool."""
    system = SYSTEMS[name]
    return ActiveLearningSpec.build(
        {
            "name": f"active learning of {name}",
            "search": {
                **system.search,
                "references": {"source": "snapshot"},
                # As for the relaxation of the pool with the ensemble.
                "relaxation": {"force_tolerance": 0.05, "maximum_reference_atoms": 16},
                "seed": seed,
            },
            "reference": {"engine": system.engine},
            "pool": {"size": system.pool},
            "first_batch": system.batch,
            "batch": system.batch,
            "maximum_cycles": system.cycles,
        }
    )


#: A known structure whose bad cell relaxes to another one.
RELAXES_TO = {"mp-988210": "mp-149"}


@dataclass
class Crystal:
    """A relaxed crystal, what its relaxation cost, and which minimum it is."""

    structure: Structure
    energy: float  # eV/atom
    calls: int
    matches: str | None
    minimum: int  # place, among the crystals of both searches, of the lowest that it repeats


@dataclass
class Outcome:
    """A system and seed: the pool relaxed directly, and what active learning made of it."""

    direct: list[Crystal]
    active: list[Crystal]
    direct_calls: int
    single_points: int
    calculated: list[Structure]  # in the order of the reference calculations
    pool: int
    ground_state: float  # energy of the known one, eV/atom

    @property
    def active_calls(self) -> int:
        """Single points, and the evaluations of the final relaxations."""
        return self.single_points + sum(crystal.calls for crystal in self.active)

    def lowest(self, crystals: list[Crystal], count: int = 3) -> list[Crystal]:
        """The lowest distinct minima among crystals."""
        found: dict[int, Crystal] = {}
        for crystal in sorted(crystals, key=lambda crystal: crystal.energy):
            found.setdefault(crystal.minimum, crystal)
        return list(found.values())[:count]

    def among(self, minima: list[Crystal], crystals: list[Crystal]) -> int:
        """How many of some minima are among crystals."""
        return len({one.minimum for one in minima} & {one.minimum for one in crystals})

    def known(self, crystals: list[Crystal], reference: str) -> list[Crystal]:
        """Those crystals that are a known structure, by either search, the lowest first."""
        both = self.direct + self.active
        minima = {crystal.minimum for crystal in both if crystal.matches == reference}
        found = [crystal for crystal in crystals if crystal.minimum in minima]
        return sorted(found, key=lambda crystal: crystal.energy)

    def direct_calls_until(self, reference: str) -> float | None:
        """Expected over the orders of the pool: with m of N, (N + 1)/(m + 1) relaxations."""
        hits = len(self.known(self.direct, reference))
        if not hits:
            return None
        return (self.pool + 1) / (hits + 1) * self.direct_calls / self.pool

    def active_calls_until(self, reference: str) -> float | None:
        """Up to the single point of the first structure that is recognisably the one it became."""
        found = self.known(self.active, reference)
        if not found:
            return None
        matcher = CrystalMatcher(MatchTolerances())
        for place, structure in enumerate(self.calculated, 1):
            if matcher.same(structure, found[0].structure):
                return place
        return self.active_calls


def outcome(name: str, seed: int, database: Path) -> Outcome:
    """Read both searches of a system and seed."""
    spec = specification(name, seed)
    pool = {"search": spec.known.search_id, "parent_kind": "candidate"}
    with open_records(database / f"{name}-{seed}-direct", read_only=True) as records:
        direct = records.find("relaxations", pool, sort=[("_id", 1)])
        failed = records.count("failures", {"search": spec.known.search_id, "stage": "relaxation"})
    with open_records(database / f"{name}-{seed}-active", read_only=True) as records:
        active = records.find("relaxations", pool, sort=[("_id", 1)])
        calculated = records.find("configurations", sort=[("index", 1)])
        cycles = records.find("cycles")
        known = records.find("relaxations", {"parent_kind": "reference"})
    ground_state = min(d["energy_per_atom"] for d in known)
    documents = [d for d in direct + active if d["converged"]]
    structures = [structure_from_document(d) for d in documents]
    energies = [d["energy_per_atom"] for d in documents]
    fingerprints = np.array([from_binary_vector(d["fingerprint"]) for d in documents])
    repeats = find_duplicates(structures, fingerprints, energies)
    crystals = [
        Crystal(
            structure,
            document["energy_per_atom"],
            document["steps"] + 1,
            RELAXES_TO.get(document["matches"], document["matches"]),
            place if repeated is None else repeated,
        )
        for place, (document, structure, repeated) in enumerate(
            zip(documents, structures, repeats, strict=True)
        )
    ]
    count = sum(d["converged"] for d in direct)
    return Outcome(
        direct=crystals[:count],
        active=crystals[count:],
        # A relaxation that failed counts as one: how far it came is not recorded.
        direct_calls=sum(d["steps"] + 1 for d in direct) + failed,
        single_points=sum(
            (cycle["calculated"] or 0) + (cycle["not_calculated"] or 0) for cycle in cycles
        ),
        calculated=[structure_from_document(d) for d in calculated],
        pool=len(direct) + failed,
        ground_state=ground_state,
    )


def interval(values: Sequence[float], digits: int = 0) -> str:
    """Mean over seeds, with the half-width of its 95 % interval."""
    found = mean_interval(list(values))
    half = f" ± {found.high - found.mean:.{digits}f}" if found.n > 1 else ""
    return f"{found.mean:.{digits}f}{half}"


def appearance(values: Sequence[float | None]) -> str:
    """In how many seeds something was found, and after how many calls at the median."""
    there = [value for value in values if value is not None]
    return f"{len(there)} of {len(values)}" + (f", {np.median(there):.0f}" if there else "")


def report(name: str, found: Sequence[Outcome]) -> None:
    """Print the table of one system."""
    system = SYSTEMS[name]
    print(
        f"\n### {name}: {system.engine}, {system.pool} random crystals, {len(found)} seeds\n\n"
        "| | relaxing the pool | active learning |\n|---|---|---|"
    )
    rows = {
        "reference calculations": (
            interval([one.direct_calls for one in found]),
            interval([one.active_calls for one in found]),
        ),
        "how many times fewer": (
            "1",
            interval([one.direct_calls / one.active_calls for one in found], 1),
        ),
        "lowest found, meV/atom to the known ground state": tuple(
            interval(
                [
                    1000 * (one.lowest(getattr(one, side))[0].energy - one.ground_state)
                    for one in found
                ]
            )
            for side in ("direct", "active")
        ),
        "of the three lowest minima that either found": tuple(
            interval(
                [
                    one.among(one.lowest(one.direct + one.active), getattr(one, side))
                    for one in found
                ],
                1,
            )
            for side in ("direct", "active")
        ),
        "of the three lowest minima that relaxing the pool found": (
            "3",
            interval([one.among(one.lowest(one.direct), one.active) for one in found], 1),
        ),
    }
    for reference, label in system.known.items():
        rows[f"{reference}, {label}: seeds, calculations until"] = (
            appearance([one.direct_calls_until(reference) for one in found]),
            appearance([one.active_calls_until(reference) for one in found]),
        )
    for row, (first, second) in rows.items():
        print(f"| {row} | {first} | {second} |")
    for seed, one in enumerate(found):
        print(f"seed {seed}:", end="")
        for side in ("direct", "active"):
            lows = one.lowest(getattr(one, side))
            shown = ", ".join(
                f"{1000 * (c.energy - one.ground_state):.0f} {c.matches or ''}".strip()
                for c in lows
            )
            print(f" {side} {shown};", end="")
        print()


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--database", type=Path, default=Path("crysearch-evidence"))
    parser.add_argument("--only", choices=("direct", "active"), help="run one half, no tables")
    arguments = parser.parse_args()
    for name, seed in itertools.product(arguments.systems, arguments.seeds):
        spec = specification(name, seed)
        if arguments.only != "active":
            os.environ["CRYSEARCH_DATABASE"] = str(arguments.database / f"{name}-{seed}-direct")
            run_search(spec.known)
        if arguments.only != "direct":
            os.environ["CRYSEARCH_DATABASE"] = str(arguments.database / f"{name}-{seed}-active")
            run_active_learning(spec)
    if arguments.only is None:
        for name in arguments.systems:
            found = [outcome(name, seed, arguments.database) for seed in arguments.seeds]
            report(name, found)


if __name__ == "__main__":
    main()
