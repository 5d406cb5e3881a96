"""Documents of data sets of reference calculations."""

from __future__ import annotations

from typing import Any, Literal

from bson.binary import Binary

from crysearch.records.schema import SharedDocument, StructureFields

DatasetStatus = Literal["importing", "complete"]
Split = Literal["train", "validation", "test"]


class DatasetDocument(SharedDocument):
    """A data set of calculations by one reference method.

    ``sources`` has a file or search for each import; ``limits`` are those of the checks. ``counts``
    has configurations, atoms, with_forces, with_stress, flagged, by_split and by_flag.
    """

    name: str
    method: str
    status: DatasetStatus
    seed: int
    fractions: dict[str, float]
    group_key: str | None
    limits: dict[str, float]
    counts: dict[str, Any]
    elements: list[str]
    formulas: dict[str, int]
    lowest_energy_per_atom: float | None
    highest_energy_per_atom: float | None
    sources: list[dict[str, Any]]


class ConfigurationDocument(SharedDocument, StructureFields):
    """A crystal and what the reference method of its data set gave.

    ``forces`` and ``fingerprint`` are binary; ``stress`` (xx, yy, zz, yz, xz, xy, positive under
    tension) and ``max_stress`` are in eV/Å³; ``net_force`` is per atom. ``flags`` are the reasons
    not to trust it, ``findings`` the same as sentences. ``key`` is a hash of geometry and labels.
    """

    dataset: str
    index: int
    key: str
    method: str
    energy: float | None
    energy_per_atom: float | None
    has_forces: bool
    forces: Binary | None
    stress: list[float] | None
    max_force: float | None
    net_force: float | None
    max_stress: float | None
    minimum_distance: float | None
    closest_contact: float | None
    fingerprint: Binary
    group: str | None
    split: Split | None
    flags: list[str]
    findings: list[str]
    source: dict[str, Any]
    metadata: dict[str, Any]
    site_metadata: dict[str, Any]
