"""From a candidate to a verdict: chosen structures with another engine, properties, judgement."""

from crysearch.workflows.verification.conclude import EnergyPool
from crysearch.workflows.verification.maker import (
    VerificationMaker,
    run_verification,
    submit_verification,
)
from crysearch.workflows.verification.subjects import best_distinct, find_subjects

__all__ = [
    "EnergyPool",
    "VerificationMaker",
    "best_distinct",
    "find_subjects",
    "run_verification",
    "submit_verification",
]
