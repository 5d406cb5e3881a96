"""The commands: their table, the options each has, and those that read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson

from crysearch.localdb.catalog import check_collation
from crysearch.localdb.cursors import Cursor
from crysearch.localdb.errors import (
    BAD_VALUE,
    FAILED_TO_PARSE,
    ILLEGAL_OPERATION,
    INVALID_NAMESPACE,
    MISSING_FIELD,
    NO_COMMAND,
    TYPE_MISMATCH,
    UNAUTHORIZED,
    UNKNOWN_FIELD,
    CommandError,
    unsupported,
)
from crysearch.localdb.explaining import explanation
from crysearch.localdb.keys import MISSING, encode, values_at
from crysearch.localdb.projections import compile_projection
from crysearch.localdb.scanning import Query, View, count, decoded, find
from crysearch.localdb.wire import CODEC

if TYPE_CHECKING:
    from crysearch.localdb.server import Session

Reply = dict[str, Any]
Request = dict[str, Any]
Runner = Callable[["Session", Request, View], Reply]

_COMMON = {
    "$db", "lsid", "$clusterTime", "$readPreference", "comment", "maxTimeMS", "readConcern",
    "writeConcern", "apiVersion", "apiStrict", "apiDeprecationErrors",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command: what it may be told, and how it runs."""

    run: Runner
    fields: frozenset[str] | None  # None: anything
    writes: bool = False
    open: bool = False  # also for those who have not authenticated


COMMANDS: dict[str, Command] = {}


def command(
    names: str, fields: str | None = "", *, writes: bool = False, open: bool = False
) -> Callable[[Runner], Runner]:
    """Enter a function in the table of commands, under one or more names."""

    def register(run: Runner) -> Runner:
        for name in names.split():
            known = None if fields is None else frozenset({name, *fields.split()})
            COMMANDS[name] = Command(run, known, writes, open)
        return run

    return register


def lookup(request: Request, authenticated: bool) -> Command:
    """The command of a request, if it is known, permitted and has only known options."""
    name = next(iter(request))
    found = COMMANDS.get(name)
    if not authenticated and not (found and found.open):
        raise CommandError(UNAUTHORIZED, f"Command {name} requires authentication")
    if found is None:
        raise CommandError(NO_COMMAND, f"no such command: '{name}'")
    if not isinstance(request.get("$db"), str):
        raise CommandError(40571, "OP_MSG requests require a $db argument")
    if {"txnNumber", "autocommit", "startTransaction"} & request.keys():
        message = "Transaction numbers are only allowed on a replica set member or mongos"
        raise CommandError(ILLEGAL_OPERATION, message)
    if found.fields is not None:
        check_fields(request, found.fields | _COMMON)
    level = mapping(request, "readConcern").get("level", "local")
    if level not in ("local", "available", "majority"):
        raise CommandError(123, f"readConcern {level!r} needs a replica set")
    if mapping(request, "writeConcern").get("w", 1) not in (0, 1, "majority"):
        raise CommandError(BAD_VALUE, "cannot use 'w' > 1 when a host is not replicated")
    check_collation(request.get("collation"))
    refuse(request, "let")
    return found


def check_fields(request: Request, known: frozenset[str], needed: str = "") -> None:
    """Refuse unknown options, and the lack of needed ones."""
    for field in request:
        if field not in known:
            raise CommandError(UNKNOWN_FIELD, f"BSON field '{field}' is an unknown field.")
    for field in needed.split():
        if field not in request:
            message = f"BSON field '{field}' is missing but a required field"
            raise CommandError(MISSING_FIELD, message)


def refuse(request: Request, *names: str) -> None:
    """Refuse options that are not supported here."""
    for name in names:
        if request.get(name):
            raise unsupported(f"the option {name}")


def deadline(request: Request) -> float | None:
    """The time at which a request has run too long."""
    limit = whole(request, "maxTimeMS")
    return time.monotonic() + limit / 1000 if limit else None


def target(request: Request) -> tuple[str, str]:
    """Database and collection of a request."""
    database, name = request["$db"], request[next(iter(request))]
    if (
        not isinstance(name, str)
        or not name.strip(".") == name != ""
        or not database
        or set(name) & set("$\0")
        or set(database) & set('/\\. "$\0')
    ):
        raise CommandError(INVALID_NAMESPACE, f"Invalid namespace specified '{database}.{name}'")
    return database, name


def whole(request: Mapping[str, Any], name: str) -> int:
    """A number among the options; 0 if it is not there."""
    value = request.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise CommandError(TYPE_MISMATCH, f"{name} must be a whole number, not {value!r}")
    if value < 0:
        raise CommandError(51024, f"{name} must not be negative, but is {value!r}")
    return int(value)


def batch_size(options: Mapping[str, Any]) -> int | None:
    """The wanted number of documents in a batch, if there is one."""
    return None if options.get("batchSize") is None else whole(options, "batchSize")


