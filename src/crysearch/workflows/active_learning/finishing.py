"""The end of an active learning: the best structures relaxed with the reference method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymatgen.core import Structure

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import RelaxationError
from crysearch.records import RecordStore, batches, cycles, documents
from crysearch.workflows.active_learning import reference
from crysearch.workflows.active_learning.names import CONCLUDING, RELAXING_BEST, stage_name
from crysearch.workflows.active_learning.pool import chosen_structures
from crysearch.workflows.active_learning.reference import is_first_principles
from crysearch.workflows.pace import Pace
from crysearch.workflows.stages.bookkeeping import finished_summary
from crysearch.workflows.stages.generation import sound_references
from crysearch.workflows.stages.relaxation import (
    ParentKind,
    RelaxationBatch,
    known_ground_state,
    reference_ids,
    relax_batch,
)
from crysearch.workflows.stages.verdicts import judge

Group = tuple[ParentKind, RelaxationBatch]


def cycles_of(records: RecordStore, spec: ActiveLearningSpec) -> list[dict[str, Any]]:
    """The documents of the cycles of an active learning, in their order."""
    query = {"search": spec.known.search_id, "active_learning": spec.identifier}
    return records.find("cycles", query, sort=[("cycle", 1)])


def conclusion_of(records: RecordStore, spec: ActiveLearningSpec) -> dict[str, Any] | None:
    """The summary of an active learning that has ended (:func:`conclude`); None before."""
    return finished_summary(records, spec.known, stage_name(spec, CONCLUDING))


def pending_best(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> list[Group]:
    """Groups of the best structures, and the known ground state, that are still to be relaxed."""
    ground_state = known_ground_state(
        sound_references(records, spec.known, ["energy_above_ground_state"])
    )
    wanted: tuple[tuple[ParentKind, list[str]], ...] = (
        (
            "reference",
            reference_ids(records, spec.known) if ground_state is None else [ground_state],
        ),
        ("candidate", [best["candidate"] for best in _finalists(records, spec, cycle)]),
    )
    size = 1 if is_first_principles(spec.reference.engine) else spec.known.relaxation.batch_size
    query = {"search": spec.known.search_id, "stage": stage_name(spec, RELAXING_BEST)}
    done = {(d["kind"], d["batch"]) for d in records.find("batches", query, ["kind", "batch"])}
    return [
        (kind, RelaxationBatch(number, ids[start : start + size]))
        for kind, ids in wanted
        for number, start in enumerate(range(0, len(ids), size))
        if (kind, number) not in done
    ]


def relax_best(records: RecordStore, spec: ActiveLearningSpec, cycle: int, group: Group) -> None:
    """Relax one group with the reference method, candidates from where the ensemble left them.

    A structure that stands alone and fails is a failure; a whole group that fails ends the stage.
    """
    kind, batch = group
    marker = stage_name(spec, RELAXING_BEST)
    starts = None
    if kind == "candidate":
        starts = starts_of(records, spec, cycle, batch.parents)
    try:
        relax_batch(
            records,
            spec.known,
            kind,
            batch,
            marker,
            starts=starts,
            relaxer=reference.reference_engine(spec),
            origin={"cycle": cycles.cycle_id(spec.known.search_id, spec.identifier, cycle)},
        )
    except RelaxationError as error:
        if len(batch.parents) > 1:
            raise
        _record_alone(records, spec, kind, batch, str(error))


def relax_best_pending(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, pace: Pace
) -> bool:
    """Relax what is pending as long as there is time; whether all is done."""
    for group in pending_best(records, spec, cycle):
        if not pace.another():
            return False
        relax_best(records, spec, cycle, group)
    return True


def relaxed_summary(records: RecordStore, spec: ActiveLearningSpec) -> dict[str, int]:
    """Relaxed, converged and failed structures among the best.

    Raises
    ------
    RelaxationError
        None could be relaxed: the engine is at fault. The next run relaxes them again.
    """
    here = {"search": spec.known.search_id, "stage": stage_name(spec, RELAXING_BEST)}
    counts = [
        document["counts"]
        for document in records.find("batches", {**here, "kind": "candidate"}, ["counts"])
    ]
    found = {name: sum(count[name] for count in counts) for name in _COUNTS}
    if found["failed"] and not found["relaxed"]:
        records.delete("batches", here)
        raise RelaxationError(
            f"reference.engine: {spec.reference.engine!r} relaxed none of the {found['failed']} "
            "best structures (see the failures); mend it and run the active learning again"
        )
    return found


_COUNTS = ("relaxed", "converged", "failed")


def conclude(records: RecordStore, spec: ActiveLearningSpec) -> dict[str, Any]:
    """Compare the best with one another and with the known structures.

    Returns
    -------
    dict
        ``cycles`` (trained ensembles), the ``decision`` that ended them, ``reference_calculations``
        and those that ``failed``, ``relaxed`` of the best, verdicts on them, and the ``best``:
        relaxation, energy per atom, energy above the known ground state, and the known structure
        that it is.
    """
    found = cycles_of(records, spec)
    relaxed = relaxed_summary(records, spec)
    verdicts = judge(records, spec.known) if relaxed["converged"] else {}
    best = records.find_one(
        "relaxations",
        {"search": spec.known.search_id, "parent_kind": "candidate", "converged": True},
        sort=[("energy_per_atom", 1), ("_id", 1)],
    )
    return {
        "cycles": len(found) - 1,
        "decision": found[-1]["decision"],
        "reference_calculations": sum(cycle["calculated"] or 0 for cycle in found),
        "failed": sum(cycle["not_calculated"] or 0 for cycle in found),
        "relaxed": relaxed,
        "verdicts": verdicts,
        "best": None if best is None else {field: best[field] for field in _BEST},
    }


_BEST = ("_id", "energy_per_atom", "energy_above_reference_ground_state", "matches", "is_new")


def _finalists(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> list[dict[str, Any]]:
    last = records.get("cycles", cycles.cycle_id(spec.known.search_id, spec.identifier, cycle))
    assert last is not None, "a cycle chooses before the best are relaxed"
    return last["finalists"]


def starts_of(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, candidates: Sequence[str]
) -> dict[str, Structure]:
    """By candidate, the structure as the ensemble of its cycle relaxed it."""
    of_cycle: dict[int, list[str]] = {}
    for best in _finalists(records, spec, cycle):
        if best["candidate"] in candidates:
            of_cycle.setdefault(best["cycle"], []).append(best["candidate"])
    return {
        key: structure
        for number, keys in of_cycle.items()
        for key, structure in zip(keys, chosen_structures(records, spec, number, keys), strict=True)
    }


def _record_alone(
    records: RecordStore,
    spec: ActiveLearningSpec,
    kind: ParentKind,
    batch: RelaxationBatch,
    detail: str,
) -> None:
    marker = stage_name(spec, RELAXING_BEST)
    failures = [
        documents.failure_document(
            search=spec.known.search_id,
            stage=marker,
            where=spec.reference.engine,
            reason="engine_error",
            detail=detail,
            parent=parent,
        )
        for parent in batch.parents
    ]
    records.upsert("failures", failures)
    document = batches.relaxation_batch_document(
        search=spec.known.search_id,
        kind=kind,
        batch=batch.number,
        parents=batch.parents,
        relaxed=0,
        converged=0,
        failed=len(batch.parents),
        stage=marker,
    )
    records.upsert("batches", [document])
