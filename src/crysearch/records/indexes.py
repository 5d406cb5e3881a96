"""The indexes behind the questions people ask: no question scans a collection.

In each index the fields that a question gives one value come first, then those it sorts by, then
those it gives a range. ``_id`` at the end makes the order of equal values the index's own.
"""

from __future__ import annotations

Keys = tuple[tuple[str, int], ...]

_ENERGY = "energy_above_ground_state_found"


def _index(*fields: str) -> Keys:
    return tuple((field, 1) for field in fields)


def _within_search(*fields: str) -> Keys:
    """An index for questions about one search, as nearly all are."""
    return _index("search", *fields)


# None is unique: only _id is, and every server checks that by itself.
INDEXES: dict[str, tuple[Keys, ...]] = {
    "searches": ((("created_at", -1), ("_id", 1)), _index("name")),
    "references": (
        _within_search("status", "reference_id"),
        _within_search("reference_id"),
        _index("reference_id"),
        _index("chemical_formula_reduced", "search"),
    ),
    "models": (_within_search("created_at"),),
    "replicas": (
        _within_search("label"),
        _within_search("nearest_reference.reference_id", "nearest_reference.distance"),
    ),
    "candidates": (
        _within_search("formula_units", "guided", "batch", "index"),
        _within_search("space_group_requested"),
        _within_search("nearest_reference.distance", "_id"),
        _within_search("nearest_reference.reference_id", "nearest_reference.distance", "_id"),
        _within_search("nearest_replica.id", "nearest_replica.distance", "_id"),
    ),
    "relaxations": (
        _index("parent_id"),
        _within_search("parent_kind", "duplicate_of", _ENERGY, "_id"),
        _within_search("parent_kind", "duplicate_of", "density", "_id"),
        _within_search("parent_kind", "duplicate_of", "nearest_reference_after.distance", "_id"),
        _within_search("is_new", "duplicate_of", _ENERGY, "_id"),
        _within_search("duplicate_of", _ENERGY, "_id"),
        (*_within_search("converged"), ("max_force", -1), ("_id", 1)),
        _index("chemical_formula_reduced", "parent_kind", "duplicate_of", _ENERGY, "_id"),
        _index("elements", "parent_kind", "duplicate_of"),
    ),
    "failures": (
        (*_within_search(), ("created_at", -1), ("_id", 1)),
        _within_search("stage", "where", "reason"),
        (*_within_search("reason"), ("created_at", -1), ("_id", 1)),
        _index("stage", "parent"),
    ),
    "batches": (_within_search("stage", "formula_units", "batch"),),
    "calculations": (_within_search("level", "parent_id"), _index("parent_id")),
    "properties": (_within_search("relaxation_id", "kind"), _index("relaxation_id")),
    "verdicts": (
        _within_search("verification", "relaxation_id"),
        _within_search("energy_above_ground_state", "_id"),
        _index("relaxation_id"),
    ),
    "trials": (_within_search("study", "variant", "seed"), _index("study")),
    "studies": (_within_search("study"), _index("study"), (("created_at", -1), ("_id", 1))),
    "datasets": (_index("name"),),
    "configurations": (
        _index("dataset", "index"),
        _index("dataset", "split", "index"),
        _index("dataset", "flags", "index"),
    ),
    "cycles": (_within_search("active_learning", "cycle"), _index("active_learning", "cycle")),
    "potentials": ((("created_at", -1), ("_id", 1)), _within_search("active_learning", "cycle")),
    "dynamics": ((("created_at", -1), ("_id", 1)), _index("name")),
    "trajectories": (
        _index("dynamics", "target_temperature", "target_pressure", "_id"),
        _index("chemical_formula_reduced", "target_temperature"),
        _index("status"),
    ),
    "frames": (
        _index("trajectory", "index"),
        _index("dynamics", "temperature"),
        _index("chemical_formula_reduced", "potential_energy_per_atom"),
    ),
    "protocols": ((("created_at", -1), ("_id", 1)), _index("name")),
    "observables": (
        _index("trajectory"),
        _index("chemical_formula_reduced", "target_temperature"),
    ),
    "selection_studies": ((("created_at", -1), ("_id", 1)),),
    "selection_fits": (_index("study", "model", "method", "size", "seed"),),
    "assessments": (_index("material", "engine"), (("created_at", -1), ("_id", 1))),
    # jobflow's own collection: without this index, resolving references takes hours.
    "outputs": ((("uuid", 1), ("index", -1)),),
}
