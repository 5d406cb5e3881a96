"""One run of molecular dynamics into the records, and the summary of all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from pymatgen.core import Structure

from crysearch.dynamics import Trajectory
from crysearch.dynamics.averages import drift_of, mean_of
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import DynamicsError
from crysearch.records import RecordStore, dynamics
from crysearch.records.schema_dynamics import DynamicsFlowStatus
from crysearch.records.values import structure_from_document
from crysearch.workflows.dynamics.files import read_trajectory
from crysearch.workflows.dynamics.starting import Asked, make_propagator
from crysearch.workflows.progress import progress_bar

Row = dict[str, Any]

_SUMMARY = (
    *("target_temperature", "target_pressure", "status", "failure", "frames", "duration"),
    *("temperature", "pressure", "potential_energy_per_atom", "total_energy_per_atom"),
    *("mean_volume_per_atom", "mean_density", "energy_drift", "energy_conserved"),
    *("propagator", "seconds"),
)


def asked_for(records: RecordStore, identifier: str) -> tuple[DynamicsSpec, Structure]:
    """Specification and structure of molecular dynamics in the records.

    Raises
    ------
    DynamicsError
        They are not there, though they were written before any job.
    """
    found = records.get("dynamics", identifier)
    if found is None:
        raise DynamicsError(
            f"molecular dynamics {identifier} is not in the records at {records.description}: the "
            "settings of this worker name another database than the one it was started in (see "
            "`crysearch doctor`)"
        )
    return DynamicsSpec.build(found["spec"]), structure_from_document(found)


def open_dynamics(records: RecordStore, asked: Asked, status: DynamicsFlowStatus) -> None:
    """Write the document of molecular dynamics, with the state points asked for before."""
    records.ensure_indexes()
    identifier = asked.identifier
    known = records.get("dynamics", identifier)
    points = {tuple(point) for point in known["state_points"]} if known is not None else set()
    points |= {(float(t), float(p)) for t, p in asked.spec.state_points}
    ordered = [list(point) for point in sorted(points)]
    if known is None:
        records.upsert("dynamics", [asked.document(ordered, status)])
        return
    changes = {"name": asked.spec.name, "status": status, "state_points": ordered}
    records.update("dynamics", {identifier: changes})


def run_state_point(
    records: RecordStore, identifier: str, temperature: float, pressure: float
) -> Row:
    """Run molecular dynamics at one state point, unless it has been.

    A run that exploded is done; one whose engine failed is run again. The document of the run is
    written last: one that was interrupted has none, and is run again from its beginning.

    Returns
    -------
    dict
        Status, number of frames and ``_id`` of the run.
    """
    spec, structure = asked_for(records, identifier)
    trajectory_id = dynamics.trajectory_id(identifier, temperature, pressure)
    known = records.get("trajectories", trajectory_id)
    if known is not None and known["status"] != "failed":
        return _brief(known)
    settings = spec.settings(temperature, pressure)
    propagator = make_propagator(spec.engine, dict(spec.options))
    place = f"{temperature:g} K" + (f", {pressure:g} GPa" if spec.ensemble == "npt" else "")
    total = settings.equilibration_steps + settings.steps
    velocities = None
    if spec.structure.run is not None:
        velocities = read_trajectory(records, spec.structure.run)[1].velocities_of_last
    started = time.perf_counter()
    with progress_bar(f"Dynamics, {place}", total, "steps") as bar:
        trajectory = propagator.run(structure, settings, velocities, bar.update)
    data = trajectory.to_bytes()
    drift = _drift(trajectory, spec)
    document = dynamics.trajectory_document(
        dynamics=identifier,
        engine=spec.engine,
        propagator=propagator.name,
        ensemble=spec.ensemble,
        structure=structure,
        temperature=temperature,
        pressure=pressure,
        settings=dataclasses.asdict(settings),
        seed=settings.seed,
        status=trajectory.status,
        failure=trajectory.failure,
        failure_detail=trajectory.failure_detail,
        blob=data,
        frames=len(trajectory),
        duration=float(trajectory.times[-1]) if len(trajectory) else 0.0,
        seconds=time.perf_counter() - started,
        averages=_averages(trajectory, spec),
        energy_drift=drift,
        energy_conserved=None if drift is None else abs(drift) <= spec.maximum_energy_drift,
        final_structure=trajectory.frame(-1) if len(trajectory) else None,
        provenance=propagator.provenance,
    )
    records.put_blob(document["blob_id"], data, {"dynamics": identifier})
    # Frames of an earlier run of the same that ended elsewhere.
    records.delete("frames", {"trajectory": trajectory_id})
    records.upsert("frames", _frames(trajectory, spec, identifier, trajectory_id))
    records.upsert("trajectories", [document])
    return _brief(document)


def conclude(records: RecordStore, identifier: str) -> Row:
    """Write the summary of all runs; it is complete when each state point has been run."""
    found = records.get("dynamics", identifier)
    assert found is not None, "a run begins with its document"
    rows = summary_of(records, identifier)
    done = len(rows) == len(found["state_points"])
    status = "complete" if done else "running"
    records.update("dynamics", {identifier: {"summary": rows, "status": status}})
    counts = {name: sum(row["status"] == name for row in rows) for name in ("finished", "exploded")}
    return {"dynamics": identifier, "runs": len(rows), **counts}


def summary_of(records: RecordStore, identifier: str) -> list[Row]:
    """A row for each run that is done, by temperature and pressure."""
    wanted = {name: 1 for name in _SUMMARY}
    return [
        {"trajectory": one["_id"], **{name: one[name] for name in _SUMMARY}}
        for one in dynamics.trajectories_of(records, identifier, wanted)
    ]


def _brief(document: Mapping[str, Any]) -> Row:
    return {name: document[name] for name in ("_id", "status", "failure", "frames")}


def _averages(run: Trajectory, spec: DynamicsSpec) -> dict[str, Row | None]:
    if not len(run):
        return {}
    atoms = len(run.numbers)
    series = {
        "temperature": run.temperatures,
        "pressure": run.pressures,
        "potential_energy_per_atom": run.potential_energies / atoms,
        "total_energy_per_atom": run.total_energies / atoms,
        "mean_volume_per_atom": run.volumes / atoms,
        "mean_density": run.densities,
    }
    averages: dict[str, Row | None] = {}
    for name, values in series.items():
        found = mean_of(values)
        # A run with a ramp goes through states: its mean has no error.
        error = None if spec.final_temperature is not None else found.standard_error
        averages[name] = {
            "mean": found.mean,
            "standard_deviation": found.standard_deviation,
            "standard_error": error,
        }
    return averages


def _drift(run: Trajectory, spec: DynamicsSpec) -> float | None:
    if spec.ensemble != "nve":
        return None
    return drift_of(run.times, run.total_energies, len(run.numbers))


def _frames(run: Trajectory, spec: DynamicsSpec, identifier: str, trajectory_id: str) -> list[Row]:
    return [
        dynamics.frame_document(
            dynamics=identifier,
            trajectory=trajectory_id,
            index=int(index),
            step=int(run.steps[index]),
            time=float(run.times[index]),
            structure=run.frame(int(index)),
            temperature=float(run.temperatures[index]),
            pressure=float(run.pressures[index]),
            potential_energy=float(run.potential_energies[index]),
            total_energy=float(run.total_energies[index]),
        )
        for index in run.thinned(spec.frames)
    ]
