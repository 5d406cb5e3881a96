"""The document of a search: how far it has come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from crysearch.errors import CrysearchError
from crysearch.records import RecordStore, documents
from crysearch.spec import SearchSpec

logger = logging.getLogger("crysearch")

Summary = dict[str, Any]


def open_search(records: RecordStore, spec: SearchSpec) -> None:
    """Write the search's document, or mark the one of an earlier run as running again."""
    known = records.get("searches", spec.search_id)
    if known is None:
        records.ensure_indexes()
        known = documents.search_document(
            search=spec.search_id,
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            formula=spec.composition,
            seed=spec.seed,
        )
        records.upsert("searches", [known])
    else:
        records.update("searches", {spec.search_id: {"name": spec.name, "status": "running"}})


def finish_search(records: RecordStore, spec: SearchSpec, status: str) -> None:
    """Mark the search as ``complete``, ``interrupted`` or ``failed``."""
    records.update("searches", {spec.search_id: {"status": status}})


def stage(
    records: RecordStore, spec: SearchSpec, name: str, work: Callable[[], Summary]
) -> Summary:
    """Run one stage unless an earlier run finished it; returns its summary.

    A stage that fails is recorded as a failure of the search and as a failure document, and the
    error goes on to whoever runs it.
    """
    earlier = _stages(records, spec).get(name)
    if earlier is not None and earlier["status"] == "complete":
        logger.info("%s: done by an earlier run, reused", name)
        return earlier["summary"]
    started = datetime.now(UTC)
    _write(records, spec, name, {"status": "running", "started_at": started})
    try:
        summary = work()
    except KeyboardInterrupt:
        _write(records, spec, name, {"status": "interrupted", "started_at": started})
        raise
    except Exception as error:
        reason = "error" if isinstance(error, CrysearchError) else type(error).__name__
        records.upsert(
            "failures",
            [
                documents.failure_document(
                    search=spec.search_id,
                    stage=name,
                    where=name,
                    reason=reason,
                    detail=str(error),
                )
            ],
        )
        _write(records, spec, name, {"status": "failed", "started_at": started})
        raise
    # A stage that failed before and has now been done is no failure of the search any more.
    records.delete("failures", {"search": spec.search_id, "stage": name, "where": name})
    finished = {
        "status": "complete",
        "started_at": started,
        "finished_at": datetime.now(UTC),
        "summary": summary,
    }
    _write(records, spec, name, finished)
    return summary


def finished_stages(records: RecordStore, spec: SearchSpec) -> set[str]:
    """Names of the stages that are complete."""
    stages = _stages(records, spec)
    return {name for name, entry in stages.items() if entry["status"] == "complete"}


def _stages(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    search = records.get("searches", spec.search_id)
    return {} if search is None else search["stages"]


def _write(records: RecordStore, spec: SearchSpec, name: str, entry: dict[str, Any]) -> None:
    if records.get("searches", spec.search_id) is None:
        open_search(records, spec)
    records.update("searches", {spec.search_id: {f"stages.{name}": entry}})
