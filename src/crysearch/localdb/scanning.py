"""Going through the documents that a plan names, in steps that hold no lock and little memory."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import bson

from crysearch.localdb.catalog import Collection
from crysearch.localdb.errors import CommandError
from crysearch.localdb.keys import sorter
from crysearch.localdb.planner import Plan, Sort, make_plan
from crysearch.localdb.queries import Predicate, compile_filter
from crysearch.localdb.storage import ROW, Catalog, sound
from crysearch.localdb.wire import CODEC

Match = tuple[int, bytes, dict[str, Any] | None]  # position, BSON, the document if it was decoded

_FIRST_ROWS, _MOST_ROWS, _MOST_BYTES = 16, 256, 4_000_000


@dataclass
class View:
    """What a command sees: the collections, and how to read them."""

    catalog: Callable[[], Catalog]
    reading: Callable[[], AbstractContextManager[sqlite3.Connection]]
    deadline: float | None = None
    keys_examined: int = 0
    documents_examined: int = 0

    def collection(self, database: str, name: str) -> Collection | None:
        """A collection, if there is one."""
        return self.catalog().get((database, name))


@dataclass
class Query:
    """What is asked of one collection."""

    filter: Mapping[str, Any]
    sort: Sort = ()
    skip: int = 0
    limit: int = 0
    hint: Any = None


def find(view: View, collection: Collection | None, query: Query) -> Iterator[Match]:
    """The documents that match, in order."""
    test = compile_filter(query.filter)  # errors in a filter show even without a collection
    if collection is None:
        return iter(())
    plan = make_plan(collection, query.filter, query.sort, query.hint)
    wanted = query.skip + query.limit if query.limit else 0
    found = _matches(view, plan, test, wanted if plan.sorts else 0)
    if not plan.sorts:
        found = _sorted(view, collection, found, query.sort, test, wanted)
    return itertools.islice(found, query.skip, wanted or None)


def count(view: View, collection: Collection | None, query: Query) -> int:
    """The number of documents that match."""
    test = compile_filter(query.filter)
    if collection is None:
        return 0
    plan = make_plan(collection, query.filter, (), query.hint)
    keys_alone = plan.exact
    total = _count_keys(view, plan) if keys_alone else sum(1 for _ in _matches(view, plan, test))
    total = max(total - query.skip, 0)
    return min(total, query.limit) if query.limit else total


def decoded(match: Match) -> dict[str, Any]:
    """The document of a match."""
    return match[2] if match[2] is not None else bson.decode(match[1], CODEC)


def _matches(view: View, plan: Plan, test: Predicate, expected: int = 0) -> Iterator[Match]:
    seen: set[int] | None = set() if plan.index is not None and plan.index.multikey else None
    for rows in _chunks(view, plan, min(expected, _MOST_ROWS) or _FIRST_ROWS):
        for _, *row in rows:
            position = row[0]
            if seen is not None:
                if position in seen:
                    continue
                seen.add(position)
            data = sound(plan.collection, row)
            document = None if plan.exact else bson.decode(data, CODEC)
            if document is None or test(document):
                yield position, data, document


def _sorted(
    view: View, collection: Collection, found: Iterable[Match], sort: Sort, test: Predicate,
    wanted: int,
) -> Iterator[Match]:  # fmt: skip
    key = sorter(sort)
    pairs = ((key(decoded(match)), match[0]) for match in found)
    order = heapq.nsmallest(wanted, pairs) if wanted else sorted(pairs)
    positions = [position for _, position in order]
    del order
    for start in range(0, len(positions), 64):
        for match in fetch(view, collection, positions[start : start + 64]):
            document = bson.decode(match[1], CODEC)
            if test(document):  # it may have changed meanwhile
                yield match[0], match[1], document


def fetch(view: View, collection: Collection, positions: Iterable[int]) -> Iterator[Match]:
    """The documents at some positions, without those that are gone."""
    query = f"SELECT {ROW} FROM {collection.table} WHERE position = ?"
    with view.reading() as connection:
        rows = [connection.execute(query, (position,)).fetchone() for position in positions]
    for row in rows:
        if row is not None:
            yield row[0], sound(collection, row), None


def _chunks(view: View, plan: Plan, size: int) -> Iterator[list[Any]]:
    """The rows of a plan in short reads, each of which sees what is committed at its time."""
    compare, other, order = ("<", ">=", "DESC") if plan.reverse else (">", "<", "ASC")
    table = plan.collection.table
    columns = "d.position, d.key, d.bson, d.checksum"
    ranges: Sequence[tuple[Any, Any]] = plan.ranges
    if plan.index is None:
        ranges = [(-1, 1 << 62)]
        query = f"SELECT d.position, {columns} FROM {table} d WHERE d.position {compare} ?1 AND "
        query += f"d.position {other} ?3 ORDER BY d.position {order} LIMIT ?4"
    elif plan.index.is_id:
        query = f"SELECT d.key, {columns} FROM {table} d WHERE d.key {compare}= ?1 AND "
        query += f"(d.key, d.position) {compare} (?1, ?2) AND d.key {other} ?3 "
        query += f"ORDER BY d.key {order} LIMIT ?4"
    else:
        query = f"SELECT i.key, i.position, d.key, d.bson, d.checksum FROM {plan.index.table} i "
        query += f"LEFT JOIN {table} d ON d.position = i.position WHERE (i.key, i.position) "
        query += f"{compare} (?1, ?2) AND i.key {other} ?3 "
        query += f"ORDER BY i.key {order}, i.position {order} LIMIT ?4"
    for low, high in ranges:
        start, end = (high, low) if plan.reverse else (low, high)
        position, more = -1, True
        while more:
            if view.deadline is not None and time.monotonic() > view.deadline:
                raise CommandError(50, "operation exceeded time limit")
            rows, more = _read(view, query, (start, position, end, size), size)
            view.keys_examined += len(rows) if plan.index is not None else 0
            view.documents_examined += len(rows)
            yield rows
            if more:
                start, position = rows[-1][0], rows[-1][1]
                size = min(2 * size, _MOST_ROWS)


def _read(view: View, query: str, parameters: tuple[Any, ...], size: int) -> tuple[list[Any], bool]:
    """Rows up to a number and an amount of bytes, and whether there may be more."""
    rows: list[Any] = []
    amount = 0
    try:
        with view.reading() as connection:
            cursor = connection.execute(query, parameters)
            for row in cursor:
                rows.append(row)
                amount += len(row[3] or b"")
                if amount > _MOST_BYTES:
                    cursor.close()
                    return rows, True
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise  # otherwise dropped meanwhile
    return rows, len(rows) == size


def _count_keys(view: View, plan: Plan) -> int:
    condition = "" if plan.index is None else " WHERE key >= ? AND key < ?"
    table = plan.collection.table if plan.index is None else plan.index.table
    total = 0
    for bounds in [()] if plan.index is None else plan.ranges:
        with view.reading() as connection:
            query = f"SELECT COUNT(*) FROM {table}{condition}"
            total += connection.execute(query, bounds).fetchone()[0]
    view.keys_examined += total
    return total
