"""Names of the stages of an active learning, among those of the search it belongs to."""

from __future__ import annotations

from crysearch.active_learning_spec import ActiveLearningSpec

TRAINING, RELAXING, CHOOSING = "training", "relaxing the pool", "choosing"
CALCULATING = "reference calculations"
RELAXING_BEST, CONCLUDING = "relaxing the best", "conclusion"


def stage_name(spec: ActiveLearningSpec, step: str, cycle: int | None = None) -> str:
    """The name of a step in the search's document."""
    where = "" if cycle is None else f"cycle {cycle} "
    return f"active learning {spec.identifier} {where}{step}"
