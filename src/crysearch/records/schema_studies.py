"""Documents of studies of generative models."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from crysearch.records.schema import Document

TrialStatus = Literal["trained", "failed"]


class TrialMeasures(TypedDict):
    """What is measured of a trial (`crysearch.study.MEASURES`); empty if it failed."""

    train_loss: float | None
    train_reconstruction: float | None
    train_divergence: float | None
    validation_reconstruction: float | None
    validation_divergence: float | None
    rises: float | None
    roughness: float | None
    elbo: float | None
    evidence: float | None
    reconstruction_train: float | None
    reconstruction_held_out: float | None
    unused_coordinates: float | None
    replica_distance: float | None
    replica_correlation: float | None
    nearest_correlation: float | None
    share_near: float | None
    energy_mean: float | None
    energy_lowest: float | None
    distinct_low: int | None


class TrialDocument(Document):
    """One training of a study: a variant of the generative model with one seed.

    ``near`` of ``crystals`` random crystals are within the threshold of a replica; ``chosen`` are
    the candidates relaxed, and ``relaxed`` counts what became of them. The weights are the blob
    ``blob_id``.
    """

    study: str
    variant: str
    seed: int
    status: TrialStatus
    reason: str | None
    model: str
    generative: dict[str, Any]
    parameter_count: int | None
    history: dict[str, Any] | None
    reference_ids: list[str]
    measures: TrialMeasures
    diagnostics: dict[str, Any]
    crystals: int | None
    near: int | None
    chosen: list[str]
    relaxed: dict[str, Any] | None
    blob_id: str | None
    seconds: float | None


class StudyDocument(Document):
    """A finished study: means over the seeds, differences between variants, and what they say."""

    study: str
    name: str
    spec: dict[str, Any]
    variants: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    sentences: list[str]
