"""Documents of molecular dynamics, and how they are found and read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records import protocols
from crysearch.records.documents import Facts, make_document, one_of, shape
from crysearch.records.meant import by_id_or_name, checked_blob, only_document
from crysearch.records.schema_dynamics import Average, DynamicsFlowStatus, TrajectoryStatus
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id, structure_dictionary, structure_document

_AVERAGES = (
    "temperature",
    "pressure",
    "potential_energy_per_atom",
    "total_energy_per_atom",
    "mean_volume_per_atom",
    "mean_density",
)


def dynamics_id(asked: Facts, structure: Structure, search: str | None = None) -> str:
    """The ``_id`` of molecular dynamics.

    Parameters
    ----------
    asked
        Engine, options and all settings; no names, no state points, and not where the structure
        comes from.
    structure
    """
    return deterministic_id(search, "dynamics", dict(asked), structure_dictionary(structure))


def trajectory_id(
    dynamics: str, temperature: float, pressure: float, search: str | None = None
) -> str:
    """The ``_id`` of the run at a state point (K, GPa)."""
    parts = [float(temperature), float(pressure)]
    return deterministic_id(search, "trajectory", dynamics, *parts)


def frame_id(trajectory: str, index: int, search: str | None = None) -> str:
    """The ``_id`` of a frame."""
    return deterministic_id(search, "frame", trajectory, int(index))


def dynamics_document(
    *,
    identifier: str | None = None,
    name: str,
    spec: Facts,
    asked: Facts,
    structure: Structure,
    engine: str,
    ensemble: str,
    state_points: Sequence[Sequence[float]],
    status: DynamicsFlowStatus = "running",
    summary: Sequence[Facts] = (),
    search: str | None = None,
    seed: int | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of molecular dynamics; see `dynamics_id` for ``asked``."""
    fields = {
        **structure_document(structure),
        "name": name,
        "spec": dict(spec),
        "status": one_of(DynamicsFlowStatus, "status", status),
        "engine": engine,
        "ensemble": ensemble,
        "state_points": [list(point) for point in state_points],
        "summary": [dict(row) for row in summary],
    }
    identifier = identifier or dynamics_id(asked, structure, search)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def trajectory_document(
    *,
    dynamics: str,
    engine: str,
    propagator: str,
    ensemble: str,
    structure: Structure,
    temperature: float,
    pressure: float,
    settings: Facts,
    seed: int,
    status: TrajectoryStatus,
    blob: bytes,
    frames: int,
    duration: float,
    seconds: float,
    averages: Mapping[str, Facts | None] | None = None,
    energy_drift: float | None = None,
    energy_conserved: bool | None = None,
    final_structure: Structure | None = None,
    failure: str | None = None,
    failure_detail: str | None = None,
    search: str | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a run.

    Parameters
    ----------
    dynamics
        The ``_id`` of the document that asked for it.
    temperature, pressure
        Of the state point, K and GPa.
    settings
        As the propagator got them.
    blob
        What its blob holds; the document has its checksum.
    averages
        `Average` of each quantity by the name of its field.
    seconds
        That it took.

    See `crysearch.records.schema_dynamics.TrajectoryDocument` for the rest.
    """
    identifier = trajectory_id(dynamics, temperature, pressure, search)
    known = averages or {}
    fields = {
        **structure_document(structure),
        "dynamics": dynamics,
        "engine": engine,
        "propagator": propagator,
        "ensemble": ensemble,
        "target_temperature": float(temperature),
        "target_pressure": float(pressure) if ensemble == "npt" else None,
        "final_temperature": settings.get("final_temperature"),
        "timestep": settings["timestep"],
        "steps": settings["steps"],
        "settings": dict(settings),
        "seed": seed,
        "status": one_of(TrajectoryStatus, "status", status),
        "failure": failure,
        "failure_detail": failure_detail,
        "frames": frames,
        "duration": duration,
        **{name: shape(Average, known.get(name)) for name in _AVERAGES},
        "energy_drift": energy_drift,
        "energy_conserved": energy_conserved,
        "final_structure": None
        if final_structure is None
        else structure_dictionary(final_structure),
        "blob_id": f"trajectory-{identifier}",
        "blob_sha256": hashlib.sha256(blob).hexdigest(),
        "blob_bytes": len(blob),
        "seconds": seconds,
    }
    above = [dynamics, *parents]
    return make_document(search, identifier, fields, seed, above, provenance, created_at)


def frame_document(
    *,
    dynamics: str,
    trajectory: str,
    index: int,
    step: int,
    time: float,
    structure: Structure,
    temperature: float,
    pressure: float,
    potential_energy: float,
    total_energy: float,
    search: str | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a frame; energies are of the cell, eV."""
    fields = {
        **structure_document(structure),
        "dynamics": dynamics,
        "trajectory": trajectory,
        "index": int(index),
        "step": int(step),
        "time": time,
        "temperature": temperature,
        "pressure": pressure,
        "potential_energy": potential_energy,
        "potential_energy_per_atom": potential_energy / len(structure),
        "total_energy_per_atom": total_energy / len(structure),
    }
    identifier = frame_id(trajectory, index, search)
    return make_document(search, identifier, fields, None, [trajectory], provenance, created_at)


def all_dynamics(store: RecordStore) -> list[dict[str, Any]]:
    """Return all molecular dynamics, newest first, without structures."""
    hidden = {"provenance": 0, "structure": 0, "spec": 0}
    return store.find("dynamics", {}, hidden, [("created_at", -1), ("_id", 1)])


def resolve_dynamics(store: RecordStore, which: str) -> dict[str, Any]:
    """Return the document of the molecular dynamics that a person means.

    Parameters
    ----------
    which
        Its name, or the beginning of its ``_id``.

    Raises
    ------
    RecordsError
        There is none, or several are meant.
    """
    known = all_dynamics(store)
    if not known:
        raise RecordsError(
            f"There is no molecular dynamics in {store.description}: run one with `crysearch "
            "dynamics run SPEC`."
        )
    return only_document(
        store,
        "dynamics",
        by_id_or_name(known, which),
        known,
        several="Several have",
        none="No molecular dynamics has",
        said=f"the name {which!r} or an id that begins so",
        label=lambda one: one["name"],
        command="crysearch dynamics list",
    )


def trajectories_of(
    store: RecordStore, dynamics: str, projection: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the runs of molecular dynamics by temperature and pressure.

    Parameters
    ----------
    dynamics
        Its ``_id``.
    projection
        As for `RecordStore.find`.
    """
    order = [("target_temperature", 1), ("target_pressure", 1), ("_id", 1)]
    return store.find("trajectories", {"dynamics": dynamics}, projection, order)


def resolve_trajectories(store: RecordStore, which: str) -> list[dict[str, Any]]:
    """Return the runs that a person means.

    Parameters
    ----------
    which
        The beginning of the ``_id`` of a run; what `resolve_protocol` takes, for the run of its
        last stage, or that with a slash and the name of a stage; or what `resolve_dynamics` takes,
        for all its runs.

    Raises
    ------
    RecordsError
        There is none.
    """
    if re.fullmatch("[0-9a-f]{4,24}", which):
        # A range instead of a pattern: it uses the index.
        query = {"_id": {"$gte": which, "$lt": which + "\uffff"}}
        found = store.find("trajectories", query, limit=2)
        if len(found) == 1:
            return found
    meant = protocols.meant_protocol(store, which)
    if meant is not None:
        return [_run_of_stage(store, meant, meant["stages"][-1]["name"])]
    protocol, _, stage = which.rpartition("/")
    # A slash may also be in the name of molecular dynamics.
    if protocol and store.find_one("dynamics", {"name": which}, ["_id"]) is None:
        meant = protocols.meant_protocol(store, protocol, only=True)
        if meant is not None:
            return [_run_of_stage(store, meant, stage)]
    runs = trajectories_of(store, resolve_dynamics(store, which)["_id"])
    if not runs:
        raise RecordsError(f"Molecular dynamics {which!r} has no run yet.")
    return runs


def _run_of_stage(store: RecordStore, protocol: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The run of a stage of a protocol.

    Raises
    ------
    RecordsError
        There is no such stage, or it has no run.
    """
    of = f"protocol {protocol['_id'][:10]} ({protocol['name']})"
    stages = {row["name"]: row for row in protocol["stages"]}
    if name not in stages:
        raise RecordsError(
            f"There is no stage {name!r} in {of}: choose one of {', '.join(stages)}."
        )
    row = stages[name]
    run = None if row["trajectory"] is None else store.get("trajectories", row["trajectory"])
    if run is None:
        reason = f" ({row['failure_detail']})" if row["failure_detail"] else ""
        raise RecordsError(
            f"Stage {name!r} of {of} has no run; it is {row['status']!r}{reason}: choose another "
            "stage, or run the protocol again."
        )
    return run


def trajectory_bytes(store: RecordStore, document: Mapping[str, Any]) -> bytes:
    """Return the frames of a run.

    Raises
    ------
    RecordsError
        They are no longer there, or are not those that the document is about.
    """
    return checked_blob(
        store,
        document,
        "blob_sha256",
        content="frames of trajectory",
        way_out="delete its document, and run the molecular dynamics again",
    )
