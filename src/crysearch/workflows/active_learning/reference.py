"""Reference calculations: single points of the structures chosen in a cycle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.datasets import LabelledStructure, facts_of
from crysearch.errors import RelaxationError
from crysearch.potentials import Configuration
from crysearch.records import RecordStore, batches, cycles, datasets, documents
from crysearch.records.values import deterministic_id, from_binary_array, structure_from_document
from crysearch.relaxation import RelaxationResult, Relaxer, available_relaxers
from crysearch.workflows.active_learning.names import CALCULATING, stage_name
from crysearch.workflows.active_learning.pool import chosen_structures
from crysearch.workflows.context import make_engine
from crysearch.workflows.pace import Pace
from crysearch.workflows.progress import progress_bar

_NUMBERS = ("max_force", "net_force", "max_stress", "minimum_distance", "closest_contact")


def is_first_principles(engine: str) -> bool:
    """Whether an engine runs a program: its calculations are then jobs of their own."""
    return any(info.name == engine and info.programs for info in available_relaxers())


def reference_engine(spec: ActiveLearningSpec) -> Relaxer:
    """The engine of the reference method."""
    return make_engine(spec.reference.engine, spec.reference.options)


def dataset_of(spec: ActiveLearningSpec) -> str:
    """The ``_id`` of the data set of the reference calculations."""
    return datasets.dataset_id(spec.dataset)


def chosen_of(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> list[str]:
    """Ids of the candidates chosen in a cycle, in the order of choice."""
    document = records.get("cycles", cycles.cycle_id(spec.known.search_id, spec.identifier, cycle))
    assert document is not None, "a cycle chooses before it calculates"
    return [chosen["candidate"] for chosen in document["chosen"]]


def pending(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> list[list[int]]:
    """Places in the choice of a cycle that are still to be calculated, in groups.

    Groups are always cut in the same way, and one that was interrupted is done again whole. From
    first principles each calculation is a group.
    """
    count = len(chosen_of(records, spec, cycle))
    whole = 1 if is_first_principles(spec.reference.engine) else spec.known.relaxation.batch_size
    query = {"search": spec.known.search_id, "stage": stage_name(spec, CALCULATING, cycle)}
    done = {document["batch"] for document in records.find("batches", query, ["batch"])}
    return [
        list(range(start, min(start + whole, count)))
        for start in range(0, count, whole)
        if start not in done
    ]


def calculate(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, places: Sequence[int]
) -> None:
    """Calculate some of the structures chosen in a cycle.

    Each becomes a configuration of the data set, or a failure with its reason.
    """
    started = time.perf_counter()
    chosen = chosen_of(records, spec, cycle)
    structures = chosen_structures(records, spec, cycle, [chosen[place] for place in places])
    engine = reference_engine(spec)
    with progress_bar(f"Cycle {cycle}, {engine.name}", len(places), "structures") as bar:
        results = engine.single_point(structures, bar.update)
    done, failed = [], []
    for place, result in zip(places, results, strict=True):
        known = {"candidate": chosen[place], "cycle": cycle, "place": place}
        if result.evaluation is None:
            failed.append(_failure(spec, engine, result, known))
        else:
            done.append(_configuration(spec, engine, result, known))
    stage = stage_name(spec, CALCULATING, cycle)
    ids = [chosen[place] for place in places]
    here = {
        "dataset": dataset_of(spec),
        "metadata.cycle": cycle,
        "metadata.candidate": {"$in": ids},
    }
    # What an interrupted run may have left of this group.
    records.delete("configurations", here)
    records.delete("failures", {"stage": stage, "parent": {"$in": ids}})
    records.upsert("configurations", done)
    records.upsert("failures", failed)
    batch = batches.relaxation_batch_document(
        search=spec.known.search_id,
        kind="candidate",
        batch=places[0],
        parents=ids,
        relaxed=len(done),
        converged=len(done),
        failed=len(failed),
        stage=stage,
        seconds=time.perf_counter() - started,
    )
    records.upsert("batches", [batch])


def calculate_pending(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, pace: Pace
) -> bool:
    """Calculate what is pending as long as there is time; whether all is done."""
    for places in pending(records, spec, cycle):
        if not pace.another():
            return False
        calculate(records, spec, cycle, places)
    return True


def settle(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, int]:
    """Count what became of the reference calculations of a cycle.

    Raises
    ------
    RelaxationError
        None succeeded: not the structures are at fault. The next run calculates them again.
    """
    stage = stage_name(spec, CALCULATING, cycle)
    of_stage = {"search": spec.known.search_id, "stage": stage}
    # Where the stage itself failed before, that is recorded under its own name.
    found = {**of_stage, "where": {"$ne": stage}}
    here = {"dataset": dataset_of(spec), "metadata.cycle": cycle}
    calculated, failed = records.count("configurations", here), records.count("failures", found)
    if failed and not calculated:
        first = records.find_one("failures", found)
        assert first is not None
        records.delete("failures", found)
        records.delete("batches", of_stage)
        raise RelaxationError(
            f"reference.engine: {spec.reference.engine!r} failed on all {failed} structures of "
            f"cycle {cycle}: {first['detail']}; mend it and run the active learning again"
        )
    return {"calculated": calculated, "failed": failed}


def open_dataset(records: RecordStore, spec: ActiveLearningSpec) -> None:
    """Write the document of the data set, or bring its counts up to date."""
    known = records.get("datasets", dataset_of(spec))
    query = {"dataset": dataset_of(spec)}
    fields = ["energy_per_atom", "nsites", "formula", "elements"]
    found = records.find("configurations", query, fields)
    energies = [document["energy_per_atom"] for document in found]
    document = datasets.dataset_document(
        name=spec.dataset,
        method=spec.method,
        seed=spec.search.seed,
        fractions={"train": 1.0, "validation": 0.0, "test": 0.0},
        counts={
            "configurations": len(found),
            "atoms": sum(document["nsites"] for document in found),
            "with_forces": len(found),
            "with_stress": len(found),
            "flagged": 0,
            "by_split": {"train": len(found)} if found else {},
            "by_flag": {},
        },
        elements=spec.known.species,
        formulas={found[0]["formula"]: len(found)} if found else {},
        energies=(min(energies), max(energies)) if energies else None,
        sources=[{"search": spec.known.search_id, "active_learning": spec.identifier}],
        created_at=None if known is None else known["created_at"],
    )
    records.upsert("datasets", [document])


def read_configurations(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int | None = None
) -> tuple[list[dict[str, Any]], list[Configuration]]:
    """Documents and labelled crystals of the cycles before one (all for None), in their order."""
    query = {} if cycle is None else {"metadata.cycle": {"$lt": cycle}}
    found = list(datasets.configurations(records, dataset_of(spec), query))
    return found, [labelled(document) for document in found]


def labelled(document: Mapping[str, Any]) -> Configuration:
    """The crystal of a configuration's document, with energy, forces and stress."""
    xx, yy, zz, yz, xz, xy = document["stress"]
    return Configuration.from_structure(
        structure_from_document(document),
        document["energy"],
        from_binary_array(document["forces"], (document["nsites"], 3)),
        [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
    )


def _configuration(
    spec: ActiveLearningSpec, engine: Relaxer, result: RelaxationResult, known: dict[str, Any]
) -> dict[str, Any]:
    assert result.evaluation is not None
    stress = result.evaluation.stress
    frame = LabelledStructure.from_structure(
        result.initial,
        energy=result.evaluation.energy,
        forces=result.evaluation.forces,
        stress=full_3x3_to_voigt_6_stress(0.5 * (stress + stress.T) * GPa),
        metadata={"active_learning": spec.identifier, **known},
    )
    facts = facts_of(frame)
    # The place decides, not the labels: a calculation that is done again replaces.
    key = deterministic_id(spec.known.search_id, spec.identifier, known["cycle"], known["place"])
    return datasets.configuration_document(
        dataset=dataset_of(spec),
        key=key,
        index=first_index(spec, known["cycle"]) + known["place"],
        method=spec.method,
        structure=result.initial,
        energy=frame.energy,
        forces=frame.forces,
        stress=frame.stress,
        **{name: getattr(facts, name) for name in _NUMBERS},
        fingerprint=facts.fingerprint,
        split="train",
        source={"search": spec.known.search_id, **known},
        metadata=frame.metadata,
        parents=[known["candidate"]],
        provenance={"engine": engine.provenance},
    )


def first_index(spec: ActiveLearningSpec, cycle: int) -> int:
    """The place in the data set of the first calculation of a cycle."""
    return 0 if cycle == 0 else spec.first_batch + (cycle - 1) * spec.batch


def _failure(
    spec: ActiveLearningSpec, engine: Relaxer, result: RelaxationResult, known: dict[str, Any]
) -> dict[str, Any]:
    return documents.failure_document(
        search=spec.known.search_id,
        stage=stage_name(spec, CALCULATING, known["cycle"]),
        where=engine.name,
        reason=result.failure or "unknown",
        detail=result.failure_detail or "the engine gave no reason",
        input=result.initial,
        parent=known["candidate"],
        provenance={"engine": engine.provenance},
    )
