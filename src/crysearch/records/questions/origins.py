"""Questions about where structures come from: replicas, random crystals, engines, ancestry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from crysearch.errors import RecordsError
from crysearch.records.queries import lineage as lineage_of
from crysearch.records.queries import part_of, rows
from crysearch.records.questions.asking import (
    Distance,
    Id,
    Limit,
    Name,
    Pipeline,
    Rows,
    Store,
    question,
)
from crysearch.records.questions.structures import ENERGY, STRUCTURE

LabelPart = Annotated[int, Field(ge=0, lt=2**31)] | Name


@question
def from_replica(
    store: Store,
    search: Id,
    label: Sequence[LabelPart],
    within: Distance = 2.0,
    limit: Limit = 100,
) -> Rows:
    """What came from a replica, such as (7, 3)?

    The kept random crystals whose nearest replica has this label, nearest first, and what each
    relaxed to. With ``within``, only those at most so far from it, such as the threshold that
    group II was chosen with. The label is the place in the grid; for a random point its number, and
    for one on a line between two known structures their ids and its number. Of a conditional model
    these are the replicas of that place at all conditions.
    """
    replicas = store.find("replicas", {"search": search, "label": list(label)}, ["_id"])
    columns = ["_id", "groups", "space_group_requested", "nearest_replica.distance"]
    crystals = store.find(
        "candidates",
        {
            "search": search,
            "nearest_replica.id": {"$in": [replica["_id"] for replica in replicas]},
            "nearest_replica.distance": {"$lte": within},
        },
        columns,
        [("nearest_replica.distance", 1), ("_id", 1)],
        limit,
    )
    relaxed = {
        document["parent_id"]: document
        for document in store.find(
            "relaxations",
            {"search": search, "parent_id": {"$in": [crystal["_id"] for crystal in crystals]}},
            ["parent_id", "space_group_after.symbol", ENERGY, "is_new", "matches"],
        )
    }
    return [
        crystal
        | {
            "relaxation": part_of(relaxed.get(crystal["_id"]), "_id"),
            **rows(
                [relaxed.get(crystal["_id"], {})],
                ["space_group_after.symbol", ENERGY, "is_new", "matches"],
            )[0],
        }
        for crystal in rows(crystals, columns)
    ]


@question
def crystals_near_reference(
    store: Store,
    search: Id,
    references: Sequence[Name] = (),
    within: Distance = 0.13,
    limit: Limit = 100,
) -> Rows:
    """Which random crystals were within a distance of a known structure before relaxation?

    Kept crystals whose nearest known structure is at most ``within`` away (Pearson's distance),
    nearest first. With ``references``, only those whose nearest is one of these; to others the
    distance is not recorded.
    """
    query: dict[str, Any] = {"search": search, "nearest_reference.distance": {"$lte": within}}
    if references:
        query["nearest_reference.reference_id"] = {"$in": list(references)}
    columns = [
        "_id",
        "formula",
        "groups",
        "space_group_requested",
        "nearest_reference.reference_id",
        "nearest_reference.distance",
        "nearest_replica.label",
        "nearest_replica.distance",
    ]
    order = [("nearest_reference.distance", 1), ("_id", 1)]
    return rows(store.find("candidates", query, columns, order, limit), columns)


@question
def replicas_by_reference(store: Store, search: Id) -> Rows:
    """Which known structures do the replicas resemble?

    Replicas by their nearest known structure: how many, and the smallest and mean Pearson's
    distance.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search}},
        {
            "$group": {
                "_id": "$nearest_reference.reference_id",
                "replicas": {"$sum": 1},
                "smallest": {"$min": "$nearest_reference.distance"},
                "mean": {"$avg": "$nearest_reference.distance"},
            }
        },
        {"$sort": {"replicas": -1, "_id": 1}},
        {"$project": {"_id": 0, "reference_id": "$_id", "replicas": 1, "smallest": 1, "mean": 1}},
    ]
    columns = ["reference_id", "replicas", "smallest", "mean"]
    return rows(store.aggregate("replicas", pipeline), columns)


@question
def duplicates(store: Store, structure: Id) -> Rows:
    """Which relaxed structures repeat this one?

    ``structure`` is the id of a relaxation. If it repeats another itself, that one and the others
    that repeat it are meant.
    """
    relaxation = store.find_one("relaxations", {"_id": structure}, ["search", "duplicate_of"])
    if relaxation is None:
        raise RecordsError(f"There is no relaxation {structure!r} in {store.description}.")
    first = relaxation["duplicate_of"] or structure
    columns = ["_id", "duplicate_of", "parent_id", *STRUCTURE[1:]]
    order = [(ENERGY, 1), ("_id", 1)]
    repeats = {"search": relaxation["search"], "duplicate_of": first}
    return rows(
        [
            *store.find("relaxations", {"_id": first}, columns),
            *store.find("relaxations", repeats, columns, order),
        ],
        columns,
    )


@question
def lineage(store: Store, structure: Id) -> Rows:
    """Where does a relaxed structure come from?

    The chain from the relaxation to its random crystal (or the known structure that was relaxed),
    the nearest known structure and replica of that, the model that decoded the replica, and the
    search. A document that is no longer there has no name.
    """
    found = lineage_of(store, structure)
    named = {
        "relaxation": ("relaxations", "formula"),
        "candidate": ("candidates", "formula"),
        "reference": ("references", "reference_id"),
        "nearest_reference": ("references", "reference_id"),
        "nearest_replica": ("replicas", "label"),
        "model": ("models", "model"),
        "search": ("searches", "name"),
    }
    chain = []
    for step, (collection, key) in named.items():
        document = found[step]
        if document is not None:
            name = {"_id": document["_id"], "name": document[key]}
            chain.append({"step": step, "collection": collection, **name})
    missing = [
        {"step": "missing", "collection": item["collection"], "_id": item["id"], "name": None}
        for item in found["missing"]
    ]
    return chain + missing


@question
def engines(store: Store, search: Id) -> Rows:
    """Which engine, in which version, made the energies?

    Engine, package, version and model of the relaxations, with crysearch's own version, their
    number and when they were made. More than one row: a search continued with other software.
    """
    made_by = {
        "engine": "$engine",
        "package": "$provenance.engine.package",
        "version": "$provenance.engine.package_version",
        "model": "$provenance.engine.model",
        "crysearch": "$provenance.software.crysearch",
    }
    pipeline: Pipeline = [
        {"$match": {"search": search}},
        {
            "$group": {
                "_id": made_by,
                "relaxations": {"$sum": 1},
                "first": {"$min": "$created_at"},
                "last": {"$max": "$created_at"},
            }
        },
        {"$sort": {"first": 1}},
        {
            "$project": {
                "_id": 0,
                **{name: f"$_id.{name}" for name in made_by},
                "relaxations": 1,
                "first": 1,
                "last": 1,
            }
        },
    ]
    columns = [*made_by, "relaxations", "first", "last"]
    return rows(store.aggregate("relaxations", pipeline), columns)
