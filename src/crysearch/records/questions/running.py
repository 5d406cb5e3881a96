"""Questions about the run: sampling, failures, throughput, progress."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from crysearch.records.queries import rows
from crysearch.records.questions.asking import Id, Limit, Name, Pipeline, Rows, Store, question


@question
def failures_by_reason(store: Store, search: Id) -> Rows:
    """What failed, and why?

    Failures by stage, place (such as the engine) and reason, the most frequent first, with the
    latest time.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search}},
        {
            "$group": {
                "_id": {"stage": "$stage", "where": "$where", "reason": "$reason"},
                "failures": {"$sum": 1},
                "latest": {"$max": "$created_at"},
            }
        },
        {"$sort": {"failures": -1, "_id.stage": 1, "_id.where": 1, "_id.reason": 1}},
        {
            "$project": {
                "_id": 0,
                "stage": "$_id.stage",
                "where": "$_id.where",
                "reason": "$_id.reason",
                "failures": 1,
                "latest": 1,
            }
        },
    ]
    columns = ["stage", "where", "reason", "failures", "latest"]
    return rows(store.aggregate("failures", pipeline), columns)


@question
def failed_inputs(store: Store, search: Id, reason: Name, limit: Limit = 20) -> Rows:
    """Which structures failed for a reason, with the input that was given?

    Newest first; ``input`` is the structure as it was given (pymatgen's dictionary, in Python and
    JSON) or the id of its document, ``parent`` the id of the document that it came from.
    """
    columns = ["_id", "created_at", "stage", "where", "detail", "parent", "input"]
    order = [("created_at", -1), ("_id", 1)]
    query = {"search": search, "reason": reason}
    return rows(store.find("failures", query, columns, order, limit), columns)


@question
def acceptance(store: Store, search: Id) -> Rows:
    """How many random crystals were tried, accepted and kept?

    By cell size: crystals that met the request (``accepted``) of those tried (``sampled``), the
    share, and those ``kept`` to fill the quotas.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "stage": "sampling"}},
        {
            "$group": {
                "_id": "$formula_units",
                "batches": {"$sum": 1},
                "sampled": {"$sum": "$counts.sampled"},
                "accepted": {"$sum": "$counts.accepted"},
                "kept": {"$sum": "$counts.kept"},
            }
        },
        {"$sort": {"_id": 1}},
        {
            "$project": {
                "_id": 0,
                "formula_units": "$_id",
                "batches": 1,
                "sampled": 1,
                "accepted": 1,
                "share": _ratio("$accepted", "$sampled"),
                "kept": 1,
            }
        },
    ]
    columns = ["formula_units", "batches", "sampled", "accepted", "share", "kept"]
    return rows(store.aggregate("batches", pipeline), columns)


@question
def rejections(store: Store, search: Id) -> Rows:
    """Why were random crystals rejected?

    Crystals that did not meet the request, by reason, the most frequent first.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "stage": "sampling"}},
        {"$project": {"rejected": {"$objectToArray": "$counts.rejected"}}},
        {"$unwind": "$rejected"},
        {"$group": {"_id": "$rejected.k", "crystals": {"$sum": "$rejected.v"}}},
        {"$sort": {"crystals": -1, "_id": 1}},
        {"$project": {"_id": 0, "reason": "$_id", "crystals": 1}},
    ]
    return rows(store.aggregate("batches", pipeline), ["reason", "crystals"])


@question
def crystals_by_space_group(store: Store, search: Id) -> Rows:
    """Which space groups do the kept random crystals have?

    The number of kept crystals for each space group that was asked of the sampler. Each is counted
    in the index alone: of 100,000 crystals, none is read.
    """
    found = {
        number: store.count("candidates", {"search": search, "space_group_requested": number})
        for number in range(1, 231)
    }
    return [
        {"space_group": number, "crystals": crystals}
        for number, crystals in found.items()
        if crystals
    ]


@question
def throughput(store: Store, search: Id) -> Rows:
    """How much did each worker do, and how fast?

    By worker (host and process) and stage: its batches, the structures in them (random crystals
    accepted, or relaxations ended), the seconds they took, and structures per second.
    """
    structures = {
        "$add": [{"$ifNull": [f"$counts.{name}", 0]} for name in ("accepted", "relaxed", "failed")]
    }
    pipeline: Pipeline = [
        {"$match": {"search": search}},
        {
            "$group": {
                "_id": {"worker": "$worker", "stage": "$stage"},
                "batches": {"$sum": 1},
                "structures": {"$sum": structures},
                "seconds": {"$sum": "$seconds"},
            }
        },
        {"$sort": {"_id.worker": 1, "_id.stage": 1}},
        {
            "$project": {
                "_id": 0,
                "worker": "$_id.worker",
                "stage": "$_id.stage",
                "batches": 1,
                "structures": 1,
                "seconds": 1,
                "per_second": _ratio("$structures", "$seconds"),
            }
        },
    ]
    columns = ["worker", "stage", "batches", "structures", "seconds", "per_second"]
    return rows(store.aggregate("batches", pipeline), columns)


@question
def progress(store: Store, search: Id) -> Rows:
    """How far has a search come, and how long did each stage take?

    The stages in the order in which they started, with their seconds once they are done.
    """
    found = store.find("searches", {"_id": search}, ["stages"])
    stages = [
        {
            "stage": name,
            "status": entry["status"],
            "started_at": entry["started_at"],
            "seconds": _seconds(entry["started_at"], entry.get("finished_at")),
        }
        for document in found
        for name, entry in document["stages"].items()
    ]
    return sorted(stages, key=lambda stage: stage["started_at"])


def _ratio(part: str, whole: str) -> dict[str, Any]:
    return {"$cond": [{"$gt": [whole, 0]}, {"$divide": [part, whole]}, None]}


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - start).total_seconds()
