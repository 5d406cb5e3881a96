"""Aggregation pipelines: the frequent stages as streams, the others by mongomock-ng."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from bson import Decimal128, Int64
from mongomock_ng import aggregate as mongomock

from crysearch.localdb.errors import BAD_VALUE, FAILED_TO_PARSE, CommandError, unsupported
from crysearch.localdb.expressions import check_expression, compile_expression, explained
from crysearch.localdb.keys import MISSING, encode, sorter
from crysearch.localdb.queries import compile_filter
from crysearch.localdb.scanning import Query, View, count, decoded, find

Document = dict[str, Any]
Stream = Iterable[Document]
Stage = Callable[[Stream], Stream]

_LEADING = ["$match", "$sort", "$skip", "$limit"]
_BY_MONGOMOCK = {"$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith"}
_ELSEWHERE = {
    "$bucket", "$bucketAuto", "$changeStream", "$collStats", "$currentOp", "$densify",
    "$documents", "$facet", "$fill", "$geoNear", "$graphLookup", "$indexStats", "$merge", "$out",
    "$redact", "$sample", "$setWindowFields", "$unionWith",
}  # fmt: skip


def parse_sort(sort: Any) -> list[tuple[str, bool]]:
    """The fields to sort by and whether each ascends."""
    if not isinstance(sort, Mapping):
        raise CommandError(BAD_VALUE, "a sort must be an object of fields and directions")
    for path, direction in sort.items():
        if isinstance(direction, bool) or direction not in (1, -1):
            raise CommandError(BAD_VALUE, f"the sort direction of {path!r} must be 1 or -1")
    return [(path, direction > 0) for path, direction in sort.items()]


def aggregate(
    view: View, database: str, name: str, pipeline: Sequence[Any], hint: Any = None
) -> Iterator[Document]:
    """The documents that a pipeline makes of a collection."""
    query, rest = leading_query(pipeline)
    query.hint = hint
    stages = [_stage(view, database, *_parts(stage)) for stage in rest]  # unknown ones fail now
    collection = view.collection(database, name)
    label = _counts(rest)
    if label is not None:
        total = count(view, collection, query)
        found: Stream = [{**label, next(reversed(label)): total}] if total else []
        stages = stages[1:]
    else:
        found = map(decoded, find(view, collection, query))
    for stage in stages:
        found = stage(found)
    return iter(found)


def leading_query(pipeline: Sequence[Any]) -> tuple[Query, Sequence[Any]]:
    """The query that a pipeline begins with, and the stages after it."""
    query, reached = Query({}), 0
    for number, stage in enumerate(pipeline):
        name, options = _parts(stage)
        if name not in _LEADING[reached:]:
            return query, pipeline[number:]
        reached = _LEADING.index(name) + (name != "$match")
        if name == "$match":
            if not isinstance(options, dict):
                raise CommandError(15959, "the match filter must be an expression in an object")
            query.filter = {"$and": [query.filter, options]} if query.filter else options
        elif name == "$sort":
            query.sort = _sort_fields(options)
        elif name == "$skip":
            query.skip = _whole(options, 0)
        else:
            query.limit = _whole(options, 1)
    return query, ()


def _parts(stage: Any) -> tuple[str, Any]:
    if not isinstance(stage, dict) or len(stage) != 1:
        message = "A pipeline stage specification object must contain exactly one field."
        raise CommandError(40323, message)
    return next(iter(stage.items()))


def _counts(rest: Sequence[Any]) -> Document | None:
    """If the next stage only counts documents: its result, in which the last field is the count."""
    name, options = _parts(rest[0]) if rest else ("", {})
    if name == "$count":
        return {str(options): 0}
    if name == "$group" and len(options) == 2 and "_id" in options:
        field = next(field for field in options if field != "_id")
        summed = options[field].get("$sum")
        if type(summed) is int and summed == 1 and isinstance(options["_id"], int | None):
            return {"_id": options["_id"], field: 0}
    return None


def _stage(view: View, database: str, name: str, options: Any) -> Stage:
    if name in _STREAMED:
        return _STREAMED[name](options)
    if name == "$lookup":
        return _lookup(view, database, options)
    if name in _ELSEWHERE:
        raise unsupported(f"the stage {name}")
    if name not in _BY_MONGOMOCK:
        raise CommandError(40324, f"Unrecognized pipeline stage name: '{name}'")
    if name not in ("$unset", "$replaceWith") and not (isinstance(options, dict) and options):
        raise CommandError(BAD_VALUE, f"{name} specification must be an object with fields")
    if name != "$unset":
        check_expression(options)
    handler: Any = mongomock._PIPELINE_HANDLERS[name]

    def run(documents: Stream) -> Stream:
        for document in documents:
            with explained():
                made = handler([document], None, options, None)
            yield from made or ()

    return run


def _lookup(view: View, database: str, options: Any) -> Stage:
    names = {"from", "localField", "foreignField", "as"}
    if not isinstance(options, dict) or not names <= options.keys() | {"pipeline", "let"}:
        raise CommandError(FAILED_TO_PARSE, f"$lookup needs {', '.join(sorted(names))}")
    if options.keys() != names:
        raise unsupported(f"a $lookup with {', '.join(sorted(options.keys() - names))}")
    other = view.collection(database, options["from"])

    class Database:
        """As much of a database as mongomock-ng's $lookup asks for."""

        def get_collection(self, name: str) -> Database:
            return self

        def find(self, filter: Document) -> list[Document]:
            return [decoded(match) for match in find(view, other, Query(filter))]

    handler = mongomock._handle_lookup_stage

    def run(documents: Stream) -> Stream:
        for document in documents:
            with explained():
                made = handler([document], Database(), options, None)
            yield from made

    return run


