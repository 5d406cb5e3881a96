"""Documents of the cycles of a search by active learning."""

from __future__ import annotations

from typing import Any, Literal

from crysearch.records.schema import Document

CycleDecision = Literal["go_on", "unchanged", "nothing_new", "cycle_limit"]


class CycleDocument(Document):
    """One cycle of a search by active learning: training, relaxation of the pool, and the choice.

    ``pool`` counts what became of the crystals, and ``failed`` has the candidate, reason and detail
    of those that failed. ``clusters`` are by rank, best first, with their size and best member;
    ``chosen`` are the candidates for reference calculations, ``top`` the best of the best clusters,
    compared with those of the cycle before (``comparison``). ``finalists``, of the last cycle, are
    relaxed with the reference method, each from the structure of its own ``cycle``. ``errors`` are
    those of the ensemble for the structures chosen, which it had not been trained on; null until
    they are calculated.
    Scores and energies are in eV/atom. The weights of the ensemble are the blob ``blob_id``.
    """

    active_learning: str
    cycle: int
    dataset: str
    method: str
    potential: str
    configurations: int
    training: dict[str, Any] | None
    blob_id: str | None
    pool: dict[str, int]
    failed: list[dict[str, Any]]
    lowest_score: float | None
    lowest_energy_per_atom: float | None
    mean_disagreement: float | None
    cluster_count: int
    clusters: list[dict[str, Any]]
    top: list[dict[str, Any]]
    finalists: list[dict[str, Any]]
    comparison: dict[str, Any] | None
    chosen: list[dict[str, Any]]
    decision: CycleDecision
    calculated: int | None
    not_calculated: int | None
    errors: dict[str, float | None] | None
