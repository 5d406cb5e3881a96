"""The flow of an assessment: the phases are relaxed first, then one job for each quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, job

from crysearch.assessment_spec import AssessmentSpec
from crysearch.records.schema_assessments import AssessedQuantity
from crysearch.relaxation import available_relaxers
from crysearch.workflows.assessment.calculate import calculate, open_assessment
from crysearch.workflows.assessment.subjects import assessment_of, whole_spec
from crysearch.workflows.context import job_records, make_engine
from crysearch.workflows.jobs import BATCHED, MPI, config
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.local import run_flow
from crysearch.workflows.submission import Submission, add_to, submitted_before

Content = dict[str, Any]


@job(config=config(BATCHED))
def assess(assessment: Content, quantity: AssessedQuantity, after: Any = None) -> Content:
    """Compute one quantity; ``after`` is the output of the job that must come first."""
    with job_records() as records:
        return calculate(records, AssessmentSpec.build(assessment), quantity)


@dataclass
class AssessmentMaker(Maker):
    """Maker of the flow that assesses an engine; what is in the records is not computed again."""

    name: str = "assessment"

    def make(self, spec: AssessmentSpec) -> Flow:
        """Make the flow.

        Raises
        ------
        SpecError
            The assessment cannot work, with the reason, before any work starts.
        """
        spec = whole_spec(spec)
        with job_records() as records:
            records.ensure_indexes()
            document = open_assessment(records, spec)
        content = spec.model_dump(mode="json")
        first = self._job(content, spec, document, "phases", None)
        steps: list[Flow | Job] = [first]
        for quantity in spec.quantities:
            if quantity != "phases":
                steps.append(self._job(content, spec, document, quantity, first.output))
        outputs = [step.output for step in steps]
        return Flow(steps, output=outputs, name=f"{self.name}: {spec.engine} {spec.composition}")

    def _job(
        self,
        content: Content,
        spec: AssessmentSpec,
        document: Content,
        quantity: AssessedQuantity,
        after: Any,
    ) -> Job:
        new: Job = assess(content, quantity, after=after)
        new.name = f"{quantity.replace('_', ' ')} of {spec.composition} by {spec.engine}"
        new.metadata["assessment"] = document["_id"]
        if any(i.programs for i in available_relaxers() if i.name == spec.engine):
            new.config = config(MPI)
        return new


def run_assessment(spec: AssessmentSpec) -> dict[str, Any]:
    """Assess an engine in this process; returns the document of ``assessments``.

    Raises
    ------
    CrysearchError
        The assessment cannot work. A quantity that fails is a reason in the document.
    """
    spec = whole_spec(spec)
    flow = AssessmentMaker().make(spec)
    # What the machine lacks is said before the first job.
    with job_records() as records:
        document = open_assessment(records, spec)
        make_engine(spec.engine, spec.options).check_elements(document["elements"])
    run_flow(flow)
    with job_records() as records:
        found = assessment_of(records, spec)
    assert found is not None, "the flow has made it"
    return found


def submit_assessment(spec: AssessmentSpec, launchpad: LaunchPad | None = None) -> Submission:
    """Put an assessment on the launch pad, once; jobs of it that failed are made ready again.

    Raises
    ------
    CrysearchError
        The assessment cannot work, or the database does not answer.
    """
    spec = whole_spec(spec)
    flow = AssessmentMaker().make(spec)
    pad = configured_launchpad() if launchpad is None else launchpad
    asked = {name: spec.settings_id(name) for name in spec.quantities}
    with job_records() as records:
        document = open_assessment(records, spec)
    metadata = {"assessment": document["_id"], "quantities": asked}
    earlier = submitted_before(pad, metadata)
    state, fw_ids = earlier or ("added", add_to(pad, flow, metadata))
    return Submission(None, state, fw_ids)