def _whole(value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise CommandError(FAILED_TO_PARSE, f"a whole number is needed, not {value!r}")
    if value < least:
        raise CommandError(FAILED_TO_PARSE if not least else 15958, f"{value!r} is too small")
    return int(value)


def _sort_fields(options: Any) -> list[tuple[str, bool]]:
    if not options:
        raise CommandError(15976, "$sort stage must have at least one sort key")
    return parse_sort(options)


def _match(options: Any) -> Stage:
    test = compile_filter(options)
    return lambda documents: filter(test, documents)


def _sort(options: Any) -> Stage:
    key = sorter(_sort_fields(options))
    return lambda documents: sorted(documents, key=key)


def _skip(options: Any) -> Stage:
    size = _whole(options, 0)
    return lambda documents: itertools.islice(documents, size, None)


def _limit(options: Any) -> Stage:
    size = _whole(options, 1)
    return lambda documents: itertools.islice(documents, size)


def _count(options: Any) -> Stage:
    if not isinstance(options, str) or not options or options.startswith("$") or "." in options:
        raise CommandError(BAD_VALUE, f"$count needs the name of a field, not {options!r}")
    counted = _group({"_id": None, options: {"$sum": 1}})
    return lambda documents: ({options: group[options]} for group in counted(documents))


def _sort_by_count(options: Any) -> Stage:
    counted, ordered = _group({"_id": options, "count": {"$sum": 1}}), _sort({"count": -1})
    return lambda documents: ordered(counted(documents))


def _unwind(options: Any) -> Stage:
    options = options if isinstance(options, dict) else {"path": options}
    path = options.get("path")
    if not isinstance(path, str) or not path.startswith("$"):
        raise CommandError(28818, f"the path of $unwind must begin with a '$', not {path!r}")
    unknown = set(options) - {"path", "includeArrayIndex", "preserveNullAndEmptyArrays"}
    if unknown:
        raise CommandError(28811, f"unrecognized option to $unwind stage: {min(unknown)}")
    parts, index = path[1:].split("."), options.get("includeArrayIndex")

    def run(documents: Stream) -> Stream:
        for document in documents:
            value: Any = document
            for part in parts:
                value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
            rows: Iterable[tuple[int | None, Any]] = [(None, value)]
            if isinstance(value, list) and value:
                rows = enumerate(value)
            elif value is MISSING or value is None or value == []:
                kept = bool(options.get("preserveNullAndEmptyArrays"))
                rows = [(None, MISSING if value == [] else value)] * kept
            for number, element in rows:
                result = _with(document, parts, element)
                yield result if index is None else {**result, index: number}

    return run


def _with(document: Document, parts: Sequence[str], value: Any) -> Document:
    """A document with another value at a path, or without it if that is `MISSING`."""
    first, *rest = parts
    if rest and isinstance(document.get(first), dict):
        value = _with(document[first], rest, value)
    elif rest:
        return document
    changed = {**document, first: value}
    return {k: v for k, v in changed.items() if v is not MISSING}


def _group(options: Any) -> Stage:
    """One pass over the documents: mongomock-ng's would hold and sort all of them."""
    if not isinstance(options, dict) or "_id" not in options:
        raise CommandError(15955, "a group specification must include an _id")
    identity = compile_expression(options["_id"])
    fields = []
    for name, accumulator in options.items():
        if name == "_id":
            continue
        if not isinstance(accumulator, dict) or len(accumulator) != 1:
            raise CommandError(40234, f"The field '{name}' must be an accumulator object")
        operator, argument = next(iter(accumulator.items()))
        if operator not in _ACCUMULATORS:
            raise CommandError(15952, f"unknown group operator '{operator}'")
        fields.append((name, _ACCUMULATORS[operator], compile_expression(argument)))

    def run(documents: Stream) -> Stream:
        groups: dict[bytes, tuple[Any, list[list[Any]]]] = {}
        for document in documents:
            value = identity(document)
            _, columns = groups.setdefault(encode(value), (value, [[] for _ in fields]))
            for column, (_, _, expression) in zip(columns, fields, strict=True):
                column.append(expression(document))
        for value, columns in groups.values():
            results = zip(fields, columns, strict=True)
            made = {name: accumulate(column) for (name, accumulate, _), column in results}
            yield {"_id": None if value is MISSING else value, **made}

    return run


def _numbers(values: Iterable[Any]) -> list[Any]:
    kinds = (int, float, Decimal128)
    found = [v for v in values if isinstance(v, kinds) and not isinstance(v, bool)]
    if any(isinstance(v, Decimal128) for v in found):
        return [v.to_decimal() if isinstance(v, Decimal128) else Decimal(str(v)) for v in found]
    return found


def _sum(values: Iterable[Any]) -> Any:
    numbers = _numbers(values)
    total = sum(numbers)
    if isinstance(total, int) and any(isinstance(n, Int64) for n in numbers):
        return Int64(total)
    return Decimal128(total) if isinstance(total, Decimal) else total


def _average(values: Iterable[Any]) -> Any:
    numbers = _numbers(values)
    mean = sum(numbers) / len(numbers) if numbers else None
    return Decimal128(mean) if isinstance(mean, Decimal) else mean


def _present(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None and value is not MISSING]


def _null(value: Any) -> Any:
    return None if value is MISSING else value


_ACCUMULATORS: dict[str, Callable[[list[Any]], Any]] = {
    "$sum": _sum,
    "$avg": _average,
    "$count": len,
    "$min": lambda values: min(_present(values), key=encode, default=None),
    "$max": lambda values: max(_present(values), key=encode, default=None),
    "$first": lambda values: _null(values[0]),
    "$last": lambda values: _null(values[-1]),
    "$push": lambda values: [value for value in values if value is not MISSING],
    "$addToSet": lambda values: list({encode(v): v for v in values if v is not MISSING}.values()),
    "$mergeObjects": lambda values: {k: v for d in _present(values) for k, v in d.items()},
}
_STREAMED: dict[str, Callable[[Any], Stage]] = {
    "$match": _match,
    "$sort": _sort,
    "$skip": _skip,
    "$limit": _limit,
    "$count": _count,
    "$group": _group,
    "$sortByCount": _sort_by_count,
    "$unwind": _unwind,
}
