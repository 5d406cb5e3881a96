"""The stages of a search: each reads its inputs from the records and writes its results there.

Every stage can be run again: what an earlier, interrupted run has finished is found in the records
and not repeated.
"""

from __future__ import annotations

from crysearch.workflows.stages.bookkeeping import finish_search, open_search, stage
from crysearch.workflows.stages.generation import generate_replicas, train_model
from crysearch.workflows.stages.known import check_unchanged, gather_references
from crysearch.workflows.stages.relaxation import pending_batches, relax_batch
from crysearch.workflows.stages.sampling import sample_and_screen
from crysearch.workflows.stages.verdicts import judge

__all__ = [
    "check_unchanged",
    "finish_search",
    "gather_references",
    "generate_replicas",
    "judge",
    "open_search",
    "pending_batches",
    "relax_batch",
    "sample_and_screen",
    "stage",
    "train_model",
]
