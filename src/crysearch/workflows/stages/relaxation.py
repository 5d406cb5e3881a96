"""Relaxation of the references and of the kept crystals, one batch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pymatgen.core import Structure

from crysearch.analysis import Symmetry, analyse_symmetry
from crysearch.errors import CrysearchError, RelaxationError
from crysearch.fingerprints import NearestFingerprint, pearson_distance
from crysearch.records import RecordStore, batches, documents
from crysearch.records.values import from_binary_vector, structure_from_document
from crysearch.relaxation import RelaxationResult, Relaxer
from crysearch.spec import SearchSpec
from crysearch.workflows.context import (
    fingerprints_of,
    make_relaxer,
    relaxation_settings,
)
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.generation import sound_references
from crysearch.workflows.stages.known import primitive_cell

ParentKind = Literal["reference", "candidate"]
STAGE = "relaxation"


@dataclass(frozen=True)
class RelaxationBatch:
    """Structures that are relaxed together: a number, and the ids of their documents in order."""

    number: int
    parents: list[str]


def pending_batches(
    records: RecordStore, spec: SearchSpec, kind: ParentKind
) -> list[RelaxationBatch]:
    """Batches of structures still to be relaxed.

    Batches are always cut in the same way, and one that an interrupted run has not finished is
    done again whole: what a batch holds can change the last digits of its energies, so a continued
    search ends with the same numbers as an undisturbed one.
    """
    ids = reference_ids(records, spec) if kind == "reference" else _candidate_ids(records, spec)
    return pending_among(records, spec, kind, ids)


def pending_among(
    records: RecordStore,
    spec: SearchSpec,
    kind: ParentKind,
    ids: list[str],
    stage: str = batches.RELAXATION,
) -> list[RelaxationBatch]:
    """Batches of given structures still to be relaxed; `stage` is whose batches they are."""
    size = spec.relaxation.batch_size
    query = {"search": spec.search_id, "stage": stage, "kind": kind}
    done = {
        document["batch"]: document["provenance"]["parents"]
        for document in records.find("batches", query, ["batch", "provenance.parents"])
    }
    all_batches = (
        RelaxationBatch(number, ids[start : start + size])
        for number, start in enumerate(range(0, len(ids), size))
    )
    return [batch for batch in all_batches if done.get(batch.number) != batch.parents]


def reference_ids(records: RecordStore, spec: SearchSpec) -> list[str]:
    """The references to relax, the small ones first."""
    parents = sound_references(records, spec, ["primitive_nsites", "energy_above_ground_state"])
    limit = spec.relaxation.maximum_reference_atoms
    sizes = {parent["_id"]: parent["primitive_nsites"] for parent in parents}
    # Energies are counted from the known ground state: it is relaxed whatever its size.
    ground_state = known_ground_state(parents)
    ids = [
        key for key, size in sizes.items() if limit is None or size <= limit or key == ground_state
    ]
    return sorted(ids, key=lambda key: sizes[key])


def _candidate_ids(records: RecordStore, spec: SearchSpec) -> list[str]:
    order = [("formula_units", 1), ("guided", 1), ("batch", 1), ("index", 1)]
    parents = records.find("candidates", {"search": spec.search_id}, ["_id"], order)
    return [parent["_id"] for parent in parents]


def batches_per_job(
    records: RecordStore, spec: SearchSpec, pending: int, seconds: float, workers: int
) -> int:
    """How many batches of relaxations make a job of about so many seconds.

    At least one, and not so many that there is no work for all workers.
    """
    query = {"search": spec.search_id, "stage": batches.RELAXATION}
    known = [document["seconds"] for document in records.find("batches", query, ["seconds"])]
    if not known:
        return 1
    fitting = int(seconds / max(sum(known) / len(known), 1e-3))
    return max(1, min(fitting, math.ceil(pending / workers)))


def relax_batch(
    records: RecordStore,
    spec: SearchSpec,
    kind: ParentKind,
    batch: RelaxationBatch,
    stage: str = batches.RELAXATION,
    *,
    starts: Mapping[str, Structure] | None = None,
    relaxer: Relaxer | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Relax one batch; each structure becomes a relaxation or a failure document.

    Parameters
    ----------
    stage
        Whose batch it is: of a search, of a study, or of an active learning.
    starts
        By parent, the structures to start from, where these are not the parents' own.
    relaxer
        The engine; None for that of the specification.
    origin
        What else the provenance of each document is to say.
    """
    started = time.perf_counter()
    ids = batch.parents
    collection = "references" if kind == "reference" else "candidates"
    found = {d["_id"]: d for d in records.find(collection, {"_id": {"$in": ids}})}
    missing = [key for key in ids if key not in found]
    if missing:
        raise CrysearchError(
            f"{len(missing)} {collection} to be relaxed are no longer in the records (first: "
            f"{missing[0]}); run the search again to make them again"
        )
    parents = [found[key] for key in ids]
    initial = [
        primitive_cell(structure) if kind == "reference" else structure
        for structure in map(structure_from_document, parents)
    ]
    if starts is not None:
        initial = [starts[key] for key in ids]
    relaxer = relaxer or make_relaxer(spec)
    with progress_bar(_title(kind, batch), len(ids), "structures") as bar:
        results = relaxer.relax(initial, relaxation_settings(spec), bar.update)
    provenance = {"engine": relaxer.provenance, **(origin or {})}
    describe = _Describer(records, spec, kind, relaxer, provenance)
    relaxed, failed = [], []
    for parent, result in zip(parents, results, strict=True):
        reason: str | None = result.failure
        detail = result.failure_detail
        if result.structure is not None:
            try:
                relaxed.append(describe(parent, result, result.structure))
                continue
            except Exception as error:
                # Relaxed to something without fingerprint or symmetry: its failure alone.
                reason, detail = "not_describable", f"{type(error).__name__}: {error}"
        failed.append(
            documents.failure_document(
                search=spec.search_id,
                stage=STAGE,
                where=relaxer.name,
                reason=reason or "unknown",
                detail=detail or "the engine gave no reason",
                input=result.initial,
                parent=parent["_id"],
                provenance=provenance,
            )
        )
    engine_errors = [item for item in failed if item["reason"] == "engine_error"]
    if len(engine_errors) == len(ids):
        # Not the structures are at fault: nothing is recorded of them, so that a later run of the
        # search, when the engine works, relaxes them.
        raise RelaxationError(
            f"engine {relaxer.name!r} failed on all {len(ids)} structures of the batch: "
            f"{engine_errors[0]['detail']}; mend it and run the search again"
        )
    # What an interrupted run may have left of this batch.
    records.delete("failures", {"stage": STAGE, "parent": {"$in": ids}})
    records.delete("relaxations", {"parent_id": {"$in": ids}})
    records.upsert("failures", failed)
    records.upsert("relaxations", relaxed)
    document = batches.relaxation_batch_document(
        search=spec.search_id,
        kind=kind,
        batch=batch.number,
        parents=ids,
        relaxed=len(relaxed),
        converged=sum(document["converged"] for document in relaxed),
        failed=len(failed),
        stage=stage,
        seconds=time.perf_counter() - started,
    )
    records.upsert("batches", [document])


