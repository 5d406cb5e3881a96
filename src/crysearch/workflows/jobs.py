"""The jobs of a search: one batch of work each, results in the records, summaries as outputs."""

from __future__ import annotations

from typing import Any, Literal

from jobflow import Flow, Job, Response, job

from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.context import job_records

Summary = dict[str, Any]


@job
def gather_references(spec: dict[str, Any]) -> Summary:
    """Gather, check and fingerprint the known structures."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(
            records, search, "references", lambda: stages.gather_references(records, search)
        )


@job
def train_model(spec: dict[str, Any], after: Any = None) -> Summary:
    """Train the generative model; ``after`` is the output of the job that must come first."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(records, search, "model", lambda: stages.train_model(records, search))


@job
def generate_replicas(spec: dict[str, Any], after: Any = None) -> Summary:
    """Decode the replicas."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(
            records, search, "replicas", lambda: stages.generate_replicas(records, search)
        )


@job
def sample_and_screen(spec: dict[str, Any], formula_units: int, after: Any = None) -> Summary:
    """Sample and screen random crystals of one cell size."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(
            records,
            search,
            f"sampling {formula_units}",
            lambda: stages.sample_and_screen(records, search, formula_units),
        )


@job
def relax_all(
    spec: dict[str, Any], kind: Literal["reference", "candidate"], after: Any = None
) -> Response[Any]:
    """Make one job per batch that is still to be relaxed."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        batches = stages.pending_batches(records, search, kind)
    jobs: list[Flow | Job] = []
    for name, ids in batches:
        relaxing = relax_batch(spec, kind, name, ids)
        relaxing.name = name
        jobs.append(relaxing)
    if not jobs:
        return Response(output={"batches": 0})
    return Response(output={"batches": len(jobs)}, detour=Flow(jobs, name=f"relax {kind}s"))


@job
def relax_batch(
    spec: dict[str, Any], kind: Literal["reference", "candidate"], name: str, ids: list[str]
) -> Summary:
    """Relax one batch of structures; its name is the same in every run of the search."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(
            records,
            search,
            name,
            lambda: stages.relax_batch(records, search, kind, name, ids),
        )


@job
def judge(spec: dict[str, Any], after: Any = None) -> Summary:
    """Energies, duplicates and novelty of everything relaxed."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        summary = stages.stage(records, search, "verdicts", lambda: stages.judge(records, search))
        stages.finish_search(records, search, "complete")
        return summary
