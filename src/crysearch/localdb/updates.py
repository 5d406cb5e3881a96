"""Updates of one document, by operators or by another document.

Not mongomock-ng's, which lacks ``$mul``, sets nothing right below arrays and scalars, mixes up
number types, and leaves half an update behind when it fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import Decimal128, Int64, ObjectId, Regex, Timestamp

from crysearch.localdb.errors import (
    BAD_VALUE,
    CONFLICT,
    DOLLAR_PREFIX,
    FAILED_TO_PARSE,
    IMMUTABLE_FIELD,
    NOT_VIABLE,
    TYPE_MISMATCH,
    CommandError,
    unsupported,
)
from crysearch.localdb.keys import MISSING, encode, sorter
from crysearch.localdb.queries import (
    Predicate,
    compile_filter,
    conjuncts,
    matched_position,
    value_test,
)

Document = dict[str, Any]
Path = Sequence[str]
Change = Callable[[Document, Path, Any], None]

_FURTHEST = 1_500_000  # an array is not filled with nulls beyond this position


class Update:
    """What an update does to a document that matches its filter.

    Raises
    ------
    CommandError
        The update is malformed or has an unknown operator.
    """

    def __init__(self, change: Any, filter: Mapping[str, Any]) -> None:
        self._filter = filter
        self._steps: list[tuple[str, str, Any]] = []  # operator, path, argument
        self._replacement: Document | None = None
        if isinstance(change, list):
            raise unsupported("an update given as a pipeline")
        if not isinstance(change, dict):
            raise CommandError(FAILED_TO_PARSE, f"an update must be an object, not {change!r}")
        if next(iter(change), "").startswith("$"):
            self._read_operators(change)
        else:
            self._replacement = change
            for name in change:
                if name.startswith("$"):
                    raise CommandError(DOLLAR_PREFIX, f"The dollar ($) prefixed field '{name}' is "
                                       "not allowed in a replacement")  # fmt: skip

    @property
    def is_replacement(self) -> bool:
        """Whether the whole document is replaced."""
        return self._replacement is not None

    def apply(self, document: Document, inserting: bool = False) -> Document:
        """The changed document. The one given is changed too, and of no further use."""
        identity = document.get("_id", MISSING)
        if self._replacement is not None:
            document = {"_id": identity, **self._replacement}
        for operator, path, argument in self._steps:
            if operator != "$setOnInsert" or inserting:
                _CHANGES[operator](document, self._concrete(document, path), argument)
        if identity is not MISSING and encode(document.get("_id", MISSING)) != encode(identity):
            message = "the update would modify the immutable field '_id'"
            raise CommandError(IMMUTABLE_FIELD, message)
        if document.get("_id") is MISSING:
            del document["_id"]
        return document

    def upserted(self) -> Document:
        """What to insert when nothing matches: equalities of the filter, then the update."""
        base: Document = {}
        for path, operator, value in conjuncts(self._filter):
            if operator in ("$all", "$in") and isinstance(value, list) and len(value) == 1:
                operator, value = "$eq", value[0]
            wanted = path == "_id" or not self.is_replacement
            if operator == "$eq" and wanted and not isinstance(value, Regex):
                _set(base, path.split("."), value)
        made = self.apply(base, inserting=True)
        return {"_id": made.pop("_id") if "_id" in made else ObjectId(), **made}

    def _read_operators(self, change: Mapping[str, Any]) -> None:
        paths: list[list[str]] = []
        for operator, fields in change.items():
            if operator not in _CHANGES:
                message = f"Unknown modifier: {operator}. Expected a valid update modifier"
                raise CommandError(FAILED_TO_PARSE, message)
            if not isinstance(fields, dict):
                message = f"Modifiers operate on fields but we found {fields!r} for {operator}"
                raise CommandError(FAILED_TO_PARSE, message)
            for path, argument in sorted(fields.items()):
                paths.append(path.split("."))
                if operator == "$rename":
                    if not isinstance(argument, str) or argument == path:
                        raise CommandError(BAD_VALUE, f"{path} cannot be renamed to {argument!r}")
                    paths.append(argument.split("."))
                checked = _CHECKS[operator](argument) if operator in _CHECKS else argument
                self._steps.append((operator, path, checked))
        if any("" in parts for parts in paths):
            raise CommandError(56, "an update path contains an empty field name")
        for first, second in itertools.pairwise(sorted(paths)):
            if second[: len(first)] == first:
                path = ".".join(second)
                message = f"Updating the path '{path}' would create a conflict at '{path}'"
                raise CommandError(CONFLICT, message)

    def _concrete(self, document: Document, path: str) -> Path:
        """A path with the position of the element that matched in the place of ``$``."""
        parts = path.split(".")
        for number, part in enumerate(parts):
            if part == "$[]" and number:
                raise unsupported(f"{part} in the update path {path}")
            if part.startswith("$[") and number:
                raise CommandError(BAD_VALUE, f"No array filter found for {part} in path {path}")
            if part.startswith("$") and (part != "$" or not number):
                message = f"The dollar ($) prefixed field '{part}' in '{path}' is not allowed"
                raise CommandError(DOLLAR_PREFIX, message)
            if part == "$":
                before = parts[:number]
                position = matched_position(self._filter, ".".join(before), _get(document, before))
                if position is None:
                    message = "The positional operator did not find the match needed from the query"
                    raise CommandError(BAD_VALUE, message)
                parts[number] = str(position)
        return parts


def _get(node: Any, path: Path) -> Any:
    for part in path:
        if isinstance(node, dict):
            node = node.get(part, MISSING)
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return MISSING
    return node


def _set(document: Document, path: Path, value: Any) -> None:
    node: Any = document
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(node, list) and part.isdigit() and int(part) <= _FURTHEST:
            key: Any = int(part)
            node.extend([None] * (key - len(node)))
            if key == len(node):
                node.append({})
        elif isinstance(node, dict):
            key = part
            if not last:
                node.setdefault(key, {})
        else:
            message = f"Cannot create field '{part}' in element {{{path[depth - 1]}: {node!r}}}"
            raise CommandError(NOT_VIABLE, message)
        if last:
            node[key] = value
        else:
            node = node[key]


def _unset(document: Document, path: Path, argument: Any) -> None:
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent.pop(last, None)
    elif isinstance(parent, list) and last.isdigit() and int(last) < len(parent):
        parent[int(last)] = None


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal128):
        raise CommandError(TYPE_MISMATCH, f"Cannot apply to a value of non-numeric type: {value!r}")
    return value


def _arithmetic(combine: Callable[[Any, Any], Any]) -> Change:
    def change(document: Document, path: Path, argument: Any) -> None:
        found = _get(document, path)
        if found is MISSING:
            found = Decimal128("0") if isinstance(argument, Decimal128) else type(argument)(0)
        pair = (_number(found), argument)
        if any(isinstance(value, Decimal128) for value in pair):
            texts = [str(value) for value in pair]
            result: Any = Decimal128(combine(*[Decimal128(text).to_decimal() for text in texts]))
        else:
            result = combine(*pair)
        if isinstance(result, int):
            if not -(2**63) <= result < 2**63:
                raise CommandError(BAD_VALUE, f"{result} exceeds the range of 64-bit integers")
            if any(isinstance(value, Int64) for value in pair):
                result = Int64(result)
        _set(document, path, result)

    return change


def _extreme(is_better: Callable[[bytes, bytes], bool]) -> Change:
    def change(document: Document, path: Path, argument: Any) -> None:
        found = _get(document, path)
        if found is MISSING or is_better(encode(argument), encode(found)):
            _set(document, path, argument)

    return change


def _array(document: Document, path: Path, create: bool = False) -> list[Any]:
    """The array at a path; an empty one if there is none."""
    found = _get(document, path)
    if found is MISSING:
        found = []
        if create:
            _set(document, path, found)
    if not isinstance(found, list):
        raise CommandError(BAD_VALUE, f"{'.'.join(path)} must be an array but is {found!r}")
    return found


def _check_each(argument: Any, modifiers: set[str]) -> Document:
    if not isinstance(argument, dict) or "$each" not in argument:
        return {"$each": [argument]}
    if not isinstance(argument["$each"], list) or not set(argument) <= modifiers | {"$each"}:
        raise CommandError(BAD_VALUE, f"$each needs an array and known modifiers: {argument!r}")
    for modifier in ("$position", "$slice"):
        number = argument.get(modifier, 0)
        if isinstance(number, bool) or not isinstance(number, int):
            raise CommandError(BAD_VALUE, f"{modifier} must be an integer, not {number!r}")
    order = argument.get("$sort", 1)
    if any(d not in (1, -1) for d in (order.values() if isinstance(order, dict) else [order])):
        raise CommandError(BAD_VALUE, f"$sort must be 1 or -1, not {order!r}")
    return argument


def _push(document: Document, path: Path, argument: Any) -> None:
    values = _array(document, path, create=True)
    position = argument.get("$position", len(values))
    values[position:position] = argument["$each"]
    order = argument.get("$sort")
    if isinstance(order, dict):
        values.sort(key=sorter((path, direction > 0) for path, direction in order.items()))
    elif order is not None:
        values.sort(key=encode, reverse=order < 0)
    if "$slice" in argument:
        size = argument["$slice"]
        values[:] = values[:size] if size >= 0 else values[size:]


def _add_to_set(document: Document, path: Path, argument: Any) -> None:
    values = _array(document, path, create=True)
    present = set(map(encode, values))
    for value in argument["$each"]:
        if encode(value) not in present:
            present.add(encode(value))
            values.append(value)


def _check_pull(argument: Any) -> Predicate:
    if isinstance(argument, dict) and not next(iter(argument), "").startswith("$"):
        test = compile_filter(argument)
        return lambda value: isinstance(value, dict) and test(value)
    return value_test(argument)


def _check_pull_all(argument: Any) -> Predicate:
    if not isinstance(argument, list):
        raise CommandError(BAD_VALUE, "$pullAll requires an array argument")
    unwanted = set(map(encode, argument))
    return lambda value: encode(value) in unwanted


def _pull(document: Document, path: Path, unwanted: Predicate) -> None:
    values = _array(document, path)
    values[:] = [value for value in values if not unwanted(value)]


def _check_pop(argument: Any) -> int:
    if isinstance(argument, bool) or argument not in (1, -1):
        raise CommandError(FAILED_TO_PARSE, f"$pop expects 1 or -1, found: {argument!r}")
    return -1 if argument == 1 else 0


def _pop(document: Document, path: Path, position: int) -> None:
    values = _array(document, path)
    if values:
        values.pop(position)


def _rename(document: Document, path: Path, target: str) -> None:
    value = _get(document, path)
    if value is not MISSING:
        _unset(document, path, None)
        _set(document, target.split("."), value)


def _check_date(argument: Any) -> str:
    kind = argument.get("$type") if isinstance(argument, dict) else "date"
    if kind not in ("date", "timestamp"):
        raise CommandError(BAD_VALUE, f"$currentDate needs true or a $type, not {argument!r}")
    return str(kind)


def _current_date(document: Document, path: Path, kind: str) -> None:
    now = datetime.now(UTC)
    _set(document, path, Timestamp(now, 1) if kind == "timestamp" else now.replace(tzinfo=None))


def _bit(document: Document, path: Path, argument: Any) -> None:
    found = _get(document, path)
    value = 0 if found is MISSING else found
    operations: Any = argument.items() if isinstance(argument, dict) else [("", None)]
    for name, operand in operations:
        if name not in _BITS or type(operand) not in (int, Int64) or isinstance(value, float | str):
            raise CommandError(BAD_VALUE, f"cannot apply $bit {argument!r} to {found!r}")
        value = type(value)(_BITS[name](int(value), int(operand)))
    _set(document, path, value)


_BITS: dict[str, Callable[[int, int], int]] = {
    "and": int.__and__,
    "or": int.__or__,
    "xor": int.__xor__,
}
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "$inc": _number,
    "$mul": _number,
    "$push": lambda argument: _check_each(argument, {"$position", "$slice", "$sort"}),
    "$addToSet": lambda argument: _check_each(argument, set()),
    "$pull": _check_pull,
    "$pullAll": _check_pull_all,
    "$pop": _check_pop,
    "$currentDate": _check_date,
}
_CHANGES: dict[str, Change] = {
    "$set": _set,
    "$setOnInsert": _set,
    "$unset": _unset,
    "$inc": _arithmetic(lambda a, b: a + b),
    "$mul": _arithmetic(lambda a, b: a * b),
    "$min": _extreme(bytes.__lt__),
    "$max": _extreme(bytes.__gt__),
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pullAll": _pull,
    "$pop": _pop,
    "$rename": _rename,
    "$currentDate": _current_date,
    "$bit": _bit,
}
