"""The fields of every kind of document.

The ``TypedDict`` of a kind is also the list of the fields that can be filtered and shown. Lengths
are in Å, energies in eV (of the cell) or eV/atom, forces in eV/Å, stresses in GPa, densities in
g/cm³; Pearson's distances are pure numbers. A field that is not known is null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypedDict

from bson.binary import Binary

SCHEMA_VERSION = 1

SearchStatus = Literal["submitted", "running", "paused", "complete", "interrupted", "failed"]
ReferenceStatus = Literal["sound", "set_aside"]
ReplicaKind = Literal["grid", "random", "interpolation"]
Near = Literal["database", "replicas", "both", "neither"]
ParentKind = Literal["candidate", "reference"]
RelaxationStatus = Literal["converged", "unconverged"]
Group = Literal["I", "II", "III", "IV"]
PropertyKind = Literal["elasticity", "phonons", "equation_of_state"]
PropertyStatus = Literal["computed", "failed"]


class Document(TypedDict):
    """What every document has."""

    _id: str
    schema_version: int
    search: str
    created_at: datetime
    provenance: dict[str, Any]


class SharedDocument(TypedDict):
    """What every document has that need not belong to a search; ``search`` is null then."""

    _id: str
    schema_version: int
    search: str | None
    created_at: datetime
    provenance: dict[str, Any]


class StructureFields(TypedDict):
    """What `structure_document` gives."""

    structure: dict[str, Any]
    elements: list[str]
    formula: str
    chemical_formula_reduced: str
    nsites: int
    volume: float
    volume_per_atom: float
    density: float


class SpaceGroup(TypedDict):
    """A space group at a distance tolerance (Å), and the number found at a stricter one."""

    number: int
    symbol: str
    tolerance: float
    strict_number: int | None
    strict_tolerance: float


class NearestReference(TypedDict):
    """The known structure at the smallest Pearson's distance."""

    id: str
    reference_id: str
    distance: float


class NearestReplica(TypedDict):
    """The replica at the smallest Pearson's distance."""

    id: str
    label: list[Any]
    distance: float


class Guiding(TypedDict):
    """How a guided crystal came to its target; the path is in Å (see `GuidedBatch`)."""

    target_kind: Literal["reference", "replica"]
    target_id: str
    target_label: str | list[Any]
    distance_before: float
    distance_after: float
    path_length: float
    steps: int
    volume_before: float


class NearCounts(TypedDict):
    """Random crystals by what is within the threshold."""

    database: int
    replicas: int
    both: int
    neither: int


class BatchCounts(TypedDict):
    """What became of the structures of a batch."""

    sampled: int
    accepted: int
    rejected: dict[str, int]
    space_groups: dict[str, list[int]]
    near: NearCounts
    kept: int
    kept_by_group: dict[str, int]
    relaxed: int
    converged: int
    failed: int


class SearchDocument(Document):
    """A search: its whole specification, and how far it has come."""

    name: str
    spec: dict[str, Any]
    formula: str
    status: SearchStatus
    stages: dict[str, Any]
    counts: dict[str, Any]


class ReferenceDocument(Document, StructureFields):
    """A known structure, and whether the search uses it."""

    reference_id: str
    status: ReferenceStatus
    reason: str | None
    detail: str | None
    source: str
    primitive_nsites: int | None
    fingerprint: Binary | None
    space_group_number: int | None
    space_group_symbol: str | None
    energy_above_ground_state: float | None
    energy_origin: str | None
    latent: list[float] | None
    metadata: dict[str, Any]


class ModelDocument(Document):
    """A trained generative model; its weights are the blob ``blob_id``.

    ``condition`` is what a conditional model was told of each structure, and ``left_out`` are the
    reference ids of those of which that is not known.
    """

    model: str
    architecture: dict[str, Any]
    likelihood: str | None
    latent_dimension: int | None
    condition: str | None
    parameter_count: int
    history: dict[str, Any]
    reference_ids: list[str]
    left_out: list[str]
    blob_id: str
    diagnostics: dict[str, Any]
    seed: int | list[int]


