"""The container files: nothing runs here, so what they must say is read from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from fireworks import LaunchPad

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"\$\{(\w+)([^}]*)\}")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def mongodb(compose):
    return compose["services"]["mongodb"]


def test_mongodb_7_or_later_is_pinned(mongodb):
    name, version = mongodb["image"].split(":")
    assert name == "mongo"
    assert int(version.split(".")[0]) >= 7


def test_starting_without_credentials_is_refused(mongodb):
    environment = mongodb["environment"]
    assert environment.keys() >= {
        "MONGO_INITDB_ROOT_USERNAME",
        "MONGO_INITDB_ROOT_PASSWORD",
        "CRYSEARCH_MONGO_USERNAME",
        "CRYSEARCH_MONGO_PASSWORD",
    }
    for name, value in environment.items():
        if name.endswith(("USERNAME", "PASSWORD")):
            found = REFERENCE.fullmatch(value)
            assert found, f"{name} is written out"
            assert found[2].startswith(":?set "), f"{name} does not refuse an empty value"


def test_no_credential_has_a_default_anywhere():
    for file in ("docker-compose.yml", ".env.example", "launchpad.yaml"):
        text = (ROOT / file).read_text()
        for name, rest in REFERENCE.findall(text):
            assert not (re.search("USER|PASS", name) and rest.startswith((":-", "-", ":+", "+")))
    assert {
        name: value for name, value in dotenv_values(ROOT / ".env.example").items() if value
    } == {}


def test_every_variable_is_in_the_example(mongodb):
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    for name, _ in REFERENCE.findall(text):
        assert re.search(rf"^(# )?{name}=", example, re.MULTILINE), name


def test_authentication_is_on_and_only_this_machine_reaches_it(mongodb):
    assert "--auth" in mongodb["command"]
    assert mongodb["ports"]
    for port in mongodb["ports"]:
        assert str(port).startswith("127.0.0.1:")
    assert mongodb.get("network_mode") != "host"


def test_data_lives_in_a_named_volume(compose, mongodb):
    volume = next(v.split(":")[0] for v in mongodb["volumes"] if v.endswith(":/data/db"))
    assert volume in compose["volumes"]
    assert mongodb["restart"] == "unless-stopped"


def test_mounted_files_exist_and_hold_no_secret(mongodb):
    mounted = [volume.split(":") for volume in mongodb["volumes"] if volume.startswith("./")]
    assert any("/docker-entrypoint-initdb.d/" in target for _, target, _ in mounted)
    for source, _, mode in mounted:
        text = (ROOT / source).read_text()
        assert mode == "ro"
        for value in re.findall(r"(?:pwd|password)\s*[:=]\s*(.*)", text, re.IGNORECASE):
            assert "process.env.CRYSEARCH_MONGO_PASSWORD" in value


def test_health_check_logs_in_without_a_password_in_its_arguments(mongodb):
    test = mongodb["healthcheck"]["test"]
    assert test[:2] == ["CMD", "mongosh"]
    assert not any("$" in part or "PASSWORD" in part for part in test)
    mounted = {v.split(":")[1]: v.split(":")[0] for v in mongodb["volumes"] if v.startswith("./")}
    assert "process.env.CRYSEARCH_MONGO_PASSWORD" in (ROOT / mounted[test[-1]]).read_text()


def test_launchpad_template_is_read_by_fireworks_and_names_the_same_server(mongodb):
    launchpad = LaunchPad.from_file(str(ROOT / "launchpad.yaml"))
    assert (launchpad.host, launchpad.port) == ("127.0.0.1", 27017)
    assert launchpad.name == mongodb["environment"]["MONGO_INITDB_DATABASE"]
    assert launchpad.username is None
    assert launchpad.password is None
    assert launchpad.mongoclient_kwargs["serverSelectionTimeoutMS"] == 120_000


def test_git_ignores_the_filled_in_file():
    assert ".env" in (ROOT / ".gitignore").read_text().split()
