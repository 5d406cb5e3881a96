"""Groups I to IV at equal numbers of relaxations and at equal cost.

    python benchmarks/groups.py

Runs the searches (or continues them: they are kept in the folder of ``--database``) and prints the
tables of docs/guiding.md. Of each system and seed, groups I, II and III (near a known structure,
near a replica, not screened) are one search, group II with the Hamiltonian model is one, and group
IV, guided crystals, is one for each kind of target. Intervals are 95 % of the mean over seeds
(Student's t).
"""

from __future__ import annotations

import argparse
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from groups_figure import SHORT, Bars, draw

from crysearch.analysis import mean_interval
from crysearch.records import RecordStore, open_records
from crysearch.spec import SearchSpec
from crysearch.workflows import run_search

WINDOW = (0.05, 0.20)  # eV/atom above the ground state, as the paper's
SILICON = {
    "composition": "Si",
    "volume_per_formula_unit": 23.0,
    "minimum_distances": {"Si-Si": 2.1},
}
TIN_SELENIDE = {
    "composition": "SnSe",
    "volume_per_formula_unit": 57.2,
    "minimum_distances": {"Sn-Sn": 2.0, "Sn-Se": 2.1, "Se-Se": 2.2},
    "fingerprint": {"species_resolved": True},
}
#: Specification, and known structures to look out for with the names people use.
SYSTEMS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "Si8": (
        SILICON | {"formula_units": [8]},
        {
            "mp-149": "diamond",
            "mp-165": "lonsdaleite",
            "mp-168": "BC8",
            "mp-1079297": "C2/m (mp-1079297)",
        },
    ),
    "Si16": (
        SILICON | {"formula_units": [16]},
        {
            "mp-149": "diamond",
            "mp-165": "lonsdaleite",
            "mp-168": "BC8",
            "mp-1079297": "C2/m (mp-1079297)",
        },
    ),
    "Sn4Se4": (
        TIN_SELENIDE | {"formula_units": [4]},
        {"mp-691": "Pnma", "mp-2168": "Cmcm", "mp-2693": "rock salt", "mp-8936": "P4/nmm"},
    ),
}
#: Lines between known structures for interpolated replicas.
LINES = {
    "Si": ("mp-149", "mp-1079297", "mp-168", "mp-999200"),
    "SnSe": ("mp-691", "mp-2168", "mp-2693", "mp-628773"),
}
#: Relaxations per group.
NUMBERS = {"Si8": 30, "Si16": 20, "Sn4Se4": 20}
VARIANTS = ("screened", "hamiltonian", "replicas", "references", "lines", "dropped", "displaced")
COLUMNS = {
    "I": "I, near a known structure",
    "II": "II, near a replica",
    "hamiltonian": "II, near a replica of the Hamiltonian model",
    "III": "III, not screened",
    "replicas": "IV, guided onto replicas",
    "references": "IV, onto known structures",
    "lines": "IV, onto interpolated replicas",
    "dropped": "IV, onto known structures, symmetry dropped",
    "displaced": "III, not screened, symmetry dropped",
}


def specification(system: str, variant: str, seed: int, number: int) -> SearchSpec:
    """The search of a variant: the published protocol, a pretrained potential for VASP."""
    content, _ = SYSTEMS[system]
    quotas = {
        "screened": {"I": number, "II": number, "III": number},
        "hamiltonian": {"I": 0, "II": number, "III": 0},
    }.get(variant, {"I": 0, "II": 0, "III": 0, "IV": number})
    lines = itertools.combinations(LINES[content["composition"]], 2)
    return SearchSpec.build(
        {
            **content,
            "name": f"{system}, {variant}",
            "references": {"source": "snapshot"},
            "generative": "hvae" if variant == "hamiltonian" else "vae",
            "replicas": {
                "grid_points": 15 if variant in ("screened", "hamiltonian", "replicas") else 0,
                "interpolations": [{"first": a, "last": b, "points": 15} for a, b in lines]
                if variant == "lines"
                else [],
            },
            "screening": {
                "threshold": 1.99 if variant == "displaced" else 0.13,
                "quotas": quotas,
            },
            "guiding": {
                "targets": "replicas" if variant in ("replicas", "lines") else "references",
                "symmetry": "dropped" if variant in ("dropped", "displaced") else "kept",
                # The control counts as arrived where it is: one evaluation a stage moves nothing.
                **(
                    {"stop_distance": 1.99, "volume": "free", "steps": [1, 1, 1]}
                    if variant == "displaced"
                    else {}
                ),
            },
            "relaxation": {"maximum_reference_atoms": 8},
            "seed": seed,
        }
    )


