"""Documents of what was measured of runs of molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crysearch.records.documents import Facts, make_document, shape
from crysearch.records.schema_dynamics import (
    Average,
    BondObservables,
    DiffusionObservables,
    PairObservables,
)
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id

_OF_THE_RUN = (
    *("structure", "elements", "formula", "chemical_formula_reduced", "nsites", "volume"),
    *("volume_per_atom", "density", "dynamics", "engine", "ensemble", "target_temperature"),
    *("target_pressure", "final_temperature", "frames"),
)


def observables_id(
    trajectory: str,
    cutoff: float,
    bins: int,
    bond_cutoff: float | None,
    search: str | None = None,
) -> str:
    """The ``_id`` of what was measured of a run with these settings."""
    bonds = None if bond_cutoff is None else float(bond_cutoff)
    return deterministic_id(search, "observables", trajectory, float(cutoff), int(bins), bonds)


def observables_document(
    *,
    trajectory: Mapping[str, Any],
    cutoff: float,
    bins: int,
    bond_cutoff: float | None,
    mean_density: Facts,
    pairs: Sequence[Facts],
    diffusion: Sequence[Facts],
    bonds: Facts | None,
    bonds_reason: str | None = None,
    search: str | None = None,
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of what was measured of a run.

    Parameters
    ----------
    trajectory
        The document of the run.
    cutoff, bins
        Of the radial distribution functions, Å.
    bond_cutoff
        Longest bond that was asked for, Å; None for the first minimum of g(r).

    See `crysearch.records.schema_dynamics.ObservablesDocument` for the rest.
    """
    fields = {
        **{name: trajectory[name] for name in _OF_THE_RUN},
        "trajectory": trajectory["_id"],
        "trajectory_sha256": trajectory["blob_sha256"],
        "cutoff": float(cutoff),
        "bins": int(bins),
        "bond_cutoff": None if bond_cutoff is None else float(bond_cutoff),
        "mean_density": shape(Average, mean_density),
        "pairs": [shape(PairObservables, one) for one in pairs],
        "diffusion": [shape(DiffusionObservables, one) for one in diffusion],
        "bonds": shape(BondObservables, bonds),
        "bonds_reason": bonds_reason,
    }
    parent = str(trajectory["_id"])
    identifier = observables_id(parent, cutoff, bins, bond_cutoff, search)
    return make_document(search, identifier, fields, None, [parent], provenance, created_at)


def observables_of(store: RecordStore, trajectory: str) -> list[dict[str, Any]]:
    """Return what was measured of a run (its ``_id``), oldest first."""
    return store.find(
        "observables", {"trajectory": trajectory}, None, [("created_at", 1), ("_id", 1)]
    )
