"""The jobs of a search: some batches of work each, results in the records, summaries as outputs.

Jobs refer to one another only for their order; what they work on they read from the records. A job
that finds that more is to be done answers with a detour: the jobs that do it, and itself again.
"""

from __future__ import annotations

from typing import Any, Literal

from jobflow import Flow, Job, JobConfig, Response, job

from crysearch.records import RecordStore
from crysearch.settings import Settings, load_settings
from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.context import job_records
from crysearch.workflows.pace import Pace

Summary = dict[str, Any]
Kind = Literal["reference", "candidate"]

#: FireWorks' categories, by which workers choose jobs: light and single-threaded work; training and
#: batched relaxations (one GPU, or CPU threads); first-principles codes under MPI.
CPU, BATCHED, MPI = "crysearch-cpu", "crysearch-batched", "crysearch-mpi"


def config(category: str) -> JobConfig:
    """How our jobs run: results go to the records, and workers of the category take them."""
    return JobConfig(
        resolve_references=False,
        expose_store=True,
        pass_manager_config=False,
        manager_config={"_category": category},
    )


@job(config=config(CPU))
def gather_references(spec: dict[str, Any]) -> Summary:
    """Gather, check and fingerprint the known structures."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        if records.get("searches", search.search_id) is None:
            stages.open_search(records, search)
        return stages.stage(
            records, search, "references", lambda: stages.gather_references(records, search)
        )


@job(config=config(BATCHED))
def train_model(spec: dict[str, Any], after: Any = None) -> Summary:
    """Train the generative model; ``after`` is the output of the job that must come first."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(records, search, "model", lambda: stages.train_model(records, search))


