"""Choosing configurations: at random, uniformly in a property, or by features."""

from __future__ import annotations

from crysearch.datasets.selection.base import SelectionMethod, SelectionPool
from crysearch.datasets.selection.features import farthest_points, leverage_scores
from crysearch.datasets.selection.registry import available_methods, create_method, methods_for

__all__ = [
    "SelectionMethod",
    "SelectionPool",
    "available_methods",
    "create_method",
    "farthest_points",
    "leverage_scores",
    "methods_for",
]
