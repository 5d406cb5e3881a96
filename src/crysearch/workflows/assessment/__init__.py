"""How good and how fast an engine is, against a reference: a job for each quantity."""

from crysearch.workflows.assessment.maker import (
    AssessmentMaker,
    run_assessment,
    submit_assessment,
)
from crysearch.workflows.assessment.subjects import (
    assessment_of,
    engine_of,
    own_structures,
    reference_of,
    whole_spec,
)

__all__ = [
    "AssessmentMaker",
    "assessment_of",
    "engine_of",
    "own_structures",
    "reference_of",
    "run_assessment",
    "submit_assessment",
    "whole_spec",
]
