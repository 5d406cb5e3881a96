"""The flow of an active learning; each job adds those that its outcome asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, Response, job

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import SpecError, TrainingError
from crysearch.potentials import available_potentials
from crysearch.records import RecordStore
from crysearch.settings import load_settings
from crysearch.workflows import jobs, stages
from crysearch.workflows.active_learning import choosing, finishing, reference
from crysearch.workflows.active_learning.names import (
    CALCULATING,
    CHOOSING,
    CONCLUDING,
    RELAXING,
    RELAXING_BEST,
    TRAINING,
    stage_name,
)
from crysearch.workflows.active_learning.pool import pool_summary, relax_pool
from crysearch.workflows.active_learning.training import train_ensemble
from crysearch.workflows.context import job_records, validate
from crysearch.workflows.jobs import BATCHED, CPU, MPI, config, named
from crysearch.workflows.local import run_within
from crysearch.workflows.pace import Pace
from crysearch.workflows.potentials.fitting import make_potential
from crysearch.workflows.stages.relaxation import RelaxationBatch
from crysearch.workflows.submission import Submission, submit_within

Content = dict[str, Any]


@job(config=config(CPU))
def calculate_chosen(content: Content, cycle: int, after: Any = None) -> Response[Content]:
    """Have the structures chosen in a cycle calculated; then comes the next cycle."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, CALCULATING, cycle)
    with job_records() as records:
        summary = stages.finished_summary(records, spec.known, name)
        if summary is None:
            stages.begin_stage(records, spec.known, name)
            with stages.recorded_failure(records, spec.known, name):
                if cycle == 0:
                    choosing.choose_first(records, spec)
                    reference.open_dataset(records, spec)
                waiting = reference.pending(records, spec, cycle)
                if not waiting:
                    summary = choosing.close_cycle(records, spec, cycle)
                    reference.open_dataset(records, spec)
                    stages.finish_stage(records, spec.known, name, summary)
    if summary is None:
        steps = _calculations(spec, content, cycle, waiting)
        again = calculate_chosen(content, cycle, after=[step.output for step in steps])
        steps.append(_named(again, spec, f"cycle {cycle}, references"))
        return _detour(steps, name, {"pending": len(waiting)})
    return _detour(_cycle(spec, content, cycle + 1), name, summary)


@job(config=config(BATCHED))
def calculate_batches(content: Content, cycle: int) -> Response[Content]:
    """Make the reference calculations of a cycle; a detour does what time is too short for."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, CALCULATING, cycle)
    with job_records() as records, stages.recorded_failure(records, spec.known, name):
        done = reference.calculate_pending(records, spec, cycle, Pace(None))
    if done:
        return Response(output={"cycle": cycle})
    again = _named(calculate_batches(content, cycle), spec, f"cycle {cycle}, calculate")
    return _detour([again], name, {"cycle": cycle})


@job(config=config(MPI))
def calculate_one(content: Content, cycle: int, places: list[int]) -> Content:
    """Make one reference calculation."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, CALCULATING, cycle)
    with job_records() as records, stages.recorded_failure(records, spec.known, name):
        reference.calculate(records, spec, cycle, places)
    return {"places": places}


@job(config=config(BATCHED))
def train(content: Content, cycle: int) -> Content:
    """Train the ensemble of a cycle."""
    spec = ActiveLearningSpec.build(content)
    with job_records() as records:
        summary = stages.stage(
            records,
            spec.known,
            stage_name(spec, TRAINING, cycle),
            lambda: train_ensemble(records, spec, cycle),
        )
    return {"configurations": summary["configurations"]}


