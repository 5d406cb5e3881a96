r"""Silicon in cells of 16 atoms with few reference calculations, by active learning.

The protocol of Hessmann, Schütt, Gebauer, Gastegger, Oguchi and Yamashita (npj Comput. Mater. 11,
2025) with Behler–Parrinello potentials: a pool of 1,000 random crystals is relaxed with an ensemble
of five, which learns from single points of the reference method. Here a pretrained potential takes
the place of first principles, and the records say so.

    crysearch learn flows/active_learning_si16.py

or, to see in minutes how it works, with a classical potential as reference method:

    crysearch learn flows/active_learning_si16.py --set engine=stillinger-weber --set atoms=8 \
        --set pool=60 --set batch=20 --set cycles=10

From first principles, each reference calculation is a job of its own, for a queue:

    crysearch learn flows/active_learning_si16.py --set engine=espresso --submit

The same without the command line of crysearch: `python flows/active_learning_si16.py --help`.
"""

from __future__ import annotations

import argparse

from jobflow import Flow

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.records import open_records
from crysearch.settings import load_settings
from crysearch.workflows.active_learning import (
    ActiveLearningSearchMaker,
    conclusion_lines,
    cycle_table,
    cycles_of,
    run_active_learning,
    submit_active_learning,
)


def build_spec(
    engine: str = "sevennet-0",
    atoms: int = 16,
    pool: int = 1000,
    batch: int = 100,
    cycles: int = 15,
    seed: int = 0,
) -> ActiveLearningSpec:
    """The published protocol.

    Parameters
    ----------
    engine
        The reference method.
    atoms
        Silicon atoms in the cell.
    pool
        Random crystals.
    batch
        Reference calculations of each cycle, also of the first.
    cycles
        At most.
    seed
        Every random draw derives from it.
    """
    return ActiveLearningSpec.build(
        {
            "name": f"active learning of Si{atoms}",
            # Random crystals: 23 Å³ per atom ± 10 %, no two atoms closer than 1.6 Å.
            "search": {
                "composition": "Si",
                "formula_units": [atoms],
                "volume_per_formula_unit": 23.0,
                "minimum_distances": {"Si-Si": 1.6},
                "references": {"source": "snapshot"},
                "relaxation": {"force_tolerance": 0.01},
                "seed": seed,
            },
            "reference": {"engine": engine},
            "potential": {"model": "behler-parrinello", "members": 5, "cutoff": 6.0},
            "pool": {"size": pool, "force_tolerance": 0.05},
            "first_batch": min(batch, pool),
            "batch": batch,
            "maximum_cycles": cycles,
            # L = Ē − ω_F · max‖F̄‖₂, and the end: 10 best clusters within 0.01 eV.
            "force_weight": 0.5,
            "top": 10,
            "energy_tolerance": 0.01,
        }
    )


def build_flow(engine: str = "sevennet-0", atoms: int = 16, pool: int = 1000) -> Flow:
    """The flow of :func:`build_spec`, for a launch pad or any other runner of jobflow."""
    return ActiveLearningSearchMaker().make(build_spec(engine, atoms, pool))


def main() -> None:
    """Run or submit the search; print how the cycles went, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="sevennet-0", help="the reference method")
    parser.add_argument("--atoms", type=int, default=16, help="atoms in the cell")
    parser.add_argument("--pool", type=int, default=1000, help="random crystals")
    parser.add_argument("--batch", type=int, default=100, help="reference calculations a cycle")
    parser.add_argument("--cycles", type=int, default=15, help="cycles at most")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--submit", action="store_true", help="put it on the launch pad instead")
    given = parser.parse_args()
    spec = build_spec(given.engine, given.atoms, given.pool, given.batch, given.cycles, given.seed)
    if given.submit:
        submission = submit_active_learning(spec)
        print(f"{submission.state}: jobs {submission.fw_ids} of search {submission.search}")
        return
    # What an interrupted run has finished is in the records and is not repeated.
    summary = run_active_learning(spec)
    with open_records(load_settings().database.get_secret_value(), read_only=True) as records:
        print(cycle_table(cycles_of(records, spec)))
    print(conclusion_lines(summary))


if __name__ == "__main__":
    main()
