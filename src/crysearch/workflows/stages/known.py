"""Known structures: gathered, checked, fingerprinted."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pymatgen.core import Composition, Structure

from crysearch.analysis import analyse_symmetry
from crysearch.errors import RecordsError, ReferencesError, SpecError
from crysearch.fingerprints import is_comparable
from crysearch.generative import MINIMUM_TRAINING
from crysearch.records import RecordStore, documents
from crysearch.records.values import deterministic_id, structure_from_document
from crysearch.references import (
    Reference,
    SetAside,
    check_references,
    fetch_materials_project,
    load_files,
    load_snapshot,
)
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.workflows.context import conditions_of, pair_distances
from crysearch.workflows.progress import progress_bar

logger = logging.getLogger("crysearch")


def gather_references(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Write a document for every known structure, sound or set aside.

    Raises
    ------
    ReferencesError
        If the source fails or no sound structure is left.
    """
    found = _load(records, spec)
    sound, set_aside = check_references(
        found,
        pair_distances(spec),
        formula=spec.composition,
        include_amorphous=spec.references.include_amorphous,
        exclude=spec.references.exclude,
    )
    reasons = Counter(item.reason for item in set_aside)
    if not sound:
        raise ReferencesError(
            f"references: none of the {len(set_aside)} structures found is sound "
            f"({', '.join(f'{n} {reason}' for reason, n in reasons.most_common()) or 'none found'})"
            "; choose another source, or relax minimum_distances or references.include_amorphous"
        )
    rdf = spec.radial_distribution_function
    fingerprints = rdf.from_structures([reference.structure for reference in sound])
    _check_use(spec, sound, fingerprints)
    written = []
    with progress_bar("Known structures", len(sound) + len(set_aside), "structures") as bar:
        for reference, fingerprint in zip(sound, fingerprints, strict=True):
            written.append(_document(spec, reference, fingerprint=fingerprint))
            bar.update()
        for item in set_aside:
            written.append(_document(spec, item.reference, set_aside=item))
            bar.update()
    records.upsert("references", written)
    for item in set_aside:
        logger.info("set aside %s: %s", item.reference.reference_id, item.detail)
    summary: dict[str, Any] = {"sound": len(sound), "set_aside": dict(reasons)}
    if spec.references.source == "files":
        summary["files_digest"] = references_digest(found)
    return summary


def primitive_cell(structure: Structure) -> Structure:
    """The same crystal with fewer atoms to relax."""
    # With pymatgen's own 0.25 Å some references would become other, more symmetric crystals.
    return structure.get_primitive_structure(tolerance=0.01)


def _check_use(spec: SearchSpec, sound: list[Reference], fingerprints: np.ndarray) -> None:
    """Refuse what later stages could not work with, before they start."""
    names = [reference.reference_id for reference in sound]
    for name, comparable in zip(names, is_comparable(fingerprints), strict=True):
        if not comparable:
            raise ReferencesError(
                f"fingerprint.cutoff: {spec.fingerprint.cutoff} — {name} has no two atoms within "
                "that distance (Å), so nothing can be compared with it; enlarge it or exclude "
                "the structure (references.exclude)"
            )
    if not spec.replicas.wanted:
        return
    if len(names) < MINIMUM_TRAINING:
        raise ReferencesError(
            f"references: {len(names)} sound structures, and training a model needs at least "
            f"{MINIMUM_TRAINING}; give more, or ask for no replicas (replicas.grid_points: 0, "
            "screening.quotas.II: 0)"
        )
    left_out = _without_condition(spec, sound)
    condition = spec.generative.condition
    if len(names) - len(left_out) < MINIMUM_TRAINING:
        raise ReferencesError(
            f"generative.condition: {condition!r} — it is known of {len(names) - len(left_out)} of "
            f"the {len(names)} sound structures, and training a model needs at least "
            f"{MINIMUM_TRAINING}; give references that have it, or another condition ('density' "
            "is known of all, 'none' asks for nothing)"
        )
    for line in spec.replicas.interpolations:
        for field in ("first", "last"):
            end = getattr(line, field)
            if end not in names:
                raise SpecError(
                    f"replicas.interpolations: {field} = {end!r} is not among the sound "
                    f"references: {', '.join(sorted(names))}"
                )
            if end in left_out:
                raise SpecError(
                    f"replicas.interpolations: {field} = {end!r} has no place in the latent space, "
                    f"because its {condition} (generative.condition) is not known; choose one of: "
                    f"{', '.join(sorted(set(names) - left_out))}"
                )