@job(config=config(BATCHED))
def generate_replicas(spec: dict[str, Any], after: Any = None) -> Summary:
    """Decode the replicas."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        return stages.stage(
            records, search, "replicas", lambda: stages.generate_replicas(records, search)
        )


@job(config=config(CPU))
def fill_quotas(
    spec: dict[str, Any], formula_units: int, jobs: int, guided: bool = False, after: Any = None
) -> Response[Summary]:
    """Have random crystals of one cell size made until the quotas are full.

    Those of groups I to III are sampled and screened; ``guided`` ones, of group IV, are moved onto
    targets. ``jobs`` do it side by side; what the search finds does not depend on their number.
    """
    search = SearchSpec.build(spec)
    name = _filling_stage(formula_units, guided)
    settle = stages.settle_guided if guided else stages.settle
    with job_records() as records:
        finished = stages.finished_summary(records, search, name)
        if finished is not None:
            return Response(output=finished)
        stages.begin_stage(records, search, name)
        with stages.recorded_failure(records, search, name):
            summary = settle(records, search, formula_units)
        if summary is not None:
            stages.finish_stage(records, search, name, summary)
            return Response(output=summary)
    verb = "guide" if guided else "sample and screen"
    makers = [
        named(
            make_crystals(spec, formula_units, part, jobs, guided),
            search,
            f"{verb}, {formula_units} formula units, {part + 1}/{jobs}",
        )
        for part in range(jobs)
    ]
    again = fill_quotas(spec, formula_units, jobs, guided, after=[maker.output for maker in makers])
    return _detour([*makers, named(again, search, quotas_name(formula_units, guided))], name)


@job(config=config(CPU))
def make_crystals(
    spec: dict[str, Any], formula_units: int, part: int, parts: int, guided: bool = False
) -> Summary:
    """Sample and screen, or guide, a part of the batches of one cell size, for some minutes."""
    search = SearchSpec.build(spec)
    # A single job goes on until the quotas are full; several leave what remains to a next round.
    seconds = 60 * load_settings().job_minutes if parts > 1 else None
    name = _filling_stage(formula_units, guided)
    make = stages.guide_batches if guided else stages.sample_batches
    with job_records() as records, stages.recorded_failure(records, search, name):
        return make(records, search, formula_units, Pace(seconds), part, parts)


@job(config=config(CPU))
def relax_all(spec: dict[str, Any], kind: Kind, after: Any = None) -> Response[Summary]:
    """Have everything of a kind relaxed, batch by batch."""
    search = SearchSpec.build(spec)
    name = f"relaxing {kind}s"
    with job_records() as records:
        finished = stages.finished_summary(records, search, name)
        if finished is not None:
            return Response(output=finished)
        stages.begin_stage(records, search, name)
        with stages.recorded_failure(records, search, name):
            pending = stages.pending_batches(records, search, kind)
        if not pending:
            summary = stages.relaxation_summary(records, search, kind)
            stages.finish_stage(records, search, name, summary)
            return Response(output=summary)
        jobs = _relaxing(records, search, spec, kind, pending, load_settings())
    again = relax_all(spec, kind, after=[relaxing.output for relaxing in jobs])
    return _detour([*jobs, named(again, search, f"relax {kind}s")], name)


def _relaxing(
    records: RecordStore,
    search: SearchSpec,
    spec: dict[str, Any],
    kind: Kind,
    pending: list[stages.RelaxationBatch],
    settings: Settings,
) -> list[Job]:
    size = stages.batches_per_job(
        records, search, len(pending), 60 * settings.job_minutes, settings.sampling_jobs
    )
    return [
        _relax_job(search, spec, kind, pending[start : start + size])
        for start in range(0, len(pending), size)
    ]


def _relax_job(
    search: SearchSpec, spec: dict[str, Any], kind: Kind, batches: list[stages.RelaxationBatch]
) -> Job:
    numbers = sorted({batches[0].number + 1, batches[-1].number + 1})
    content = [{"number": batch.number, "parents": batch.parents} for batch in batches]
    name = f"relax {kind}s, batch {'–'.join(str(number) for number in numbers)}"
    return named(relax_batches(spec, kind, content), search, name)


@job(config=config(BATCHED))
def relax_batches(
    spec: dict[str, Any], kind: Kind, batches: list[dict[str, Any]]
) -> Response[Summary]:
    """Relax some batches of structures; what the job's time is too short for, a detour does."""
    search = SearchSpec.build(spec)
    waiting = [stages.RelaxationBatch(**batch) for batch in batches]
    done = 0
    pace = Pace(None)
    with job_records() as records, stages.recorded_failure(records, search, f"relaxing {kind}s"):
        while waiting and pace.another():
            stages.relax_batch(records, search, kind, waiting.pop(0))
            done += 1
    if not waiting:
        return Response(output={"batches": done})
    return _detour([_relax_job(search, spec, kind, waiting)], f"relax {kind}s", {"batches": done})


@job(config=config(CPU))
def judge(spec: dict[str, Any], after: Any = None) -> Summary:
    """Energies, duplicates and novelty of everything relaxed."""
    search = SearchSpec.build(spec)
    with job_records() as records:
        summary = stages.stage(records, search, "verdicts", lambda: stages.judge(records, search))
        stages.finish_search(records, search, "complete")
        return summary


def quotas_name(formula_units: int, guided: bool = False) -> str:
    """The name of the job that fills the quotas of a cell size."""
    what = "the quota of guided crystals" if guided else "the quotas"
    return f"fill {what}, {formula_units} formula units"


def _filling_stage(formula_units: int, guided: bool) -> str:
    return f"guiding {formula_units}" if guided else f"sampling {formula_units}"


def named(new: Job, search: SearchSpec, name: str) -> Job:
    """A job with a name that people read, and the search it belongs to as metadata."""
    new.name = name
    new.metadata["search"] = search.search_id
    return new


def _detour(jobs: list[Job], name: str, output: Summary | None = None) -> Response[Summary]:
    steps: list[Flow | Job] = [*jobs]
    return Response(output=output or {"jobs": len(jobs)}, detour=Flow(steps, name=name))
