"""Documents of a study of generative models: its trials, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crysearch.records.documents import Facts, make_document
from crysearch.records.values import deterministic_id


def trial_id(search: str, study: str, variant: str, seed: int) -> str:
    """The ``_id`` of a trial."""
    return deterministic_id(search, "trial", study, variant, seed)


def study_id(search: str, study: str) -> str:
    """The ``_id`` of a study."""
    return deterministic_id(search, "study", study)


def trial_document(
    *,
    search: str,
    study: str,
    variant: str,
    seed: int,
    model: str,
    generative: Facts,
    reference_ids: Sequence[str],
    reason: str | None = None,
    parameter_count: int | None = None,
    history: Facts | None = None,
    measures: Mapping[str, float | None] | None = None,
    diagnostics: Facts | None = None,
    seconds: float | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of one training of a study: trained, or failed with the ``reason``.

    Parameters
    ----------
    study, variant, seed
        Identifier of the study, name of the variant, seed of the training.
    generative
        The model's part of a specification, with the epochs it was trained for.
    reference_ids
        Ids of the source of the known structures, in the order in which `history` numbers them.
    measures
        Numbers by the keys of `crysearch.study.MEASURES`; what is not known is null.
    seconds
        Wall time of the training of all seeds of the variant, which are trained together.
    parents
        The ``_id`` of the known structures' documents.
    """
    identifier = trial_id(search, study, variant, seed)
    fields = {
        "study": study,
        "variant": variant,
        "seed": seed,
        "status": "trained" if reason is None else "failed",
        "reason": reason,
        "model": model,
        "generative": generative,
        "parameter_count": parameter_count,
        "history": history,
        "reference_ids": reference_ids,
        "measures": measures or {},
        "diagnostics": diagnostics or {},
        "crystals": None,
        "near": None,
        "chosen": [],
        "relaxed": None,
        "blob_id": f"trial-{identifier}" if reason is None else None,
        "seconds": seconds,
    }
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def study_document(
    *,
    search: str,
    study: str,
    name: str,
    spec: Facts,
    variants: Sequence[Facts],
    differences: Sequence[Facts],
    controls: Sequence[Facts],
    sentences: Sequence[str],
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a finished study.

    Parameters
    ----------
    study
        Its identifier.
    variants
        For each variant its ``name``, ``trials``, those ``failed`` with their ``failures`` by
        reason, ``epochs``, ``seconds`` of the training, and ``measures``: for each measure ``n``,
        ``mean``, ``deviation``, ``low`` and ``high`` (95 % interval) over the seeds.
    differences
        For each ``variant`` and ``baseline`` the same of the differences by seed, with the
        ``outcome``.
    controls
        The crystals near a known structure, and those not screened.
    sentences
        What the differences say, in words.
    parents
        The ``_id`` of the trials.
    """
    fields = {
        "study": study,
        "name": name,
        "spec": spec,
        "variants": [dict(variant) for variant in variants],
        "differences": [dict(difference) for difference in differences],
        "controls": [dict(control) for control in controls],
        "sentences": list(sentences),
    }
    identifier = study_id(search, study)
    return make_document(search, identifier, fields, None, parents, provenance, created_at)