def _without_condition(spec: SearchSpec, sound: list[Reference]) -> set[str]:
    """Ids of those that a conditional model cannot be trained on."""
    facts = [
        {
            "energy_above_ground_state": reference.energy_above_ground_state,
            "density": reference.structure.density,
        }
        for reference in sound
    ]
    conditions = conditions_of(spec, facts)
    if conditions is None:
        return set()
    known = np.isfinite(conditions).all(axis=1)
    return {ref.reference_id for ref, is_known in zip(sound, known, strict=True) if not is_known}


def keep_reference_files(records: RecordStore, spec: SearchSpec) -> None:
    """Put the structures in the files of a specification into the records, if there are any.

    Workers run in other folders, or on other machines, where the files cannot be read.
    """
    if spec.references.source == "files":
        content = _to_bytes(load_files(spec.references.files))
        records.put_blob(_files_blob(spec), content, {"search": spec.search_id})


def references_digest(references: list[Reference]) -> str:
    """Hash of structures and their names."""
    content = [(entry.reference_id, entry.structure.as_dict()) for entry in references]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_unchanged(records: RecordStore, spec: SearchSpec) -> None:
    """Refuse to continue a search whose files of references have changed since it began."""
    search = records.get("searches", spec.search_id)
    stage = (search or {}).get("stages", {}).get("references", {})
    before = (stage.get("summary") or {}).get("files_digest")
    if before is not None and before != references_digest(load_files(spec.references.files)):
        raise ReferencesError(
            f"references.files: {', '.join(spec.references.files)} — the structures have changed "
            f"since search {spec.search_id} began; give another seed or another database for a "
            "new search, or put the files back"
        )


def _load(records: RecordStore, spec: SearchSpec) -> list[Reference]:
    query = spec.references
    if query.source == "snapshot":
        return load_snapshot(spec.composition)
    if query.source == "files":
        kept = _kept(records, _files_blob(spec))
        return load_files(query.files) if kept is None else kept
    return _from_materials_project(records, spec.composition)


def _from_materials_project(records: RecordStore, formula: str) -> list[Reference]:
    """The answer kept in the records if it is young enough, else one query of the database."""
    settings = load_settings()
    reduced = Composition(formula).reduced_formula
    endpoint = settings.materials_project_endpoint
    blob_id = f"materials-project-{reduced}-{deterministic_id(endpoint)}"
    kept = _kept(records, blob_id)
    if kept is not None:
        fetched_at = records.get_blob_metadata(blob_id)["fetched_at"]
        if datetime.now(UTC) - fetched_at <= timedelta(days=settings.materials_project_cache_days):
            logger.info("Materials Project: using the answer kept since %s", fetched_at)
            return kept
    found = fetch_materials_project(
        formula,
        settings.materials_project_api_key,
        endpoint=endpoint,
    )
    metadata = {"formula": reduced, "fetched_at": datetime.now(UTC)}
    records.put_blob(blob_id, _to_bytes(found), metadata)
    return found


def _files_blob(spec: SearchSpec) -> str:
    return f"reference-files-{spec.search_id}"


def _to_bytes(references: list[Reference]) -> bytes:
    entries = [vars(entry) | {"structure": entry.structure.as_dict()} for entry in references]
    return json.dumps(entries).encode()


def _kept(records: RecordStore, blob_id: str) -> list[Reference] | None:
    """Known structures kept in the records, read as data; None if there are none."""
    try:
        entries = json.loads(records.get_blob(blob_id))
    except RecordsError:
        return None
    return [Reference(**entry | {"structure": structure_from_document(entry)}) for entry in entries]


def _document(
    spec: SearchSpec,
    reference: Reference,
    *,
    fingerprint: Any = None,
    set_aside: SetAside | None = None,
) -> dict[str, Any]:
    symmetry = analyse_symmetry(reference.structure, spec.analysis.symmetry_tolerance)
    return documents.reference_document(
        search=spec.search_id,
        reference_id=reference.reference_id,
        structure=reference.structure,
        status="sound" if set_aside is None else "set_aside",
        reason=None if set_aside is None else set_aside.reason,
        detail=None if set_aside is None else set_aside.detail,
        source=reference.source,
        primitive_nsites=None if set_aside else len(primitive_cell(reference.structure)),
        fingerprint=fingerprint,
        space_group_number=symmetry.number,
        space_group_symbol=symmetry.symbol,
        energy_above_ground_state=reference.energy_above_ground_state,
        energy_origin=reference.energy_origin,
        metadata=reference.metadata,
    )
