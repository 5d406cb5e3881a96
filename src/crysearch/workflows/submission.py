"""Submitting searches to the launch pad, for workers to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job
from jobflow.managers.fireworks import flow_to_workflow

from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.context import job_records
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.local import open_search
from crysearch.workflows.makers import CrystalSearchMaker

_ACTIVE = ("WAITING", "READY", "RESERVED", "RUNNING", "FIZZLED", "PAUSED")


@dataclass(frozen=True)
class Submission:
    """What became of a submission.

    Attributes
    ----------
    search
        The id of the search; None for a flow that is none.
    state
        ``added`` to the launch pad; ``waiting`` there already; ``rerun``, the jobs of an earlier
        submission that had failed; ``complete`` already.
    fw_ids
        FireWorks' ids of the jobs added or rerun, or of those of the earlier submission.
    """

    search: str | None
    state: str
    fw_ids: list[int] = field(default_factory=list)


def submit(flow: SearchSpec | Flow | Job, launchpad: LaunchPad | None = None) -> Submission:
    """Put a search on the launch pad, once: a search is known by its specification.

    A search that is on the launch pad already is not added again; jobs of it that have failed are
    made ready to run again. Nothing secret is written to the launch pad.

    Parameters
    ----------
    flow
        A specification, or any flow or job of jobflow, such as `CrystalSearchMaker` makes.
    launchpad
        Where to; None for the one of the settings.

    Raises
    ------
    CrysearchError
        The search cannot work, the database does not answer, or files of references have changed.
    """
    if isinstance(flow, SearchSpec):
        spec: SearchSpec | None = flow
        flow = CrystalSearchMaker().make(flow)
    else:
        spec = _spec_of(flow)
    pad = configured_launchpad() if launchpad is None else launchpad
    if spec is None:
        return Submission(None, "added", add_to(pad, flow, {}))
    with job_records() as records:
        stages.check_unchanged(records, spec)
        search = records.get("searches", spec.search_id)
        if search is not None and search["status"] == "complete":
            return Submission(spec.search_id, "complete")
        earlier = submitted_before(pad, {"search": spec.search_id})
        if earlier is not None:
            state, fw_ids = earlier
            if state == "rerun":
                stages.open_search(records, spec, "running")
            return Submission(spec.search_id, state, fw_ids)
        stages.keep_reference_files(records, spec)
        stages.open_search(records, spec, "submitted")
    return Submission(spec.search_id, "added", add_to(pad, flow, {"search": spec.search_id}))


def submit_within(
    spec: SearchSpec,
    flow: Flow,
    last: str,
    finished: str,
    metadata: dict[str, Any],
    launchpad: LaunchPad | None = None,
) -> Submission:
    """Put a flow whose documents belong to a search on the launch pad, once.

    Parameters
    ----------
    spec, flow
    last
        The stage that the flow ends with.
    finished
        What the search is when that is done.
    metadata
        By which the flow is known again.
    launchpad
        That of the settings if not given.
    """
    with job_records() as records:
        open_search(records, spec)
        if stages.finished_summary(records, spec, last) is not None:
            stages.finish_search(records, spec, finished)
            return Submission(spec.search_id, "complete")
    pad = configured_launchpad() if launchpad is None else launchpad
    earlier = submitted_before(pad, metadata)
    state, fw_ids = earlier or ("added", add_to(pad, flow, metadata))
    return Submission(spec.search_id, state, fw_ids)


def submitted_before(pad: LaunchPad, metadata: dict[str, Any]) -> tuple[str, list[int]] | None:
    """What the launch pad has of a flow with these metadata; failed jobs are made ready again.

    Returns
    -------
    tuple of str and list of int, or None
        ``rerun`` and the jobs that had failed, ``waiting`` and all jobs, or None if there are none
        that have work left.
    """
    query = {f"metadata.{name}": value for name, value in metadata.items()}
    known = pad.workflows.find(query, {"state": 1, "nodes": 1})
    nodes = [n for workflow in known if workflow["state"] in _ACTIVE for n in workflow["nodes"]]
    if not nodes:
        return None
    failed = pad.get_fw_ids({"fw_id": {"$in": nodes}, "state": "FIZZLED"})
    for fw_id in failed:
        pad.rerun_fw(fw_id)
    return ("rerun", sorted(failed)) if failed else ("waiting", sorted(nodes))


def add_to(pad: LaunchPad, flow: Flow | Job, metadata: dict[str, Any]) -> list[int]:
    """Put a flow on the launch pad; returns FireWorks' ids of its jobs."""
    workflow = flow_to_workflow(flow, metadata=metadata)
    return sorted(pad.add_wf(workflow).values())


def _spec_of(flow: Flow | Job) -> SearchSpec | None:
    """The specification of a flow of ours, from the arguments of its jobs."""
    for job, _ in [(flow, [])] if isinstance(flow, Job) else flow.iterflow():
        if "search" in job.metadata and job.function_args:
            return SearchSpec.build(job.function_args[0])
    return None
