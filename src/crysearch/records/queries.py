"""The questions people ask of the records. Answers are dictionaries, ready for a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from crysearch.errors import RecordsError
from crysearch.records.filters import (
    check_field,
    filterable_fields,
    filtered_fields,
    parse_filters,
)
from crysearch.records.schema import Group, Near
from crysearch.records.store import COLLECTIONS, RecordStore

__all__ = [
    "counts",
    "failures",
    "filterable_fields",
    "find_by_id_prefix",
    "lineage",
    "part_of",
    "resolve_search",
    "results",
    "rows",
    "searches",
]

RESULT_COLUMNS = (
    "_id",
    "formula",
    "space_group_before.symbol",
    "space_group_after.symbol",
    "energy_above_ground_state_found",
    "nearest_reference_after.reference_id",
    "nearest_reference_after.distance",
    "is_new",
    "matches",
    "groups",
)
_HEAVY = ("structure", "initial_structure", "fingerprint", "input")
_NEWEST_FIRST = (("created_at", -1), ("_id", 1))


def searches(store: RecordStore) -> list[dict[str, Any]]:
    """Return all searches, newest first, without their specifications."""
    return store.find("searches", {}, {"spec": 0, "provenance": 0}, _NEWEST_FIRST)


def resolve_search(store: RecordStore, which: str = "latest") -> dict[str, Any]:
    """Return the document of the search that a person means.

    Parameters
    ----------
    which
        ``latest``, a name, or the beginning of an ``_id``.

    Raises
    ------
    RecordsError
        There are no searches, none is meant, or several are.
    """
    known = searches(store)
    if not known:
        raise RecordsError(
            f"There are no searches in {store.description}: start one with `crysearch run`."
        )
    if which == "latest":
        meant = known[:1]
    else:
        meant = [search for search in known if search["name"] == which] or [
            search for search in known if which and search["_id"].startswith(which)
        ]
    if len(meant) != 1:
        trouble = "Several searches have" if meant else "No search has"
        options = ", ".join(f"{found['_id']} ({found['name']})" for found in (meant or known)[:10])
        raise RecordsError(
            f"{trouble} the name {which!r} or an id that begins so: "
            f"give 'latest', or enough of the id of one of {options}."
        )
    found = store.get("searches", meant[0]["_id"])
    if found is None:
        raise RecordsError(f"Search {meant[0]['_id']} has just been deleted.")
    return found


def results(
    store: RecordStore,
    search: str | None,
    filters: Sequence[str] = (),
    *,
    sort: str = "energy_above_ground_state_found",
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    collection: str = "relaxations",
    include_references: bool = False,
    include_duplicates: bool = False,
) -> list[dict[str, Any]]:
    """Return relaxed structures, or documents of another collection, as rows.

    Parameters
    ----------
    search
        The ``_id`` of a search; None for all searches.
    filters
        Expressions such as ``is_new=true``; see `crysearch.records.filters.parse_filters`.
    sort
        A field; with a minus sign in front, the largest first. Rows without it come last.
    limit
        At most so many rows.
    columns
        The fields in each row, by default `RESULT_COLUMNS` for relaxations and every field that
        can be filtered otherwise. Parts are named with a dot, in the row as well.
    include_references, include_duplicates
        Keep relaxed references, and repetitions of another relaxation. A filter on
        ``parent_kind`` or ``duplicate_of`` decides by itself.

    Raises
    ------
    RecordsError
        A field does not exist, a filter cannot be read, or the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise RecordsError(f"limit is {limit}: give a positive number, or none for all rows.")
    field = check_field(collection, sort.removeprefix("-"))
    direction = -1 if sort.startswith("-") else 1
    if columns is None:
        relaxed = collection == "relaxations"
        columns = RESULT_COLUMNS if relaxed else tuple(filterable_fields(collection))
    columns = [check_field(collection, column) for column in columns]
    query = parse_filters(collection, filters)
    if search is not None:
        query["search"] = search
    if collection == "relaxations":
        named = filtered_fields(collection, filters)
        if not include_references and "parent_kind" not in named:
            query["parent_kind"] = "candidate"
        if not include_duplicates and "duplicate_of" not in named:
            query["duplicate_of"] = None
    documents: list[dict[str, Any]] = []
    order = [(field, direction), ("_id", 1)]
    for presence in ({"$ne": None}, None):
        if limit is None or len(documents) < limit:
            here = {"$and": [query, {field: presence}]}
            room = 0 if limit is None else limit - len(documents)
            documents += store.find(collection, here, columns, order, room)
    return rows(documents, columns)