@dataclass
class Crystal:
    """A relaxed crystal: where it ended, and what it cost."""

    energy: float  # eV/atom above the ground state of the known structures; NaN if not judged
    family: str  # the same for duplicates
    matches: str | None
    is_new: bool
    steps: int


@dataclass
class Sample:
    """The crystals of a group of one search in the order in which they were found."""

    crystals: list[Crystal]
    making: float  # seconds per crystal before the relaxation
    step: float  # seconds of a relaxation's step

    def costs(self, making: float, step: float) -> np.ndarray:
        """Seconds until each crystal is relaxed."""
        return np.cumsum([making + step * crystal.steps for crystal in self.crystals])


def samples(records: RecordStore, spec: SearchSpec, variant: str) -> dict[str, Sample]:
    """The groups of a finished search."""
    here = {"search": spec.search_id}
    light = {"structure": 0, "initial_structure": 0, "fingerprint": 0}
    relaxed = {
        d["parent_id"]: d
        for d in records.find("relaxations", here | {"parent_kind": "candidate"}, light)
    }
    order = [("formula_units", 1), ("guided", 1), ("batch", 1), ("index", 1)]
    candidates = records.find("candidates", here, ["groups"], order)
    batches = records.find("batches", here, ["stage", "counts", "seconds", "batch"], [("batch", 1)])
    seconds = sum(b["seconds"] for b in batches if b["stage"] == "relaxation")
    parents = records.find("relaxations", here, ["steps"])
    step = seconds / max(1, sum(d["steps"] for d in parents))
    found = {}
    groups = {"screened": ("I", "II", "III"), "hamiltonian": ("II",)}
    for group in groups.get(variant, ("IV",)):
        crystals = [
            _crystal(relaxed.get(c["_id"]), c["_id"]) for c in candidates if group in c["groups"]
        ]
        making = _making(batches, group, len(crystals))
        found[group if variant == "screened" else variant] = Sample(crystals, making, step)
    return found


def _crystal(document: dict[str, Any] | None, parent: str) -> Crystal:
    if document is None or not document["converged"]:
        steps = 500 if document is None else document["steps"]
        return Crystal(np.nan, parent, None, False, steps)
    return Crystal(
        document["energy_above_reference_ground_state"],
        document["duplicate_of"] or document["_id"],
        document["matches"],
        bool(document["is_new"]),
        document["steps"],
    )


def _making(batches: list[dict[str, Any]], group: str, number: int) -> float:
    """Seconds of making and screening per crystal of a group, had only that group been wanted."""
    keys = {"I": ("database", "both"), "II": ("replicas", "both")}.get(group)
    seconds, crystals = 0.0, 0
    for batch in batches:
        if batch["stage"] != ("guiding" if group == "IV" else "sampling"):
            continue
        counts = batch["counts"]
        seconds += batch["seconds"]
        near = counts["near"]
        crystals += sum(near[key] for key in keys) if keys else counts["accepted"]
        if crystals >= number:
            break
    return seconds / max(1, crystals)


def figures_of(crystals: list[Crystal], names: dict[str, str]) -> dict[str, float]:
    """What is counted of a sample."""
    families: dict[str, Crystal] = {}
    for crystal in crystals:
        if np.isfinite(crystal.energy):
            families.setdefault(crystal.family, crystal)
    low = [c for c in families.values() if c.energy <= WINDOW[1]]
    counts: dict[str, float] = {
        "distinct in 0.05–0.20 eV/atom": sum(c.energy >= WINDOW[0] for c in low),
        "distinct below 0.20 eV/atom": len(low),
        "of these new": sum(c.is_new for c in low),
        "crystals found": len(crystals),
        "distinct in all": len(families),
        "new in all": sum(c.is_new for c in families.values()),
    }
    for reference, name in names.items():
        places = [i for i, c in enumerate(crystals, 1) if c.matches == reference]
        counts[name] = places[0] if places else np.nan
    return counts


