"""Documents of molecular dynamics: what was asked, each run, and frames of it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from bson.binary import Binary

from crysearch.records.schema import SharedDocument, StructureFields

DynamicsFlowStatus = Literal["submitted", "running", "complete", "interrupted", "failed"]
TrajectoryStatus = Literal["finished", "exploded", "failed"]
ProtocolStatus = Literal["submitted", "running", "complete", "incomplete", "interrupted", "failed"]
StageStatus = Literal["waiting", "finished", "exploded", "failed", "not run"]


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


class Stage(TypedDict):
    """A stage of a protocol: what was asked of it, and what became of it.

    ``after`` is the stage that it goes on from, null for the structure of the protocol. What was
    not run has the reason in ``failure_detail``. ``dynamics`` and ``trajectory`` are ids, the
    averages those of the run.
    """

    name: str
    after: str | None
    ensemble: str
    target_temperature: float
    final_temperature: float | None
    target_pressure: float | None
    dynamics: str | None
    trajectory: str | None
    status: StageStatus
    failure: str | None
    failure_detail: str | None
    frames: int
    duration: float
    temperature: Average | None
    pressure: Average | None
    potential_energy_per_atom: Average | None
    mean_volume_per_atom: Average | None
    mean_density: Average | None
    seconds: float | None


class ProtocolDocument(SharedDocument, StructureFields):
    """A protocol of molecular dynamics: stages of which each goes on from another.

    The structure is that before the first stage. It is ``incomplete`` where a stage exploded or
    failed. ``compare_with`` names the stage that tables hold the others against.
    """

    name: str
    spec: dict[str, Any]
    engine: str
    status: ProtocolStatus
    seed: int
    compare_with: str | None
    stages: list[Stage]


class PairObservables(TypedDict):
    """g(r) of a pair of elements such as ``Na-Cl``, averaged over the frames, with its errors.

    ``r`` (Å), ``g`` and ``error`` are vectors. ``coordination`` is the number of the second
    element's atoms around one of the first, up to ``minimum`` (Å). What g(r) does not show is null,
    with the ``reason``.
    """

    pair: str
    r: Binary
    g: Binary
    error: Binary
    peak: float | None
    peak_height: float | None
    peak_height_error: float | None
    minimum: float | None
    coordination: float | None
    coordination_error: float | None
    reason: str | None


class DiffusionObservables(TypedDict):
    """Self-diffusion of an element, 1e-9 m²/s; ``times`` (ps) and ``squared`` (Å²) are vectors.

    ``first`` and ``last`` (ps) are the lags that the slope is taken from. What could not be
    measured is null, with the ``reason``.
    """

    element: str
    coefficient: float | None
    error: float | None
    first: float | None
    last: float | None
    times: Binary | None
    squared: Binary | None
    reason: str | None


class NeighbourShare(TypedDict):
    """Share of the atoms with a number of neighbours."""

    neighbours: int
    share: float


class BondObservables(TypedDict):
    """Neighbours nearer than ``cutoff`` (Å), whatever the elements, and the angles between them.

    Angles are in degrees; ``degrees`` and ``angles`` (per degree) are vectors.
    """

    cutoff: float
    mean: float
    shares: list[NeighbourShare]
    angle: float | None
    angle_deviation: float | None
    degrees: Binary
    angles: Binary


class ObservablesDocument(SharedDocument, StructureFields):
    """Structure and motion in a run; ``cutoff`` (Å), ``bins`` and ``bond_cutoff`` are settings.

    The structure is that of the run's beginning. ``trajectory_sha256`` is that of the frames it was
    made of. ``bonds`` is null, with the reason in ``bonds_reason``, where there is no cut-off.
    """

    trajectory: str
    dynamics: str
    engine: str
    ensemble: str
    target_temperature: float
    target_pressure: float | None
    final_temperature: float | None
    trajectory_sha256: str
    cutoff: float
    bins: int
    bond_cutoff: float | None
    frames: int
    mean_density: Average
    pairs: list[PairObservables]
    diffusion: list[DiffusionObservables]
    bonds: BondObservables | None
    bonds_reason: str | None
