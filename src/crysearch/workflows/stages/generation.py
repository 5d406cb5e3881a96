"""The generative model and its replicas."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np

from crysearch.errors import SpecError
from crysearch.fingerprints import NearestFingerprint
from crysearch.generative import (
    GenerativeModel,
    create_model,
    interpolate,
    latent_grid,
    load_model,
    random_latent_points,
    replica_diagnostics,
)
from crysearch.records import RecordStore, documents
from crysearch.spec import SearchSpec
from crysearch.workflows.context import conditions_of, fingerprints_of
from crysearch.workflows.progress import progress_bar

logger = logging.getLogger("crysearch")

ReplicaKind = Literal["grid", "random", "interpolation"]


def sound_references(
    records: RecordStore, spec: SearchSpec, fields: list[str] | None = None
) -> list[dict[str, Any]]:
    """Documents of the references that the search uses, in one order everywhere."""
    query = {"search": spec.search_id, "status": "sound"}
    return records.find("references", query, fields, [("reference_id", 1)])


def train_model(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Train the generative model on the references' fingerprints and keep its weights.

    References whose condition is not known are left out of the training of a conditional model.
    """
    references, left_out = training_references(records, spec)
    fingerprints = fingerprints_of(references, spec.radial_distribution_function.size)
    conditions = conditions_of(spec, references)
    part = spec.generative
    model = create_model(part.model, **part.architecture(fingerprints.shape[1]))
    with progress_bar(f"Training the {part.model}", part.epochs, "epochs") as bar:
        history = model.fit(
            fingerprints,
            conditions=conditions,
            seed=spec.seed,
            progress=bar.update,
            **part.training,
        )
    points = model.locate(fingerprints, conditions=conditions)
    document = documents.model_document(
        search=spec.search_id,
        model=part.model,
        seed=spec.seed,
        parameter_count=model.parameter_count,
        history=history.to_dict(),
        reference_ids=[reference["reference_id"] for reference in references],
        architecture=model.architecture,
        condition=None if conditions is None else part.condition,
        left_out=left_out,
        parents=[reference["_id"] for reference in references],
    )
    records.put_blob(document["blob_id"], model.to_bytes(), {"search": spec.search_id})
    records.upsert("models", [document])
    latent = {
        reference["_id"]: {"latent": point.tolist()}
        for reference, point in zip(references, points, strict=True)
    }
    records.update("references", latent)
    if left_out:
        logger.warning(
            "left out of the training, since their %s is not known: %s",
            part.condition,
            ", ".join(left_out),
        )
    summary = {
        "model_id": document["_id"],
        "parameters": model.parameter_count,
        "train_loss": float(history.train_total[-1]),
        "validation_loss": float(history.validation_total[-1]),
    }
    return summary if conditions is None else summary | {"left_out": left_out}


def training_references(
    records: RecordStore, spec: SearchSpec
) -> tuple[list[dict[str, Any]], list[str]]:
    """Documents of the references that train the model, and the ids of those left out."""
    references = sound_references(records, spec)
    conditions = conditions_of(spec, references)
    if conditions is None:
        return references, []
    known = np.isfinite(conditions).all(axis=1)
    pairs = list(zip(references, known, strict=True))
    return (
        [reference for reference, is_known in pairs if is_known],
        [reference["reference_id"] for reference, is_known in pairs if not is_known],
    )


def generate_replicas(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Decode the replicas, find the reference nearest to each, and measure their spread."""
    stored = records.find_one("models", {"search": spec.search_id})
    assert stored is not None, "the flow trains the model before it asks for replicas"
    model = load_model(stored["model"], records.get_blob(stored["blob_id"]))
    references = sound_references(records, spec)
    known = fingerprints_of(references, spec.radial_distribution_function.size)
    nearest_known = NearestFingerprint(known)
    written = []
    _warn_of_extrapolation(spec, references)
    sets = [
        (condition, *points)
        for condition in spec.replicas.conditions or (None,)
        for points in _latent_points(spec, references)
    ]
    for condition, kind, labels, points in sets:
        decoded = model.decode(points, conditions=None if condition is None else [condition])
        indices, distances = nearest_known.query(decoded)
        for label, point, fingerprint, index, distance in zip(
            labels, points, decoded, indices, distances, strict=True
        ):
            written.append(
                documents.replica_document(
                    search=spec.search_id,
                    model_id=stored["_id"],
                    kind=kind,
                    label=label,
                    latent=point,
                    condition=condition,
                    fingerprint=fingerprint,
                    nearest_reference={
                        "id": references[index]["_id"],
                        "reference_id": references[index]["reference_id"],
                        "distance": float(distance),
                    },
                    distance_to_nearest_reference=float(distance),
                    seed=spec.seed,
                )
            )
    records.upsert("replicas", written)
    diagnostics: dict[str, Any] = {}
    if len(written) > 1 and len(references) > 1:
        replicas = fingerprints_of(written, known.shape[1])
        diagnostics = replica_diagnostics(replicas, known).to_dict()
    records.update("models", {stored["_id"]: {"diagnostics": diagnostics}})
    return {"replicas": len(written), **diagnostics}


def _warn_of_extrapolation(spec: SearchSpec, references: list[dict[str, Any]]) -> None:
    known = conditions_of(spec, references)
    if known is None:
        return
    low, high = np.nanmin(known), np.nanmax(known)
    outside = [value for value in spec.replicas.conditions if not low <= value <= high]
    if outside:
        logger.warning(
            "replicas.conditions: %s outside of what the model has learned, %g to %g %s",
            ", ".join(f"{value:g}" for value in outside),
            low,
            high,
            spec.generative.condition_unit,
        )


def load_trained_model(records: RecordStore, search: str) -> GenerativeModel:
    """The trained model of a search, as its weights were stored."""
    stored = records.find_one("models", {"search": search})
    if stored is None:
        raise SpecError(f"search {search}: its model has not been trained yet; run the search")
    return load_model(stored["model"], records.get_blob(stored["blob_id"]))


def _latent_points(
    spec: SearchSpec, references: list[dict[str, Any]]
) -> list[tuple[ReplicaKind, list[list[Any]], np.ndarray]]:
    """Kinds of replicas with the labels and latent points of each."""
    part, dimension = spec.replicas, spec.generative.latent_dimension
    sets: list[tuple[ReplicaKind, list[list[Any]], np.ndarray]] = []
    if part.grid_points:
        indices = np.indices((part.grid_points,) * dimension).reshape(dimension, -1).T
        points = latent_grid(dimension, part.grid_points, part.interval)
        sets.append(("grid", indices.tolist(), points))
    if part.random_points:
        points = random_latent_points(part.random_points, dimension, spec.seed)
        sets.append(("random", [[index] for index in range(part.random_points)], points))
    latent = {reference["reference_id"]: reference["latent"] for reference in references}
    for line in part.interpolations:
        points = interpolate(latent[line.first], latent[line.last], line.points)
        labels = [[line.first, line.last, index] for index in range(line.points)]
        sets.append(("interpolation", labels, points))
    return sets
