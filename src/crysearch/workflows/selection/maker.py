"""The flow of a study of selection: dynamics, labels, fits, liquids, and the conclusion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, job

from crysearch.errors import DatabaseAbsent, RecordsError
from crysearch.records import RecordStore
from crysearch.records.selection import selection_study_document, selection_study_id
from crysearch.selection_spec import SelectionStudySpec
from crysearch.workflows.context import job_records
from crysearch.workflows.dynamics import DynamicsMaker
from crysearch.workflows.jobs import BATCHED, CPU, config
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.local import run_recorded
from crysearch.workflows.selection import conclude as conclusion
from crysearch.workflows.selection import fitting, frames, melt
from crysearch.workflows.submission import Submission, add_to, submitted_before

Content = dict[str, Any]


@contextmanager
def _within(study: SelectionStudySpec) -> Iterator[RecordStore]:
    """The records; what ends a job early is written to the study's document."""
    with job_records() as records:
        try:
            yield records
        except DatabaseAbsent:
            raise
        except Exception as error:
            changes = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
            with suppress(RecordsError):  # what went wrong first matters more
                records.update("selection_studies", {selection_study_id(study.identifier): changes})
            raise


@job(config=config(BATCHED))
def label(study: Content, after: Any = None) -> Content:
    """Calculate the frames of pool and test with the reference method."""
    asked = SelectionStudySpec.build(study)
    with _within(asked) as records:
        return frames.label_pool(records, asked)


@job(config=config(BATCHED))
def fit(study: Content, model: str, method: str, after: Any = None) -> Content:
    """Choose and fit with every size and seed."""
    asked = SelectionStudySpec.build(study)
    with _within(asked) as records:
        return fitting.fit_all(records, asked, model, method)


@job(config=config(CPU))
def describe_melt(study: Content, after: Any = None) -> Content:
    """Write what the reference's liquid looks like."""
    asked = SelectionStudySpec.build(study)
    with _within(asked) as records:
        return melt.reference_melt(records, asked)


@job(config=config(BATCHED))
def run_liquid(study: Content, model: str, method: str, after: Any = None) -> Content:
    """Run the liquid with fitted potentials."""
    asked = SelectionStudySpec.build(study)
    with _within(asked) as records:
        return melt.run_melts(records, asked, model, method)


@job(config=config(CPU))
def summarise(study: Content, after: Any = None) -> Content:
    """Write what it all adds up to."""
    asked = SelectionStudySpec.build(study)
    with _within(asked) as records:
        return conclusion.conclude(records, asked)


@dataclass
class SelectionStudyMaker(Maker):
    """Maker of the flow of a study of selection; the fits of a potential and method are one job."""

    name: str = "study of selection"

    def make(self, spec: SelectionStudySpec) -> Flow:
        """Make the flow, and write the documents that its jobs read.

        Raises
        ------
        SpecError
            The study cannot work, with every reason, before any work starts.
        """
        content = spec.model_dump(mode="json")
        dynamics = [DynamicsMaker().make(part) for part in (spec.pool, spec.test)]
        labelling = _named(
            label(content, after=[flow.output for flow in dynamics]), spec, "label the frames"
        )
        steps: list[Flow | Job] = [*dynamics, labelling]
        last: list[Any] = []
        described = None
        if spec.melt is not None:
            liquid = DynamicsMaker().make(spec.melt)
            described = _named(
                describe_melt(content, after=liquid.output), spec, "the reference's liquid"
            )
            steps += [liquid, described]
            last.append(described.output)
        for model in spec.models:
            for method in spec.methods:
                title = f"{model.name}, {method}"
                fits = _named(
                    fit(content, model.name, method, after=labelling.output), spec, f"fit {title}"
                )
                steps.append(fits)
                last.append(fits.output)
                if described is not None:
                    after = [fits.output, described.output]
                    run = run_liquid(content, model.name, method, after=after)
                    steps.append(_named(run, spec, f"liquid of {title}"))
                    last.append(run.output)
        concluding = _named(summarise(content, after=last), spec, "conclude")
        flow = Flow(
            [*steps, concluding], output=concluding.output, name=f"{self.name}: {spec.name}"
        )
        with job_records() as records:
            _open(records, spec, "submitted")
        return flow


def run_selection_study(spec: SelectionStudySpec) -> dict[str, Any]:
    """Run a study of selection in this process to its end, or continue one that was interrupted.

    Returns
    -------
    dict
        ``study``, the ``_id`` of its document in ``selection_studies``; the number of ``fits``, and
        of those that ``failed``.

    Raises
    ------
    CrysearchError
        The study cannot work, or its dynamics give too few frames. A choice or a training that is
        not possible is a failed fit, a liquid that explodes a recorded ending.
    """
    flow = SelectionStudyMaker().make(spec)
    identifier = selection_study_id(spec.identifier)
    with job_records() as records:
        _open(records, spec, "running")
        run_recorded(
            flow,
            lambda status: records.update("selection_studies", {identifier: {"status": status}}),
        )
        return conclusion.conclude(records, spec)


def submit_selection_study(
    spec: SelectionStudySpec, launchpad: LaunchPad | None = None
) -> Submission:
    """Put a study on the launch pad, once; jobs of it that failed are made ready again.

    Returns
    -------
    Submission
        Its ``search`` is the ``_id`` of the study.

    Raises
    ------
    CrysearchError
        The study cannot work, or the database does not answer.
    """
    identifier = selection_study_id(spec.identifier)
    with job_records() as records:
        known = records.get("selection_studies", identifier)
        if known is not None and known["status"] == "complete":
            return Submission(identifier, "complete")
    pad = configured_launchpad() if launchpad is None else launchpad
    metadata = {"selection_study": identifier}
    earlier = submitted_before(pad, metadata)
    if earlier is not None:
        return Submission(identifier, *earlier)
    return Submission(identifier, "added", add_to(pad, SelectionStudyMaker().make(spec), metadata))


def _open(records: RecordStore, spec: SelectionStudySpec, status: Any) -> None:
    records.ensure_indexes()
    identifier = selection_study_id(spec.identifier)
    known = records.get("selection_studies", identifier)
    if known is None:
        document = selection_study_document(
            study=spec.identifier,
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            status=status,
        )
        records.upsert("selection_studies", [document])
    elif known["status"] != "complete":
        changes = {"name": spec.name, "status": status, "reason": None}
        records.update("selection_studies", {identifier: changes})


def _named(new: Job, spec: SelectionStudySpec, name: str) -> Job:
    new.name = name
    new.metadata["selection_study"] = spec.identifier
    return new
