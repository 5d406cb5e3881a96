"""Training of the ensemble of a cycle, on all reference calculations before it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.potentials import FitHistory, LossWeights, create_potential
from crysearch.records import RecordStore
from crysearch.workflows.active_learning.pool import potential_blob
from crysearch.workflows.active_learning.reference import read_configurations
from crysearch.workflows.progress import progress_bar

CHECKPOINT_EPOCHS = 50


def train_ensemble(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, Any]:
    """Train the ensemble of a cycle from scratch; a training that was interrupted goes on.

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
    part = spec.potential
    _, configurations = read_configurations(records, spec, cycle)
    potential = create_potential(
        part.model,
        elements=list(spec.known.species),
        cutoff=part.cutoff,
        members=part.members,
        **part.architecture,
    )
    blob = potential_blob(spec, cycle)
    place = {"search": spec.known.search_id, "active_learning": spec.identifier, "cycle": cycle}
    checkpoint = f"{blob}-checkpoint"
    started = time.perf_counter()
    with progress_bar(f"Cycle {cycle}, training", part.epochs, "epochs") as bar:
        history = potential.fit(
            configurations,
            validation=part.validation,
            weights=LossWeights(**part.loss.model_dump()),
            epochs=part.epochs,
            batch_size=part.batch_size,
            learning_rate=part.learning_rate,
            patience=part.patience,
            seed=seed_of(spec, cycle),
            progress=bar.update,
            checkpoint=lambda data: records.put_blob(checkpoint, data, place),
            checkpoint_every=CHECKPOINT_EPOCHS,
            resume=records.find_blob(checkpoint),
        )
    records.put_blob(blob, potential.to_bytes(), place)
    records.delete_blob(checkpoint)
    return {
        "configurations": len(configurations),
        "seed": seed_of(spec, cycle),
        "parameter_count": potential.parameter_count,
        **_outcome(history),
        "seconds": time.perf_counter() - started,
    }


def seed_of(spec: ActiveLearningSpec, cycle: int) -> int:
    """The seed of the training of a cycle."""
    return int(np.random.SeedSequence((spec.search.seed, cycle)).generate_state(1)[0])


def _outcome(history: FitHistory) -> dict[str, Any]:
    members, best = np.arange(history.members), history.best_epoch
    return {
        "skipped": dict(Counter(history.skipped.values())),
        "epochs": history.epochs,
        "best_epochs": best.tolist(),
        "energy": history.validation_energy_error[members, best].tolist(),
        "force": history.validation_force_error[members, best].tolist(),
    }