def mean_and_half(values: list[float]) -> tuple[float, float]:
    """Mean, and half-width of its 95 % interval over seeds."""
    found = mean_interval(values)
    return found.mean, found.high - found.mean if found.n > 1 else 0.0


def interval(values: list[float]) -> str:
    """The same as text."""
    mean, half = mean_and_half(values)
    return f"{mean:.1f} ± {half:.1f}"


def appearance(values: list[float]) -> str:
    """In how many seeds a structure appeared, and after how many relaxations at the median."""
    there = [v for v in values if np.isfinite(v)]
    if not there:
        return f"0 of {len(values)}"
    return f"{len(there)} of {len(values)}, at {np.median(there):.0f}"


def report(system: str, found: dict[str, list[Sample]], number: int) -> Bars:
    """Print the tables of one system; returns what the figure shows."""
    names = SYSTEMS[system][1]
    groups = [group for group in SHORT if found.get(group)]
    seeds = len(found[groups[0]])
    print(f"\n### {system}: {number} relaxations per group, {seeds} seeds\n")
    head = [COLUMNS[group] for group in groups]
    print("| | " + " | ".join(head) + " |")
    print("|---|" + "---|" * len(groups))
    table = {
        group: [figures_of(sample.crystals[:number], names) for sample in found[group]]
        for group in groups
    }
    for row in table[groups[0]][0]:
        render = appearance if row in names.values() else interval
        cells = [render([figures[row] for figures in table[group]]) for group in groups]
        print(f"| {row} | " + " | ".join(cells) + " |")
    # One price for all: what a step takes should not depend on what else the machine did then, and
    # compilation, once per installation, is in the first seed only.
    step = float(np.median([sample.step for group in groups for sample in found[group]]))
    making = {group: float(np.median([s.making for s in found[group]])) for group in groups}
    costs = {g: [sample.costs(making[g], step)[:number] for sample in found[g]] for g in groups}
    control = "III" if "III" in groups else groups[0]
    budget = [costs[control][seed][-1] for seed in range(seeds)]
    cells = {"seconds per crystal before the relaxation": [], "steps of a relaxation": []}
    equal: dict[str, list[str]] = {row: [] for row in list(table[groups[0]][0])[:3]}
    done = []
    for group in groups:
        within = []
        for seed, sample in enumerate(found[group]):
            number_within = int(np.searchsorted(costs[group][seed], budget[seed], side="right"))
            within.append(sample.crystals[:number_within])
        figures = [figures_of(crystals, names) for crystals in within]
        for row in equal:
            equal[row].append(interval([f[row] for f in figures]))
        done.append(interval([float(len(crystals)) for crystals in within]))
        cells["seconds per crystal before the relaxation"].append(f"{making[group]:.3f}")
        steps = [c.steps for s in found[group] for c in s.crystals[:number]]
        cells["steps of a relaxation"].append(f"{np.mean(steps):.0f}")
    print(
        f"\nAt the cost of {COLUMNS[control]} ({np.mean(budget):.0f} s at {step:.3f} s a step of "
        "relaxation; cheaper groups have all their crystals):\n"
    )
    print("| | " + " | ".join(head) + " |")
    print("|---|" + "---|" * len(groups))
    for row, values in {**cells, "relaxations within it": done, **equal}.items():
        print(f"| {row} | " + " | ".join(values) + " |")
    rows = list(table[groups[0]][0])[1::-1]
    return {
        group: [mean_and_half([figures[row] for figures in table[group]]) for row in rows]
        for group in groups
    }


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, help="relaxations per group; 30 of Si8, else 20")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--figure", type=Path, help="draw the numbers of distinct structures")
    parser.add_argument("--database", type=Path, default=Path("crysearch-groups"))
    arguments = parser.parse_args()
    os.environ["CRYSEARCH_DATABASE"] = str(arguments.database)
    systems = {}
    for system in arguments.systems:
        number = arguments.number or NUMBERS[system]
        found: dict[str, list[Sample]] = {}
        for seed, variant in itertools.product(range(arguments.seeds), arguments.variants):
            spec = specification(system, variant, seed, number)
            run_search(spec)
            with open_records(arguments.database, read_only=True) as records:
                for group, sample in samples(records, spec, variant).items():
                    found.setdefault(group, []).append(sample)
        systems[system] = number, report(system, found, number)
    if arguments.figure is not None:
        draw(systems, arguments.figure)


if __name__ == "__main__":
    main()
