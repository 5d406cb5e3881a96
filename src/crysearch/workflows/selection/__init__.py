"""Studies of selection as flows: pool, choices, fits, liquids, and what they add up to."""

from __future__ import annotations

from crysearch.workflows.selection.maker import (
    SelectionStudyMaker,
    run_selection_study,
    submit_selection_study,
)
from crysearch.workflows.selection.tables import selection_tables

__all__ = [
    "SelectionStudyMaker",
    "run_selection_study",
    "selection_tables",
    "submit_selection_study",
]