def lineage(store: RecordStore, relaxation_id: str) -> dict[str, Any]:
    """Walk from a relaxed structure back to the known structures.

    Returns
    -------
    dict
        ``relaxation``, its ``candidate`` (or ``reference``, if that was relaxed), the candidate's
        ``nearest_reference`` and ``nearest_replica``, the replica's ``model``, the model's
        ``references`` (a list) and the ``search``: documents without structures, fingerprints and
        specification, None where a step does not apply. ``missing`` lists the steps whose
        documents are not in the store, as ``{collection, id}``.

    Raises
    ------
    RecordsError
        There is no such relaxation.
    """
    relaxation = store.find_one("relaxations", {"_id": relaxation_id}, _without_heavy())
    if relaxation is None:
        raise RecordsError(f"There is no relaxation {relaxation_id!r} in {store.description}.")
    missing: list[dict[str, str]] = []

    def follow(collection: str, document_id: str | None) -> dict[str, Any] | None:
        if document_id is None:
            return None
        document = store.find_one(collection, {"_id": document_id}, _without_heavy())
        if document is None:
            missing.append({"collection": collection, "id": document_id})
        return document

    is_reference = relaxation["parent_kind"] == "reference"
    parent = follow("references" if is_reference else "candidates", relaxation["parent_id"])
    candidate = None if is_reference else parent
    replica = follow("replicas", part_of(candidate, "nearest_replica.id"))
    model = follow("models", part_of(replica, "model_id"))
    wanted = part_of(model, "reference_ids") or []
    references = store.find(
        "references",
        {"search": relaxation["search"], "reference_id": {"$in": wanted}},
        _without_heavy(),
        [("reference_id", 1)],
    )
    for absent in sorted(set(wanted) - {reference["reference_id"] for reference in references}):
        missing.append({"collection": "references", "id": absent})
    return {
        "relaxation": relaxation,
        "candidate": candidate,
        "reference": parent if is_reference else None,
        "nearest_reference": follow("references", part_of(candidate, "nearest_reference.id")),
        "nearest_replica": replica,
        "model": model,
        "references": references,
        "search": follow("searches", relaxation["search"]),
        "missing": missing,
    }


def counts(store: RecordStore, search: str) -> dict[str, Any]:
    """Return how many of everything a search has seen, kept, relaxed and lost.

    Returns
    -------
    dict
        ``references`` ({sound, set_aside, reasons: {reason: n}}); ``sampled``, ``accepted``,
        ``kept``, ``rejected`` ({reason: n}) and ``near`` ({database, replicas, both, neither}),
        and ``candidates`` by group, summed over the finished batches; ``guided`` ({set_out,
        reached, kept, lost: {reason: n}}), the same of guided crystals; ``relaxed``, ``converged``,
        ``new`` and ``matching`` (relaxed candidates, each once: without duplicates) by group and
        in all (``total``); ``duplicates``; ``failures`` ({stage: {reason: n}}).
    """
    here = {"search": search}
    references = store.aggregate(
        "references", [{"$match": here}, _tally(status="$status", reason="$reason")]
    )
    sampling = store.find("batches", here | {"stage": "sampling"}, ["counts"])
    guiding = store.find("batches", here | {"stage": "guiding"}, ["counts"])
    verdicts = ["groups", "converged", "duplicate_of", "is_new", "matches"]
    relaxed = store.find("relaxations", here | {"parent_kind": "candidate"}, verdicts)
    failed = store.aggregate(
        "failures", [{"$match": here}, _tally(stage="$stage", reason="$reason")]
    )
    reasons: dict[str, Counter[str]] = {}
    for failure in failed:
        kind = failure["_id"]
        reasons.setdefault(kind["stage"], Counter())[kind["reason"]] += failure["n"]
    sums: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    near: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for batch in sampling:
        seen = batch["counts"]
        kept.update(seen["kept_by_group"])
        sums.update({key: seen[key] for key in ("sampled", "accepted", "kept")})
        rejected.update(seen["rejected"])
        near.update(seen["near"])
    guided: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for batch in guiding:
        seen = batch["counts"]
        kept.update(seen["kept_by_group"])
        guided.update({key: seen[key] for key in ("sampled", "accepted", "kept")})
        lost.update(seen["rejected"])
    set_aside = {
        found["_id"]["reason"]: found["n"]
        for found in references
        if found["_id"]["status"] == "set_aside"
    }
    unique = [found for found in relaxed if found["duplicate_of"] is None]
    return {
        "references": {
            "sound": sum(r["n"] for r in references if r["_id"]["status"] == "sound"),
            "set_aside": sum(set_aside.values()),
            "reasons": set_aside,
        },
        **{key: sums[key] for key in ("sampled", "accepted", "kept")},
        "rejected": dict(rejected.most_common()),
        "near": {place: near[place] for place in get_args(Near)},
        "candidates": {
            **{group: kept[group] for group in get_args(Group)},
            "total": store.count("candidates", here),
        },
        "guided": {
            "set_out": guided["sampled"],
            "reached": guided["accepted"],
            "kept": guided["kept"],
            "lost": dict(lost.most_common()),
        },
        "relaxed": _by_group(relaxed),
        "converged": _by_group(found for found in relaxed if found["converged"]),
        "duplicates": len(relaxed) - len(unique),
        "new": _by_group(found for found in unique if found["is_new"]),
        "matching": _by_group(found for found in unique if found["matches"] is not None),
        "failures": {stage: dict(counted.most_common()) for stage, counted in reasons.items()},
    }


