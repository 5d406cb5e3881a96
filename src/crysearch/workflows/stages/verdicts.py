"""Verdicts among the relaxed structures: energies, duplicates, novelty."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from crysearch.analysis import energies_above_ground_state, find_duplicates, match_references
from crysearch.records import RecordStore
from crysearch.records.values import structure_from_document
from crysearch.spec import SearchSpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.generation import sound_references
from crysearch.workflows.stages.relaxation import known_ground_state

logger = logging.getLogger("crysearch")

Documents = list[dict[str, Any]]


def judge(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Compare all relaxed structures of the search with one another and with the references.

    Only converged structures are judged: an unconverged one has an energy and a symmetry, but no
    energy above a ground state, is nobody's duplicate and neither new nor known.
    """
    here = {"search": spec.search_id}
    relaxed = records.find("relaxations", here, sort=[("_id", 1)])
    converged = [document for document in relaxed if document["converged"]]
    candidates = [d for d in converged if d["parent_kind"] == "candidate"]
    known = [d for d in converged if d["parent_kind"] == "reference"]

    above = energies_above_ground_state(
        _energies(converged), _formulas(converged), _energies(known), _formulas(known)
    )
    unjudged: dict[str, Any] = {
        "energy_above_ground_state_found": None,
        "energy_above_reference_ground_state": None,
        "duplicate_of": None,
        "matches": None,
        "is_new": None,
    }
    verdicts = {document["_id"]: dict(unjudged) for document in relaxed}
    for document, found, reference in zip(
        converged, above.ground_state_found, above.reference_ground_state, strict=True
    ):
        verdicts[document["_id"]] |= {
            "energy_above_ground_state_found": float(found),
            "energy_above_reference_ground_state": float(reference) if known else None,
        }
    _mark_duplicates(spec, candidates, verdicts)
    _mark_known(records, spec, candidates, known, verdicts)
    records.update("relaxations", verdicts)
    ground_state = known_ground_state(
        sound_references(records, spec, ["energy_above_ground_state"])
    )
    if ground_state is not None and ground_state not in {d["parent_id"] for d in known}:
        logger.warning(
            "the known structure of lowest energy did not relax to convergence: energies above "
            "the reference ground state are above the lowest one that did"
        )
    distinct = [d for d in candidates if verdicts[d["_id"]]["duplicate_of"] is None]
    return {
        "judged": len(candidates),
        "unconverged": sum(not d["converged"] for d in relaxed),
        "distinct": len(distinct),
        "new": sum(bool(verdicts[d["_id"]]["is_new"]) for d in distinct),
        "known": sum(verdicts[d["_id"]]["is_new"] is False for d in distinct),
    }


def _energies(documents: Documents) -> np.ndarray:
    return np.array([document["energy_per_atom"] for document in documents])


def _formulas(documents: Documents) -> list[str]:
    return [document["formula"] for document in documents]


def _mark_duplicates(
    spec: SearchSpec, candidates: Documents, verdicts: dict[str, dict[str, Any]]
) -> None:
    structures = [structure_from_document(document) for document in candidates]
    size = spec.radial_distribution_function.size
    with progress_bar("Duplicates", len(candidates), "structures") as bar:
        found = find_duplicates(
            structures,
            fingerprints_of(candidates, size),
            _energies(candidates),
            progress=bar.update,
        )
    for document, representative in zip(candidates, found, strict=True):
        if representative is not None:
            verdicts[document["_id"]]["duplicate_of"] = candidates[representative]["_id"]


def _mark_known(
    records: RecordStore,
    spec: SearchSpec,
    candidates: Documents,
    known: Documents,
    verdicts: dict[str, dict[str, Any]],
) -> None:
    """Match against references relaxed with the same engine; as downloaded where they were not.

    The nearest reference is looked for among the same ones.
    """
    size = spec.radial_distribution_function.size
    sound = sound_references(records, spec)
    names = {document["_id"]: document["reference_id"] for document in sound}
    relaxed_parents = {document["parent_id"] for document in known}
    unrelaxed = [document for document in sound if document["_id"] not in relaxed_parents]
    structures = [structure_from_document(document) for document in candidates]
    fingerprints = fingerprints_of(candidates, size)
    with progress_bar("Known or new", 2 * len(candidates), "structures") as bar:
        relaxed_matches = match_references(
            structures,
            fingerprints,
            [structure_from_document(document) for document in known],
            fingerprints_of(known, size),
            _energies(candidates),
            _energies(known),
            progress=bar.update,
        )
        other_matches = match_references(
            structures,
            fingerprints,
            [structure_from_document(document) for document in unrelaxed],
            fingerprints_of(unrelaxed, size),
            progress=bar.update,
        )
        bar.update(bar.total - bar.n)
    for document, first, second in zip(candidates, relaxed_matches, other_matches, strict=True):
        match = None
        if first.matched is not None:
            match = names[known[first.matched]["parent_id"]]
        elif second.matched is not None:
            match = unrelaxed[second.matched]["reference_id"]
        near = []
        if first.nearest is not None:
            near.append((first.nearest_distance, known[first.nearest]["parent_id"]))
        if second.nearest is not None:
            near.append((second.nearest_distance, unrelaxed[second.nearest]["_id"]))
        distance, nearest = min(near)
        verdicts[document["_id"]] |= {
            "matches": match,
            "is_new": match is None,
            "nearest_reference_after": {
                "id": nearest,
                "reference_id": names[nearest],
                "distance": distance,
            },
        }
