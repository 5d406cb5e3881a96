"""Documents of trained interatomic potentials."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from crysearch.records.schema import SharedDocument

PotentialOrigin = Literal["active_learning", "dataset", "file"]


class LearnedDataset(TypedDict):
    """A data set that a potential learned from, and how many of its configurations."""

    id: str
    name: str
    configurations: int


class PotentialDocument(SharedDocument):
    """A trained potential; its weights are the blob ``blob_id``, with the SHA-256 given.

    ``model`` is its name among `crysearch.potentials.available_potentials`, ``parameter_count`` is
    of one of its ``members``, ``cutoff`` is in Å. ``configurations`` were learned from, those held
    out for the validation included. ``training`` has epochs, what was left out and why, and for
    each member its best epoch and its errors then. ``errors`` has, by what they are for
    (``validation``, ``test``), the number of ``configurations`` and errors of the energy (eV/atom)
    and of the components of the forces (eV/Å).
    """

    model: str
    architecture: dict[str, Any]
    members: int
    parameter_count: int
    elements: list[str]
    cutoff: float
    origin: PotentialOrigin
    active_learning: str | None
    cycle: int | None
    datasets: list[LearnedDataset]
    method: str
    configurations: int
    seed: int | None
    settings: dict[str, Any]
    training: dict[str, Any]
    errors: dict[str, Any]
    blob_id: str
    weights_sha256: str
