"""The commands about collections, indexes, the server and who is asking."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import bson
from bson import Int64

from crysearch.localdb.auth import MECHANISM
from crysearch.localdb.catalog import Collection, checked_index
from crysearch.localdb.commands import Reply, Request, batch_size, command, mapping, refuse, target
from crysearch.localdb.cursors import Cursor
from crysearch.localdb.errors import (
    BAD_VALUE,
    NAMESPACE_EXISTS,
    NO_INDEX,
    NO_NAMESPACE,
    CommandError,
)
from crysearch.localdb.lifecycle import USERNAME
from crysearch.localdb.planner import named
from crysearch.localdb.queries import compile_filter
from crysearch.localdb.scanning import Query, View, count
from crysearch.localdb.storage import FORMAT_VERSION, ROW, sound
from crysearch.localdb.wire import CODEC, MAX_DOCUMENT_BYTES, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from crysearch.localdb.server import Session

VERSION = "7.0.0"
PRODUCT = "crysearch local store"
_WIRE_VERSION = 21  # MongoDB 7.0
_IDENTITY = ("key", "unique", "sparse", "partialFilterExpression")


@command("hello isMaster ismaster", None, open=True)
def _hello(session: Session, request: Request, view: View) -> Reply:
    reply: Reply = {
        "ismaster": True, "isWritablePrimary": True, "helloOk": True, "readOnly": False,
        "maxBsonObjectSize": MAX_DOCUMENT_BYTES, "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
        "maxWriteBatchSize": 100_000, "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0, "maxWireVersion": _WIRE_VERSION,
        "connectionId": session.number, "localTime": datetime.now(UTC), "ok": 1.0,
    }  # fmt: skip
    if request.get("saslSupportedMechs"):
        reply["saslSupportedMechs"] = [MECHANISM]
    guess = mapping(request, "speculativeAuthenticate")
    if "saslStart" in guess:
        # One that fails is not mentioned: the client then authenticates in the ordinary way.
        with contextlib.suppress(CommandError):
            reply["speculativeAuthenticate"] = session.conversation.start(guess, guess.get("db"))
    return reply


@command("ping", open=True)
def _ping(session: Session, request: Request, view: View) -> Reply:
    return {"ok": 1.0}


@command("endSessions refreshSessions killSessions")
def _sessions(session: Session, request: Request, view: View) -> Reply:
    return {"ok": 1.0}  # a session holds nothing here


@command("startSession")
def _start_session(session: Session, request: Request, view: View) -> Reply:
    return {"id": {"id": bson.Binary(os.urandom(16), 4)}, "timeoutMinutes": 30, "ok": 1.0}


@command("buildInfo buildinfo", open=True)
def _build_info(session: Session, request: Request, view: View) -> Reply:
    return {
        "version": VERSION, "versionArray": [7, 0, 0, 0], "gitVersion": PRODUCT,
        "product": PRODUCT, "storageEngines": ["sqlite"], "modules": [], "bits": 64,
        "debug": False, "maxBsonObjectSize": MAX_DOCUMENT_BYTES, "ok": 1.0,
    }  # fmt: skip


@command("saslStart", "mechanism payload options autoAuthorize", open=True)
def _sasl_start(session: Session, request: Request, view: View) -> Reply:
    return {**session.conversation.start(request, request["$db"]), "ok": 1.0}


@command("saslContinue", "conversationId payload", open=True)
def _sasl_continue(session: Session, request: Request, view: View) -> Reply:
    return {**session.conversation.proceed(request), "ok": 1.0}


@command("connectionStatus", "showPrivileges")
def _connection_status(session: Session, request: Request, view: View) -> Reply:
    users, roles = [{"user": USERNAME, "db": "admin"}], [{"role": "root", "db": "admin"}]
    info = {"authenticatedUsers": users, "authenticatedUserRoles": roles}
    return {"authInfo": info, "ok": 1.0}


@command("serverStatus", None)
def _server_status(session: Session, request: Request, view: View) -> Reply:
    server = session.server
    collections = view.catalog().values()
    return {
        "version": VERSION, "process": PRODUCT, "pid": Int64(os.getpid()),
        "uptime": time.time() - server.started_at, "localTime": datetime.now(UTC),
        "connections": {"current": server.connections},
        "storageEngine": {"name": "sqlite", "persistent": True},
        "localStore": {
            "formatVersion": FORMAT_VERSION,
            "stays": server.stays,
            "startedAt": datetime.fromtimestamp(server.started_at, UTC),
            "documents": {c.namespace: count(view, c, Query({})) for c in collections},
        },
        "ok": 1.0,
    }  # fmt: skip


@command("localStoreStay")
def _stay(session: Session, request: Request, view: View) -> Reply:
    session.server.stay()
    return {"ok": 1.0}


@command("shutdown", "force timeoutSecs")
def _shutdown(session: Session, request: Request, view: View) -> Reply:
    threading.Timer(0.01, session.server.stop).start()  # after the reply
    return {"ok": 1.0}


@command("create", "autoIndexId idIndex collation capped size max validator timeseries viewOn "
         "clusteredIndex changeStreamPreAndPostImages", writes=True)  # fmt: skip
def _create(session: Session, request: Request, view: View) -> Reply:
    refuse(request, "capped", "validator", "timeseries", "viewOn", "clusteredIndex",
           "changeStreamPreAndPostImages")  # fmt: skip
    database, name = target(request)
    if view.collection(database, name) is not None:
        raise CommandError(NAMESPACE_EXISTS, f"Collection {database}.{name} already exists.")
    session.server.storage.create_collection(database, name)
    return {"ok": 1.0}


@command("drop", writes=True)
def _drop(session: Session, request: Request, view: View) -> Reply:
    collection = view.collection(*target(request))
    if collection is not None:
        session.server.storage.drop_collection(collection)
    return {"ok": 1.0}


@command("dropDatabase", writes=True)
def _drop_database(session: Session, request: Request, view: View) -> Reply:
    for collection in _collections(view, request["$db"]):
        session.server.storage.drop_collection(collection)
    return {"dropped": request["$db"], "ok": 1.0}


@command("listCollections", "filter nameOnly cursor authorizedCollections")
def _list_collections(session: Session, request: Request, view: View) -> Reply:
    test = compile_filter(mapping(request, "filter"))
    described = {"type": "collection", "options": {}, "info": {"readOnly": False}}
    entries = [{"name": c.name, **described} for c in _collections(view, request["$db"])]
    return _listed(session, request, "$cmd.listCollections", list(filter(test, entries)))


@command("listDatabases", "filter nameOnly authorizedDatabases")
def _list_databases(session: Session, request: Request, view: View) -> Reply:
    test = compile_filter(mapping(request, "filter"))
    sizes = dict.fromkeys(sorted({database for database, _ in view.catalog()}), 0)
    with view.reading() as connection:
        for collection in view.catalog().values():
            query = f"SELECT TOTAL(LENGTH(bson)) FROM {collection.table}"
            sizes[collection.database] += int(connection.execute(query).fetchone()[0])
    entries = [{"name": n, "sizeOnDisk": Int64(s), "empty": False} for n, s in sizes.items()]
    found = list(filter(test, entries))
    return {"databases": found, "totalSize": Int64(sum(sizes.values())), "ok": 1.0}


@command("validate", "full background checkBSONConformance")
def _validate(session: Session, request: Request, view: View) -> Reply:
    """Read every document of a collection, and compare the indexes with what they should be."""
    collection = view.collection(*target(request))
    if collection is None:
        raise CommandError(NO_NAMESPACE, f"Collection '{target(request)}' does not exist.")
    errors: list[str] = []
    expected = {index.table: 0 for index in collection.secondary}
    number = 0
    with view.reading() as connection:
        connection.execute("BEGIN")  # one state of the file throughout
        try:
            for row in connection.execute(f"SELECT {ROW} FROM {collection.table}"):
                number += 1
                try:
                    document = bson.decode(sound(collection, row), CODEC)
                except (CommandError, bson.errors.BSONError) as error:
                    errors.append(str(error))
                    continue
                for index in collection.secondary:
                    query = f"SELECT COUNT(*) FROM {index.table} WHERE key = ? AND position = ?"
                    for key in index.keys(document):
                        found = connection.execute(query, (key, row[0])).fetchone()[0]
                        expected[index.table] += found
                        if not found:
                            errors.append(f"index {index.name} lacks {document['_id']!r}")
            for table, keys in expected.items():
                (found,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
                if found != keys:
                    errors.append(f"{table} has {found - keys} keys without a document")
        finally:
            connection.execute("COMMIT")
    report = {"ns": collection.namespace, "nrecords": number, "nIndexes": len(collection.indexes)}
    return {**report, "valid": not errors, "errors": errors[:100], "warnings": [], "ok": 1.0}


@command("createIndexes", "indexes commitQuorum", writes=True)
def _create_indexes(session: Session, request: Request, view: View) -> Reply:
    database, name = target(request)
    storage = session.server.storage
    specs = request.get("indexes")
    if not isinstance(specs, list) or not specs:
        raise CommandError(BAD_VALUE, "Must specify at least one index to create")
    collection = view.collection(database, name) or storage.create_collection(database, name)
    before = len(collection.indexes)
    for spec in specs:
        spec = checked_index(bson.decode(spec, CODEC) if isinstance(spec, bytes) else spec)
        if not _exists(collection, spec):
            collection = storage.create_index(collection, spec)
    return {"numIndexesBefore": before, "numIndexesAfter": len(collection.indexes), "ok": 1.0}


def _exists(collection: Collection, spec: dict[str, Any]) -> bool:
    for index in collection.indexes:
        same_key = list(index.spec["key"].items()) == list(spec["key"].items())
        same = same_key and all(index.spec.get(option) == spec.get(option) for option in _IDENTITY)
        if same_key and (index.is_id or (same and index.name == spec["name"])):
            return True
        if index.name == spec["name"]:
            raise CommandError(86, f"An index of this name has another key or options: {spec}")
        if same_key and index.partial == spec.get("partialFilterExpression"):
            raise CommandError(85, f"Index already exists under the name {index.name}: {spec}")
    return False


@command("listIndexes", "cursor")
def _list_indexes(session: Session, request: Request, view: View) -> Reply:
    database, name = target(request)
    collection = view.collection(database, name)
    if collection is None:
        raise CommandError(NO_NAMESPACE, f"ns does not exist: {database}.{name}")
    id_spec = {"v": 2, "key": {"_id": 1}, "name": "_id_"}  # that it is unique goes without saying
    return _listed(session, request, name, [id_spec, *(i.spec for i in collection.secondary)])


@command("dropIndexes", "index", writes=True)
def _drop_indexes(session: Session, request: Request, view: View) -> Reply:
    collection = view.collection(*target(request))
    if collection is None:
        raise CommandError(NO_NAMESPACE, "ns not found")
    before = len(collection.indexes)
    wanted = request.get("index")
    if wanted == "*":
        wanted = [index.name for index in collection.secondary]
    for name in wanted if isinstance(wanted, list) else [wanted]:
        index = named(collection, name)
        if index is None:
            raise CommandError(NO_INDEX, f"index not found with name [{name}]")
        if index.is_id:
            raise CommandError(72, "cannot drop _id index")
        collection = session.server.storage.drop_index(collection, index)
    return {"nIndexesWas": before, "ok": 1.0}


def _collections(view: View, database: str) -> list[Collection]:
    found = [collection for (owner, _), collection in view.catalog().items() if owner == database]
    return sorted(found, key=lambda collection: collection.name)


def _listed(session: Session, request: Request, name: str, entries: list[dict[str, Any]]) -> Reply:
    documents = (bson.encode(entry, codec_options=CODEC) for entry in entries)
    cursor = Cursor(f"{request['$db']}.{name}", documents)
    return session.server.cursors.first(cursor, batch_size(mapping(request, "cursor")))
