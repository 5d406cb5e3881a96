"""Relaxation engines behind one interface: structures in, one result per structure out."""

from crysearch.relaxation.base import (
    Evaluation,
    RelaxationResult,
    RelaxationSettings,
    Relaxer,
)
from crysearch.relaxation.registry import RelaxerInfo, available_relaxers, create_relaxer

__all__ = [
    "Evaluation",
    "RelaxationResult",
    "RelaxationSettings",
    "Relaxer",
    "RelaxerInfo",
    "available_relaxers",
    "create_relaxer",
]
