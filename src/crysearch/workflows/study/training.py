"""Training of the variants of a study, all seeds of one at once, and what is measured of them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import CrysearchError
from crysearch.generative import GenerativeModel, latent_grid, random_latent_points
from crysearch.generative.base import EnsembleMember
from crysearch.generative.measures import measure_model, measure_replicas, measure_training
from crysearch.generative.registry import model_class
from crysearch.records import RecordStore
from crysearch.records.study import trial_document
from crysearch.spec import SearchSpec
from crysearch.study import StudySpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.generation import sound_references


def train_variant(records: RecordStore, study: StudySpec, variant: str) -> dict[str, Any]:
    """Train a variant with every seed, measure the models, and write a trial for each.

    A training that fails, or whose model cannot be measured, is a failed trial with its reason.
    """
    spec, part = study.known, study.generative_of(variant)
    references = sound_references(records, spec)
    fingerprints = fingerprints_of(references, spec.radial_distribution_function.size)
    kind = model_class(part.model)
    with progress_bar(f"Training {variant}", part.epochs, "epochs") as bar:
        started = time.perf_counter()
        members: list[EnsembleMember[GenerativeModel]] = kind.fit_ensemble(
            part.architecture(fingerprints.shape[1]),
            fingerprints,
            seeds=range(study.seeds),
            progress=bar.update,
            **part.training,
        )
        seconds = time.perf_counter() - started
    common: dict[str, Any] = {
        "search": spec.search_id,
        "study": study.identifier,
        "variant": variant,
        "model": part.model,
        "generative": part.model_dump(mode="json"),
        "reference_ids": [reference["reference_id"] for reference in references],
        "parents": [reference["_id"] for reference in references],
        "seconds": seconds,
    }
    trials = []
    with progress_bar(f"Measuring {variant}", study.seeds, "models") as bar:
        for member in members:
            trials.append(_trial(records, study, member, fingerprints, common))
            bar.update()
    records.upsert("trials", trials)
    reasons = Counter(trial["reason"] for trial in trials if trial["status"] == "failed")
    return {
        "trained": len(trials) - reasons.total(),
        "failed": reasons.total(),
        "seconds": seconds,
    }


def replica_points(spec: SearchSpec, dimension: int) -> NDArray[np.float64]:
    """The latent points (n, dimension) whose fingerprints are the replicas of every trial."""
    part = spec.replicas
    points = np.empty((0, dimension))
    if part.grid_points:
        points = latent_grid(dimension, part.grid_points, part.interval)
    if part.random_points:
        random = random_latent_points(part.random_points, dimension, spec.seed)
        points = np.concatenate([points, random])
    return points


def _trial(
    records: RecordStore,
    study: StudySpec,
    member: EnsembleMember[GenerativeModel],
    fingerprints: NDArray[np.float64],
    common: dict[str, Any],
) -> dict[str, Any]:
    model, history = member.model, member.history
    if model is None or history is None:
        reason = member.failure or "the training gave no reason"
        return trial_document(**common, seed=member.seed, reason=reason)
    known: dict[str, Any] = {
        "seed": member.seed,
        "parameter_count": model.parameter_count,
        "history": history.to_dict(),
    }
    try:
        replicas = model.decode(replica_points(study.known, model.latent_dimension))
        measures = measure_training(history)
        measures |= measure_model(model, history, fingerprints, study.evidence_samples, member.seed)
        of_replicas, diagnostics = measure_replicas(replicas, fingerprints)
    except CrysearchError as error:
        return trial_document(**common, **known, reason=f"not measurable: {error}")
    document = trial_document(
        **common, **known, measures=measures | of_replicas, diagnostics=diagnostics
    )
    place = {"search": common["search"], "study": common["study"]}
    records.put_blob(document["blob_id"], model.to_bytes(), place)
    return document
