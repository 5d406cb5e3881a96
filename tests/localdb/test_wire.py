"""The protocol itself: greetings, odd messages, and drivers of other kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from urllib.parse import urlsplit

import bson
import pytest
from pymongo import AsyncMongoClient, CursorType, MongoClient
from pymongo.errors import PyMongoError

from .conftest import ids, right_or_refused

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013


def connect(server) -> socket.socket:
    parts = urlsplit(server.address)
    assert parts.hostname
    return socket.create_connection((parts.hostname, parts.port or 27017), timeout=10)


def receive(connection: socket.socket) -> bytes:
    """Read one whole message; empty where the server hung up."""
    data = b""
    while len(data) < 4 or len(data) < struct.unpack("<i", data[:4])[0]:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            return b""
        if not more:
            return b""
        data += more
    return data


def message(operation: int, body: bytes, number: int = 7) -> bytes:
    return struct.pack("<iiii", 16 + len(body), number, 0, operation) + body


def op_msg(document: dict, flags: int = 0) -> bytes:
    return message(OP_MSG, struct.pack("<I", flags) + b"\x00" + bson.encode(document))


def test_the_greeting(client):
    hello = client.admin.command("hello")
    assert hello["isWritablePrimary"] is True
    assert hello["maxBsonObjectSize"] == 16 * 1024 * 1024
    assert hello["maxMessageSizeBytes"] == 48_000_000
    assert hello["maxWriteBatchSize"] == 100_000
    assert hello["minWireVersion"] <= 8 <= 21 <= hello["maxWireVersion"]
    assert client.server_info()["versionArray"][0] >= 7


def test_the_greeting_of_older_drivers(server):
    query = struct.pack("<i", 0) + b"admin.$cmd\x00" + struct.pack("<ii", 0, -1)
    with connect(server) as connection:
        connection.sendall(message(OP_QUERY, query + bson.encode({"isMaster": 1, "helloOk": True})))
        reply = receive(connection)
    _, _, answered, operation = struct.unpack("<iiii", reply[:16])
    assert (answered, operation) == (7, OP_REPLY)
    document = bson.decode(reply[36:])
    assert document["ismaster"] is True
    assert document["helloOk"] is True


def test_a_modern_greeting_and_its_number(server):
    with connect(server) as connection:
        for number in (5, 6):
            packed = op_msg({"hello": 1, "$db": "admin"})
            connection.sendall(packed[:4] + struct.pack("<i", number) + packed[8:])
            reply = receive(connection)
            assert struct.unpack("<iiii", reply[:16])[2:] == (number, OP_MSG)
            assert bson.decode(reply[21:])["ok"] == 1


def test_a_message_that_comes_in_crumbs(server):
    packed = op_msg({"hello": 1, "$db": "admin"})
    with connect(server) as connection:
        for position in range(0, len(packed), 5):
            connection.sendall(packed[position : position + 5])
        assert bson.decode(receive(connection)[21:])["ok"] == 1


BROKEN = {
    "noise": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "too long": struct.pack("<iiii", 2**31 - 1, 1, 0, OP_MSG),
    "too short": struct.pack("<iiii", 3, 1, 0, OP_MSG),
    "negative": struct.pack("<iiii", -5, 1, 0, OP_MSG),
    "unknown operation": message(4242, b"abcd"),
    "no sections": message(OP_MSG, struct.pack("<I", 0)),
    "broken document": message(OP_MSG, struct.pack("<I", 0) + b"\x00\x30\x00\x00\x00\x02abc"),
    "unknown section": message(OP_MSG, struct.pack("<I", 0) + b"\x09" + bson.encode({"hello": 1})),
    "unknown required flag": op_msg({"hello": 1, "$db": "admin"}, flags=1 << 5),
    "no database": op_msg({"hello": 1}),
    "nothing": b"",
    "half a header": b"\x30\x00",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_message_harms_nobody_else(server, client, data):
    with connect(server) as connection:
        connection.sendall(data)
        with contextlib.suppress(OSError):  # the server may have hung up already
            connection.shutdown(socket.SHUT_WR)
        reply = receive(connection)  # an error or a closed connection, not silence
    if reply:
        start = 36 if struct.unpack("<i", reply[12:16])[0] == OP_REPLY else 21
        answer = bson.decode(reply[start:])
        assert answer["ok"] == 0 and answer["code"], answer
    assert client.admin.command("ping")["ok"] == 1


def test_a_client_that_leaves_in_the_middle(server, client):
    for _ in range(20):
        connection = connect(server)
        connection.sendall(op_msg({"hello": 1, "$db": "admin"})[:-3])
        connection.close()
    assert client.admin.command("ping")["ok"] == 1


def test_a_client_that_leaves_before_its_answer(server, client, database):
    database["things"].insert_many([{"_id": i, "t": "x" * 1000} for i in range(5_000)])
    for _ in range(5):
        with MongoClient(server.address, socketTimeoutMS=1) as hasty:
            try:
                list(hasty[database.name]["things"].find({"t": {"$regex": "y"}}))
            except PyMongoError:
                continue
    assert client.admin.command("ping")["ok"] == 1
    assert database["things"].count_documents({}) == 5_000


def test_compression_is_negotiated_or_declined(server, database):
    with MongoClient(server.address, compressors="zlib") as own:
        own[database.name]["things"].insert_many([{"_id": i, "t": "x" * 100} for i in range(500)])
        assert own[database.name]["things"].count_documents({}) == 500


@pytest.mark.parametrize("kind", [CursorType.EXHAUST, CursorType.NON_TAILABLE])
def test_kinds_of_cursors(collection, kind):
    collection.insert_many([{"_id": i} for i in range(1_000)])
    assert ids(collection.find(cursor_type=kind, batch_size=90).sort("_id", 1)) == list(range(1000))
    assert collection.count_documents({}) == 1_000  # the connection is still good


def test_the_asynchronous_driver(server, database):
    async def work():
        async with AsyncMongoClient(server.address) as client:
            things = client[database.name]["things"]
            await things.insert_many([{"_id": i} for i in range(300)])
            await asyncio.gather(
                *(things.update_one({"_id": i}, {"$set": {"n": i}}) for i in range(50))
            )
            return [document["_id"] async for document in things.find({"n": {"$gte": 40}})]

    assert sorted(asyncio.run(work())) == list(range(40, 50))


@pytest.mark.parametrize(
    "command",
    [
        "buildInfo", "connectionStatus", "hostInfo", "listDatabases", "ping", "serverStatus",
        "whatsmyuri", "getCmdLineOpts", "features",
    ],
)  # fmt: skip
def test_what_tools_ask_first(client, command):
    """Answered, or refused by a code that tools understand."""
    try:
        assert client.admin.command(command)["ok"] == 1
    except PyMongoError as error:
        assert command not in ("buildInfo", "listDatabases", "ping", "connectionStatus"), error
        assert getattr(error, "code", None) in (13, 59)


def test_a_database_describes_itself(database):
    """As far as a server offers it; what it says is true."""
    database["things"].insert_many([{"_id": i, "t": "x" * 100} for i in range(50)])
    right_or_refused(lambda: database.command("dbStats")["objects"], 50)
    right_or_refused(lambda: database.command("collStats", "things")["count"], 50)
    right_or_refused(lambda: database.validate_collection("things")["valid"], True)

    def rename():
        database["things"].rename("renamed")
        return database.list_collection_names(), database["renamed"].count_documents({})

    right_or_refused(rename, (["renamed"], 50))
