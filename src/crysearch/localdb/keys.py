"""BSON values as bytes that sort as MongoDB compares the values, and the paths to values.

Indexes, sorting, equality and ranges all use this one encoding, so that a question has the same
answer with an index and without.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS

from crysearch.localdb.errors import BAD_VALUE, CommandError


class Missing:
    """The value of a field that a document does not have."""


class EmptyArray:
    """What an index keeps of an empty array."""


MISSING: Any = Missing()
EMPTY: Any = EmptyArray()
# The first byte of a key is the type: in the order of MongoDB, and never two in a row.
UNDEFINED, NULL, NUMBER, STRING = 0x04, 0x06, 0x0A, 0x10

_EPOCH = datetime(1970, 1, 1)
_INVERSE = bytes(255 - byte for byte in range(256))
_SIGN = 1 << 63


def encode(value: Any) -> bytes:
    """The bytes of a value: ``encode(a) < encode(b)`` exactly when MongoDB sorts a before b."""
    encoder = _ENCODERS.get(value.__class__)
    if encoder is None:
        encoder = next((e for kind, e in _ENCODERS.items() if isinstance(value, kind)), None)
        if encoder is None:
            raise CommandError(BAD_VALUE, f"cannot compare values of type {type(value).__name__}")
    return encoder(value)


def inverted(key: bytes) -> bytes:
    """A key that sorts the other way round."""
    return key.translate(_INVERSE)


def _double(value: float) -> bytes:
    if value != value:
        return bytes(8)  # NaN comes before all other numbers
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # + 0.0: one zero only
    return (bits ^ (2 * _SIGN - 1 if bits & _SIGN else _SIGN)).to_bytes(8, "big")


def _float(value: float) -> bytes:
    return b"\x0a" + _double(value) + b"\x80"


def _number(value: int | Fraction) -> bytes:
    # The nearest double, and what it leaves over, so that long integers and decimals stay apart.
    nearest = float(value)
    rest = value - (int(nearest) if isinstance(value, int) else Fraction(nearest))
    if not rest:
        return _float(nearest)
    return b"\x0a" + _double(nearest) + (b"\x81" if rest > 0 else b"\x7f") + _double(float(rest))


def _decimal(value: Decimal128) -> bytes:
    number = value.to_decimal()
    if not number.is_finite() or math.isinf(float(number)):
        return _float(math.nan if number.is_nan() else float(number))
    return _number(Fraction(number))


def _text(value: str) -> bytes:
    return value.encode("utf-8").replace(b"\0", b"\0\xff") + b"\0\x01"


def _object(value: Mapping[str, Any]) -> bytes:
    parts = [(encode(member), name.encode("utf-8")) for name, member in value.items()]
    return b"\x14" + b"".join(key[:1] + name + b"\0" + key[1:] for key, name in parts) + b"\0"


def _array(value: Sequence[Any]) -> bytes:
    return b"\x18" + b"".join(map(encode, value)) + b"\0"


def _binary(value: bytes) -> bytes:
    subtype = value.subtype if isinstance(value, Binary) else 0
    return b"\x1c" + len(value).to_bytes(4, "big") + bytes((subtype,)) + bytes(value)


def _date(value: datetime) -> bytes:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return _milliseconds((value - _EPOCH) // timedelta(milliseconds=1))


def _milliseconds(count: int) -> bytes:
    return b"\x28" + (int(count) + _SIGN).to_bytes(8, "big")


def _code(value: Code) -> bytes:
    if value.scope is None:
        return b"\x34" + _text(str(value))
    return b"\x38" + _text(str(value)) + _object(value.scope)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    MinKey: lambda value: b"\x02",
    EmptyArray: lambda value: b"\x04",
    Missing: lambda value: b"\x06",
    type(None): lambda value: b"\x06",
    bool: lambda value: b"\x24\x01" if value else b"\x24\x00",
    int: _number,
    Int64: _number,
    float: _float,
    Decimal128: _decimal,
    Code: _code,
    str: lambda value: b"\x10" + _text(value),
    dict: _object,
    DBRef: lambda value: _object(value.as_doc()),
    list: _array,
    Binary: _binary,
    bytes: _binary,
    ObjectId: lambda value: b"\x20" + value.binary,
    datetime: _date,
    DatetimeMS: _milliseconds,
    Timestamp: lambda value: struct.pack(">BII", 0x2C, value.time, value.inc),
    Regex: lambda value: b"\x30" + _text(str(value.pattern)) + value.flags.to_bytes(4, "big"),
    MaxKey: lambda value: b"\x7f",
    Mapping: _object,
}


def values_at(node: Any, parts: Sequence[str], elements: bool = False) -> Iterator[Any]:
    """The values at a dotted path, one for each way through arrays on it.

    With `elements`, an array at the end of the path also stands for each of its elements.
    """
    for depth, part in enumerate(parts):
        if isinstance(node, dict):
            node = node.get(part, MISSING)
        elif isinstance(node, list):
            rest = parts[depth + 1 :]
            if part.isdigit() and int(part) < len(node):
                yield from values_at(node[int(part)], rest, elements and bool(rest))
            for element in node:
                if isinstance(element, dict):
                    yield from values_at(element, parts[depth:], elements)
            return
        elif isinstance(node, DBRef):
            node = node.as_doc().get(part, MISSING)
        else:
            node = MISSING
        if node is MISSING:
            break
    if elements and isinstance(node, list):
        yield from node
    yield node


def sorter(fields: Iterable[tuple[str, bool]]) -> Callable[[Any], bytes]:
    """The key of a document to sort by: of arrays the least or greatest element."""
    paths = [(tuple(path.split(".")), ascending) for path, ascending in fields]

    def key(document: Any) -> bytes:
        parts = []
        for path, ascending in paths:
            found: list[bytes] = []
            for value in values_at(document, path):
                many = isinstance(value, list)
                found += map(encode, value or [EMPTY]) if many else [encode(value)]
            found = found or [encode(None)]
            parts.append(min(found) if ascending else inverted(max(found)))
        return b"".join(parts)

    return key


State = tuple[Any, tuple[str, ...] | None]  # a node, and the path still to follow; None: a value


def index_values(states: Sequence[State]) -> Iterator[tuple[Any, ...]]:
    """The combinations of values that an index over several paths keeps of one document."""
    array: list[Any] | None = None
    resolved: list[State] = []
    for node, path in states:
        while path:
            if isinstance(node, dict):
                node, path = node.get(path[0], MISSING), path[1:]
            elif isinstance(node, list) and path[0].isdigit() and int(path[0]) < len(node):
                node, path = node[int(path[0])], path[1:]
            else:
                break
        if path is not None and isinstance(node, list):
            if array is not None and array is not node:
                raise CommandError(171, "cannot index parallel arrays")
            array = node
        elif path:
            node, path = MISSING, None
        resolved.append((node, path))
    if array is None:
        yield tuple(node for node, _ in resolved)
        return
    for element in array or [EMPTY]:
        inner = element if isinstance(element, dict) else MISSING
        yield from index_values(
            [
                (node, path)
                if node is not array or path is None
                else ((inner, path) if path else (element, None))
                for node, path in resolved
            ]
        )
