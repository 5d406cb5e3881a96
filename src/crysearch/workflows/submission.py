"""Submitting searches to the launch pad, for workers to run."""

from __future__ import annotations

from dataclasses import dataclass, field

from fireworks import LaunchPad
from jobflow import Flow, Job
from jobflow.managers.fireworks import flow_to_workflow

from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.context import job_records
from crysearch.workflows.launchpad import launchpad as configured_launchpad
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
        return Submission(None, "added", _add(pad, flow, None))
    known = list(pad.workflows.find({"metadata.search": spec.search_id}, {"state": 1, "nodes": 1}))
    active = [workflow for workflow in known if workflow["state"] in _ACTIVE]
    with job_records() as records:
        stages.check_unchanged(records, spec)
        search = records.get("searches", spec.search_id)
        if search is not None and search["status"] == "complete":
            return Submission(spec.search_id, "complete")
        if active:
            nodes = [node for workflow in active for node in workflow["nodes"]]
            failed = pad.get_fw_ids({"fw_id": {"$in": nodes}, "state": "FIZZLED"})
            if not failed:
                return Submission(spec.search_id, "waiting", sorted(nodes))
            for fw_id in failed:
                pad.rerun_fw(fw_id)
            stages.open_search(records, spec, "running")
            return Submission(spec.search_id, "rerun", sorted(failed))
        stages.keep_reference_files(records, spec)
        stages.open_search(records, spec, "submitted")
    return Submission(spec.search_id, "added", _add(pad, flow, spec.search_id))


def _add(pad: LaunchPad, flow: Flow | Job, search: str | None) -> list[int]:
    metadata = {} if search is None else {"search": search}
    workflow = flow_to_workflow(flow, metadata=metadata)
    return sorted(pad.add_wf(workflow).values())


def _spec_of(flow: Flow | Job) -> SearchSpec | None:
    """The specification of a flow of ours, from the arguments of its jobs."""
    for job, _ in [(flow, [])] if isinstance(flow, Job) else flow.iterflow():
        if "search" in job.metadata and job.function_args:
            return SearchSpec.build(job.function_args[0])
    return None
