"""Questions about relaxed structures: energies, symmetries, distances, how they relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crysearch.records.queries import rows
from crysearch.records.questions.asking import (
    Density,
    Distance,
    Energy,
    Id,
    Limit,
    Name,
    Pipeline,
    Rows,
    Store,
    question,
)

ENERGY = "energy_above_ground_state_found"
STRUCTURE = (
    "_id",
    "formula",
    "nsites",
    "space_group_after.symbol",
    ENERGY,
    "nearest_reference_after.reference_id",
    "nearest_reference_after.distance",
    "is_new",
    "matches",
)
LOWEST_FIRST = [(ENERGY, 1), ("_id", 1)]


def distinct_structures(search: str) -> dict[str, Any]:
    """Relaxed random crystals, each once: not the references, not what repeats another."""
    return {"search": search, "parent_kind": "candidate", "duplicate_of": None}


@question
def lowest_energy_by_space_group(store: Store, search: Id, limit: Limit = 230) -> Rows:
    """Which structure is lowest in energy in each space group?

    One row for each space group that relaxed crystals of the search have, lowest energy first: the
    number of distinct structures in it, and the id and energy (eV/atom above the lowest found) of
    the best. Space groups are those after relaxation, at the reporting tolerance.
    """
    pipeline: Pipeline = [
        {"$match": {**distinct_structures(search), ENERGY: {"$ne": None}}},
        {"$sort": {ENERGY: 1, "_id": 1}},
        {
            "$group": {
                "_id": "$space_group_after.number",
                "symbol": {"$first": "$space_group_after.symbol"},
                "structures": {"$sum": 1},
                "energy": {"$first": f"${ENERGY}"},
                "best": {"$first": "$_id"},
                "is_new": {"$first": "$is_new"},
            }
        },
        {"$sort": {"energy": 1, "_id": 1}},
        {"$limit": limit},
        {
            "$project": {
                "_id": 0,
                "number": "$_id",
                "symbol": 1,
                "structures": 1,
                "energy": 1,
                "best": 1,
                "is_new": 1,
            }
        },
    ]
    columns = ["number", "symbol", "structures", "energy", "best", "is_new"]
    return rows(store.aggregate("relaxations", pipeline), columns)


@question
def new_structures(store: Store, search: Id, limit: Limit = 20) -> Rows:
    """Which structures are new?

    Converged structures that match no known structure and repeat no other of the search, lowest in
    energy first, with the nearest known structure and Pearson's distance to it.
    """
    query = {"search": search, "is_new": True, "duplicate_of": None}
    found = store.find("relaxations", query, STRUCTURE, LOWEST_FIRST, limit)
    return rows(found, STRUCTURE)


@question
def below_energy(store: Store, search: Id, energy: Energy = 0.1, limit: Limit = 100) -> Rows:
    """Which structures are within an energy of the ground state?

    Distinct structures, new and known, at most ``energy`` (eV/atom) above the lowest that the
    search has found or relaxed, with the same engine; lowest first.
    """
    query = {**distinct_structures(search), ENERGY: {"$lte": energy}}
    found = store.find("relaxations", query, STRUCTURE, LOWEST_FIRST, limit)
    return rows(found, STRUCTURE)


@question
def lowest_energy_by_cell_size(store: Store, search: Id) -> Rows:
    """Which is the lowest-energy polymorph at each cell size?

    One row for each number of atoms in the cell that was sampled: how many distinct structures it
    gave, and the best of them.
    """
    pipeline: Pipeline = [
        {"$match": {**distinct_structures(search), ENERGY: {"$ne": None}}},
        {"$sort": {ENERGY: 1, "_id": 1}},
        {
            "$group": {
                "_id": "$nsites",
                "structures": {"$sum": 1},
                "energy": {"$first": f"${ENERGY}"},
                "best": {"$first": "$_id"},
                "symbol": {"$first": "$space_group_after.symbol"},
                "matches": {"$first": "$matches"},
            }
        },
        {"$sort": {"_id": 1}},
        {
            "$project": {
                "_id": 0,
                "nsites": "$_id",
                "structures": 1,
                "energy": 1,
                "best": 1,
                "symbol": 1,
                "matches": 1,
            }
        },
    ]
    columns = ["nsites", "structures", "energy", "best", "symbol", "matches"]
    return rows(store.aggregate("relaxations", pipeline), columns)


@question
def density(
    store: Store, search: Id, minimum: Density, maximum: Density, limit: Limit = 100
) -> Rows:
    """Which structures have a density in a range?

    Distinct structures with a density (g/cm³) from ``minimum`` to ``maximum``, densest last.
    """
    query = {**distinct_structures(search), "density": {"$gte": minimum, "$lte": maximum}}
    columns = ["_id", "density", "volume_per_atom", *STRUCTURE[1:]]
    order = [("density", 1), ("_id", 1)]
    return rows(store.find("relaxations", query, columns, order, limit), columns)


@question
def near_reference(
    store: Store,
    search: Id,
    references: Sequence[Name] = (),
    within: Distance = 0.13,
    limit: Limit = 100,
) -> Rows:
    """Which relaxed structures are within a distance of a known structure?

    Distinct structures whose nearest known structure is at most ``within`` away (Pearson's
    distance of the radial distribution functions), nearest first. With ``references``, only those
    whose nearest is one of these; to others the distance is not recorded.
    """
    query = {**distinct_structures(search), "nearest_reference_after.distance": {"$lte": within}}
    if references:
        query["nearest_reference_after.reference_id"] = {"$in": list(references)}
    order = [("nearest_reference_after.distance", 1), ("_id", 1)]
    return rows(store.find("relaxations", query, STRUCTURE, order, limit), STRUCTURE)


@question
def symmetry_changes(store: Store, search: Id, limit: Limit = 50) -> Rows:
    """Which space groups turn into which when structures relax?

    Space group before → after, the most frequent first, with the lowest energy reached that way.
    Every relaxed crystal counts, also one that repeats another.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "parent_kind": "candidate"}},
        {
            "$group": {
                "_id": {
                    "before": "$space_group_before.symbol",
                    "after": "$space_group_after.symbol",
                },
                "structures": {"$sum": 1},
                "energy": {"$min": f"${ENERGY}"},
            }
        },
        {"$sort": {"structures": -1, "_id.before": 1, "_id.after": 1}},
        {"$limit": limit},
        {
            "$project": {
                "_id": 0,
                "before": "$_id.before",
                "after": "$_id.after",
                "structures": 1,
                "energy": 1,
            }
        },
    ]
    return rows(
        store.aggregate("relaxations", pipeline), ["before", "after", "structures", "energy"]
    )


