"""The records of two small searches, for the tests of the questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from crysearch.records import RecordStore
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
from crysearch.records.schema import Group
from crysearch.records.values import deterministic_id

FIRST, SECOND, COMPOUND = (deterministic_id(name) for name in ("first", "second", "compound"))
FINGERPRINT = np.ones(4)
START = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = {"mp-149": 0.0, "mp-165": 0.011, "mp-92": None, "mp-1014212": 0.3}
ENERGY = "energy_above_ground_state_found"


def cell(atoms: int, edge: float = 5.0) -> Structure:
    places = [[index / atoms, 0, 0] for index in range(atoms)]
    return Structure(Lattice.orthorhombic(edge, 4, 4), ["Si"] * atoms, places)


def space_group(number: int, symbol: str) -> dict[str, Any]:
    return {
        "number": number,
        "symbol": symbol,
        "tolerance": 0.1,
        "strict_number": None,
        "strict_tolerance": 0.01,
    }


CMCM, P1, FD3M = space_group(63, "Cmcm"), space_group(1, "P1"), space_group(227, "Fd-3m")

# Of each crystal: atoms, cell edge, groups, distance to mp-149, space group, and what became of it.
CRYSTALS: list[tuple[int, float, list[Group], float, dict[str, Any], dict[str, Any]]] = [
    (8, 5.0, ["I", "II"], 0.05, FD3M, {ENERGY: 0.0, "matches": "mp-149", "is_new": False}),
    (8, 5.0, ["II"], 0.10, FD3M, {ENERGY: 0.01, "matches": "mp-149", "is_new": False}),
    (8, 5.5, ["III"], 0.40, CMCM, {ENERGY: 0.2, "is_new": True}),
    (4, 3.0, ["III"], 0.60, CMCM, {ENERGY: 0.1, "is_new": True}),
    (4, 3.1, ["III"], 0.13, P1, {ENERGY: 0.5, "is_new": True}),
    (4, 3.2, ["III"], 0.70, P1, {"converged": False, "max_force": 0.3}),
]


def documents_of(
    search: str, crystals: list[Any], repeats: tuple[int, ...] = (), **facts: Any
) -> dict[str, list[Any]]:
    """Records of a search over these crystals; some repeat the first."""
    references = [
        reference_document(
            search=search,
            reference_id=reference_id,
            structure=cell(2),
            status="sound",
            source="snapshot",
            space_group_symbol="Fd-3m",
            energy_above_ground_state=energy,
        )
        for reference_id, energy in KNOWN.items()
    ]
    broken = reference_document(
        search=search,
        reference_id="mp-16220",
        structure=cell(2),
        status="set_aside",
        reason="too close",
        source="snapshot",
    )
    model = model_document(
        search=search, model="vae", seed=1, parameter_count=9, history={}, reference_ids=["mp-149"]
    )
    replicas = [
        replica_document(
            search=search,
            model_id=model["_id"],
            kind="grid",
            label=label,
            latent=[0.0, 1.0],
            fingerprint=FINGERPRINT,
            nearest_reference={"id": "x", "reference_id": reference_id, "distance": distance},
        )
        for label, reference_id, distance in (
            ([7, 3], "mp-149", 0.1),
            ([3, 7], "mp-149", 0.3),
            ([0, 0], "mp-165", 0.2),
        )
    ]
    candidates = [
        candidate_document(
            search=search,
            seed=1,
            formula_units=atoms,
            batch=index % 2,
            index=index,
            structure=cell(atoms, edge),
            fingerprint=FINGERPRINT,
            space_group_requested=after["number"],
            groups=groups,
            near=None,
            nearest_reference={
                "id": references[0]["_id"],
                "reference_id": "mp-149" if index else "mp-165",
                "distance": distance,
            },
            nearest_replica={
                "id": replicas[index % 2]["_id"],
                "label": replicas[index % 2]["label"],
                "distance": 0.1 + index / 100,
            },
        )
        for index, (atoms, edge, groups, distance, after, _) in enumerate(crystals)
    ]
    relaxations = []
    for index, (crystal, candidate) in enumerate(zip(crystals, candidates, strict=True)):
        atoms, edge, groups, distance, after, outcome = crystal
        outcome = {"converged": True, "max_force": 0.01, "engine": "engine"} | outcome | facts
        relaxations.append(
            relaxation_document(
                search=search,
                parent_kind="candidate",
                parent_id=candidate["_id"],
                structure=cell(atoms, edge),
                energy=-5.0 * atoms,
                initial_energy=-4.0 * atoms - index,
                steps=10 + index,
                groups=groups,
                space_group_before=P1,
                space_group_after=after,
                distance_moved=index / 10,
                nearest_reference_after={
                    "id": references[0]["_id"],
                    "reference_id": "mp-149",
                    "distance": distance,
                },
                energy_above_reference_ground_state=outcome.get(ENERGY),
                duplicate_of=relaxations[0]["_id"] if index in repeats else None,
                provenance={"engine": {"package": "matscipy", "package_version": "1.3"}},
                created_at=START + timedelta(hours=index),
                **outcome,
            )
        )
    relaxations.append(
        relaxation_document(
            search=search,
            parent_kind="reference",
            parent_id=references[0]["_id"],
            engine="engine",
            structure=cell(2),
            energy=-10.0,
            converged=False,
            steps=60,
            max_force=0.2,
            provenance={"engine": {"package": "matscipy", "package_version": "1.2"}},
            created_at=START - timedelta(hours=1),
        )
    )
    sampled = [
        sampling_batch_document(
            search=search,
            formula_units=units,
            batch=batch,
            seed=1,
            sampled=100,
            accepted=10 * units,
            kept=3,
            rejected={"too close": 50, "volume": units},
            seconds=2.0,
        )
        | {"worker": f"node{batch}:1"}
        for units in (4, 8)
        for batch in range(2)
    ]
    relaxed = relaxation_batch_document(
        search=search,
        kind="candidate",
        batch=0,
        parents=[],
        relaxed=6,
        converged=5,
        failed=3,
        seconds=3.0,
    )
    failures = [
        failure_document(
            search=search,
            stage="relaxation",
            where="engine",
            reason=reason,
            detail=f"The cell {reason}.",
            input=cell(2),
            parent=f"{index}",
            created_at=START + timedelta(minutes=index),
        )
        for index, reason in enumerate(["exploded", "engine_error", "exploded"])
    ]
    return {
        "references": [*references, broken],
        "models": [model],
        "replicas": replicas,
        "candidates": candidates,
        "relaxations": relaxations,
        "batches": [*sampled, relaxed | {"worker": "node0:1"}],
        "failures": failures,
    }


def write_records(store: RecordStore) -> dict[str, list[Any]]:
    """Write two searches, of which the second found less, and an empty one.

    Returns the documents of the first, by collection.
    """
    store.ensure_indexes()
    for day, (search, name) in enumerate(
        ((FIRST, "first"), (SECOND, "second"), (COMPOUND, "compound"))
    ):
        stages = {
            "sampling": {
                "status": "complete",
                "started_at": START + timedelta(minutes=1),
                "finished_at": START + timedelta(minutes=1, seconds=30),
            },
            "references": {"status": "complete", "started_at": START, "finished_at": START},
            "relaxation": {"status": "running", "started_at": START + timedelta(minutes=2)},
        }
        made = START + timedelta(days=day)
        document = search_document(
            search=search, name=name, spec={}, formula="Si", stages=stages, created_at=made
        )
        store.upsert("searches", [document])
    first = documents_of(FIRST, CRYSTALS, repeats=(1,))
    for documents in (first, documents_of(SECOND, CRYSTALS[2:4], engine="other")):
        for collection, kept in documents.items():
            store.upsert(collection, kept)
    return first


def arguments(name: str, ids: list[str]) -> tuple[Any, ...]:
    """Some arguments for each question."""
    return {
        "compare_searches": (FIRST, SECOND),
        "composition": ("Si",),
        "density": (FIRST, 0.0, 99.0),
        "duplicates": (ids[1],),
        "failed_inputs": (FIRST, "exploded"),
        "from_replica": (FIRST, [7, 3]),
        "lineage": (ids[0],),
        "searches_of_composition": ("Si",),
    }.get(name, (FIRST,))


def stages_of(plan: Any) -> set[str]:
    """The names of all stages anywhere in the answer to ``explain``."""
    if isinstance(plan, dict):
        own = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
        return own.union(*(stages_of(part) for part in plan.values()))
    return set().union(*(stages_of(part) for part in plan)) if isinstance(plan, list) else set()
