"""Transfer: what learned from cells of 16 silicon atoms searches cells of 46.

A potential of the records, such as the last one of flows/active_learning_si16.py, relaxes random
crystals of 46 atoms, among whose lowest known minima are two clathrates (mp-971661, mp-971662); the
best are relaxed again with a reference method. `crysearch potential list` shows the potentials:

    python flows/transfer_si46.py POTENTIAL --cubic --reference sevennet-0 --best 10

or, without the reference method:

    crysearch run flows/transfer_si46.py --set potential=POTENTIAL --set crystals=500
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from jobflow import Flow

from crysearch.records import RecordStore, open_records
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.verification import VerificationSpec
from crysearch.workflows import CrystalSearchMaker, run_search
from crysearch.workflows.context import with_whole_ids
from crysearch.workflows.verification import best_distinct, run_verification

ATOMS = 46
CLATHRATES = ("mp-971661", "mp-971662")
CUBIC = range(195, 231)


def build_spec(
    potential: str, crystals: int = 500, space_groups: Sequence[int] = (), seed: int = 0
) -> SearchSpec:
    """Random crystals of 46 atoms, unscreened, relaxed with a potential of the records.

    Parameters
    ----------
    potential
        The beginning of its id, or of the identifier of the active learning that it ended.
    crystals
        Random crystals.
    space_groups
        Those to draw from; all that can host 46 atoms if none is given.
    seed
        Every random draw derives from it.
    """
    groups = {"space_groups": list(space_groups)} if space_groups else {}
    return SearchSpec.build(
        {
            "name": f"transfer to Si{ATOMS}",
            # Random crystals: 23 Å³ per atom ± 10 %, no two closer than 2.1 Å.
            "composition": "Si",
            "formula_units": [ATOMS],
            "volume_per_formula_unit": 23.0,
            "volume_tolerance": 0.10,
            "minimum_distances": {"Si-Si": 2.1},
            "sampling": {"batch_size": 100, **groups},
            # No screening: random crystals only.
            "references": {"source": "snapshot"},
            "replicas": {"grid_points": 0},
            "screening": {"quotas": {"I": 0, "II": 0, "III": crystals}},
            "relaxation": {
                "engine": "self-trained",
                "options": {"potential": potential},
                "maximum_reference_atoms": ATOMS,
            },
            "seed": seed,
        }
    )


def build_flow(potential: str, crystals: int = 500) -> Flow:
    """The flow of :func:`build_spec`, for a launch pad or any other runner of jobflow."""
    return CrystalSearchMaker().make(with_whole_ids(build_spec(potential, crystals)))


def main() -> None:
    """Run the search, relax the best with the reference method, print energies by both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", help="its id, or an active learning's, or their beginning")
    parser.add_argument("--crystals", type=int, default=500, help="random crystals")
    parser.add_argument("--cubic", action="store_true", help="cubic space groups only")
    parser.add_argument("--reference", metavar="ENGINE", help="the reference method")
    parser.add_argument("--best", type=int, default=5, help="distinct crystals relaxed with it")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    given = parser.parse_args()
    groups = CUBIC if given.cubic else ()
    spec = with_whole_ids(build_spec(given.potential, given.crystals, groups, given.seed))
    # What an interrupted run has finished is in the records and is not repeated.
    summary = run_search(spec)
    print(f"{summary['distinct']} distinct crystals, {summary['unconverged']} not converged")
    place = load_settings().database.get_secret_value()
    with open_records(place, read_only=True) as records:
        subjects = best_distinct(records, spec.search_id, given.best)
        known = _relaxed(records, spec, CLATHRATES)
        print_found(records, spec)
    if given.reference is None:
        return
    level = VerificationSpec.build(
        {
            "level": {"engine": given.reference, "max_steps": spec.relaxation.max_steps},
            "properties": {"wanted": []},
            "references": list(known),
        }
    )
    subjects += [key for key in known.values() if key not in subjects]
    run_verification(spec.search_id, subjects, level)
    with open_records(place, read_only=True) as records:
        print_levels(records, spec, level, subjects)


def _relaxed(records: RecordStore, spec: SearchSpec, names: Iterable[str]) -> dict[str, str]:
    """Names and relaxations of those known structures that the potential has relaxed."""
    here = {"search": spec.search_id, "reference_id": {"$in": list(names)}}
    known = {one["_id"]: one["reference_id"] for one in records.find("references", here)}
    query = {"parent_id": {"$in": list(known)}, "converged": True}
    found = records.find("relaxations", query, ["parent_id"])
    return {known[one["parent_id"]]: one["_id"] for one in found}


def print_found(records: RecordStore, spec: SearchSpec) -> None:
    """Print which crystals of the pool are known structures."""
    query = {"search": spec.search_id, "parent_kind": "candidate", "matches": {"$ne": None}}
    found = records.find("relaxations", query, ["matches", "parent_id"], [("matches", 1)])
    names = [one["matches"] for one in found]
    counts = ", ".join(f"{name} ({names.count(name)})" for name in sorted(set(names)))
    print(f"known structures in the pool: {counts or 'none'}")


def print_levels(
    records: RecordStore, spec: SearchSpec, level: VerificationSpec, subjects: Sequence[str]
) -> None:
    """Print energies above the known ground state by the potential and the reference method."""
    query = {"search": spec.search_id, "verification": level.identifier}
    verdicts = {one["relaxation_id"]: one for one in records.find("verdicts", query)}
    print("structure       known as       potential (eV/atom)  reference (eV/atom)")
    for key in subjects:
        verdict = verdicts[key]
        energies = [one["energy_above_ground_state"] for one in verdict["levels"]]
        shown = "".join(f"{'–' if e is None else f'{e:.4f}':>20}" for e in energies)
        print(f"{verdict['label'] or key[:10]:15} {verdict['matches'] or 'new':12}{shown}")


if __name__ == "__main__":
    main()
