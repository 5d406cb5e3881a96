"""Documents of assessments of potentials, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from crysearch.records.documents import Facts, make_document, one_of, shape
from crysearch.records.schema_assessments import AssessedPart, AssessedQuantity, AssessedStatus
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id

QUANTITIES: tuple[AssessedQuantity, ...] = get_args(AssessedQuantity)


def assessment_id(engine: str, options: Facts, material: str, search: str | None = None) -> str:
    """The ``_id`` of an assessment."""
    return deterministic_id(search, "assessment", engine, dict(options), material)


def assessment_document(
    *,
    engine: str,
    options: Facts,
    material: str,
    elements: Sequence[str],
    formula: str,
    phases: Sequence[str],
    spec: Facts,
    seed: int,
    scheme: str | None = None,
    search: str | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of an assessment that nothing has been computed of yet.

    Parameters
    ----------
    engine, options
        What is assessed; of a potential trained here the option ``potential`` has the ``_id``.
    material
        Identifier of the phases and of how they are relaxed.
    formula
        Reduced formula.
    phases
        Names, the ground state first.
    seed
        Of the disturbance and of the displacements of the supercells.
    parents
        The potential trained here, if it is one.

    See `crysearch.records.schema_assessments.AssessmentDocument` for the rest.
    """
    fields = {
        "engine": engine,
        "options": dict(options),
        "scheme": scheme,
        "potential": options.get("potential"),
        "material": material,
        "elements": sorted(elements),
        "chemical_formula_reduced": formula,
        "phases": list(phases),
        "spec": dict(spec),
        "quantities": dict.fromkeys(QUANTITIES),
    }
    identifier = assessment_id(engine, options, material, search)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def assessed_part(
    *,
    status: AssessedStatus,
    settings_id: str,
    settings: Facts,
    seconds: float,
    values: Any = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """Build the part of one quantity, for `RecordStore.update`."""
    part = {
        "status": one_of(AssessedStatus, "status", status),
        "reason": reason,
        "values": values,
        "settings_id": settings_id,
        "settings": dict(settings),
        "seconds": seconds,
    }
    made = shape(AssessedPart, part)
    assert made is not None
    return made


def computed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the quantities that were computed, as `crysearch.assessment` takes them."""
    return {
        name: part["values"]
        for name, part in document["quantities"].items()
        if part is not None and part["status"] == "computed"
    }


def assessments(
    store: RecordStore, material: str | None = None, engine: str | None = None
) -> list[dict[str, Any]]:
    """Return assessments, newest first: all, or those of a material or an engine."""
    query = {"material": material, "engine": engine}
    wanted = {name: value for name, value in query.items() if value is not None}
    return store.find("assessments", wanted, sort=[("created_at", -1), ("_id", 1)])
