"""Rank the relaxation engines by their energies of the known silicon phases.

    python benchmarks/relaxation_engines.py --json engines.json

The 31 silicon structures of the bundled snapshot that have an energy above diamond are taken in
their primitive cells. Each engine evaluates them as they are (the error of its energies) and
relaxes those of at most ``--relax-atoms`` atoms (what it makes of them: a relaxed energy is
compared only if the structure is still the same one by pymatgen's StructureMatcher). Energies are
above the engine's own diamond. Every ranking is given with and without the entries known to be
bad: a broken clathrate and two cells with atoms 1.7–1.9 Å apart.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from pymatgen.analysis.structure_matcher import StructureMatcher
from scipy.stats import spearmanr
from tqdm import tqdm

from crysearch.references import load_snapshot
from crysearch.relaxation import RelaxationSettings, create_relaxer

DIAMOND = "mp-149"
KNOWN_BAD = ("mp-16220", "mp-988210", "mp-1403870")
AMORPHOUS = ("mp-1244933", "mp-1244971", "mp-1244990", "mp-1245041", "mp-1245242")
NAMED = {
    "mp-149": "diamond",
    "mp-165": "lonsdaleite",
    "mp-971662": "Si46",
    "mp-1095269": "Si24",
    "mp-168": "BC8",
    "mp-571520": "R8",
    "mp-92": "β-Sn",
    "mp-34": "simple hexagonal",
    "mp-10649": "hcp",
    "mp-27": "fcc",
    "mp-1014212": "bcc",
}


def main() -> None:
    """Measure and print the tables."""
    arguments = parse_arguments()
    phases = reference_phases(arguments.skip_amorphous)
    engines = {name: measure(name, phases, arguments) for name in arguments.engines.split(",")}
    rankings = {
        f"{title}, {cells}": ranking(phases, engines, names, relaxed)
        for title, relaxed in (("as they are", False), ("relaxed", True))
        for cells, names in (
            ("all cells", list(phases.index)),
            (f"without {', '.join(KNOWN_BAD)}", [n for n in phases.index if n not in KNOWN_BAD]),
        )
        if arguments.relax_atoms or not relaxed
    }
    write("Energy above diamond, eV/atom; in brackets what is another structure after relaxation")
    write(energies(phases, engines).to_markdown(floatfmt=".3f"))
    for title, table in rankings.items():
        write(f"\nErrors of the energy above diamond, {title}")
        write(table.to_markdown(index=False, floatfmt=(".0f", ".0f", *[".1f"] * 4, "", ".3f")))
    write("\nNamed phases from low to high energy")
    write(f"- snapshot: {order(phases['snapshot'])}")
    for name, table in engines.items():
        write(f"- {name}: {order(table['energy'])}")
    for name, table in engines.items():
        write(
            f"{name}: {table.attrs['evaluation_seconds']:.1f} s for the evaluations, "
            f"{table.attrs['relaxation_seconds']:.1f} s for the relaxations"
        )
    if arguments.json:
        record: dict[str, Any] = {
            "threads": arguments.threads,
            "snapshot_ev_atom": phases["snapshot"].to_dict(),
            "engines": {
                name: {**table.attrs, "structures": records(table, "index")}
                for name, table in engines.items()
            },
            "rankings": {title: records(table, "records") for title, table in rankings.items()},
        }
        arguments.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def reference_phases(skip_amorphous: bool) -> pd.DataFrame:
    """Structures and energies of the snapshot, lowest first."""
    rows = {
        reference.reference_id: {
            "snapshot": reference.energy_above_ground_state,
            "structure": reference.structure.get_primitive_structure(),
            "space group": reference.structure.get_space_group_info(0.1)[0],
        }
        for reference in load_snapshot("Si")
        if reference.energy_above_ground_state is not None
        and not (skip_amorphous and reference.reference_id in AMORPHOUS)
    }
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("snapshot")


def measure(name: str, phases: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """One engine's energies of every phase, as it is and relaxed."""
    options = {"threads": arguments.threads} if name.startswith(("sevennet", "chgnet")) else {}
    relaxer = create_relaxer(name, **options)
    structures = list(phases["structure"])
    small = [len(structure) <= arguments.relax_atoms for structure in structures]
    with tqdm(total=len(structures) + sum(small), desc=name, file=sys.stderr) as bar:
        start = time.perf_counter()
        single = relaxer.single_point(structures, bar.update)
        middle = time.perf_counter()
        relaxed = iter(
            relaxer.relax(
                [structure for structure, yes in zip(structures, small, strict=True) if yes],
                RelaxationSettings(max_steps=arguments.max_steps),
                bar.update,
            )
        )
        end = time.perf_counter()
    matcher = StructureMatcher()
    rows = []
    for before, yes in zip(single, small, strict=True):
        after = next(relaxed) if yes else None
        same = (
            after is not None
            and after.structure is not None
            and matcher.fit(before.initial, after.structure)
        )
        rows.append(
            {
                "energy": nan_if_none(before.energy_per_atom),
                "relaxed": nan_if_none(after.energy_per_atom if after else None),
                "same structure": bool(same),
                "steps": after.steps if after else None,
                "status": after.status if after else before.status,
            }
        )
    table = pd.DataFrame(rows, index=phases.index)
    for column in ("energy", "relaxed"):
        table[column] -= table[column][DIAMOND]
    table.attrs = {
        "provenance": relaxer.provenance,
        "evaluation_seconds": middle - start,
        "relaxation_seconds": end - middle,
    }
    return table


