"""Documents of molecular dynamics: what was asked, each run, and frames of it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from crysearch.records.schema import SharedDocument, StructureFields

DynamicsFlowStatus = Literal["submitted", "running", "complete", "interrupted", "failed"]
TrajectoryStatus = Literal["finished", "exploded", "failed"]


class Average(TypedDict):
    """Of the frames of a run; the error of the mean counts their correlation, null if unknown."""

    mean: float
    standard_deviation: float
    standard_error: float | None


class DynamicsDocument(SharedDocument, StructureFields):
    """Molecular dynamics of one structure with one engine and equal settings.

    ``state_points`` are temperature (K) and pressure (GPa) of each run asked for so far; they are
    no part of the ``_id``. ``summary`` has a row for each run that is done.
    """

    name: str
    spec: dict[str, Any]
    status: DynamicsFlowStatus
    engine: str
    ensemble: str
    state_points: list[list[float]]
    summary: list[dict[str, Any]]


class TrajectoryDocument(SharedDocument, StructureFields):
    """A run; its frames are the blob ``blob_id``, with the SHA-256 given. The structure is initial.

    Temperatures are in K, pressures in GPa, times in ps (``timestep`` in fs). ``temperature`` and
    the other averages are over all ``frames``, null if there are none; means of a run with a
    ramp have no errors. ``energy_drift`` is the slope of the total energy, eV per atom and ps, in
    NVE, and ``energy_conserved`` whether it is within what the specification allows.
    ``final_structure`` is the last frame.
    """

    dynamics: str
    engine: str
    propagator: str
    ensemble: str
    target_temperature: float
    target_pressure: float | None
    final_temperature: float | None
    timestep: float
    steps: int
    settings: dict[str, Any]
    seed: int
    status: TrajectoryStatus
    failure: str | None
    failure_detail: str | None
    frames: int
    duration: float
    temperature: Average | None
    pressure: Average | None
    potential_energy_per_atom: Average | None
    total_energy_per_atom: Average | None
    mean_volume_per_atom: Average | None
    mean_density: Average | None
    energy_drift: float | None
    energy_conserved: bool | None
    final_structure: dict[str, Any] | None
    blob_id: str
    blob_sha256: str
    blob_bytes: int
    seconds: float


class FrameDocument(SharedDocument, StructureFields):
    """A frame of a run: ``index`` in its trajectory, at a ``step`` and ``time`` (ps)."""

    dynamics: str
    trajectory: str
    index: int
    step: int
    time: float
    temperature: float
    pressure: float
    potential_energy: float
    potential_energy_per_atom: float
    total_energy_per_atom: float