class ReplicaDocument(Document):
    """A radial distribution function decoded from a latent point.

    Those of a conditional model are decoded with a ``condition``: an energy above the ground state
    (eV/atom) or a density (g/cm³).
    """

    model_id: str
    kind: ReplicaKind
    label: list[Any]
    latent: list[float]
    condition: float | None
    fingerprint: Binary
    nearest_reference: NearestReference | None
    distance_to_nearest_reference: float | None


class CandidateDocument(Document, StructureFields):
    """A random crystal that was kept, as it was drawn or guided onto a target."""

    seed: int | list[int]
    batch: int
    index: int
    formula_units: int
    fingerprint: Binary
    space_group_requested: int
    wyckoff: str | list[str] | None
    groups: list[Group]
    near: Near | None
    nearest_reference: NearestReference | None
    nearest_replica: NearestReplica | None
    guided: bool
    guiding: Guiding | None


class RelaxationDocument(Document, StructureFields):
    """A relaxed structure, and what the analysis found out about it."""

    parent_kind: ParentKind
    parent_id: str
    engine: str
    status: RelaxationStatus
    converged: bool
    steps: int
    initial_structure: dict[str, Any] | None
    energy: float
    energy_per_atom: float
    energy_per_atom_before: float | None
    max_force: float | None
    max_stress: float | None
    space_group_before: SpaceGroup | None
    space_group_after: SpaceGroup | None
    wyckoff_after: str | list[str] | None
    fingerprint: Binary | None
    distance_before: float | None
    distance_after: float | None
    distance_moved: float | None
    nearest_reference_after: NearestReference | None
    energy_above_ground_state_found: float | None
    energy_above_reference_ground_state: float | None
    duplicate_of: str | None
    matches: str | None
    is_new: bool | None
    groups: list[Group]


class FailureDocument(Document):
    """What failed, where, why, and with which input."""

    stage: str
    where: str
    reason: str
    detail: str
    input: str | dict[str, Any] | None
    parent: str | None


class BatchDocument(Document):
    """One batch of a stage; marks the work as done when a search is continued."""

    stage: str
    kind: ParentKind
    formula_units: int | None
    batch: int
    seed: int | list[int] | None
    counts: BatchCounts
    seconds: float | None
    worker: str


class CalculationDocument(Document, StructureFields):
    """A relaxed structure, relaxed once more with another engine.

    Energies are comparable within one ``scheme`` only; ``energy_per_atom_corrected`` is null where
    the scheme has no corrections. ``stand_in``: a program took the place of the engine.
    """

    level: str
    parent_id: str
    parent_kind: ParentKind
    engine: str
    scheme: str
    stand_in: bool
    status: RelaxationStatus
    converged: bool
    steps: int
    energy: float
    energy_per_atom: float
    energy_per_atom_corrected: float | None
    max_force: float | None
    max_stress: float | None
    space_group: SpaceGroup | None
    fingerprint: Binary | None
    distance_moved: float | None
    band_gap: float | None
    is_metal: bool | None
    is_gap_direct: bool | None
    electronic: dict[str, Any] | None
    repairs: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    settings: dict[str, Any]
    seconds: float | None


class PropertyDocument(Document):
    """A property of a relaxed structure; ``values`` depend on the kind, and are null if it failed.

    ``settings_id`` is a hash of everything that can change the values.
    """

    relaxation_id: str
    structure_id: str
    kind: PropertyKind
    settings_id: str
    settings: dict[str, Any]
    engine: str
    status: PropertyStatus
    reason: str | None
    values: dict[str, Any] | None
    seconds: float | None


class VerdictDocument(Document, StructureFields):
    """All that is known of a relaxed structure: null means not computed, never "no".

    ``answers`` has, for each question, its status (``computed``, ``failed`` or ``not_computed``),
    the reason, the engine, the settings and the values.
    """

    verification: str
    verification_spec: dict[str, Any]
    relaxation_id: str
    calculation_id: str | None
    label: str | None
    engine: str
    scheme: str
    stand_in: bool
    levels: list[dict[str, Any]]
    energy_above_ground_state: float | None
    energy_above_hull: float | None
    is_mechanically_stable: bool | None
    is_dynamically_stable: bool | None
    bulk_modulus: float | None
    band_gap: float | None
    is_metal: bool | None
    is_gap_direct: bool | None
    is_new: bool | None
    matches: str | None
    duplicate_of: str | None
    prototype: str | None
    space_group: SpaceGroup | None
    answers: dict[str, Any]
