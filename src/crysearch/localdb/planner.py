"""Which index answers a filter, and in which ranges of its keys."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import MaxKey, MinKey, Regex

from crysearch.localdb import keys
from crysearch.localdb.catalog import Collection, Index
from crysearch.localdb.errors import BAD_VALUE, CommandError
from crysearch.localdb.queries import conjuncts

Sort = Sequence[tuple[str, bool]]  # path, ascending
Range = tuple[bytes, bytes]  # of index keys, the end excluded
Wanted = Sequence[tuple[str, str, Any]]  # path, operator, argument

_MOST_RANGES = 5000
_END = b"\xff"  # after every continuation of a key
_RANGES = {"$gt", "$gte", "$lt", "$lte"}
_NAN = keys.encode(float("nan"))


@dataclass(frozen=True)
class Interval:
    """Values of one field between two keys."""

    low: bytes
    high: bytes
    low_included: bool = True
    high_included: bool = True

    @property
    def is_point(self) -> bool:
        """Whether it holds one value only."""
        return self.low == self.high

    def holds(self, other: Interval) -> bool:
        """Whether another interval lies within this one."""
        return _lower(self) <= _lower(other) and _upper(other) <= _upper(self)

    def range(self, prefix: bytes, ascending: bool) -> Range:
        """The keys of an index in which the field comes after a prefix."""
        if ascending:
            low = self.low if self.low_included else self.low + _END
            return prefix + low, prefix + (self.high + _END if self.high_included else self.high)
        low = keys.inverted(self.high) + (b"" if self.high_included else _END)
        high = keys.inverted(self.low)
        if self.low_included and len(self.low) == 1 and not self.is_point:
            high = bytes((high[0] + 1,))  # a lone type byte begins the type, and is no value
        elif self.low_included:
            high += _END
        return prefix + low, prefix + high


def _lower(interval: Interval) -> tuple[bytes, bool]:
    return interval.low, not interval.low_included


def _upper(interval: Interval) -> tuple[bytes, bool]:
    return interval.high, interval.high_included


_NULL_POINT = Interval(bytes((keys.NULL,)), bytes((keys.NULL,)))


@dataclass
class Plan:
    """How the documents of a collection are gone through."""

    collection: Collection
    index: Index | None = None
    ranges: list[Range] = field(default_factory=list)
    reverse: bool = False
    sorts: bool = False  # the documents come in the order asked for
    exact: bool = False  # every document in the ranges matches the filter
    score: float = 0.0

    @property
    def by_id(self) -> bool:
        """Whether one ``_id`` is looked up."""
        one = len(self.ranges) == 1 and self.ranges[0][1] == self.ranges[0][0] + _END
        return self.index is not None and self.index.is_id and one and bool(self.ranges[0][0])


def make_plan(
    collection: Collection, filter: Mapping[str, Any], sort: Sort = (), hint: Any = None
) -> Plan:
    """Choose the index that narrows a filter most, and if possible gives the order."""
    best = Plan(collection, sorts=not sort, exact=not filter)
    if sort and sort[0][0] == "$natural":
        return Plan(collection, reverse=not sort[0][1], sorts=True, exact=not filter)
    wanted = list(conjuncts(filter))
    for index in _hinted(collection, hint):
        plan = _plan_with(collection, index, filter, wanted, sort)
        if plan is not None and (plan.score > best.score or hint):
            best = plan
    return best


def _hinted(collection: Collection, hint: Any) -> Iterable[Index]:
    if not hint:
        return collection.indexes
    if isinstance(hint, dict) and "$natural" in hint:
        return ()
    found = named(collection, hint)
    if found is None:
        raise CommandError(BAD_VALUE, f"hint {hint!r} names no index of {collection.namespace}")
    return (found,)


def named(collection: Collection, wanted: Any) -> Index | None:
    """The index that a name or a key pattern means."""
    for index in collection.indexes:
        same = isinstance(wanted, dict) and list(wanted.items()) == list(index.spec["key"].items())
        if same or wanted == index.name:
            return index
    return None


def _plan_with(
    collection: Collection, index: Index, filter: Mapping[str, Any], wanted: Wanted, sort: Sort
) -> Plan | None:
    if any(part.isdigit() for path in index.paths for part in path):
        return None  # a number may be a position or a name: the filter alone decides
    if index.partial is not None and not _implied(index.partial, wanted):
        return None
    prefixes, ranges = [b""], [(b"", _END)]
    points: set[str] = set()  # fields that have one value only
    consumed: set[int] = set()
    score = 0.1 * (index.partial is not None)
    for path, ascending in index.fields[: 1 if index.multikey else None]:
        intervals, numbers = _intervals(path, wanted, single=index.multikey)
        if intervals is None or (index.sparse and _NULL_POINT in intervals):
            break
        ranges = [i.range(prefix, ascending) for prefix in prefixes for i in intervals]
        consumed |= numbers
        score += 1
        if len(ranges) > _MOST_RANGES or not all(i.is_point for i in intervals):
            break
        score += 1
        points |= {path} if len(intervals) == 1 else set()
        ends = [i.low if ascending else keys.inverted(i.low) for i in intervals]
        prefixes = [prefix + end for prefix in prefixes for end in ends]
    if index.sparse and score < 1:
        return None
    order = None if index.multikey else _order(index, points, sort)
    if index.unique and len(points) == len(index.fields):
        score += 10
    return Plan(
        collection,
        index,
        sorted(set(ranges), reverse=order is False),
        reverse=order is False,
        sorts=not sort or order is not None,
        exact=not index.multikey and len(consumed) == len(wanted) and _is_plain(filter),
        score=score + 0.7 * (order is not None and bool(sort)),
    )


def _order(index: Index, points: set[str], sort: Sort) -> bool | None:
    """Whether the index, read forwards (True) or backwards (False), has the order asked for."""
    needed = [(path, ascending) for path, ascending in sort if path not in points]
    fields = list(itertools.dropwhile(lambda f: f[0] in points, index.fields))[: len(needed)]
    if [path for path, _ in fields] != [path for path, _ in needed]:
        return None
    directions = {a == b for (_, a), (_, b) in zip(fields, needed, strict=True)}
    return None if len(directions) > 1 else False not in directions


def _is_plain(filter: Mapping[str, Any]) -> bool:
    return all(
        all(map(_is_plain, value)) if name == "$and" else not name.startswith("$")
        for name, value in filter.items()
    )


def _intervals(path: str, wanted: Wanted, single: bool) -> tuple[list[Interval] | None, set[int]]:
    """The values of a field that a match can have, and which conditions they express exactly."""
    found: list[Interval] | None = None
    exact: set[int] = set()
    for number, (name, operator, argument) in enumerate(wanted):
        intervals, is_exact = _of_condition(operator, argument) if name == path else (None, False)
        if intervals is None:
            continue
        if found is None or (single and intervals and intervals[0].is_point):
            found = intervals
        elif not single:  # two elements of one array may satisfy one condition each
            found = _intersection(found, intervals)
        exact |= {number} if is_exact else set()
    return found, exact


def _of_condition(operator: str, argument: Any) -> tuple[list[Interval] | None, bool]:
    if operator == "$eq":
        return _points([argument])
    if operator == "$in" and isinstance(argument, list):
        return _points(argument)
    if operator == "$all" and isinstance(argument, list) and argument:
        first = argument[0]
        return (None if isinstance(first, dict) else _points([first])[0]), False
    if operator in _RANGES:
        return _half_open(operator, argument), True
    if operator == "$regex":
        return _prefix(argument), False
    return None, False


def _points(values: Iterable[Any]) -> tuple[list[Interval] | None, bool]:
    if any(isinstance(value, list | Regex) for value in values):
        return None, False  # an array is kept by its elements
    points = {Interval(key, key) for key in map(keys.encode, values)}
    return sorted(points, key=_lower), _NULL_POINT not in points  # null also means missing


def _half_open(operator: str, bound: Any) -> list[Interval] | None:
    if bound is None or isinstance(bound, list | dict | MinKey | MaxKey) or bound != bound:
        return None
    key = keys.encode(bound)
    if operator in ("$gt", "$gte"):
        return [Interval(key, bytes((key[0] + 1,)), operator == "$gte", False)]
    is_number = key[0] == keys.NUMBER
    return [Interval(_NAN if is_number else key[:1], key, not is_number, operator == "$lte")]


def _prefix(pattern: Any) -> list[Interval] | None:
    """The strings that a regular expression beginning with ``^`` and plain text can match."""
    text = pattern.pattern if isinstance(pattern, Regex) else pattern
    flags = pattern.flags & (re.I | re.M | re.X) if isinstance(pattern, Regex) else 0
    literal = re.match(r"\^([A-Za-z0-9_\- /:,]+)(?![*?{+])", text)
    if literal is None or flags or "|" in text:
        return None
    start = bytes((keys.STRING,)) + literal[1].encode()
    return [Interval(start, start[:-1] + bytes((start[-1] + 1,)), True, False)]


def _intersection(first: list[Interval], second: list[Interval]) -> list[Interval]:
    found = []
    for a, b in itertools.product(first, second):
        low, excluded = max(_lower(a), _lower(b))
        high, included = min(_upper(a), _upper(b))
        if low < high or (low == high and not excluded and included):
            found.append(Interval(low, high, not excluded, included))
    return found


def _implied(partial: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether all that match the conditions are in the index of a partial filter."""
    for path, operator, argument in conjuncts(partial):
        same = [a for p, o, a in wanted if (p, o) == (path, operator)]
        if keys.encode(argument) in map(keys.encode, same):
            continue
        mine, _ = _intervals(path, wanted, single=True)
        if mine is None or _NULL_POINT in mine:
            return False
        if operator == "$exists" and argument:
            continue
        needed, _ = _of_condition(operator, argument)
        if needed is None or not all(any(n.holds(m) for n in needed) for m in mine):
            return False
    return True
