"""Names of the stages of a study, among those of the search that its documents belong to."""

from __future__ import annotations

from crysearch.study import StudySpec

SCREENING, RELAXING, CONCLUDING = "screening", "relaxing", "conclusion"


def stage_name(study: StudySpec, step: str) -> str:
    """The name of a step of a study in the search's document."""
    return f"study {study.identifier} {step}"
