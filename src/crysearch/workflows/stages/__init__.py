"""The stages of a search: each reads its inputs from the records and writes its results there.

Every stage can be run again: what an earlier, interrupted run has finished is found in the records
and not repeated.
"""

from __future__ import annotations

from crysearch.workflows.stages.bookkeeping import (
    begin_stage,
    finish_search,
    finish_stage,
    finished_summary,
    open_search,
    recorded_failure,
    stage,
)
from crysearch.workflows.stages.generation import generate_replicas, train_model
from crysearch.workflows.stages.guiding import guide_batches, settle_guided
from crysearch.workflows.stages.known import (
    check_unchanged,
    gather_references,
    keep_reference_files,
)
from crysearch.workflows.stages.relaxation import (
    RelaxationBatch,
    batches_per_job,
    pending_batches,
    relax_batch,
    relaxation_summary,
)
from crysearch.workflows.stages.sampling import sample_batches, settle
from crysearch.workflows.stages.verdicts import judge

__all__ = [
    "RelaxationBatch",
    "batches_per_job",
    "begin_stage",
    "check_unchanged",
    "finish_search",
    "finish_stage",
    "finished_summary",
    "gather_references",
    "generate_replicas",
    "guide_batches",
    "judge",
    "keep_reference_files",
    "open_search",
    "pending_batches",
    "recorded_failure",
    "relax_batch",
    "relaxation_summary",
    "sample_batches",
    "settle",
    "settle_guided",
    "stage",
    "train_model",
]