def mapping(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object among the options."""
    value = request.get(name)
    if value is not None and not isinstance(value, dict):
        raise CommandError(TYPE_MISMATCH, f"{name} must be an object, not {value!r}")
    return value or {}


def query_of(request: Mapping[str, Any], filter: str = "filter") -> Query:
    """What a request asks of its collection."""
    from crysearch.localdb.aggregation import parse_sort

    return Query(
        mapping(request, filter),
        parse_sort(mapping(request, "sort")) if request.get("sort") else (),
        whole(request, "skip"),
        whole(request, "limit"),
        request.get("hint"),
    )


@command(
    "find",
    "filter sort projection skip limit batchSize singleBatch hint collation noCursorTimeout "
    "allowDiskUse allowPartialResults tailable awaitData returnKey showRecordId min max let",
)
def _find(session: Session, request: Request, view: View) -> Reply:
    refuse(request, "tailable", "awaitData", "returnKey", "showRecordId", "min", "max")
    database, name = target(request)
    query = query_of(request)
    project = compile_projection(request.get("projection"), query.filter)
    found = find(view, view.collection(database, name), query)
    documents: Iterator[bytes] = (match[1] for match in found)
    if project is not None:
        documents = (bson.encode(project(decoded(m)), codec_options=CODEC) for m in found)
    cursor = Cursor(f"{database}.{name}", documents, bool(request.get("noCursorTimeout")))
    single = bool(request.get("singleBatch"))
    return session.server.cursors.first(cursor, batch_size(request), single)


@command(
    "aggregate",
    "pipeline cursor explain allowDiskUse hint collation let bypassDocumentValidation",
)
def _aggregate(session: Session, request: Request, view: View) -> Reply:
    from crysearch.localdb.aggregation import aggregate

    if request.get("explain"):
        return _explained(request, view, execute=False)
    pipeline, options = request.get("pipeline"), request.get("cursor")
    if not isinstance(pipeline, list) or not isinstance(options, dict):
        raise CommandError(FAILED_TO_PARSE, "aggregate needs a 'pipeline' and a 'cursor'")
    database, name = target(request)
    found = aggregate(view, database, name, pipeline, request.get("hint"))
    documents = (bson.encode(document, codec_options=CODEC) for document in found)
    cursor = Cursor(f"{database}.{name}", documents)
    return session.server.cursors.first(cursor, batch_size(options))


@command("getMore", "collection batchSize")
def _get_more(session: Session, request: Request, view: View) -> Reply:
    namespace = f"{request['$db']}.{request.get('collection')}"
    return session.server.cursors.more(request["getMore"], namespace, batch_size(request))


@command("killCursors", "cursors")
def _kill_cursors(session: Session, request: Request, view: View) -> Reply:
    return session.server.cursors.kill(request.get("cursors", ()))


@command("count", "query limit skip hint collation fields")
def _count(session: Session, request: Request, view: View) -> Reply:
    query = query_of({**request, "limit": abs(request.get("limit") or 0)}, "query")
    return {"n": count(view, view.collection(*target(request)), query), "ok": 1.0}


@command("distinct", "key query collation hint")
def _distinct(session: Session, request: Request, view: View) -> Reply:
    if not isinstance(request.get("key"), str):
        raise CommandError(TYPE_MISMATCH, f"key must be text, not {request.get('key')!r}")
    parts = tuple(request["key"].split("."))
    values: dict[bytes, Any] = {}
    for match in find(view, view.collection(*target(request)), query_of(request, "query")):
        for value in values_at(decoded(match), parts):
            for element in value if isinstance(value, list) else (value,):
                if element is not MISSING:
                    values.setdefault(encode(element), element)
    return {"values": [values[key] for key in sorted(values)], "ok": 1.0}


@command("explain", "verbosity")
def _explain(session: Session, request: Request, view: View) -> Reply:
    inner, verbosity = mapping(request, "explain"), request.get("verbosity")
    if verbosity not in (None, "queryPlanner", "executionStats", "allPlansExecution"):
        raise CommandError(BAD_VALUE, f"unknown verbosity {verbosity!r}")
    return _explained({**inner, "$db": request["$db"]}, view, verbosity != "queryPlanner")


def _explained(request: Request, view: View, execute: bool) -> Reply:
    from crysearch.localdb.aggregation import leading_query

    name = next(iter(request))
    if name == "find":
        query = query_of(request)
    elif name in ("count", "distinct", "findAndModify"):
        query = query_of(request, "query")
    elif name == "aggregate":
        query, _ = leading_query(request.get("pipeline", []))
    elif name in ("update", "delete") and len(request.get(f"{name}s", [])) == 1:
        statement = request[f"{name}s"][0]
        query = query_of(
            bson.decode(statement, CODEC) if isinstance(statement, bytes) else statement, "q"
        )
    else:
        raise CommandError(NO_COMMAND, f"Explain failed due to unknown command: {name}")
    return explanation(view, target(request), query, name, execute)
