"""Training on a data set of the records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

_SPLITS = ("train", "validation", "test")


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
    asked = plan_training(records, name, part, seed)
    known = asked.known(records)
    if known is not None:
        return known
    train, validation, test = (asked.splits[split] for split in _SPLITS)
    weights, history = fit_recorded(
        records,
        asked.potential,
        part,
        train.sound,
        validation.sound or part.validation,
        seed,
        blob=asked.blob,
        metadata={"dataset": asked.dataset["_id"]},
        title=f"Training on {asked.dataset['name']}",
    )
    document = fitted_document(
        asked.potential,
        part,
        history,
        weights=weights,
        dataset=asked.dataset,
        configurations=len(train.sound) + len(validation.sound),
        errors={"test": _errors(asked.potential, test.sound)} if test.sound else None,
        key=asked.key,
        origin="dataset",
        seed=seed,
        blob_id=asked.blob,
    )
    skipped = Counter(document["training"]["skipped"]) + train.left_out + validation.left_out
    document["training"]["skipped"] = dict(skipped)
    records.upsert("potentials", [document])
    return document


@dataclass(frozen=True, eq=False)
class Split:
    """What can be learned from, why the rest cannot, and the checksums of what can."""

    sound: list[Configuration]
    left_out: Counter[str]
    keys: list[str]


@dataclass(frozen=True, eq=False)
class Training:
    """A training that can begin.

    Attributes
    ----------
    dataset
        Its document.
    potential
        Not trained.
    splits
        The data set's.
    key
        Of the potential: data set, checksum of the configurations, settings.
    """

    dataset: dict[str, Any]
    potential: TrainablePotential
    splits: dict[str, Split]
    key: tuple[Any, ...]

    @property
    def identifier(self) -> str:
        """The ``_id`` of the document."""
        return potentials.potential_id(self.key)

    @property
    def blob(self) -> str:
        """Where the weights are."""
        return f"potential-{self.identifier}"

    def known(self, records: RecordStore) -> dict[str, Any] | None:
        """The document, if this has been trained before."""
        found = records.get("potentials", self.identifier)
        return found if found is not None and records.find_blob(self.blob) is not None else None


def plan_training(records: RecordStore, name: str, part: PotentialSpec, seed: int) -> Training:
    """Read what a potential is to learn from, and check that it can; see `train_on_dataset`."""
    dataset = datasets.resolve_dataset(records, name)
    potential = make_potential(part, dataset["elements"])
    splits = {split: _sound(read_dataset(records, dataset["_id"], split)) for split in _SPLITS}
    if not splits["train"].sound:
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
    content = hashlib.sha256("".join(key for one in splits.values() for key in one.keys).encode())
    return Training(dataset, potential, splits, (dataset["_id"], content.hexdigest(), made))


def _sound(frames: Iterable[LabelledStructure]) -> Split:
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
    return Split(found, left_out, keys)


def _errors(potential: TrainablePotential, tested: list[Configuration]) -> dict[str, Any]:
    return prediction_errors(potential.evaluate(tested), tested)
