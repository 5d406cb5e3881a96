"""Documents of studies of selection, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from crysearch.records.documents import Facts, make_document, one_of, shape
from crysearch.records.schema_selection import FitMeasures, FitStatus, Melt, SelectionStatus
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id


def selection_study_id(study: str, search: str | None = None) -> str:
    """The ``_id`` of a study of selection, by the identifier of its specification."""
    return deterministic_id(search, "selection study", study)


def selection_fit_id(
    study: str, model: str, method: str, size: int, seed: int, search: str | None = None
) -> str:
    """The ``_id`` of a fit."""
    parts = study, model, method, int(size), int(seed)
    return deterministic_id(search, "selection fit", *parts)


def selection_study_document(
    *,
    study: str,
    name: str,
    spec: Facts,
    status: SelectionStatus = "running",
    search: str | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a study that begins."""
    fields: dict[str, Any] = {
        "name": name,
        "spec": dict(spec),
        "status": one_of(SelectionStatus, "status", status),
        "reason": None,
        "pool": None,
        "test": None,
        "melt": None,
        "groups": [],
        "differences": [],
        "findings": [],
    }
    identifier = selection_study_id(study, search)
    return make_document(search, identifier, fields, None, [], provenance, created_at)


def selection_fit_document(
    *,
    study: str,
    model: str,
    method: str,
    size: int,
    seed: int,
    status: FitStatus,
    frames: Sequence[int] = (),
    reason: str | None = None,
    parameter_count: int | None = None,
    epochs: int | None = None,
    measures: Facts | None = None,
    failed_test: int | None = None,
    seconds: float | None = None,
    melt: Facts | None = None,
    search: str | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a fit; see `crysearch.records.schema_selection`."""
    identifier = selection_fit_id(study, model, method, size, seed, search)
    fields = {
        "study": study,
        "model": model,
        "method": method,
        "size": int(size),
        "seed": int(seed),
        "status": one_of(FitStatus, "status", status),
        "reason": reason,
        "frames": [int(frame) for frame in frames],
        "parameter_count": parameter_count,
        "epochs": epochs,
        "measures": shape(FitMeasures, measures),
        "failed_test": failed_test,
        "blob_id": f"selection-fit-{identifier}" if status == "fitted" else None,
        "seconds": seconds,
        "melt": shape(Melt, melt),
    }
    above = [selection_study_id(study, search)]
    return make_document(search, identifier, fields, seed, above, provenance, created_at)


def fits_of(
    store: RecordStore, study: str, model: str | None = None, method: str | None = None
) -> list[dict[str, Any]]:
    """Return the fits of a study by model, method, size and seed."""
    query: dict[str, Any] = {"study": study}
    query |= {k: v for k, v in (("model", model), ("method", method)) if v is not None}
    order = [("model", 1), ("method", 1), ("size", 1), ("seed", 1)]
    return store.find("selection_fits", query, sort=order)
