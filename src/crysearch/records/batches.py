"""Documents of finished batches: they mark work as done, and say what it cost.

A batch is the unit of work that is done whole or again. When a search is continued, batches with a
document are not repeated.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from crysearch.errors import RecordsError
from crysearch.records import schema
from crysearch.records.documents import Facts, Seed, make_document
from crysearch.records.values import deterministic_id

SAMPLING = "sampling"
GUIDING = "guiding"
RELAXATION = "relaxation"


def worker_name() -> str:
    """Host and number of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def sampling_batch_document(
    *,
    search: str,
    formula_units: int,
    batch: int,
    seed: Seed,
    sampled: int,
    accepted: int,
    kept: int,
    kept_by_group: Mapping[str, int] | None = None,
    rejected: Mapping[str, int] | None = None,
    space_groups: Mapping[str, Sequence[int]] | None = None,
    near: Mapping[str, int] | None = None,
    stage: str = SAMPLING,
    seconds: float | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a finished batch of random crystals, drawn or guided.

    Parameters
    ----------
    sampled, accepted, kept
        Crystals tried, crystals that met the request, crystals that became documents. Of guided
        ones: those that were set out, those that reached their targets, those of them kept.
    kept_by_group
        Crystals kept for each group; one that is kept for two counts in both.
    rejected
        Crystals that did not meet the request, by reason.
    space_groups
        Attempts, accepted crystals and times given up of each space group that was drawn, such as
        ``{"227": [41, 3, 0]}``.
    near
        Accepted crystals near the ``database`` only, ``replicas`` only, ``both`` or ``neither``.
    stage
        ``sampling`` or ``guiding``.
    seconds
        Wall time of the batch on the worker that made it.
    """
    if stage not in (SAMPLING, GUIDING):
        raise RecordsError(f"stage is {stage!r}: use {SAMPLING} or {GUIDING}.")
    places, groups = get_args(schema.Near), get_args(schema.Group)
    near = near or {}
    if unknown := sorted(set(near) - set(places)):
        raise RecordsError(f"near counts {unknown[0]!r}: use {', '.join(places)}.")
    counts = _NO_COUNTS | {
        "sampled": sampled,
        "accepted": accepted,
        "rejected": rejected or {},
        "space_groups": {group: list(row) for group, row in (space_groups or {}).items()},
        "near": {place: near.get(place, 0) for place in places},
        "kept": kept,
        "kept_by_group": {group: (kept_by_group or {}).get(group, 0) for group in groups},
    }
    fields = {
        "stage": stage,
        "kind": "candidate",
        "formula_units": formula_units,
        "batch": batch,
        "seed": seed,
        "counts": counts,
        "seconds": seconds,
        "worker": worker_name(),
    }
    identifier = deterministic_id(search, "batch", stage, seed, formula_units, batch)
    return make_document(search, identifier, fields, seed, [search], provenance, created_at)


def relaxation_batch_document(
    *,
    search: str,
    kind: str,
    batch: int,
    parents: Sequence[str],
    relaxed: int,
    converged: int,
    failed: int,
    stage: str = RELAXATION,
    seconds: float | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a finished batch of relaxations.

    Parameters
    ----------
    kind
        What was relaxed: ``candidate`` or ``reference``.
    parents
        The ``_id`` of each structure of the batch, in order.
    relaxed, converged, failed
        Structures that became relaxations, those of them that converged, and the failures.
    stage
        ``relaxation``, or the stage of a study.
    seconds
        Wall time of the batch on the worker that made it.
    """
    if kind not in get_args(schema.ParentKind):
        raise RecordsError(f"kind is {kind!r}: use {', '.join(get_args(schema.ParentKind))}.")
    fields = {
        "stage": stage,
        "kind": kind,
        "formula_units": None,
        "batch": batch,
        "seed": None,
        "counts": _NO_COUNTS | {"relaxed": relaxed, "converged": converged, "failed": failed},
        "seconds": seconds,
        "worker": worker_name(),
    }
    identifier = deterministic_id(search, "batch", stage, kind, batch)
    return make_document(search, identifier, fields, None, parents, provenance, created_at)


# Every batch has every count, so that sums over batches need not tell them apart.
_NO_COUNTS: dict[str, Any] = {
    "sampled": 0,
    "accepted": 0,
    "rejected": {},
    "space_groups": {},
    "near": dict.fromkeys(get_args(schema.Near), 0),
    "kept": 0,
    "kept_by_group": dict.fromkeys(get_args(schema.Group), 0),
    "relaxed": 0,
    "converged": 0,
    "failed": 0,
}