def failures(
    store: RecordStore, search: str | None, filters: Sequence[str] = (), limit: int | None = None
) -> list[dict[str, Any]]:
    """Return what failed, newest first, as rows without the input structures.

    ``filters`` are expressions such as ``stage=relaxation``.
    """
    columns = ["_id", "created_at", "stage", "where", "reason", "detail", "parent"]
    return results(
        store,
        search,
        filters,
        sort="-created_at",
        limit=limit,
        columns=columns,
        collection="failures",
    )


def find_by_id_prefix(
    store: RecordStore,
    prefix: str,
    *,
    collections: Iterable[str] = COLLECTIONS,
    search: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the collection and document whose ``_id`` begins with a prefix.

    Parameters
    ----------
    prefix
        The beginning of an ``_id``, or the ``reference_id`` of a known structure; of one from a
        file the file's name, without its ending.
    search
        Look only in this search.

    Raises
    ------
    RecordsError
        No document is meant, or several are.
    """
    if not re.fullmatch(r"[0-9a-f]+", prefix):
        # A known structure from a file has its path as id: its name is enough.
        stem = {"$regex": rf"(^|/){re.escape(prefix)}(\.[^/]*)?$"}
        meanings: list[Mapping[str, Any]] = [{"reference_id": prefix}, {"reference_id": stem}]
        collections = [name for name in collections if name == "references"]
    else:
        # "g" follows the last digit, "f".
        meanings = [{"_id": {"$gte": prefix, "$lt": prefix + "g"}}]
    found: list[tuple[str, str]] = []
    for keys in meanings:
        query = dict(keys) if search is None else {**keys, "search": search}
        found = found or [
            (name, document["_id"])
            for name in collections
            for document in store.find(name, query, ["_id"], [("_id", 1)], limit=10)
        ]
    if len(found) != 1:
        trouble = "Several documents have" if found else "No document has"
        options = ", ".join(f"{document_id} ({name})" for name, document_id in found)
        raise RecordsError(
            f"{trouble} the id {prefix!r} in {store.description}: "
            + (f"give more of one of {options}." if found else "`crysearch results` lists the ids.")
        )
    name, document_id = found[0]
    document = store.get(name, document_id)
    if document is None:
        raise RecordsError(f"Document {document_id} of {name} has just been deleted.")
    return name, document


def rows(documents: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return documents as rows with these columns; parts of a field are named with a dot."""
    return [{column: part_of(document, column) for column in columns} for document in documents]


def part_of(document: Mapping[str, Any] | None, path: str) -> Any:
    """Return the value at a path with dots; None if there is none."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _tally(**keys: Any) -> dict[str, Any]:
    """Count the documents that agree in all keys."""
    return {"$group": {"_id": keys, "n": {"$sum": 1}}}


def _by_group(relaxations: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    groups = [relaxation["groups"] for relaxation in relaxations]
    found = Counter(group for of_one in groups for group in of_one)
    return {**{group: found[group] for group in get_args(Group)}, "total": len(groups)}


def _without_heavy() -> dict[str, int]:
    return dict.fromkeys((*_HEAVY, "spec"), 0)
