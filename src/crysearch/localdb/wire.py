"""The MongoDB wire protocol: messages from and to a socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError

MAX_MESSAGE_BYTES = 48_000_000
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
CODEC: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_CHECKSUM_PRESENT, _MORE_TO_COME = 1, 2


class ProtocolError(Exception):
    """The bytes received are no MongoDB message that is understood here."""


@dataclass(slots=True)
class Request:
    """One command of a client; the documents of a document sequence stay undecoded."""

    number: int
    command: dict[str, Any]
    legacy: bool = False
    wants_reply: bool = True


def read_request(connection: socket.socket) -> Request | None:
    """Read the next command; None when the client has closed the connection."""
    header = _read(connection, _HEADER.size)
    if header is None:
        return None
    length, number, _, opcode = _HEADER.unpack(header)
    if not _HEADER.size < length <= MAX_MESSAGE_BYTES + 16_384:
        raise ProtocolError(f"a message of {length} bytes")
    body = _read(connection, length - _HEADER.size)
    if body is None:
        return None
    try:
        if opcode == _OP_MSG:
            return _parse_message(number, body)
        if opcode == _OP_QUERY:
            return _parse_query(number, body)
    except (struct.error, IndexError, ValueError, BSONError) as error:
        raise ProtocolError(f"a malformed message: {error}") from error
    raise ProtocolError(f"operation code {opcode}")


def encode_reply(request: Request, reply: Mapping[str, Any]) -> bytes:
    """The bytes of the reply to a request."""
    document = bson.encode(reply, codec_options=CODEC)
    start = struct.pack("<iqii", 8, 0, 0, 1) if request.legacy else bytes(5)
    opcode = _OP_REPLY if request.legacy else _OP_MSG
    length = _HEADER.size + len(start) + len(document)
    return _HEADER.pack(length, 0, request.number, opcode) + start + document


def encode_command(command: Mapping[str, Any]) -> bytes:
    """The bytes of a command, as a client sends them."""
    return encode_reply(Request(0, {}), command)


def _parse_message(number: int, body: bytes) -> Request:
    (flags,) = struct.unpack_from("<I", body)
    if flags & 0xFFFF & ~(_CHECKSUM_PRESENT | _MORE_TO_COME):
        raise ProtocolError(f"required flags {flags:#x}")
    end = len(body) - (4 if flags & _CHECKSUM_PRESENT else 0)
    command: dict[str, Any] | None = None
    sequences: dict[str, list[bytes]] = {}
    position = 4
    while position < end:
        kind, start = body[position], position + 1
        position = start + _size(body, start, end)
        if kind == 0 and command is None:
            command = bson.decode(body[start:position], CODEC)
        elif kind == 1:
            name_end = body.index(b"\0", start + 4, position)
            name = body[start + 4 : name_end].decode("utf-8")
            if name in sequences:
                raise ProtocolError(f"document sequence {name!r} is there twice")
            sequences[name] = documents = []
            start = name_end + 1
            while start < position:
                size = _size(body, start, position)
                documents.append(body[start : start + size])
                start += size
        else:
            raise ProtocolError(f"a section of kind {kind}")
    if not command or sequences.keys() & command.keys():
        raise ProtocolError("a message without a command, or with one field twice")
    return Request(number, command | sequences, wants_reply=not flags & _MORE_TO_COME)


def _parse_query(number: int, body: bytes) -> Request:
    # Only the handshake of drivers that do not know yet what the server understands.
    name_end = body.index(b"\0", 4)
    start = name_end + 9
    command = bson.decode(body[start : start + _size(body, start, len(body))], CODEC)
    command = command.get("$query", command)
    if next(iter(command), "").lower() not in ("hello", "ismaster"):
        raise ProtocolError("a legacy query that is no handshake")
    database = body[4:name_end].decode("utf-8").partition(".")[0]
    return Request(number, {**command, "$db": database}, legacy=True)


def _size(body: bytes, start: int, end: int) -> int:
    (size,) = struct.unpack_from("<i", body, start)
    if size < 5 or start + size > end:
        raise ProtocolError("a part of the message ends outside of it")
    return int(size)


def _read(connection: socket.socket, size: int) -> bytes | None:
    data = connection.recv(min(size, 1 << 20))
    if len(data) == size:
        return data
    parts = bytearray(data)
    while data and len(parts) < size:
        data = connection.recv(min(size - len(parts), 1 << 20))
        parts += data
    return bytes(parts) if len(parts) == size else None
