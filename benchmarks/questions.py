"""Seconds for each question people ask of the records, with 100,000 candidates.

    python benchmarks/questions.py --candidates 100000 --relaxations 20000

The records are synthetic, with every field that a search writes: they are made from a few real
documents by changing identifiers, distances, energies and symmetries. They go to a local store in a
temporary folder, or to the place that --database names (a database for this alone). The time of a
question is that of the Python call on one connection: the first, and the median of three more.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from crysearch import localdb
from crysearch.records import RecordStore, open_records, queries, questions
from crysearch.records.batches import relaxation_batch_document, sampling_batch_document
from crysearch.records.documents import (
    candidate_document,
    failure_document,
    model_document,
    reference_document,
    relaxation_document,
    replica_document,
    search_document,
)
from crysearch.records.values import deterministic_id

SEARCH, OTHER = deterministic_id("benchmark"), deterministic_id("benchmark, other")
REFERENCES, REPLICAS, GRID = 40, 400, 20
BATCH = 1000  # candidates of a batch
START = datetime(2026, 1, 1, tzinfo=UTC)
Document = dict[str, Any]


def main() -> None:
    """Fill, ask and print."""
    arguments = parse_arguments()
    if arguments.database is not None:
        measure(arguments.database, arguments.candidates, arguments.relaxations)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            measure(folder, arguments.candidates, arguments.relaxations)
        finally:
            localdb.stop(Path(folder))


def measure(place: str, candidates: int, relaxations: int) -> None:
    """Fill the records if they are empty, then time every question."""
    with open_records(place) as store:
        start = time.perf_counter()
        if not store.count("searches"):
            written = fill(store, candidates, relaxations)
            seconds = time.perf_counter() - start
            write(f"{written:,} documents written in {seconds:.0f} s ({written / seconds:,.0f} /s)")
        write(
            f"{store.count('candidates'):,} candidates, {store.count('relaxations'):,} "
            f"relaxations; Python {platform.python_version()}, {platform.machine()}\n"
        )
        write(f"{'question':<30}{'rows':>8}{'first / s':>12}{'median / s':>12}")
        for name, ask in calls(store).items():
            times = []
            for _ in range(4):
                start = time.perf_counter()
                answer = ask()
                times.append(time.perf_counter() - start)
            median = statistics.median(times[1:])
            write(f"{name:<30}{len(answer):>8}{times[0]:>12.3f}{median:>12.3f}")


def calls(store: RecordStore) -> dict[str, Callable[[], Any]]:
    """Every question with its arguments, and the calls behind `status` and `results`."""
    repeated = store.find_one("relaxations", {"search": SEARCH, "is_new": False}, ["_id"])
    assert repeated is not None
    given: dict[str, tuple[Any, ...]] = {
        "compare_searches": (SEARCH, OTHER),
        "composition": ("Si",),
        "density": (SEARCH, 2.2, 2.3),
        "duplicates": (repeated["_id"],),
        "failed_inputs": (SEARCH, "exploded"),
        "from_replica": (SEARCH, [7, 3]),
        "lineage": (repeated["_id"],),
        "searches_of_composition": ("Si",),
    }

    def of(name: str) -> Callable[[], Any]:
        return lambda: questions.QUESTIONS[name](store, *given.get(name, (SEARCH,)))

    return {name: of(name) for name in questions.QUESTIONS} | {
        "counts (crysearch status)": lambda: queries.counts(store, SEARCH),
        "results, 20 rows": lambda: queries.results(store, SEARCH, limit=20),
    }


def fill(store: RecordStore, candidates: int, relaxations: int) -> int:
    """Write a search of the given size and one of a tenth of it; returns the documents written."""
    store.ensure_indexes()
    random = np.random.default_rng(0)
    written = 0
    for search, share in ((SEARCH, 1.0), (OTHER, 0.1)):
        written += write_search(
            store, search, int(share * candidates), int(share * relaxations), random
        )
    return written


def write_search(
    store: RecordStore, search: str, candidates: int, relaxations: int, random: np.random.Generator
) -> int:
    """Write all documents of one search."""
    references = make_references(search, random)
    model = model_document(
        search=search,
        model="vae",
        seed=1,
        parameter_count=23550,
        history={},
        reference_ids=[reference["reference_id"] for reference in references],
    )
    replicas = make_replicas(search, model["_id"], references, random)
    batches = candidates // BATCH
    document = search_document(
        search=search,
        name=f"benchmark {candidates}",
        spec={"composition": "Si"},
        formula="Si",
        stages={
            f"relaxing {number}": {"status": "complete", "started_at": START, "finished_at": START}
            for number in range(20)
        },
    )
    written = 0
    for collection, documents in (
        ("searches", iter([document])),
        ("references", iter(references)),
        ("models", iter([model])),
        ("replicas", iter(replicas)),
        ("batches", make_batches(search, batches, relaxations)),
        ("failures", make_failures(search, candidates // 100)),
        ("candidates", make_candidates(search, candidates, references, replicas, random)),
        ("relaxations", make_relaxations(search, relaxations, references, random)),
    ):
        while chunk := list(islice(documents, 2000)):
            written += store.upsert(collection, chunk)
    return written


def cell(atoms: int, random: np.random.Generator) -> Structure:
    """A cell of silicon with atoms anywhere."""
    edge = (23.0 * atoms) ** (1 / 3)
    return Structure(Lattice.cubic(edge), ["Si"] * atoms, random.random((atoms, 3)))


def make_references(search: str, random: np.random.Generator) -> list[Document]:
    """Known structures."""
    return [
        reference_document(
            search=search,
            reference_id=f"mp-{number}",
            structure=cell(8, random),
            status="sound" if number % 8 else "set_aside",
            reason=None if number % 8 else "too_close",
            source="snapshot",
            fingerprint=random.random(200),
            energy_above_ground_state=number / 100,
        )
        for number in range(REFERENCES)
    ]


def make_replicas(
    search: str, model: str, references: list[Document], random: np.random.Generator
) -> list[Document]:
    """A grid of replicas."""
    return [
        replica_document(
            search=search,
            model_id=model,
            kind="grid",
            label=[number // GRID, number % GRID],
            latent=random.random(2),
            fingerprint=random.random(200),
            nearest_reference=nearest(references[number % REFERENCES], random),
        )
        for number in range(REPLICAS)
    ]


def make_batches(search: str, sampled: int, relaxations: int) -> Iterator[Document]:
    """Batches of sampling (each kept a thousand crystals) and of relaxation, by eight workers."""
    for number in range(sampled):
        document = sampling_batch_document(
            search=search,
            formula_units=(4, 8, 16)[number % 3],
            batch=number,
            seed=number,
            sampled=20_000,
            accepted=5_000,
            kept=BATCH,
            kept_by_group={"I": 100, "II": 300, "III": 600},
            rejected={"too_close": 14_000, "cell_too_flat": 1_000},
            seconds=4.0,
        )
        yield document | {"worker": f"node{number % 8}:1"}
    for number in range(relaxations // 16):
        document = relaxation_batch_document(
            search=search,
            kind="candidate",
            batch=number,
            parents=[],
            relaxed=16,
            converged=15,
            failed=0,
            seconds=30.0,
        )
        yield document | {"worker": f"node{number % 8}:1"}


def make_failures(search: str, number: int) -> Iterator[Document]:
    """Failures of several reasons."""
    structure = cell(8, np.random.default_rng(1))
    for index in range(number):
        yield failure_document(
            search=search,
            stage="relaxation",
            where="sevennet",
            reason=("exploded", "engine_error", "timeout")[index % 3],
            detail="The cell exploded.",
            input=structure,
            parent=deterministic_id(search, index),
            created_at=START + timedelta(seconds=index),
        )


def make_candidates(
    search: str,
    number: int,
    references: list[Document],
    replicas: list[Document],
    random: np.random.Generator,
) -> Iterator[Document]:
    """Random crystals: of each size one real document, with other facts in each copy."""
    templates = [
        candidate_document(
            search=search,
            seed=[1, atoms, 0],
            formula_units=atoms,
            batch=0,
            index=0,
            structure=cell(atoms, random),
            fingerprint=random.random(200),
            space_group_requested=1,
            groups=["III"],
            near="neither",
            wyckoff="Si: 4a 4b",
            nearest_reference=nearest(references[0], random),
            nearest_replica={"id": "", "label": [0, 0], "distance": 0.0},
        )
        for atoms in (4, 8, 16)
    ]
    for index in range(number):
        replica = replicas[random.integers(REPLICAS)]
        yield templates[index % 3] | {
            "_id": deterministic_id(search, "candidate", index),
            "batch": index // BATCH,
            "index": index % BATCH,
            "space_group_requested": int(random.integers(1, 231)),
            "groups": (["I"], ["II"], ["I", "II"], ["III"])[index % 4],
            "near": ("database", "replicas", "both", "neither")[index % 4],
            "nearest_reference": nearest(references[random.integers(REFERENCES)], random),
            "nearest_replica": {
                "id": replica["_id"],
                "label": replica["label"],
                "distance": float(random.random()),
            },
        }


def make_relaxations(
    search: str, number: int, references: list[Document], random: np.random.Generator
) -> Iterator[Document]:
    """Relaxed crystals: one in twenty unconverged, half duplicates, a tenth of the rest known."""
    templates = [
        relaxation_document(
            search=search,
            parent_kind="candidate",
            parent_id="",
            engine="sevennet",
            structure=cell(atoms, random),
            initial_structure=cell(atoms, random),
            energy=-5.0 * atoms,
            initial_energy=-4.0 * atoms,
            converged=True,
            steps=40,
            max_force=0.01,
            max_stress=0.1,
            groups=["III"],
            fingerprint=random.random(200),
            distance_before=0.3,
            distance_after=0.2,
            distance_moved=0.2,
            provenance={"engine": {"package": "sevenn", "package_version": "0.13.0"}},
        )
        for atoms in (4, 8, 16)
    ]
    first = ""
    for index in range(number):
        document_id = deterministic_id(search, "relaxation", index)
        repeats = index % 2 == 1
        first = first if repeats else document_id
        known = index % 20 in (0, 1)
        converged = index % 20 != 19
        reference = references[random.integers(REFERENCES)]
        density = float(random.uniform(1.8, 3.0))
        verdict = {
            "energy_above_ground_state_found": float(random.random()),
            "energy_above_reference_ground_state": float(random.random()),
            "duplicate_of": first if repeats else None,
            "matches": reference["reference_id"] if known else None,
            "is_new": not known,
        }
        yield templates[index % 3] | {
            "_id": document_id,
            "parent_id": deterministic_id(search, "candidate", index),
            "groups": (["I"], ["II"], ["I", "II"], ["III"])[index % 4],
            "converged": converged,
            "max_force": float(random.random()),
            "density": density,
            "distance_moved": float(random.random()),
            "space_group_before": space_group(random),
            "space_group_after": space_group(random),
            "nearest_reference_after": nearest(reference, random),
            **(verdict if converged else dict.fromkeys(verdict)),
        }


def nearest(reference: Document, random: np.random.Generator) -> Document:
    """A known structure at some distance."""
    return {
        "id": reference["_id"],
        "reference_id": reference["reference_id"],
        "distance": float(random.random()),
    }


def space_group(random: np.random.Generator) -> Document:
    """Any space group."""
    number = int(random.integers(1, 231))
    return {
        "number": number,
        "symbol": f"G{number}",
        "tolerance": 0.1,
        "strict_number": number,
        "strict_tolerance": 0.01,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--relaxations", type=int, default=20_000)
    parser.add_argument("--database", help="folder or mongodb:// address for this benchmark alone")
    return parser.parse_args()


def write(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
