"""A training that can be interrupted, and the document of what it made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crysearch.active_learning_spec import PotentialSpec
from crysearch.potentials import (
    Configuration,
    FitHistory,
    LossWeights,
    TrainablePotential,
    create_potential,
)
from crysearch.records import RecordStore
from crysearch.records.potentials import potential_document
from crysearch.workflows.progress import progress_bar

CHECKPOINT_EPOCHS = 50


def make_potential(part: PotentialSpec, elements: Sequence[str]) -> TrainablePotential:
    """The untrained potential of a specification.

    Raises
    ------
    TrainingError
        It is unknown, or does not take these arguments.
    """
    return create_potential(
        part.model,
        elements=list(elements),
        cutoff=part.cutoff,
        members=part.members,
        **part.architecture,
    )


def fit_recorded(
    records: RecordStore,
    potential: TrainablePotential,
    part: PotentialSpec,
    configurations: Sequence[Configuration],
    validation: float | Sequence[Configuration],
    seed: int,
    *,
    blob: str,
    metadata: Mapping[str, Any],
    title: str,
) -> tuple[bytes, FitHistory]:
    """Train a potential and keep its weights; a training that was interrupted goes on.

    Parameters
    ----------
    validation
        Share that each member holds out, or configurations for all.
    blob, metadata
        The id under which the weights are kept, and what is said about them.
    title
        Of the progress bar.

    Returns
    -------
    bytes
        The weights.
    FitHistory
    """
    checkpoint = f"{blob}-checkpoint"
    with progress_bar(title, part.epochs, "epochs") as bar:
        history = potential.fit(
            configurations,
            validation=validation,
            weights=LossWeights(**part.loss.model_dump()),
            epochs=part.epochs,
            batch_size=part.batch_size,
            learning_rate=part.learning_rate,
            patience=part.patience,
            seed=seed,
            progress=bar.update,
            checkpoint=lambda data: records.put_blob(checkpoint, data, metadata),
            checkpoint_every=CHECKPOINT_EPOCHS,
            resume=records.find_blob(checkpoint),
        )
    weights = potential.to_bytes()
    records.put_blob(blob, weights, metadata)
    records.delete_blob(checkpoint)
    return weights, history


def outcome(history: FitHistory) -> dict[str, Any]:
    """How a training went: of each member the best epoch, and its errors then (eV/atom, eV/Å)."""
    members, best = np.arange(history.members), history.best_epoch
    return {
        "skipped": dict(Counter(history.skipped.values())),
        "epochs": history.epochs,
        "best_epochs": best.tolist(),
        "energy": history.validation_energy_error[members, best].tolist(),
        "force": history.validation_force_error[members, best].tolist(),
    }


def fitted_document(
    potential: TrainablePotential,
    part: PotentialSpec,
    history: FitHistory,
    *,
    weights: bytes,
    dataset: Mapping[str, Any],
    configurations: int,
    errors: Mapping[str, Any] | None = None,
    **where: Any,
) -> dict[str, Any]:
    """The document of a potential that has just been trained.

    Parameters
    ----------
    dataset
        The document of the data set.
    configurations
        Learned from, those for the validation included.
    errors
        By split, beside those of the validation.
    **where
        Other arguments of `potential_document`.
    """
    trained = outcome(history)
    validation = {
        "configurations": max(len(rows) for rows in history.validation_indices),
        "energy_rmse": float(np.mean(trained["energy"])),
        "force_rmse": float(np.mean(trained["force"])),
    }
    learned = {"id": dataset["_id"], "name": dataset["name"], "configurations": configurations}
    return potential_document(
        model=potential.name,
        architecture=potential.architecture,
        members=potential.members,
        parameter_count=potential.parameter_count,
        elements=potential.elements,
        cutoff=potential.cutoff,
        method=dataset["method"],
        weights=weights,
        configurations=configurations,
        datasets=[learned],
        settings=training_settings(part),
        training=trained,
        errors={"validation": validation, **(errors or {})},
        parents=[dataset["_id"]],
        **where,
    )


def training_settings(part: PotentialSpec) -> dict[str, Any]:
    """What decides the weights of a training, beside the potential, its data and its seed."""
    made = {"model", "members", "cutoff", "architecture"}
    return part.model_dump(mode="json", exclude=made)
