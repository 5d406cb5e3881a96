"""The flow of molecular dynamics: a job for each temperature and pressure, and a summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, job

from crysearch.dynamics_spec import DynamicsSpec
from crysearch.records import RecordStore, dynamics
from crysearch.workflows.context import job_records
from crysearch.workflows.dynamics.running import conclude, open_dynamics, run_state_point
from crysearch.workflows.dynamics.starting import (
    Asked,
    make_propagator,
    runs_a_program,
    settle,
    with_whole_ids,
)
from crysearch.workflows.jobs import BATCHED, CPU, MPI, config
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.local import run_recorded
from crysearch.workflows.submission import Submission, add_to, submitted_before

Content = dict[str, Any]


def _propagate(identifier: str, temperature: float, pressure: float) -> Content:
    with job_records() as records:
        return run_state_point(records, identifier, temperature, pressure)


@job(config=config(BATCHED))
def propagate(identifier: str, temperature: float, pressure: float) -> Content:
    """Run molecular dynamics at one state point (K, GPa)."""
    return _propagate(identifier, temperature, pressure)


@job(config=config(MPI))
def propagate_mpi(identifier: str, temperature: float, pressure: float) -> Content:
    """Run molecular dynamics at one state point with an engine that runs a program."""
    return _propagate(identifier, temperature, pressure)


@job(config=config(CPU))
def summarise(identifier: str, after: Any = None) -> Content:
    """Write the summary of all runs; ``after`` are the outputs of the runs."""
    with job_records() as records:
        return conclude(records, identifier)


@dataclass
class DynamicsMaker(Maker):
    """Maker of the flow of molecular dynamics; each run is one job, since runs take long.

    A run that a killed job has not finished is run again from its beginning; runs that are done
    are not.
    """

    name: str = "molecular dynamics"

    def make(self, spec: DynamicsSpec) -> Flow:
        """Make the flow, and write the document that its jobs read.

        Raises
        ------
        SpecError
            It cannot work, with every reason, before any work starts.
        """
        with job_records() as records:
            asked = settle(with_whole_ids(records, spec))
            open_dynamics(records, asked, "submitted")
        return self._flow(asked)

    def _flow(self, asked: Asked) -> Flow:
        spec, identifier = asked.spec, asked.identifier
        run = propagate_mpi if runs_a_program(spec.engine) else propagate
        steps: list[Job] = []
        for temperature, pressure in spec.state_points:
            at = f"{temperature:g} K" + (f", {pressure:g} GPa" if spec.ensemble == "npt" else "")
            steps.append(_named(run(identifier, temperature, pressure), asked, f"dynamics, {at}"))
        last = _named(
            summarise(identifier, after=[step.output for step in steps]), asked, "summary"
        )
        return Flow([*steps, last], output=last.output, name=f"{self.name}: {spec.name}")


def run_dynamics(spec: DynamicsSpec) -> dict[str, Any]:
    """Run molecular dynamics in this process; runs that are done are not repeated.

    Returns
    -------
    dict
        ``dynamics``, the ``_id`` of its document; the numbers of ``runs`` in the records, and of
        those that ``finished`` and ``exploded``. The rest failed.

    Raises
    ------
    CrysearchError
        It cannot work. An engine that fails on the way is a failed run in the records.
    """
    with job_records() as records:
        asked = settle(with_whole_ids(records, spec))
        # Its options and data are looked at here, and not first in a job.
        make_propagator(asked.spec.engine, dict(asked.spec.options))
        open_dynamics(records, asked, "running")
        identifier = asked.identifier
        run_recorded(
            DynamicsMaker()._flow(asked),
            lambda status: records.update("dynamics", {identifier: {"status": status}}),
        )
        return conclude(records, identifier)


def submit_dynamics(spec: DynamicsSpec, launchpad: LaunchPad | None = None) -> Submission:
    """Put molecular dynamics on the launch pad, once; jobs of it that failed are ready again.

    Returns
    -------
    Submission
        Its ``search`` is the ``_id`` of the molecular dynamics.

    Raises
    ------
    CrysearchError
        It cannot work, or the database does not answer.
    """
    with job_records() as records:
        asked = settle(with_whole_ids(records, spec))
        identifier = asked.identifier
        if not _pending(records, asked):
            return Submission(identifier, "complete")
        pad = configured_launchpad() if launchpad is None else launchpad
        metadata = {"dynamics": identifier, "state_points": _label(asked)}
        earlier = submitted_before(pad, metadata)
        if earlier is None:
            open_dynamics(records, asked, "submitted")
    state, fw_ids = earlier or ("added", add_to(pad, DynamicsMaker()._flow(asked), metadata))
    return Submission(identifier, state, fw_ids)


def _pending(records: RecordStore, asked: Asked) -> list[tuple[float, float]]:
    done = {
        one["_id"]
        for one in dynamics.trajectories_of(records, asked.identifier, {"status": 1})
        if one["status"] != "failed"
    }
    return [
        point
        for point in asked.spec.state_points
        if dynamics.trajectory_id(asked.identifier, *point) not in done
    ]


def _label(asked: Asked) -> str:
    return "; ".join(f"{t:g} K {p:g} GPa" for t, p in asked.spec.state_points)


def _named(new: Job, asked: Asked, name: str) -> Job:
    new.name = name
    new.metadata["dynamics"] = asked.identifier
    return new
