"""Who may use a local store, and where its password is not to be found."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from crysearch import localdb

from .conftest import failure
from .local_servers import connect, running_pid, stopped_after


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with stopped_after(tmp_path_factory.mktemp("authentication") / "store") as place:
        address = localdb.start(place)
        with connect(address) as client:
            client["crysearch"]["things"].insert_many([{"_id": i} for i in range(10)])
        yield place


@pytest.fixture(scope="module")
def address(folder):
    return localdb.start(folder)


@pytest.fixture(scope="module")
def password(folder):
    return (folder / "password").read_text().strip()


def anonymous(address, **options) -> MongoClient:
    return MongoClient(address.host, address.port, directConnection=True, **options)


@pytest.mark.parametrize(
    "command",
    [
        {"find": "things"},
        {"insert": "things", "documents": [{}]},
        {"update": "things", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]},
        {"delete": "things", "deletes": [{"q": {}, "limit": 0}]},
        {"aggregate": "things", "pipeline": [], "cursor": {}},
        {"findAndModify": "things", "remove": True},
        {"listCollections": 1},
        {"dropDatabase": 1},
        {"create": "other"},
        {"getMore": 1, "collection": "things"},
        {"explain": {"find": "things"}},
        {"dbStats": 1},
        {"shutdown": 1},
    ],
    ids=lambda command: next(iter(command)),
)
def test_nothing_is_done_for_strangers(address, command):
    with anonymous(address) as client, failure(13):
        client["crysearch"].command(command)
    with connect(address) as client:
        assert client["crysearch"]["things"].count_documents({}) == 10


def test_strangers_may_greet(address):
    with anonymous(address) as client:
        assert client.admin.command("hello")["ok"] == 1
        assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "crysearch", "password": "wrong"},
        {"username": "crysearch", "password": "w"},
        {"username": "root", "password": "right"},
        {"username": "crysearch", "password": "right", "authMechanism": "SCRAM-SHA-1"},
        {"username": "crysearch", "password": "right", "authMechanism": "PLAIN"},
        {"username": "crysearch", "password": "right", "authSource": "other"},
    ],
    ids=["wrong", "short", "other user", "older mechanism", "plain text", "other source"],
)
def test_wrong_credentials_are_refused(address, password, credentials):
    given = {**credentials}
    if given["password"] == "right":
        given["password"] = password
    options = {"authSource": "admin", **given}
    # AuthenticationFailed, MechanismUnavailable
    with anonymous(address, **options) as client, failure(18, 334):
        client["crysearch"]["things"].find_one()


def test_a_failed_login_leaves_a_stranger(address):
    with anonymous(address, maxPoolSize=1) as client:
        start = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": b"n,,n=crysearch,r=abc"}
        reply = client.admin.command(start)
        proof = b"c=biws,r=" + reply["payload"].split(b",")[0][2:] + b",p=" + b"A" * 43 + b"="
        finish = {"saslContinue": 1, "conversationId": reply["conversationId"], "payload": proof}
        with failure(18):
            client.admin.command(finish)
        with failure(13):
            client["crysearch"]["things"].find_one()


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"n,,", b"n,,n=crysearch", b"\xff" * 50])
def test_broken_logins_are_refused(address, payload):
    start = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": payload}
    with anonymous(address) as client:
        with failure(18, 2, 9, 17):
            client.admin.command(start)
        with failure(18, 2, 9, 17):
            client.admin.command({"saslContinue": 1, "conversationId": 99, "payload": payload})
        assert client.admin.command("ping")["ok"] == 1


def test_one_login_does_not_serve_another_connection(address):
    with connect(address) as known, anonymous(address) as stranger:
        assert known["crysearch"]["things"].find_one()
        with pytest.raises(OperationFailure):
            stranger["crysearch"]["things"].find_one()


def test_the_address_does_not_show_its_password(address, password):
    assert len(password) >= 20
    assert password not in repr(address)
    assert password not in str(address)
    assert password not in repr([address])
    assert password in address.uri()
    uri = address.uri("other")
    assert uri.startswith("mongodb://crysearch:")
    assert f"@127.0.0.1:{address.port}/other?" in uri
    assert "authSource=admin" in uri
    assert "directConnection=true" in uri


def test_no_process_shows_the_password(folder, password):
    seen = 0
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = arguments.read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        seen += 1
        assert password.encode() not in text, arguments
    assert seen
    environment = Path(f"/proc/{running_pid(folder)}/environ").read_bytes()
    assert password.encode() not in environment


def test_the_password_is_in_its_own_file_only(folder, password):
    others = [path for path in folder.iterdir() if path.name != "password"]
    assert {"records.sqlite", "server.log"} <= {path.name for path in others}
    for path in others:
        assert password.encode() not in path.read_bytes(), path


def test_files_are_for_their_owner_only(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_loose_umask_changes_nothing(tmp_path):
    before = os.umask(0)
    try:
        with stopped_after(tmp_path / "store") as folder:
            with connect(localdb.start(folder)) as client:
                client["crysearch"]["things"].insert_one({})
            test_files_are_for_their_owner_only(folder)
    finally:
        os.umask(before)


def test_only_this_machine_can_connect(address):
    """The sockets of the server's port listen on 127.0.0.1 and nowhere else."""
    listening = "0A"
    places = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            host, port = local.split(":")
            if state == listening and int(port, 16) == address.port:
                places.append(host)
    assert places == ["0100007F"]


def test_every_store_has_a_password_of_its_own(tmp_path, password):
    with stopped_after(tmp_path / "store") as folder:
        other = localdb.start(folder)
        made = (folder / "password").read_text().strip()
        assert made != password
        with (
            anonymous(other, username="crysearch", password=password, authSource="admin") as client,
            failure(18),
        ):
            client["crysearch"]["things"].find_one()
        localdb.stop(folder)
        assert localdb.start(folder).uri() == other.uri()  # and keeps it
