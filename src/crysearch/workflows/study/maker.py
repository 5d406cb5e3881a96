"""The flow of a study: one training job for each variant, screening, relaxation, conclusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, Response, job

from crysearch.errors import SpecError
from crysearch.generative import available_models
from crysearch.study import StudySpec
from crysearch.workflows import jobs, stages
from crysearch.workflows.context import job_records, validate
from crysearch.workflows.jobs import BATCHED, CPU, config, named
from crysearch.workflows.local import run_within
from crysearch.workflows.pace import Pace
from crysearch.workflows.study.conclude import conclude
from crysearch.workflows.study.relaxing import relax_pending, relaxing_summary
from crysearch.workflows.study.screening import screen_trials
from crysearch.workflows.study.stage_names import CONCLUDING, RELAXING, SCREENING, stage_name
from crysearch.workflows.study.training import train_variant
from crysearch.workflows.submission import Submission, submit_within

Content = dict[str, Any]


@job(config=config(BATCHED))
def train(study: Content, variant: str, after: Any = None) -> Content:
    """Train and measure one variant with every seed."""
    asked = StudySpec.build(study)
    with job_records() as records:
        name = stage_name(asked, f"training {variant}")
        return stages.stage(
            records, asked.known, name, lambda: train_variant(records, asked, variant)
        )


@job(config=config(CPU))
def screen(study: Content, after: Any = None) -> Content:
    """Draw the random crystals and screen them with the replicas of every trial."""
    asked = StudySpec.build(study)
    with job_records() as records:
        summary = stages.stage(
            records,
            asked.known,
            stage_name(asked, SCREENING),
            lambda: screen_trials(records, asked),
        )
    return {"crystals": summary["crystals"]}


@job(config=config(BATCHED))
def relax(study: Content, after: Any = None) -> Response[Content]:
    """Relax what was chosen; what the job's time is too short for, a detour does."""
    asked = StudySpec.build(study)
    name = stage_name(asked, RELAXING)
    with job_records() as records:
        finished = stages.finished_summary(records, asked.known, name)
        if finished is not None:
            return Response(output=finished)
        stages.begin_stage(records, asked.known, name)
        with stages.recorded_failure(records, asked.known, name):
            done = relax_pending(records, asked, Pace(None))
        summary: Content = relaxing_summary(records, asked)
        if done:
            stages.finish_stage(records, asked.known, name, summary)
            return Response(output=summary)
    again = named(relax(study), asked.known, "relax what was chosen")
    return Response(output=summary, detour=Flow([again], name=again.name))


@job(config=config(CPU))
def summarise(study: Content, after: Any = None) -> Content:
    """Write the document of the study."""
    asked = StudySpec.build(study)
    with job_records() as records:
        summary = stages.stage(
            records, asked.known, stage_name(asked, CONCLUDING), lambda: conclude(records, asked)
        )
        # The study is done; its search has only what the study needed.
        stages.finish_search(records, asked.known, "paused")
    return summary


@dataclass
class GenerativeStudyMaker(Maker):
    """Maker of the flow that compares generative models; each variant is trained in one job."""

    name: str = "generative study"

    def make(self, spec: StudySpec) -> Flow:
        """Make the flow of a study.

        Raises
        ------
        SpecError
            If the study cannot work, with every reason, before any work starts.
        """
        _validate(spec)
        content, known = spec.model_dump(mode="json"), spec.known
        gathering = jobs.gather_references(known.model_dump(mode="json"))
        steps: list[Flow | Job] = [named(gathering, known, "known structures")]
        training = [
            named(
                train(content, variant.name, after=gathering.output),
                known,
                f"train {variant.name}",
            )
            for variant in spec.variants
        ]
        screening = screen(content, after=[job.output for job in training])
        relaxing = relax(content, after=screening.output)
        concluding = summarise(content, after=relaxing.output)
        steps += [
            *training,
            named(screening, known, "screen random crystals"),
            named(relaxing, known, "relax what was chosen"),
            named(concluding, known, "conclude"),
        ]
        return Flow(steps, output=concluding.output, name=f"{self.name}: {spec.name}")


def _validate(spec: StudySpec) -> None:
    """Checks that need the science modules."""
    problems = [
        f"variants.{place}.generative.model: {variant.generative.model!r} — choose one of "
        f"{', '.join(available_models())}"
        for place, variant in enumerate(spec.variants)
        if variant.generative.model not in available_models()
    ]
    if problems:
        raise SpecError("\n  ".join(["the study cannot work:", *problems]))
    validate(spec.known)


def run_study(spec: StudySpec) -> dict[str, Any]:
    """Run a study in this process to its end, or continue one that was interrupted.

    Returns
    -------
    dict
        ``study``, the ``_id`` of its document in the collection ``studies``; ``trials``,
        ``failed``, ``relaxed``, and the ``sentences`` of the conclusion.

    Raises
    ------
    CrysearchError
        If the study cannot work, or a stage fails; the failure is in the records. A training that
        fails is a failed trial.
    """
    flow = GenerativeStudyMaker().make(spec)
    return run_within(spec.known, flow, stage_name(spec, CONCLUDING))


def submit_study(spec: StudySpec, launchpad: LaunchPad | None = None) -> Submission:
    """Put a study on the launch pad, once; jobs of it that failed are made ready again.

    Raises
    ------
    CrysearchError
        The study cannot work, or the database does not answer.
    """
    flow = GenerativeStudyMaker().make(spec)
    known, last = spec.known, stage_name(spec, CONCLUDING)
    metadata = {"study": spec.identifier, "of": known.search_id}
    return submit_within(known, flow, last, "paused", metadata, launchpad)