def relaxation_summary(records: RecordStore, spec: SearchSpec, kind: ParentKind) -> dict[str, Any]:
    """Relaxed, converged and failed structures of all batches."""
    query = {"search": spec.search_id, "stage": batches.RELAXATION, "kind": kind}
    counts = [document["counts"] for document in records.find("batches", query, ["counts"])]
    totals = {
        name: sum(count[name] for count in counts) for name in ("relaxed", "converged", "failed")
    }
    return totals | {"batches": len(counts)}


def _title(kind: ParentKind, batch: RelaxationBatch) -> str:
    return f"Relaxing {kind}s, batch {batch.number + 1}"


class _Describer:
    """Writes the document of a relaxed structure, all but the verdicts among structures."""

    def __init__(
        self,
        records: RecordStore,
        spec: SearchSpec,
        kind: ParentKind,
        relaxer: Relaxer,
        provenance: Mapping[str, Any],
    ) -> None:
        self.spec, self.kind, self.relaxer = spec, kind, relaxer
        self.provenance = dict(provenance)
        self.rdf = spec.radial_distribution_function
        self.references = sound_references(records, spec, ["reference_id", "fingerprint"])
        self.nearest = NearestFingerprint(fingerprints_of(self.references, self.rdf.size))

    def __call__(
        self, parent: dict[str, Any], result: RelaxationResult, structure: Structure
    ) -> dict[str, Any]:
        assert result.evaluation is not None
        before = from_binary_vector(parent["fingerprint"])
        after = self.rdf.from_structures([structure])[0]
        indices, distances = self.nearest.query(np.stack([before, after]))
        reference = self.references[indices[1]]
        symmetry = _symmetry(structure, self.spec)
        return documents.relaxation_document(
            search=self.spec.search_id,
            parent_kind=self.kind,
            parent_id=parent["_id"],
            engine=self.relaxer.name,
            structure=structure,
            energy=result.evaluation.energy,
            initial_energy=result.initial_energy,
            converged=result.converged,
            steps=result.steps,
            groups=parent.get("groups", ()),
            initial_structure=result.initial,
            max_force=result.evaluation.largest_force,
            max_stress=result.evaluation.largest_stress,
            space_group_before=_space_group(_symmetry(result.initial, self.spec)),
            space_group_after=_space_group(symmetry),
            wyckoff_after=symmetry[0].wyckoff_label,
            fingerprint=after,
            distance_before=float(distances[0]),
            distance_after=float(distances[1]),
            distance_moved=pearson_distance(before, after),
            nearest_reference_after={
                "id": reference["_id"],
                "reference_id": reference["reference_id"],
                "distance": float(distances[1]),
            },
            provenance=self.provenance,
        )


def space_group_of(structure: Structure, spec: SearchSpec) -> dict[str, Any] | None:
    """The space group at both tolerances of the specification, as documents have it."""
    return _space_group(_symmetry(structure, spec))


def _symmetry(structure: Structure, spec: SearchSpec) -> tuple[Symmetry, Symmetry]:
    part = spec.analysis
    return (
        analyse_symmetry(structure, part.symmetry_tolerance),
        analyse_symmetry(structure, part.strict_symmetry_tolerance),
    )


def _space_group(found: Iterable[Symmetry]) -> dict[str, Any] | None:
    """The space group at the reporting tolerance, with the number at the strict one beside it."""
    reported, strict = found
    if reported.number is None:
        return None
    return {
        "number": reported.number,
        "symbol": reported.symbol,
        "tolerance": reported.tolerance,
        "strict_number": strict.number,
        "strict_tolerance": strict.tolerance,
    }


def known_ground_state(references: list[dict[str, Any]]) -> str | None:
    """The id of the reference that its source has lowest in energy; None without energies."""
    energies = {
        reference["_id"]: reference["energy_above_ground_state"]
        for reference in references
        if reference["energy_above_ground_state"] is not None
    }
    return min(energies, key=lambda key: energies[key], default=None)
