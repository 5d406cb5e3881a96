"""The commands that change documents. They run in the writing thread, inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import bson
from bson import ObjectId, Regex

from crysearch.localdb.catalog import Collection, check_collation
from crysearch.localdb.commands import (
    Reply,
    Request,
    check_fields,
    command,
    query_of,
    refuse,
    target,
)
from crysearch.localdb.errors import (
    BAD_VALUE,
    DOLLAR_PREFIX,
    FAILED_TO_PARSE,
    MISSING_FIELD,
    OVERFLOW,
    CommandError,
)
from crysearch.localdb.projections import compile_projection
from crysearch.localdb.scanning import Match, View, decoded, fetch, find
from crysearch.localdb.storage import Storage
from crysearch.localdb.updates import Update
from crysearch.localdb.wire import CODEC

if TYPE_CHECKING:
    from crysearch.localdb.server import Session

Document = dict[str, Any]

_MOST_STATEMENTS = 100_000
_MOST_LEVELS = 180
_UPDATE_FIELDS = frozenset(
    ["q", "u", "upsert", "multi", "arrayFilters", "hint", "collation", "sort"]
)
_DELETE_FIELDS = frozenset(["q", "limit", "hint", "collation"])


@command("insert", "documents ordered bypassDocumentValidation", writes=True)
def _insert(session: Session, request: Request, view: View) -> Reply:
    database, name = target(request)
    items = _statements(request, "documents")
    storage = session.server.storage
    collection = _collection(storage, view, database, name)

    def insert(number: int) -> int:
        data = items[number]
        document = bson.decode(data, CODEC) if isinstance(data, bytes) else data
        if next(iter(document), None) != "_id":  # it comes first, and is made if it is not there
            document = {"_id": document.get("_id", ObjectId()), **document}
            data = None
        data = data if isinstance(data, bytes) else _encoded(document)
        _check(document, data)
        storage.insert(collection, document, data)
        return 1

    done, errors = _run(request, len(items), insert)
    return {"n": sum(done), **errors, "ok": 1.0}


@command("update", "updates ordered bypassDocumentValidation let", writes=True)
def _update(session: Session, request: Request, view: View) -> Reply:
    database, name = target(request)
    items = [_decoded(item, _UPDATE_FIELDS, "q u") for item in _statements(request, "updates")]
    storage = session.server.storage
    upserted: list[Document] = []

    def run(number: int) -> tuple[int, int]:
        statement = items[number]
        update = Update(statement["u"], statement["q"])
        multi = bool(statement.get("multi"))
        if multi and update.is_replacement:
            message = "multi update is not supported for replacement-style update"
            raise CommandError(FAILED_TO_PARSE, message)
        collection = view.collection(database, name)
        matched = modified = 0
        for match in _found(view, collection, statement, multi):
            assert collection is not None
            matched += 1
            modified += _change(storage, collection, match, update)[1]
        if not matched and statement.get("upsert"):
            made = _upsert(storage, _collection(storage, view, database, name), update)
            upserted.append({"index": number, "_id": made["_id"]})
            matched = 1
        return matched, modified

    done, errors = _run(request, len(items), run)
    counts = {"n": sum(n for n, _ in done), "nModified": sum(m for _, m in done)}
    return {**counts, **({"upserted": upserted} if upserted else {}), **errors, "ok": 1.0}


@command("delete", "deletes ordered let", writes=True)
def _delete(session: Session, request: Request, view: View) -> Reply:
    items = [_decoded(item, _DELETE_FIELDS, "q limit") for item in _statements(request, "deletes")]
    if any(item["limit"] not in (0, 1) for item in items):
        raise CommandError(FAILED_TO_PARSE, "The limit field in delete objects must be 0 or 1")
    storage = session.server.storage
    collection = view.collection(*target(request))

    def delete(number: int) -> int:
        deleted = 0
        for match in _found(view, collection, items[number], not items[number]["limit"]):
            assert collection is not None
            storage.delete(collection, match[0], decoded(match))
            deleted += 1
        return deleted

    done, errors = _run(request, len(items), delete)
    return {"n": sum(done), **errors, "ok": 1.0}


@command(
    "findAndModify",
    "query sort remove update new fields upsert arrayFilters hint collation let "
    "bypassDocumentValidation",
    writes=True,
)
def _find_and_modify(session: Session, request: Request, view: View) -> Reply:
    database, name = target(request)
    storage = session.server.storage
    remove, new = bool(request.get("remove")), bool(request.get("new"))
    if remove == ("update" in request) or (remove and (new or request.get("upsert"))):
        message = "either remove, or an update with new and upsert, must be specified"
        raise CommandError(FAILED_TO_PARSE, message)
    refuse(request, "arrayFilters")
    query = query_of(request, "query")
    query.limit = 1
    project = compile_projection(request.get("fields"), query.filter)
    update = None if remove else Update(request["update"], query.filter)
    collection = view.collection(database, name)
    match = next(find(view, collection, query), None)
    value = None if match is None else decoded(match)
    result: Document = {"n": int(match is not None)}
    if update is not None:
        result["updatedExisting"] = match is not None
    if match is not None and collection is not None:
        if update is None:
            storage.delete(collection, match[0], decoded(match))
        else:
            changed, _ = _change(storage, collection, match, update)
            value = changed if new else value
    elif update is not None and request.get("upsert"):
        made = _upsert(storage, _collection(storage, view, database, name), update)
        result |= {"n": 1, "upserted": made["_id"]}
        value = made if new else None
    if value is not None and project is not None:
        value = project(value)
    return {"lastErrorObject": result, "value": value, "ok": 1.0}


def _encoded(document: Document) -> bytes:
    try:
        return bson.encode(document, codec_options=CODEC)
    except (bson.errors.BSONError, OverflowError) as error:
        raise CommandError(BAD_VALUE, f"the document cannot be stored: {error}") from error


def _statements(request: Request, name: str) -> list[Any]:
    items = request.get(name)
    if items is None:
        raise CommandError(MISSING_FIELD, f"BSON field '{name}' is missing but a required field")
    if not isinstance(items, list) or not 1 <= len(items) <= _MOST_STATEMENTS:
        raise CommandError(16, f"Write batch sizes must be between 1 and {_MOST_STATEMENTS}")
    return items


def _decoded(statement: Any, known: frozenset[str], needed: str) -> Document:
    statement = bson.decode(statement, CODEC) if isinstance(statement, bytes) else statement
    refuse(statement, "arrayFilters", "c")
    check_fields(statement, known, needed)
    check_collation(statement.get("collation"))
    return statement


def _run(
    request: Request, number: int, run: Callable[[int], Any]
) -> tuple[list[Any], dict[str, list[Document]]]:
    """Run the statements, up to the first that fails if they are ordered."""
    done: list[Any] = []
    errors: list[Document] = []
    for item in range(number):
        try:
            done.append(run(item))
        except CommandError as error:
            errors.append(error.write_error(item))
            if request.get("ordered", True):
                break
    return done, {"writeErrors": errors} if errors else {}


def _collection(storage: Storage, view: View, database: str, name: str) -> Collection:
    return view.collection(database, name) or storage.create_collection(database, name)


def _found(
    view: View, collection: Collection | None, statement: Document, many: bool
) -> Iterator[Match]:
    """The matches as they were before any of them is changed."""
    query = query_of(statement, "q")
    query.limit = 0 if many else 1
    found = find(view, collection, query)
    if collection is None or not many:
        yield from list(found)
        return
    positions = [match[0] for match in found]
    for position in positions:
        yield from fetch(view, collection, [position])


def _change(
    storage: Storage, collection: Collection, match: Match, update: Update
) -> tuple[Document, bool]:
    """Apply an update to a stored document: the new document, and whether it is another."""
    position, data, _ = match
    new = update.apply(bson.decode(data, CODEC))
    new_data = _encoded(new)
    if new_data != data:
        _check(new, new_data)
        storage.replace(collection, position, bson.decode(data, CODEC), new, new_data)
    return new, new_data != data


def _upsert(storage: Storage, collection: Collection, update: Update) -> Document:
    document = update.upserted()
    data = _encoded(document)
    _check(document, data)
    storage.insert(collection, document, data)
    return document


def _check(document: Document, data: bytes) -> None:
    identity = document["_id"]
    if isinstance(identity, list | Regex):
        kind = "array" if isinstance(identity, list) else "regex"
        raise CommandError(53, f"The '_id' value cannot be of type {kind}")
    if isinstance(identity, dict) and any(name.startswith("$") for name in identity):
        raise CommandError(DOLLAR_PREFIX, f"_id fields may not begin with '$': {identity}")
    if data.count(b"\3") + data.count(b"\4") > _MOST_LEVELS:  # the types of objects and arrays
        level: list[Any] = [document]
        for _ in range(_MOST_LEVELS):
            inner = [node.values() if isinstance(node, dict) else node for node in level]
            level = [v for values in inner for v in values if v.__class__ in (dict, list)]
        if level:
            message = f"the document is nested more than {_MOST_LEVELS} levels deep"
            raise CommandError(OVERFLOW, message)
