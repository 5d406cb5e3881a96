"""A whole search in this process."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore

from crysearch.errors import DatabaseAbsent, RecordsError
from crysearch.records import RecordStore
from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.context import check_device, job_records
from crysearch.workflows.interrupts import interrupts_kept
from crysearch.workflows.makers import CrystalSearchMaker, Goal


def run_search(spec: SearchSpec, until: Goal = "verdicts") -> dict[str, Any]:
    """Run a search to its end, or continue one that was interrupted.

    Everything is written to the records of the settings as it is made. A search is known by its
    specification: one that is complete is not run again.

    Parameters
    ----------
    spec
        The search.
    until
        Where to pause: with the known ``references``, their ``replicas`` or the ``candidates`` at
        hand. A later call goes on from there.

    Returns
    -------
    dict
        The summary of the verdicts, empty if the search is paused before.

    Raises
    ------
    CrysearchError
        If the search cannot work, or a stage fails; the failure is in the records.
    """
    # One process: more sampling jobs would only take turns.
    flow = CrystalSearchMaker(sampling_jobs=1, until=until).make(spec)
    check_device(spec)
    with job_records() as records:
        open_search(records, spec)
        run_recorded(flow, lambda status: stages.finish_search(records, spec, status))
        summary = stages.finished_summary(records, spec, "verdicts")
        stages.finish_search(records, spec, "paused" if summary is None else "complete")
        return summary or {}


def run_within(spec: SearchSpec, flow: Flow, last: str) -> dict[str, Any]:
    """Run a flow here whose documents belong to a search; the summary of its last stage."""
    check_device(spec)
    with job_records() as records:
        open_search(records, spec)
        run_recorded(flow, lambda status: stages.finish_search(records, spec, status))
        summary = stages.finished_summary(records, spec, last)
        assert summary is not None, "the flow ends with its last stage"
        return summary


def open_search(records: RecordStore, spec: SearchSpec) -> None:
    """Make the document of a search, or check that it is still the one that began."""
    stages.check_unchanged(records, spec)
    stages.keep_reference_files(records, spec)
    stages.open_search(records, spec)


def run_recorded(flow: Flow, finish: Callable[[Literal["interrupted", "failed"]], object]) -> None:
    """Run a flow here; ``finish`` writes an interrupt or a failure down before it goes on."""
    try:
        run_flow(flow)
    except KeyboardInterrupt:
        finish("interrupted")
        raise
    except DatabaseAbsent:
        raise
    except Exception:
        with suppress(RecordsError):  # what went wrong first matters more
            finish("failed")
        raise


def run_flow(flow: Flow) -> None:
    """Run a flow of jobs whose results are in the records, one job after the other."""
    # Outputs of jobs are small summaries that only this run needs; results are in the records.
    logging.getLogger("jobflow").setLevel(logging.WARNING)
    with interrupts_kept(), warnings.catch_warnings():
        # jobflow's own use of a function that monty means to remove in 2028.
        warnings.filterwarnings("ignore", message="cd is deprecated", category=FutureWarning)
        # Batches do not depend on one another; here they run one after the other anyway.
        warnings.filterwarnings("ignore", message="Some jobs are not connected")
        run_locally(
            flow,
            log=False,
            create_folders=False,
            ensure_success=True,
            raise_immediately=True,
            store=JobStore(MemoryStore()),
        )
