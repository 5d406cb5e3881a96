"""The generative model and its replicas."""

from __future__ import annotations

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
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.progress import progress_bar

ReplicaKind = Literal["grid", "random", "interpolation"]


def sound_references(
    records: RecordStore, spec: SearchSpec, fields: list[str] | None = None
) -> list[dict[str, Any]]:
    """Documents of the references that the search uses, in one order everywhere."""
    query = {"search": spec.search_id, "status": "sound"}
    return records.find("references", query, fields, [("reference_id", 1)])


def train_model(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Train the generative model on the references' fingerprints and keep its weights."""
    references = sound_references(records, spec)
    fingerprints = fingerprints_of(references, spec.radial_distribution_function.size)
    part = spec.generative
    model = create_model(
        part.model,
        input_size=fingerprints.shape[1],
        hidden_layers=part.hidden_layers,
        latent_dimension=part.latent_dimension,
        initial_weight_scale=part.initial_weight_scale,
    )
    with progress_bar(f"Training the {part.model}", part.epochs, "epochs") as bar:
        history = model.fit(
            fingerprints,
            validation_fraction=part.validation_fraction,
            epochs=part.epochs,
            batch_size=part.batch_size,
            learning_rate=part.learning_rate,
            seed=spec.seed,
            progress=bar.update,
        )
    means, _ = model.encode(fingerprints)
    document = documents.model_document(
        search=spec.search_id,
        model=part.model,
        seed=spec.seed,
        parameter_count=model.parameter_count,
        history=history.to_dict(),
        reference_ids=[reference["reference_id"] for reference in references],
        parents=[reference["_id"] for reference in references],
    )
    records.put_blob(document["blob_id"], model.to_bytes(), {"search": spec.search_id})
    records.upsert("models", [document])
    latent = {
        reference["_id"]: {"latent": mean.tolist()}
        for reference, mean in zip(references, means, strict=True)
    }
    records.update("references", latent)
    return {
        "model_id": document["_id"],
        "parameters": model.parameter_count,
        "train_loss": float(history.train_total[-1]),
        "validation_loss": float(history.validation_total[-1]),
    }


def generate_replicas(records: RecordStore, spec: SearchSpec) -> dict[str, Any]:
    """Decode the replicas, find the reference nearest to each, and measure their spread."""
    stored = records.find_one("models", {"search": spec.search_id})
    assert stored is not None, "the flow trains the model before it asks for replicas"
    model = load_model(stored["model"], records.get_blob(stored["blob_id"]))
    references = sound_references(records, spec)
    known = fingerprints_of(references, spec.radial_distribution_function.size)
    nearest_known = NearestFingerprint(known)
    written = []
    for kind, labels, points in _latent_points(spec, references):
        decoded = model.decode(points)
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
