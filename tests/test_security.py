"""Secrets stay where they are configured, and what is in the database is data, not code."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import bson
import pytest
from pymongo import MongoClient

from crysearch import localdb
from crysearch.errors import CrysearchError, RecordsError
from crysearch.records import open_records, queries
from crysearch.records.values import structure_from_document
from crysearch.spec import SearchSpec
from crysearch.workflows import submit
from crysearch.workflows.launchpad import launchpad
from small_search import SMALL

PROGRAMS = Path(sys.executable).parent
KEY = "materials-project-key-that-nobody-may-see"
EVIL = {"@module": "subprocess", "@class": "Popen", "args": ["touch", "hacked"]}


@pytest.fixture
def server(tmp_path, monkeypatch) -> localdb.Address:
    """A database reached by an address with a password, and a key in the environment."""
    address = localdb.start(tmp_path / "server")
    monkeypatch.setenv("CRYSEARCH_DATABASE", address.uri("crysearch"))
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return address


def everything_in(address: localdb.Address) -> bytes:
    """All documents of all collections, as bytes."""
    with MongoClient(address.uri()) as client:
        return b"".join(
            bson.encode(document)
            for name in client.list_database_names()
            for collection in client[name].list_collection_names()
            for document in client[name][collection].find()
        )


def arguments_of_all_processes() -> bytes:
    found = b""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found += file.read_bytes()
    return found


@pytest.mark.slow
def test_no_secret_is_in_records_jobs_logs_or_arguments(server, tmp_path):
    password = server.password.get_secret_value()
    submit(SearchSpec.build(SMALL))
    pad = tmp_path / "launchpad.yaml"
    pad.write_text(
        f"host: {server.host}\nport: {server.port}\nname: crysearch\nusername: {server.username}\n"
        f"password: {password}\nauthsource: admin\n"
    )
    # The first job works; the second fails, with all that FireWorks says of a failure.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [PROGRAMS / "rlaunch", "-l", "launchpad.yaml", "singleshot"]
    first = subprocess.Popen(command, env=environment, cwd=tmp_path, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    arguments = b""
    while first.poll() is None and b"rlaunch" not in arguments:
        arguments = arguments_of_all_processes()
    assert b"rlaunch" in arguments
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 0
    broken = environment | {"CRYSEARCH_DEVICE": "nonsense", "CRYSEARCH_THREADS": "no number"}
    failed = subprocess.run(command, env=broken, cwd=tmp_path, text=True, capture_output=True,
                            timeout=120, check=False)  # fmt: skip
    assert launchpad().get_fw_ids({"state": "FIZZLED"}), failed.stdout + failed.stderr
    stored = everything_in(server)
    assert b"mp-149" in stored
    for secret in (password, KEY):
        assert secret not in said + failed.stdout + failed.stderr
        assert secret.encode() not in stored
        assert secret.encode() not in arguments
        for log in [tmp_path / "server" / "server.log", *tmp_path.rglob("*.json")]:
            assert secret not in log.read_text()


def test_a_password_on_the_command_line_is_refused(server):
    done = subprocess.run(
        [sys.executable, "-m", "crysearch", "-d", "mongodb://me:hunter2@localhost/x", "status"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "CRYSEARCH_DATABASE" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_classes_named_in_a_stored_structure_are_not_imported(server, tmp_path):
    lattice = {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}
    site = {"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0], "properties": {"x": EVIL}}
    with open_records(os.environ["CRYSEARCH_DATABASE"]) as records:
        structure = {"lattice": lattice, "sites": [site]}
        records.upsert("candidates", [{"_id": "a", "structure": structure}])
        assert len(structure_from_document(records.get("candidates", "a"))) == 1
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "name", ['{"$gt": ""}', "$where", "../../etc/passwd", "a\x00b", "'; drop", "latest.*"]
)
def test_what_people_type_is_never_an_operator_or_a_path(name, server, tmp_path):
    try:
        spec = SearchSpec.build(SMALL | {"name": name})
    except CrysearchError:
        spec = None  # refused: as good
    with open_records(os.environ["CRYSEARCH_DATABASE"]) as records:
        if spec is not None:
            submit(spec)
            assert queries.resolve_search(records, spec.search_id)["name"] == name
            assert all(letter in "0123456789abcdef" for letter in spec.search_id)
        with pytest.raises(RecordsError):
            queries.resolve_search(records, f"{name}?")
        with pytest.raises(RecordsError):
            queries.find_by_id_prefix(records, f"{name}?")
        with pytest.raises(RecordsError):
            queries.results(records, None, [f"{name}=1"])
    assert {path.name for path in tmp_path.iterdir()} == {"server"}


@pytest.mark.parametrize("composition", [{"$ne": None}, {"Si": 1}, ["Si"], 3])
def test_a_specification_holds_no_operators(composition):
    with pytest.raises(CrysearchError, match="composition"):
        SearchSpec.build(SMALL | {"composition": composition})