@job(config=config(BATCHED))
def relax(
    content: Content, cycle: int, part: int, parts: int, after: Any = None
) -> Response[Content]:
    """Relax a part of the pool; what the job's time is too short for, a detour does."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, RELAXING, cycle)
    with job_records() as records:
        if stages.finished_summary(records, spec.known, name) is not None:
            return Response(output={"part": part})
        stages.begin_stage(records, spec.known, name)
        with stages.recorded_failure(records, spec.known, name):
            done = relax_pool(records, spec, cycle, Pace(None), part, parts)
    if done:
        return Response(output={"part": part})
    again = _named(relax(content, cycle, part, parts), spec, f"cycle {cycle}, relax the pool")
    return _detour([again], name, {"part": part})


@job(config=config(CPU))
def choose(content: Content, cycle: int, after: Any = None) -> Response[Content]:
    """Choose what is calculated next, or end the cycles."""
    spec = ActiveLearningSpec.build(content)
    name, relaxing = (stage_name(spec, step, cycle) for step in (CHOOSING, RELAXING))
    with job_records() as records:
        if stages.finished_summary(records, spec.known, relaxing) is None:
            counts = pool_summary(records, spec, cycle)
            stages.finish_stage(records, spec.known, relaxing, counts)
        summary = stages.stage(
            records, spec.known, name, lambda: choosing.choose(records, spec, cycle)
        )
    if summary["decision"] == "go_on":
        steps = [_named(calculate_chosen(content, cycle), spec, f"cycle {cycle}, references")]
    else:
        steps = [_named(finish(content, cycle), spec, "relax the best")]
    return _detour(steps, name, summary)


@job(config=config(CPU))
def finish(content: Content, cycle: int, after: Any = None) -> Response[Content] | Content:
    """Have the best structures relaxed with the reference method, and conclude."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, RELAXING_BEST)
    with job_records() as records:
        summary = stages.finished_summary(records, spec.known, name)
        if summary is None:
            stages.begin_stage(records, spec.known, name)
            with stages.recorded_failure(records, spec.known, name):
                waiting = finishing.pending_best(records, spec, cycle)
                if not waiting:
                    summary = dict(finishing.relaxed_summary(records, spec))
                    stages.finish_stage(records, spec.known, name, summary)
        if summary is not None:
            return _conclude(records, spec)
    steps = _final_relaxations(spec, content, cycle, waiting)
    again = finish(content, cycle, after=[step.output for step in steps])
    return _detour([*steps, _named(again, spec, "conclude")], name, {"pending": len(waiting)})


