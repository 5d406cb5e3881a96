"""The document of a search: how far it has come.

Several workers write it at once, so each change sets fields of its own stage, and no change depends
on what was read before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from crysearch.errors import CrysearchError, DatabaseAbsent, RecordsError
from crysearch.records import RecordStore, documents
from crysearch.spec import SearchSpec

logger = logging.getLogger("crysearch")

Summary = dict[str, Any]


def open_search(records: RecordStore, spec: SearchSpec, status: str = "running") -> None:
    """Write the search's document, or mark the one of an earlier run with a status."""
    known = records.get("searches", spec.search_id)
    if known is None:
        records.ensure_indexes()
        document = documents.search_document(
            search=spec.search_id,
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            formula=spec.composition,
            seed=spec.seed,
            status=status,  # type: ignore[arg-type]
        )
        records.upsert("searches", [document])
    else:
        records.update("searches", {spec.search_id: {"name": spec.name, "status": status}})


def finish_search(records: RecordStore, spec: SearchSpec, status: str) -> None:
    """Mark the search as ``complete``, ``paused``, ``interrupted`` or ``failed``."""
    records.update("searches", {spec.search_id: {"status": status}})


def stage(
    records: RecordStore, spec: SearchSpec, name: str, work: Callable[[], Summary]
) -> Summary:
    """Run one stage unless an earlier run finished it; returns its summary.

    A stage that fails is recorded as a failure of the search and as a failure document, and the
    error goes on to whoever runs it.
    """
    earlier = finished_summary(records, spec, name)
    if earlier is not None:
        logger.info("%s: done by an earlier run, reused", name)
        return earlier
    begin_stage(records, spec, name)
    with recorded_failure(records, spec, name):
        summary = work()
    finish_stage(records, spec, name, summary)
    return summary


def finished_summary(records: RecordStore, spec: SearchSpec, name: str) -> Summary | None:
    """The summary of a stage that is complete, else None."""
    entry = _stages(records, spec).get(name)
    return entry["summary"] if entry is not None and entry["status"] == "complete" else None


def begin_stage(records: RecordStore, spec: SearchSpec, name: str) -> None:
    """Mark a stage as running; one that jobs share began with the first of them.

    Raises
    ------
    CrysearchError
        The search is not in these records, though it must have been opened before.
    """
    search = records.get("searches", spec.search_id)
    if search is None:
        raise CrysearchError(
            f"search {spec.search_id} is not in the records at {records.description}: the settings "
            "of this worker name another database than the one the search was started in (see "
            "`crysearch doctor`)"
        )
    entry = search["stages"].get(name, {})
    if entry.get("status") != "running":
        fresh = {"status": "running", "started_at": datetime.now(UTC)}
        changes = {f"stages.{name}": fresh, "status": "running"}
        records.update("searches", {spec.search_id: changes})


@contextmanager
def recorded_failure(records: RecordStore, spec: SearchSpec, name: str) -> Iterator[None]:
    """Record what ends the block early, and let it go on."""
    try:
        yield
    except KeyboardInterrupt:
        records.update("searches", {spec.search_id: {f"stages.{name}.status": "interrupted"}})
        raise
    except DatabaseAbsent:
        raise  # there is nowhere to record it; FireWorks finds the lost run
    except Exception as error:
        try:
            _record_failure(records, spec, name, error)
        except RecordsError as unrecorded:
            # Such as a full disk: what went wrong first matters more.
            logger.error("the failure of %s could not be recorded: %s", name, unrecorded)
        raise


def _record_failure(records: RecordStore, spec: SearchSpec, name: str, error: Exception) -> None:
    reason = "error" if isinstance(error, CrysearchError) else type(error).__name__
    failure = documents.failure_document(
        search=spec.search_id, stage=name, where=name, reason=reason, detail=str(error)
    )
    records.upsert("failures", [failure])
    changes = {f"stages.{name}.status": "failed", "status": "failed"}
    records.update("searches", {spec.search_id: changes})


def finish_stage(records: RecordStore, spec: SearchSpec, name: str, summary: Summary) -> None:
    """Mark a stage as complete."""
    # A stage that failed before and has now been done is no failure of the search any more.
    records.delete("failures", {"search": spec.search_id, "stage": name, "where": name})
    changes = {
        f"stages.{name}.status": "complete",
        f"stages.{name}.finished_at": datetime.now(UTC),
        f"stages.{name}.summary": summary,
    }
    records.update("searches", {spec.search_id: changes})


def _stages(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    search = records.get("searches", spec.search_id)
    return {} if search is None else search["stages"]
