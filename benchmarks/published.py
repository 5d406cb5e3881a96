"""Hold a finished search for silicon against the figures that Lee and Chang publish.

    crysearch run flows/si_allotropes.py --set formula_units=8
    python benchmarks/published.py

The published figures are for 350 crystals of 8 atoms per group, relaxed with VASP (LDA).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from crysearch.records import open_records, queries
from crysearch.settings import load_settings

WINDOW = (0.05, 0.20)  # eV/atom above diamond


def in_window(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Converged, distinct structures within the window of energies."""
    return [
        document
        for document in documents
        if document["converged"]
        and document["duplicate_of"] is None
        and WINDOW[0] <= document["energy_above_reference_ground_state"] <= WINDOW[1]
    ]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("search", nargs="?", default="latest")
    parser.add_argument("--database", default=load_settings().database.get_secret_value())
    arguments = parser.parse_args()
    with open_records(arguments.database, read_only=True) as records:
        search = queries.resolve_search(records, arguments.search)["_id"]
        light = {"structure": 0, "initial_structure": 0, "fingerprint": 0}
        relaxed = records.find("relaxations", {"search": search, "parent_kind": "candidate"}, light)
        near = queries.counts(records, search)["near"]
        kept = {
            name: records.count("candidates", {"search": search, "near": name})
            for name in ("database", "replicas", "both")
        }
    groups = {name: [d for d in relaxed if name in d["groups"]] for name in ("I", "II", "III")}
    window = {name: in_window(members) for name, members in groups.items()}
    both = {d["_id"] for d in window["I"]} & {d["_id"] for d in window["II"]}
    passed = sum(near[name] for name in kept)
    screened = sum(near.values())
    change = {
        name: np.mean([d["distance_after"] - d["distance_before"] for d in members])
        for name, members in groups.items()
    }
    rows = [
        ("mean distance between a crystal before and after", "–",
         f"{np.mean([d['distance_moved'] for d in relaxed]):.2f}"),
        *(
            (f"mean change of distance to the nearest known, group {name}", "0.2", f"{value:+.2f}")
            for name, value in change.items()
        ),
        ("mean change of energy, eV/atom", -0.5,
         f"{np.mean([d['energy_per_atom'] - d['energy_per_atom_before'] for d in relaxed]):.2f}"),
        *((f"distinct structures at 0.05–0.20 eV/atom, group {name}", published,
           f"{len(window[name])} of {len(groups[name])}")
          for name, published in (("I", "14 of 350"), ("II", "14 of 350"), ("III", "5 of 350"))),
        ("of these common to groups I and II", 3, len(both)),
        ("crystals within the threshold of anything", "–",
         f"{passed} of {screened:,} ({100 * passed / screened:.3f} %)"),
        *((f"of these near {name}", f"{published} %", f"{100 * near[key] / passed:.0f} %")
          for key, name, published in (("database", "the database only", 22),
                                       ("replicas", "replicas only", 33), ("both", "both", 45))),
    ]  # fmt: skip
    print(f"search {search}: {len(relaxed)} crystals relaxed")
    table = pd.DataFrame(rows, columns=["", "published", "here"])
    print(table.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