@job(config=config(BATCHED))
def relax_best(content: Content, cycle: int) -> Response[Content]:
    """Relax the best structures; what the job's time is too short for, a detour does."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, RELAXING_BEST)
    with job_records() as records, stages.recorded_failure(records, spec.known, name):
        done = finishing.relax_best_pending(records, spec, cycle, Pace(None))
    if done:
        return Response(output={"cycle": cycle})
    return _detour([_named(relax_best(content, cycle), spec, "relax the best")], name, {})


@job(config=config(MPI))
def relax_one(content: Content, cycle: int, kind: str, number: int, parents: list[str]) -> Content:
    """Relax one of the best structures."""
    spec = ActiveLearningSpec.build(content)
    name = stage_name(spec, RELAXING_BEST)
    batch = RelaxationBatch(number, parents)
    with job_records() as records, stages.recorded_failure(records, spec.known, name):
        finishing.relax_best(records, spec, cycle, (kind, batch))  # type: ignore[arg-type]
    return {"parents": parents}


@dataclass
class ActiveLearningSearchMaker(Maker):
    """Maker of the flow that searches with few reference calculations.

    The number of cycles is not known before: jobs add those that follow from what they found. From
    first principles, each reference calculation is a job of its own.
    """

    name: str = "active learning"

    def make(self, spec: ActiveLearningSpec) -> Flow:
        """Make the flow of a search.

        Raises
        ------
        SpecError
            If it cannot work, with every reason, before any work starts.
        """
        _validate(spec)
        content, known = spec.model_dump(mode="json"), spec.known
        searched = known.model_dump(mode="json")
        gathering = jobs.gather_references(searched)
        sampling = jobs.fill_quotas(
            searched, spec.formula_units, load_settings().sampling_jobs, after=gathering.output
        )
        first = calculate_chosen(content, 0, after=sampling.output)
        steps: list[Flow | Job] = [
            named(gathering, known, "known structures"),
            named(sampling, known, jobs.quotas_name(spec.formula_units)),
            _named(first, spec, "cycle 0, references"),
        ]
        return Flow(steps, output=first.output, name=f"{self.name}: {spec.name}")


def run_active_learning(spec: ActiveLearningSpec) -> dict[str, Any]:
    """Run a search by active learning in this process to its end, or continue an interrupted one.

    Returns
    -------
    dict
        See `crysearch.workflows.active_learning.finishing.conclude`.

    Raises
    ------
    CrysearchError
        If the search cannot work, or a stage fails; the failure is in the records. A reference
        calculation or relaxation that fails is a failure in the records.
    """
    flow = ActiveLearningSearchMaker().make(spec)
    # Its options are looked at here, and not first after the pool has been made.
    reference.reference_engine(spec).check_elements(spec.known.species)
    return run_within(spec.known, flow, stage_name(spec, CONCLUDING))


def submit_active_learning(
    spec: ActiveLearningSpec, launchpad: LaunchPad | None = None
) -> Submission:
    """Put a search on the launch pad, once; jobs of it that failed are made ready again.

    Raises
    ------
    CrysearchError
        The search cannot work, or the database does not answer.
    """
    flow = ActiveLearningSearchMaker().make(spec)
    known, last = spec.known, stage_name(spec, CONCLUDING)
    metadata = {"active_learning": spec.identifier, "of": known.search_id}
    return submit_within(known, flow, last, "complete", metadata, launchpad)


def _cycle(spec: ActiveLearningSpec, content: Content, cycle: int) -> list[Job]:
    """Training, relaxation of the pool and choice of a cycle."""
    parts = load_settings().sampling_jobs
    training = _named(train(content, cycle), spec, f"cycle {cycle}, train")
    relaxing = [
        _named(
            relax(content, cycle, part, parts, after=training.output),
            spec,
            f"cycle {cycle}, relax the pool, {part + 1}/{parts}",
        )
        for part in range(parts)
    ]
    choosing_job = choose(content, cycle, after=[step.output for step in relaxing])
    return [training, *relaxing, _named(choosing_job, spec, f"cycle {cycle}, choose")]


def _calculations(
    spec: ActiveLearningSpec, content: Content, cycle: int, waiting: list[list[int]]
) -> list[Job]:
    if not reference.is_first_principles(spec.reference.engine):
        return [_named(calculate_batches(content, cycle), spec, f"cycle {cycle}, calculate")]
    return [
        _named(calculate_one(content, cycle, places), spec, f"cycle {cycle}, calculate {places[0]}")
        for places in waiting
    ]


def _final_relaxations(
    spec: ActiveLearningSpec, content: Content, cycle: int, waiting: list[finishing.Group]
) -> list[Job]:
    if not reference.is_first_principles(spec.reference.engine):
        return [_named(relax_best(content, cycle), spec, "relax the best")]
    return [
        _named(
            relax_one(content, cycle, kind, batch.number, batch.parents),
            spec,
            f"relax the best, {kind} {batch.number + 1}",
        )
        for kind, batch in waiting
    ]


def _conclude(records: RecordStore, spec: ActiveLearningSpec) -> Content:
    name = stage_name(spec, CONCLUDING)
    summary = stages.stage(records, spec.known, name, lambda: finishing.conclude(records, spec))
    stages.finish_search(records, spec.known, "complete")
    return summary


def _named(new: Job, spec: ActiveLearningSpec, name: str) -> Job:
    return named(new, spec.known, name)


def _detour(steps: list[Job], name: str, output: Content) -> Response[Content]:
    return Response(output=output, detour=Flow([*steps], name=name))


def _validate(spec: ActiveLearningSpec) -> None:
    """Checks that need the science modules."""
    part = spec.potential
    if part.model not in available_potentials():
        raise SpecError(
            "the active learning cannot work:\n  potential.model: "
            f"{part.model!r} — choose one of {', '.join(available_potentials())}"
        )
    validate(spec.known)
    try:
        make_potential(part, spec.known.species)
    except TrainingError as error:
        raise SpecError(f"the active learning cannot work:\n  potential: {error}") from error
