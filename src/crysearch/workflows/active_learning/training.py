"""Training of the ensemble of a cycle, on all reference calculations before it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.records import RecordStore
from crysearch.workflows.active_learning.pool import potential_blob
from crysearch.workflows.active_learning.reference import dataset_of, read_configurations
from crysearch.workflows.potentials.fitting import (
    fit_recorded,
    fitted_document,
    make_potential,
    outcome,
)


def train_ensemble(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, Any]:
    """Train the ensemble of a cycle from scratch; a training that was interrupted goes on.

    The weights become a blob, and a document in ``potentials``.

    Returns
    -------
    dict
        Number of ``configurations``, how many were left out by reason (``skipped``), ``epochs``,
        and for each member its best epoch and its errors then for what it held out: ``energy``
        (eV/atom) and ``force`` (eV/Å), roots of mean squares.

    Raises
    ------
    TrainingError
        There are too few configurations, or the training fails.
    """
    part, dataset = spec.potential, records.get("datasets", dataset_of(spec))
    assert dataset is not None, "the first batch makes it"
    _, configurations = read_configurations(records, spec, cycle)
    potential = make_potential(part, spec.known.species)
    blob, seed = potential_blob(spec, cycle), seed_of(spec, cycle)
    search = spec.known.search_id
    place: dict[str, Any] = {"active_learning": spec.identifier, "cycle": cycle}
    started = time.perf_counter()
    weights, history = fit_recorded(
        records,
        potential,
        part,
        configurations,
        part.validation,
        seed,
        blob=blob,
        metadata={"search": search, **place},
        title=f"Cycle {cycle}, training",
    )
    document = fitted_document(
        potential,
        part,
        history,
        weights=weights,
        dataset=dataset,
        configurations=len(configurations),
        key=(spec.identifier, cycle),
        origin="active_learning",
        seed=seed,
        blob_id=blob,
        search=search,
        **place,
    )
    records.upsert("potentials", [document])
    return {
        "configurations": len(configurations),
        "seed": seed,
        "parameter_count": potential.parameter_count,
        **outcome(history),
        "seconds": time.perf_counter() - started,
    }


def seed_of(spec: ActiveLearningSpec, cycle: int) -> int:
    """The seed of the training of a cycle."""
    return int(np.random.SeedSequence((spec.search.seed, cycle)).generate_state(1)[0])