@question
def relaxation_moves(store: Store, search: Id) -> Rows:
    """How far does relaxation move the structures of each group?

    For each group: Pearson's distance between each structure before and after (mean and
    largest), the energy gained (eV/atom, mean), the steps (mean), and how many converged. A
    crystal that was kept for two groups counts in both.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "parent_kind": "candidate"}},
        {"$unwind": "$groups"},
        {
            "$group": {
                "_id": "$groups",
                "structures": {"$sum": 1},
                "converged": {"$sum": {"$cond": ["$converged", 1, 0]}},
                "mean_moved": {"$avg": "$distance_moved"},
                "largest_moved": {"$max": "$distance_moved"},
                "mean_gained": {
                    "$avg": {"$subtract": ["$energy_per_atom_before", "$energy_per_atom"]}
                },
                "mean_steps": {"$avg": "$steps"},
            }
        },
        {"$sort": {"_id": 1}},
        {
            "$project": {
                "_id": 0,
                "group": "$_id",
                "structures": 1,
                "converged": 1,
                "mean_moved": 1,
                "largest_moved": 1,
                "mean_gained": 1,
                "mean_steps": 1,
            }
        },
    ]
    columns = [
        "group",
        "structures",
        "converged",
        "mean_moved",
        "largest_moved",
        "mean_gained",
        "mean_steps",
    ]
    return rows(store.aggregate("relaxations", pipeline), columns)


@question
def unconverged(store: Store, search: Id, limit: Limit = 100) -> Rows:
    """Which relaxations did not converge?

    Largest force left (eV/Å) first; also relaxed known structures.
    """
    query = {"search": search, "converged": False}
    columns = [
        "_id",
        "parent_kind",
        "parent_id",
        "formula",
        "engine",
        "steps",
        "max_force",
        "max_stress",
        "energy_per_atom",
    ]
    order = [("max_force", -1), ("_id", 1)]
    return rows(store.find("relaxations", query, columns, order, limit), columns)
