"""One function for each kind of document; `crysearch.records.schema` lists the fields.

Each document has an ``_id`` made of what identifies the work (search, kind, seed, index), so that
writing it again replaces it; the names of these parts come first in every signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from numpy.typing import ArrayLike
from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records import schema
from crysearch.records.values import (
    deterministic_id,
    in_milliseconds,
    make_provenance,
    plain,
    structure_dictionary,
    structure_document,
    to_binary_vector,
)

Facts = Mapping[str, Any]
Seed = int | Sequence[int]


def search_document(
    *,
    search: str,
    name: str,
    spec: Facts,
    formula: str,
    status: schema.SearchStatus = "running",
    stages: Facts | None = None,
    counts: Facts | None = None,
    seed: Seed | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a search, whose ``_id`` is the search's own.

    ``stages`` maps each stage to ``{status, started_at, finished_at, summary}``.
    """
    fields = {
        "name": name,
        "spec": spec,
        "formula": formula,
        "status": one_of(schema.SearchStatus, "status", status),
        "stages": stages or {},
        "counts": counts or {},
    }
    return make_document(search, search, fields, seed, [], provenance, created_at)


def reference_document(
    *,
    search: str,
    reference_id: str,
    structure: Structure,
    status: schema.ReferenceStatus,
    source: str,
    reason: str | None = None,
    detail: str | None = None,
    primitive_nsites: int | None = None,
    fingerprint: ArrayLike | None = None,
    space_group_number: int | None = None,
    space_group_symbol: str | None = None,
    energy_above_ground_state: float | None = None,
    energy_origin: str | None = None,
    latent: ArrayLike | None = None,
    metadata: Facts | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a known structure.

    ``energy_above_ground_state`` (eV/atom) is the source's, not one of our engines';
    ``primitive_nsites`` are the atoms in the primitive cell, which is what is relaxed.
    """
    fields = {
        **structure_document(structure),
        "reference_id": reference_id,
        "status": one_of(schema.ReferenceStatus, "status", status),
        "reason": reason,
        "detail": detail,
        "source": source,
        "primitive_nsites": primitive_nsites,
        "fingerprint": vector(fingerprint),
        "space_group_number": space_group_number,
        "space_group_symbol": space_group_symbol,
        "energy_above_ground_state": energy_above_ground_state,
        "energy_origin": energy_origin,
        "latent": _numbers(latent),
        "metadata": metadata or {},
    }
    identifier = deterministic_id(search, "reference", reference_id)
    return make_document(search, identifier, fields, None, [search], provenance, created_at)


def model_document(
    *,
    search: str,
    model: str,
    seed: Seed,
    parameter_count: int,
    history: Facts,
    reference_ids: Sequence[str],
    architecture: Facts | None = None,
    condition: str | None = None,
    left_out: Sequence[str] = (),
    diagnostics: Facts | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a trained model; put its weights under the document's ``blob_id``.

    ``reference_ids`` are those of the source (such as "mp-149") that it was trained on, and
    ``parents`` the ``_id`` of the same references' documents. ``left_out`` are those of which the
    ``condition`` of a conditional model is not known.
    """
    identifier = deterministic_id(search, "model", model, seed)
    architecture = architecture or {}
    fields = {
        "model": model,
        "architecture": architecture,
        "likelihood": architecture.get("likelihood"),
        "latent_dimension": architecture.get("latent_dimension"),
        "condition": condition,
        "parameter_count": parameter_count,
        "history": history,
        "reference_ids": reference_ids,
        "left_out": left_out,
        "blob_id": f"model-{identifier}",
        "diagnostics": diagnostics or {},
        "seed": seed,
    }
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def replica_document(
    *,
    search: str,
    model_id: str,
    kind: schema.ReplicaKind,
    label: Sequence[Any],
    latent: ArrayLike,
    fingerprint: ArrayLike,
    condition: float | None = None,
    nearest_reference: Facts | None = None,
    distance_to_nearest_reference: float | None = None,
    seed: Seed | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a replica; ``label`` is its place, such as ``[7, 3]`` in the grid.

    Replicas of one place at several conditions have the same label and ids of their own.
    """
    fields = {
        "model_id": model_id,
        "kind": one_of(schema.ReplicaKind, "kind", kind),
        "label": label,
        "latent": _numbers(latent),
        "condition": condition,
        "fingerprint": vector(fingerprint),
        "nearest_reference": shape(schema.NearestReference, nearest_reference),
        "distance_to_nearest_reference": distance_to_nearest_reference,
    }
    parts = [] if condition is None else [float(condition)]
    identifier = deterministic_id(search, "replica", model_id, kind, label, *parts)
    return make_document(search, identifier, fields, seed, [model_id], provenance, created_at)


def candidate_document(
    *,
    search: str,
    seed: Seed,
    formula_units: int,
    batch: int,
    index: int,
    structure: Structure,
    fingerprint: ArrayLike,
    space_group_requested: int,
    groups: Sequence[schema.Group],
    near: schema.Near | None,
    wyckoff: str | Sequence[str] | None = None,
    nearest_reference: Facts | None = None,
    nearest_replica: Facts | None = None,
    guiding: Facts | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a random crystal that was kept.

    ``nearest_reference`` is ``{id, reference_id, distance}`` and ``nearest_replica``
    ``{id, label, distance}``, with the ``_id`` of the documents. ``near`` is None for a crystal
    that was not screened. ``guiding`` says how a guided crystal came to its target; its ``seed``
    must be another than that of the crystals of a batch that were kept as drawn.
    """
    reference = shape(schema.NearestReference, nearest_reference)
    replica = shape(schema.NearestReplica, nearest_replica)
    fields = {
        **structure_document(structure),
        "seed": seed,
        "batch": batch,
        "index": index,
        "formula_units": formula_units,
        "fingerprint": vector(fingerprint),
        "space_group_requested": space_group_requested,
        "wyckoff": wyckoff,
        "groups": _groups(groups),
        "near": None if near is None else one_of(schema.Near, "near", near),
        "nearest_reference": reference,
        "nearest_replica": replica,
        "guided": guiding is not None,
        "guiding": shape(schema.Guiding, guiding),
    }
    parents = [nearest["id"] for nearest in (reference, replica) if nearest is not None]
    if guiding is not None and guiding["target_id"] not in parents:
        parents.append(guiding["target_id"])
    identifier = deterministic_id(search, "candidate", seed, formula_units, batch, index)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def relaxation_document(
    *,
    search: str,
    parent_kind: schema.ParentKind,
    parent_id: str,
    engine: str,
    structure: Structure,
    energy: float,
    converged: bool,
    steps: int,
    initial_energy: float | None = None,
    groups: Sequence[schema.Group] = (),
    initial_structure: Structure | None = None,
    max_force: float | None = None,
    max_stress: float | None = None,
    space_group_before: Facts | None = None,
    space_group_after: Facts | None = None,
    wyckoff_after: str | Sequence[str] | None = None,
    fingerprint: ArrayLike | None = None,
    distance_before: float | None = None,
    distance_after: float | None = None,
    distance_moved: float | None = None,
    nearest_reference_after: Facts | None = None,
    energy_above_ground_state_found: float | None = None,
    energy_above_reference_ground_state: float | None = None,
    duplicate_of: str | None = None,
    matches: str | None = None,
    is_new: bool | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a relaxed structure; what gave no structure is a failure instead.

    Parameters
    ----------
    energy
        Of the cell, eV; ``energy_per_atom`` follows from it.
    initial_energy
        Of the cell before the relaxation, eV.
    max_force, max_stress
        The largest norm of a force (eV/Å) and the largest stress component (GPa) left.
    space_group_before, space_group_after
        ``{number, symbol, tolerance, strict_number, strict_tolerance}``: the group at the reported
        distance tolerance (Å), and the number found at a stricter one.
    distance_before, distance_after
        Pearson's distance to the nearest known structure as downloaded, before and after.
    nearest_reference_after
        Nearest known structure, relaxed with the same engine where it was.
    distance_moved
        Pearson's distance between the structure before and after.
    energy_above_ground_state_found, energy_above_reference_ground_state
        eV/atom, above the lowest of this search and of the references, with the same engine.
    duplicate_of
        The ``_id`` of the relaxation that this one repeats.
    matches
        The ``reference_id`` of the known structure that this one is.
    """
    fields = {
        **structure_document(structure),
        "parent_kind": one_of(schema.ParentKind, "parent_kind", parent_kind),
        "parent_id": parent_id,
        "engine": engine,
        "status": "converged" if converged else "unconverged",
        "converged": bool(converged),
        "steps": steps,
        "initial_structure": (
            None if initial_structure is None else structure_dictionary(initial_structure)
        ),
        "energy": energy,
        "energy_per_atom": energy / len(structure),
        "energy_per_atom_before": (
            None if initial_energy is None else initial_energy / len(structure)
        ),
        "max_force": max_force,
        "max_stress": max_stress,
        "space_group_before": shape(schema.SpaceGroup, space_group_before),
        "space_group_after": shape(schema.SpaceGroup, space_group_after),
        "wyckoff_after": wyckoff_after,
        "fingerprint": vector(fingerprint),
        "distance_before": distance_before,
        "distance_after": distance_after,
        "distance_moved": distance_moved,
        "nearest_reference_after": shape(schema.NearestReference, nearest_reference_after),
        "energy_above_ground_state_found": energy_above_ground_state_found,
        "energy_above_reference_ground_state": energy_above_reference_ground_state,
        "duplicate_of": duplicate_of,
        "matches": matches,
        "is_new": is_new,
        "groups": _groups(groups),
    }
    identifier = deterministic_id(search, "relaxation", parent_id, engine)
    return make_document(search, identifier, fields, None, [parent_id], provenance, created_at)


def failure_document(
    *,
    search: str,
    stage: str,
    where: str,
    reason: str,
    detail: str,
    input: Structure | str | None = None,
    parent: str | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a failure.

    Parameters
    ----------
    stage, where
        The stage of the search, and what in it failed (such as the engine).
    reason
        One word for counting; ``detail`` is the sentence for people.
    input
        The structure that was given, or the ``_id`` of the document that has it.
    parent
        The ``_id`` of the document that the failed work started from.
    """
    given = structure_dictionary(input) if isinstance(input, Structure) else input
    fields = {
        "stage": stage,
        "where": where,
        "reason": reason,
        "detail": detail,
        "input": given,
        "parent": parent,
    }
    identifier = deterministic_id(search, "failure", stage, where, parent or given)
    parents = [] if parent is None else [parent]
    return make_document(search, identifier, fields, None, parents, provenance, created_at)


def make_document(
    search: str | None,
    identifier: str,
    fields: Facts,
    seed: Seed | None,
    parents: Sequence[str],
    provenance: Facts | None,
    created_at: datetime | None,
) -> dict[str, Any]:
    """Build a document of any kind: what all have in common, and its own fields."""
    facts = {"seed": seed, "parents": parents} | dict(provenance or {})
    return {
        "_id": identifier,
        "schema_version": schema.SCHEMA_VERSION,
        "search": search,
        "created_at": in_milliseconds(created_at or datetime.now(UTC)),
        **plain(fields),
        "provenance": make_provenance(**facts),
    }


def one_of(allowed: Any, field: str, value: str) -> str:
    """Return the value if it is allowed; raises RecordsError that names the choices otherwise."""
    if value not in get_args(allowed):
        raise RecordsError(f"{field} is {value!r}: choose one of {', '.join(get_args(allowed))}.")
    return value


def _groups(groups: Sequence[str]) -> list[str]:
    return [one_of(schema.Group, "groups", group) for group in groups]


def shape(kind: Any, facts: Facts | None) -> dict[str, Any] | None:
    """Return the fields of a part in their order; raises RecordsError unless all are given."""
    if facts is None:
        return None
    expected = list(kind.__annotations__)
    if sorted(facts) != sorted(expected):
        raise RecordsError(
            f"A {kind.__name__} has the fields {', '.join(sorted(facts)) or '(none)'}: "
            f"give {', '.join(expected)}."
        )
    return {field: facts[field] for field in expected}


def vector(values: ArrayLike | None) -> Any:
    """Return numbers as a compact binary vector; None stays None."""
    return None if values is None else to_binary_vector(values)


def _numbers(values: ArrayLike | None) -> list[float] | None:
    return None if values is None else plain(values)
