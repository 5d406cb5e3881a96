"""The indexes that a MongoDB server needs for the questions people ask."""

from __future__ import annotations

_UP = 1


def _within_search(*fields: str) -> tuple[tuple[tuple[str, int], ...], ...]:
    """One index for each field, after the search that nearly every question names."""
    return tuple((("search", _UP), (field, _UP)) for field in fields)


# None is unique: only _id is, and every server checks that by itself.
INDEXES: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "searches": ((("created_at", _UP),), (("name", _UP),)),
    "references": _within_search("reference_id", "status"),
    "models": _within_search("created_at"),
    "replicas": _within_search("model_id", "label"),
    "candidates": _within_search(
        "groups",
        "near",
        "space_group_requested",
        "nearest_reference.distance",
        "nearest_replica.label",
    ),
    "relaxations": (
        *_within_search(
            "parent_id",
            "groups",
            "is_new",
            "matches",
            "duplicate_of",
            "energy_above_ground_state_found",
            "distance_after",
            "chemical_formula_reduced",
        ),
        (("search", _UP), ("space_group_after.number", _UP), ("energy_per_atom", _UP)),
    ),
    "failures": ((("search", _UP), ("stage", _UP), ("reason", _UP)),),
    "batches": ((("search", _UP), ("stage", _UP)),),
    # jobflow's own collection: without this index, resolving references takes hours.
    "outputs": ((("uuid", _UP), ("index", -1)),),
}
