"""The flow of a protocol of molecular dynamics: a job for each stage, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, job

from crysearch.protocol_spec import ProtocolSpec
from crysearch.workflows.context import job_records
from crysearch.workflows.dynamics.stages import (
    AskedProtocol,
    conclude_protocol,
    open_protocol,
    run_stage,
    settle_protocol,
    stages_to_run,
)
from crysearch.workflows.dynamics.starting import make_propagator, runs_a_program
from crysearch.workflows.jobs import BATCHED, CPU, MPI, config
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.local import run_recorded
from crysearch.workflows.submission import Submission, add_to, submitted_before

Content = dict[str, Any]


def _propagate(identifier: str, name: str) -> Content:
    with job_records() as records:
        return run_stage(records, identifier, name)


@job(config=config(BATCHED))
def propagate_stage(identifier: str, name: str, after: Any = None) -> Content:
    """Run a stage; ``after`` is the output of the one that it goes on from."""
    return _propagate(identifier, name)


@job(config=config(MPI))
def propagate_stage_mpi(identifier: str, name: str, after: Any = None) -> Content:
    """Run a stage with an engine that runs a program."""
    return _propagate(identifier, name)


@job(config=config(CPU))
def summarise_protocol(identifier: str, after: Any = None) -> Content:
    """Write what became of a protocol; ``after`` are the outputs of its stages."""
    with job_records() as records:
        return conclude_protocol(records, identifier)


@dataclass
class ProtocolMaker(Maker):
    """Maker of the flow of a protocol; each stage is one job, after that which it goes on from.

    A stage that a killed job has not finished is run again from its beginning; stages that are
    done are not.
    """

    name: str = "protocol"

    def make(self, spec: ProtocolSpec) -> Flow:
        """Make the flow, and write the document that its jobs read.

        Raises
        ------
        SpecError
            It cannot work, with every reason, before any work starts.
        """
        with job_records() as records:
            asked = settle_protocol(records, spec)
            open_protocol(records, asked, "submitted")
        return self._flow(asked)

    def _flow(self, asked: AskedProtocol) -> Flow:
        spec, identifier = asked.spec, asked.identifier
        run = propagate_stage_mpi if runs_a_program(spec.engine) else propagate_stage
        steps: dict[str, Job] = {}
        for stage in spec.stages:
            before = spec.before(stage.name)
            after = None if before is None else steps[before].output
            step = run(identifier, stage.name, after=after)
            steps[stage.name] = _named(step, asked, stage.name)
        outputs = [step.output for step in steps.values()]
        last = _named(summarise_protocol(identifier, after=outputs), asked, "summary")
        return Flow([*steps.values(), last], output=last.output, name=f"{self.name}: {spec.name}")


def run_protocol(spec: ProtocolSpec) -> dict[str, Any]:
    """Run a protocol in this process; stages that are done are not repeated.

    Returns
    -------
    dict
        ``protocol``, the ``_id`` of its document; the numbers of ``stages``, and of those that
        ``finished``, ``exploded``, ``failed`` and were ``not run``.

    Raises
    ------
    CrysearchError
        It cannot work. A stage that explodes or fails on the way is in the records, and so are
        those that could not be run without it.
    """
    with job_records() as records:
        asked = settle_protocol(records, spec)
        # Its options and data are looked at here, and not first in a job.
        make_propagator(asked.spec.engine, dict(asked.spec.options))
        open_protocol(records, asked, "running")
        identifier = asked.identifier
        run_recorded(
            ProtocolMaker()._flow(asked),
            lambda status: records.update("protocols", {identifier: {"status": status}}),
        )
        return conclude_protocol(records, identifier)


def submit_protocol(spec: ProtocolSpec, launchpad: LaunchPad | None = None) -> Submission:
    """Put a protocol on the launch pad, once; jobs of it that failed are ready again.

    Returns
    -------
    Submission
        Its ``search`` is the ``_id`` of the protocol.

    Raises
    ------
    CrysearchError
        It cannot work, or the database does not answer.
    """
    with job_records() as records:
        asked = settle_protocol(records, spec)
        identifier = asked.identifier
        if not stages_to_run(records, asked):
            return Submission(identifier, "complete")
        pad = configured_launchpad() if launchpad is None else launchpad
        metadata = {"protocol": identifier}
        earlier = submitted_before(pad, metadata)
        if earlier is None:
            open_protocol(records, asked, "submitted")
    state, fw_ids = earlier or ("added", add_to(pad, ProtocolMaker()._flow(asked), metadata))
    return Submission(identifier, state, fw_ids)


def _named(new: Job, asked: AskedProtocol, name: str) -> Job:
    new.name = name
    new.metadata["protocol"] = asked.identifier
    return new
