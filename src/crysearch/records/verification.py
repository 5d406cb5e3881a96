"""Documents of a verification: calculations with another engine, properties and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from numpy.typing import ArrayLike
from pymatgen.core import Structure

from crysearch.records import schema
from crysearch.records.documents import Facts, make_document, one_of, shape, vector
from crysearch.records.values import deterministic_id, structure_document


def calculation_id(search: str, level: str, parent_id: str) -> str:
    """The ``_id`` of the calculation of a relaxed structure at a level."""
    return deterministic_id(search, "calculation", level, parent_id)


def property_id(search: str, relaxation_id: str, kind: str, settings_id: str) -> str:
    """The ``_id`` of a property."""
    return deterministic_id(search, "property", relaxation_id, kind, settings_id)


def verdict_id(search: str, verification: str, relaxation_id: str) -> str:
    """The ``_id`` of a verdict."""
    return deterministic_id(search, "verdict", verification, relaxation_id)


def calculation_document(
    *,
    search: str,
    level: str,
    parent_id: str,
    parent_kind: schema.ParentKind,
    engine: str,
    scheme: str,
    structure: Structure,
    energy: float,
    converged: bool,
    steps: int,
    energy_per_atom_corrected: float | None = None,
    stand_in: bool = False,
    max_force: float | None = None,
    max_stress: float | None = None,
    space_group: Facts | None = None,
    fingerprint: ArrayLike | None = None,
    distance_moved: float | None = None,
    electronic: Mapping[str, Any] | None = None,
    repairs: Sequence[Mapping[str, Any]] = (),
    tasks: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a structure that another engine relaxed once more.

    Parameters
    ----------
    level
        Identifier of the engine with its settings (`LevelSpec.identifier`).
    parent_id, parent_kind
        The relaxation that it started from, and what that had started from.
    scheme
        Energies are compared within one scheme only, such as ``"espresso:lda"``.
    energy
        Of the cell, eV, as the engine gave it.
    energy_per_atom_corrected
        eV/atom with the scheme's corrections; None where it has none.
    distance_moved
        Pearson's distance to the structure that it started from.
    electronic
        ``band_gap`` (eV), ``is_metal``, ``is_direct`` and how they were found; None if not
        computed.
    repairs, tasks
        What was repaired on the way (custodian), and the tasks of the engine's workflow.
    """
    known = dict(electronic or {})
    fields = {
        **structure_document(structure),
        "level": level,
        "parent_id": parent_id,
        "parent_kind": one_of(schema.ParentKind, "parent_kind", parent_kind),
        "engine": engine,
        "scheme": scheme,
        "stand_in": stand_in,
        "status": "converged" if converged else "unconverged",
        "converged": bool(converged),
        "steps": steps,
        "energy": energy,
        "energy_per_atom": energy / len(structure),
        "energy_per_atom_corrected": energy_per_atom_corrected,
        "max_force": max_force,
        "max_stress": max_stress,
        "space_group": shape(schema.SpaceGroup, space_group),
        "fingerprint": vector(fingerprint),
        "distance_moved": distance_moved,
        "band_gap": known.get("band_gap"),
        "is_metal": known.get("is_metal"),
        "is_gap_direct": known.get("is_direct"),
        "electronic": known or None,
        "repairs": [dict(repair) for repair in repairs],
        "tasks": [dict(task) for task in tasks],
        "settings": settings or {},
        "seconds": seconds,
    }
    identifier = calculation_id(search, level, parent_id)
    return make_document(search, identifier, fields, None, [parent_id], provenance, created_at)


def property_document(
    *,
    search: str,
    relaxation_id: str,
    kind: schema.PropertyKind,
    settings_id: str,
    structure_id: str,
    engine: str,
    settings: Mapping[str, Any],
    values: Mapping[str, Any] | None = None,
    reason: str | None = None,
    seconds: float | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a property: with ``values``, or with the ``reason`` why it failed.

    ``structure_id`` is the document (relaxation or calculation) whose structure was used.
    """
    fields = {
        "relaxation_id": relaxation_id,
        "structure_id": structure_id,
        "kind": one_of(schema.PropertyKind, "kind", kind),
        "settings_id": settings_id,
        "settings": settings,
        "engine": engine,
        "status": "failed" if values is None else "computed",
        "reason": reason,
        "values": values,
        "seconds": seconds,
    }
    identifier = property_id(search, relaxation_id, kind, settings_id)
    parents = list(dict.fromkeys([relaxation_id, structure_id]))
    return make_document(search, identifier, fields, None, parents, provenance, created_at)


def verdict_document(
    *,
    search: str,
    verification: str,
    verification_spec: Mapping[str, Any],
    relaxation_id: str,
    calculation_id: str | None,
    label: str | None,
    structure: Structure,
    engine: str,
    scheme: str,
    stand_in: bool,
    levels: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    matches: str | None,
    is_new: bool | None,
    duplicate_of: str | None,
    space_group: Facts | None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the verdict on a relaxed structure.

    The plain fields that people filter on are taken from the ``answers``; ``label`` is the name of
    a known structure that was verified.
    """

    def value(question: str, name: str) -> Any:
        answer = answers.get(question, {})
        return answer.get(name) if answer.get("status") == "computed" else None

    fields = {
        **structure_document(structure),
        "verification": verification,
        "verification_spec": verification_spec,
        "relaxation_id": relaxation_id,
        "calculation_id": calculation_id,
        "label": label,
        "engine": engine,
        "scheme": scheme,
        "stand_in": stand_in,
        "levels": [dict(level) for level in levels],
        "energy_above_ground_state": value("energy", "energy_above_ground_state"),
        "energy_above_hull": value("stability", "energy_above_hull"),
        "is_mechanically_stable": value("elasticity", "is_stable"),
        # Phonons of a cell that is not at rest prove nothing.
        "is_dynamically_stable": (
            value("phonons", "is_stable") if value("phonons", "is_relaxed") else None
        ),
        "bulk_modulus": value("equation_of_state", "bulk_modulus"),
        "band_gap": value("electronic", "band_gap"),
        "is_metal": value("electronic", "is_metal"),
        "is_gap_direct": value("electronic", "is_direct"),
        "is_new": is_new,
        "matches": matches,
        "duplicate_of": duplicate_of,
        "prototype": _prototype(value("prototype", "prototypes")),
        "space_group": shape(schema.SpaceGroup, space_group),
        "answers": {question: dict(answer) for question, answer in answers.items()},
    }
    identifier = verdict_id(search, verification, relaxation_id)
    parents = [relaxation_id] + ([] if calculation_id is None else [calculation_id])
    return make_document(search, identifier, fields, None, parents, provenance, created_at)


def _prototype(matches: Sequence[Mapping[str, Any]] | None) -> str | None:
    """AFLOW's label of the first prototype that matches."""
    return matches[0]["aflow"] if matches else None
