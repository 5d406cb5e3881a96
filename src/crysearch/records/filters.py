"""Filter expressions such as ``energy_per_atom<-5.2``, read into MongoDB queries as data."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from bson.binary import Binary

from crysearch.errors import RecordsError
from crysearch.records.kinds import KINDS

_EXPRESSION = re.compile(r"\s*([A-Za-z_][\w.]*?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_ORDERED = (int, float, str, datetime)
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_LARGEST = 2**63 - 1  # of a whole number in MongoDB; also keeps out NaN and infinity
_NULL = ("null", "none")


def filterable_fields(collection: str) -> dict[str, type]:
    """Return the fields of a collection that can be filtered, sorted and shown, with their types.

    The parts of a field that has parts are named with a dot: ``space_group_after.number``.
    """
    if collection not in KINDS:
        raise RecordsError(
            f"There is no collection {collection!r}: choose one of {', '.join(KINDS)}."
        )
    return dict(_flatten("", KINDS[collection]))


def check_field(collection: str, name: str) -> str:
    """Return the field's full name (``id`` is short for ``_id``).

    Raises
    ------
    RecordsError
        The collection has no such field.
    """
    fields = filterable_fields(collection)
    name = "_id" if name == "id" else name
    if name not in fields:
        raise RecordsError(
            f"There is no field {name!r} in {collection}: choose one of {', '.join(fields)}."
        )
    return name


def parse_filters(collection: str, expressions: Iterable[str]) -> dict[str, Any]:
    """Return the MongoDB query that demands all expressions.

    Parameters
    ----------
    collection
        Its fields and their types are those of `filterable_fields`.
    expressions
        ``field<op>value`` with ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` or ``~`` (contains,
        without regard to case). For ``=`` and ``!=`` the value may be a list with commas (any of
        them; for a field that is a list of numbers: that list) or ``null``. Dates are ISO 8601.
        ``space_group_after=227`` and ``space_group_after=Fd-3m`` also work.

    Raises
    ------
    RecordsError
        An expression cannot be read, its field is unknown, or its value is of the wrong type.
    """
    conditions = [_parse(collection, expression) for expression in expressions]
    return {"$and": conditions} if conditions else {}


def filtered_fields(collection: str, expressions: Iterable[str]) -> set[str]:
    """Return the fields that the expressions name."""
    return {next(iter(_parse(collection, expression))) for expression in expressions}


def _parse(collection: str, expression: str) -> dict[str, Any]:
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise RecordsError(
            f"The filter {expression!r} cannot be read: write field<op>value, such as "
            "energy_above_ground_state_found<0.2, with =, !=, <, <=, >, >= or ~."
        )
    name, operator, text = match.groups()
    fields = filterable_fields(collection)
    if name not in fields and f"{name}.symbol" in fields:
        name = f"{name}.number" if text.isdigit() else f"{name}.symbol"
    name = check_field(collection, name)
    kind = fields[name]
    if operator == "~":
        if kind is not str:
            raise RecordsError(f"The filter {expression!r} asks for text, but {name} is not text.")
        return {name: {"$regex": re.escape(text), "$options": "i"}}
    if operator in _OPERATORS:
        if kind not in _ORDERED:
            raise RecordsError(f"The filter {expression!r} compares {name}: use = or != with it.")
        return {name: {_OPERATORS[operator]: _value(expression, name, kind, text)}}
    if text.lower() in _NULL:
        return {name: None if operator == "=" else {"$ne": None}}
    if kind is list:
        wanted = [[_number_or_text(part) for part in _split(text.strip("[]"))]]
    else:
        wanted = [_value(expression, name, kind, part) for part in _split(text)]
    if operator == "=":
        return {name: wanted[0] if len(wanted) == 1 else {"$in": wanted}}
    return {name: {"$nin": wanted}}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _value(expression: str, name: str, kind: type, text: str) -> Any:
    try:
        if kind is bool:
            return _BOOLEANS[text.lower()]
        if kind is datetime:
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if kind is str and not text:
            raise ValueError
        value = kind(text)
        if kind is not str and not abs(value) <= _LARGEST:
            raise OverflowError
        return value
    except (KeyError, ValueError, OverflowError):
        expected = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "some text, or null",
            datetime: "a date such as 2026-01-31 or 2026-01-31T12:00",
        }[kind]
        raise RecordsError(
            f"The filter {expression!r} gives {text!r} for {name}, which takes {expected}."
        ) from None


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _flatten(prefix: str, kind: Any) -> Iterable[tuple[str, type]]:
    for name, hint in get_type_hints(kind).items():
        hint = _without_none(hint)
        if is_typeddict(hint):
            yield from _flatten(f"{prefix}{name}.", hint)
            continue
        filterable = _python_type(hint)
        if filterable is not None:
            yield f"{prefix}{name}", filterable


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        # "one or a list of them": MongoDB looks into lists by itself
        return kinds[0]
    return hint


def _python_type(hint: Any) -> type | None:
    origin = get_origin(hint)
    if origin is Literal:
        return str
    if origin is list:
        (item,) = get_args(hint)
        return list if item in (Any, float) else _python_type(item)
    if origin in (dict, Mapping) or hint is Binary:
        return None
    return hint
