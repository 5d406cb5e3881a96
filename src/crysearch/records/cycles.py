"""Documents of the cycles of a search by active learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crysearch.records.documents import Facts, make_document, one_of
from crysearch.records.schema_cycles import CycleDecision
from crysearch.records.values import deterministic_id


def cycle_id(search: str, active_learning: str, cycle: int) -> str:
    """The ``_id`` of a cycle."""
    return deterministic_id(search, "cycle", active_learning, cycle)


def cycle_document(
    *,
    search: str,
    active_learning: str,
    cycle: int,
    dataset: str,
    method: str,
    potential: str,
    configurations: int,
    chosen: Sequence[Facts],
    decision: CycleDecision = "go_on",
    seed: int | None = None,
    training: Facts | None = None,
    blob_id: str | None = None,
    pool: Mapping[str, int] | None = None,
    failed: Sequence[Facts] = (),
    lowest_score: float | None = None,
    lowest_energy_per_atom: float | None = None,
    mean_disagreement: float | None = None,
    cluster_count: int = 0,
    clusters: Sequence[Facts] = (),
    top: Sequence[Facts] = (),
    finalists: Sequence[Facts] = (),
    comparison: Facts | None = None,
    calculated: int | None = None,
    not_calculated: int | None = None,
    errors: Facts | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a cycle; cycle 0 has only the first batch of reference calculations.

    Parameters
    ----------
    active_learning
        Identifier of the specification.
    dataset, method
        The ``_id`` of the data set of the reference calculations, and their method.
    potential, configurations, training, seed
        Name of the potential, what it learned from, how that went, and the seed.
    chosen, decision
        The candidates for reference calculations, and whether the search goes on.
    calculated, not_calculated, errors
        What became of the reference calculations, and how far the ensemble was from them.

    See `crysearch.records.schema_cycles.CycleDocument` for the rest.
    """
    fields = {
        "active_learning": active_learning,
        "cycle": cycle,
        "dataset": dataset,
        "method": method,
        "potential": potential,
        "configurations": configurations,
        "training": training,
        "blob_id": blob_id,
        "pool": dict(pool or {}),
        "failed": [dict(one) for one in failed],
        "lowest_score": lowest_score,
        "lowest_energy_per_atom": lowest_energy_per_atom,
        "mean_disagreement": mean_disagreement,
        "cluster_count": cluster_count,
        "clusters": [dict(one) for one in clusters],
        "top": [dict(one) for one in top],
        "finalists": [dict(one) for one in finalists],
        "comparison": comparison,
        "chosen": [dict(one) for one in chosen],
        "decision": one_of(CycleDecision, "decision", decision),
        "calculated": calculated,
        "not_calculated": not_calculated,
        "errors": errors,
    }
    identifier = cycle_id(search, active_learning, cycle)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)