def energies(phases: pd.DataFrame, engines: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per phase."""
    table = pd.DataFrame(
        {
            "phase": [NAMED.get(name, "") for name in phases.index],
            "space group": phases["space group"],
            "atoms": [len(structure) for structure in phases["structure"]],
            "snapshot": phases["snapshot"],
        },
        index=phases.index,
    )
    for name, measured in engines.items():
        table[name] = measured["energy"]
        table["relaxed" + " " * len(table.columns)] = [
            "" if math.isnan(energy) else f"{energy:.3f}" if same else f"({energy:.3f})"
            for energy, same in zip(measured["relaxed"], measured["same structure"], strict=True)
        ]
    return table


def ranking(
    phases: pd.DataFrame, engines: dict[str, pd.DataFrame], names: list[str], relaxed: bool
) -> pd.DataFrame:
    """One row per engine, smallest mean absolute error first."""
    rows = []
    for name, measured in engines.items():
        energy = measured["relaxed" if relaxed else "energy"][names]
        if relaxed:
            energy = energy[measured["same structure"][names]]
        energy = energy.dropna()
        error = 1000 * (energy - phases["snapshot"][energy.index])
        rows.append(
            {
                "engine": name,
                "energies": len(error),
                "MAE, meV/atom": error.abs().mean(),
                "RMSE, meV/atom": float(np.sqrt((error**2).mean())),
                "bias, meV/atom": error.mean(),
                "largest, meV/atom": error.abs().max(),
                "at": error.abs().idxmax(),
                "Spearman": float(spearmanr(energy, phases["snapshot"][energy.index]).statistic),
            }
        )
    return pd.DataFrame(rows).sort_values("MAE, meV/atom")


def order(energy: pd.Series) -> str:
    """The named phases from low to high energy."""
    return " < ".join(NAMED[name] for name in energy.sort_values().index if name in NAMED)


def nan_if_none(value: float | None) -> float:
    """NaN marks what was not calculated."""
    return math.nan if value is None else value


def records(table: pd.DataFrame, orient: str) -> Any:
    """A table as JSON-ready objects, NaN as null."""
    return json.loads(table.to_json(orient=orient))  # type: ignore[call-overload]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--engines", default="sevennet-0,sevennet-mf-0,chgnet", help="names, comma-separated"
    )
    parser.add_argument(
        "--relax-atoms", type=int, default=58, help="relax cells up to this size; 0 relaxes none"
    )
    parser.add_argument("--skip-amorphous", action="store_true", help="no 100-atom amorphous cells")
    parser.add_argument("--max-steps", type=int, default=300, help="steps of a relaxation at most")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch threads")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args()


def write(line: str, stream: TextIO = sys.stdout) -> None:
    """One line of the report."""
    stream.write(line + "\n")


if __name__ == "__main__":
    main()
