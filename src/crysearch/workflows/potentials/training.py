"""Training on a data set of the records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from crysearch.active_learning_spec import PotentialSpec
from crysearch.datasets import LabelledStructure
from crysearch.errors import DatasetError, SpecError, TrainingError
from crysearch.potentials import Configuration, TrainablePotential, available_potentials
from crysearch.potentials.errors import prediction_errors
from crysearch.records import RecordStore, datasets, potentials
from crysearch.validation import describe_errors
from crysearch.workflows.datasets.reading import read_dataset
from crysearch.workflows.potentials.fitting import (
    fit_recorded,
    fitted_document,
    make_potential,
    training_settings,
)


def potential_spec(changes: Mapping[str, Any] | None = None) -> PotentialSpec:
    """A potential and its training; the defaults are those of an active learning.

    Parameters
    ----------
    changes
        Fields by dotted names, such as ``{"members": 3, "architecture.radial": 8}``.

    Raises
    ------
    SpecError
        Lists every field that is unknown or has a value that is not possible.
    """
    content: dict[str, Any] = {}
    for name, value in (changes or {}).items():
        *parents, last = name.split(".")
        target = content
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise SpecError(f"{name}: {parent} has no parts")
        target[last] = value
    try:
        part = PotentialSpec.model_validate(content)
    except ValidationError as error:
        lines = describe_errors(error, content, PotentialSpec)
        raise SpecError("\n  ".join(["the potential is not valid:", *lines])) from None
    if part.model not in available_potentials():
        raise SpecError(
            f"the potential is not valid:\n  model: {part.model!r} — choose one of "
            f"{', '.join(available_potentials())}"
        )
    return part


def train_on_dataset(
    records: RecordStore, name: str, part: PotentialSpec, seed: int = 0
) -> dict[str, Any]:
    """Train a potential on a data set, and keep it in the records.

    It learns from the training split; the validation split decides when it is best, or where there
    is none, a share of the training split (`PotentialSpec.validation`); errors are measured on the
    test split. Configurations that a check has flagged, or without energy, are left out. What was
    trained before on the same configurations, with the same settings, is not trained again.

    Parameters
    ----------
    records
    name
        Of the data set, or the beginning of its ``_id``.
    part
        The potential, and how it is trained.
    seed
        Not negative; decides initial weights, batches, and what is held out.

    Returns
    -------
    dict
        The document of the potential.

    Raises
    ------
    DatasetError
        The data set is being imported, or has nothing to learn from.
    TrainingError
        The potential does not take its arguments, there are too few configurations, or the
        training fails.
    """
    dataset = datasets.resolve_dataset(records, name)
    potential = make_potential(part, dataset["elements"])
    found = {
        split: _sound(read_dataset(records, dataset["_id"], split))
        for split in ("train", "validation", "test")
    }
    learned, held_out, tested = found["train"][0], found["validation"][0], found["test"][0]
    if not learned:
        raise DatasetError(
            f"the data set {dataset['name']!r} has no sound configuration with an energy in its "
            f"training split: see `crysearch data show {dataset['name']}`"
        )
    made = {
        "model": part.model,
        "architecture": potential.architecture,
        "settings": training_settings(part),
        "seed": seed,
    }
    content = hashlib.sha256("".join(key for split in found.values() for key in split[2]).encode())
    key = (dataset["_id"], content.hexdigest(), made)
    identifier = potentials.potential_id(key)
    blob = f"potential-{identifier}"
    known = records.get("potentials", identifier)
    if known is not None and records.find_blob(blob) is not None:
        return known
    weights, history = fit_recorded(
        records,
        potential,
        part,
        learned,
        held_out or part.validation,
        seed,
        blob=blob,
        metadata={"dataset": dataset["_id"]},
        title=f"Training on {dataset['name']}",
    )
    left_out = found["train"][1] + found["validation"][1]
    document = fitted_document(
        potential,
        part,
        history,
        weights=weights,
        dataset=dataset,
        configurations=len(learned) + len(held_out),
        errors={"test": _errors(potential, tested)} if tested else None,
        key=key,
        origin="dataset",
        seed=seed,
        blob_id=blob,
    )
    document["training"]["skipped"] = dict(Counter(document["training"]["skipped"]) + left_out)
    records.upsert("potentials", [document])
    return document


def _sound(
    frames: Iterable[LabelledStructure],
) -> tuple[list[Configuration], Counter[str], list[str]]:
    """What can be learned from, why the rest cannot, and the checksums of what can."""
    found: list[Configuration] = []
    left_out: Counter[str] = Counter()
    keys: list[str] = ["split "]
    for frame in frames:
        if frame.energy is None:
            left_out["no_energy"] += 1
            continue
        try:
            configuration = Configuration(
                frame.numbers.astype(np.int64),
                frame.cell,
                frame.positions,
                frame.energy,
                frame.forces,
                frame.stress_tensor,
            )
        except TrainingError:
            left_out["not_finite"] += 1
            continue
        found.append(configuration)
        keys.append(frame.key)
    return found, left_out, keys


def _errors(potential: TrainablePotential, tested: list[Configuration]) -> dict[str, Any]:
    return prediction_errors(potential.evaluate(tested), tested)
