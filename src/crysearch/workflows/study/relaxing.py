"""Relaxation of what the trials of a study let through: each crystal once, in batches."""

from __future__ import annotations

from typing import Any

from crysearch.records import RecordStore, batches
from crysearch.study import StudySpec
from crysearch.workflows.pace import Pace
from crysearch.workflows.stages.bookkeeping import finished_summary
from crysearch.workflows.stages.generation import sound_references
from crysearch.workflows.stages.relaxation import (
    ParentKind,
    RelaxationBatch,
    known_ground_state,
    pending_among,
    reference_ids,
    relax_batch,
)
from crysearch.workflows.study.screening import trials_of
from crysearch.workflows.study.stage_names import SCREENING, stage_name


def chosen_candidates(records: RecordStore, study: StudySpec) -> list[str]:
    """Ids of the candidates to relax, in the order in which they were drawn."""
    ids = {key for trial in trials_of(records, study, ["chosen"]) for key in trial["chosen"]}
    for control in controls_of(records, study):
        ids.update(control["chosen"])
    order = [("formula_units", 1), ("batch", 1), ("index", 1)]
    found = records.find("candidates", {"_id": {"$in": sorted(ids)}}, ["_id"], order)
    return [candidate["_id"] for candidate in found]


def controls_of(records: RecordStore, study: StudySpec) -> list[dict[str, Any]]:
    """What the screening found near the known structures, and what it kept unscreened."""
    summary = finished_summary(records, study.known, stage_name(study, SCREENING))
    assert summary is not None, "the flow screens before it relaxes"
    return list(summary["controls"])


def references_to_relax(records: RecordStore, study: StudySpec) -> list[str]:
    """The known ground state, from which energies are counted.

    Where the source of the references has no energies, all that the search would relax.
    """
    ground_state = known_ground_state(
        sound_references(records, study.known, ["energy_above_ground_state"])
    )
    return reference_ids(records, study.known) if ground_state is None else [ground_state]


def pending(records: RecordStore, study: StudySpec) -> list[tuple[ParentKind, RelaxationBatch]]:
    """The batches that are still to be relaxed, references first."""
    wanted: tuple[tuple[ParentKind, list[str]], ...] = (
        ("reference", references_to_relax(records, study)),
        ("candidate", chosen_candidates(records, study)),
    )
    return [
        (kind, batch)
        for kind, ids in wanted
        for batch in pending_among(records, study.known, kind, ids, _marker(study))
    ]


def relax_pending(records: RecordStore, study: StudySpec, pace: Pace) -> bool:
    """Relax the pending batches as long as there is time; whether all are done."""
    for kind, batch in pending(records, study) if study.relaxations else ():
        if not pace.another():
            return False
        relax_batch(records, study.known, kind, batch, _marker(study))
    return True


def relaxing_summary(records: RecordStore, study: StudySpec) -> dict[str, int]:
    """Relaxed, converged and failed structures of all batches of the study."""
    query = {"search": study.known.search_id, "stage": _marker(study)}
    counts = [document["counts"] for document in records.find("batches", query, ["counts"])]
    return {
        name: sum(count[name] for count in counts) for name in ("relaxed", "converged", "failed")
    }


def _marker(study: StudySpec) -> str:
    """The stage that finished batches of the study are recorded under."""
    return f"{batches.RELAXATION}, study {study.identifier}"
