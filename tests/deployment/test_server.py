from __future__ import annotations

import pytest
from pydantic import SecretStr

from crysearch.deployment.server import docker_uri, server_of_uri
from crysearch.errors import SettingsError


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://db", ("db", 27017, "", "", "crysearch", "admin")),
        ("mongodb://me:a%40b@db:1/x", ("db", 1, "me", "a@b", "x", "x")),
        ("mongodb://me:a@b:/c@db:1/x", ("db", 1, "me", "a@b:/c", "x", "x")),
        ("mongodb://me:hidden@db/?authSource=y", ("db", 27017, "me", "hidden", "crysearch", "y")),
        (
            "mongodb://me:hidden@a,b:2/x?replicaSet=r&authsource=y",
            ("mongodb://a,b:2/?replicaSet=r", None, "me", "hidden", "x", "y"),
        ),
        (
            "mongodb+srv://me:hidden@c.org/",
            ("mongodb+srv://c.org", None, "me", "hidden", "crysearch", "admin"),
        ),
        ("mongodb://[::1]:5/x", ("mongodb://[::1]:5", None, "", "", "x", "x")),
    ],
)
def test_address_and_credentials_are_taken_apart(uri, expected):
    server = server_of_uri(SecretStr(uri))
    assert expected == (
        server.address,
        server.port,
        server.username,
        server.password.get_secret_value(),
        server.database,
        server.auth_source,
    )
    assert not server.has_password or expected[3] not in repr(server)


@pytest.mark.parametrize("uri", ["mongodb://", "http://me:hidden@db", "mongodb://me:hidden@db?x=y"])
def test_what_is_no_address_is_refused_without_showing_it(uri):
    with pytest.raises(SettingsError) as error:
        server_of_uri(SecretStr(uri))
    assert "hidden" not in str(error.value)


def test_docker_credentials_environment_before_nearest_file(tmp_path):
    near = tmp_path / "near"
    near.mkdir()
    (tmp_path / ".env").write_text("CRYSEARCH_MONGO_USERNAME=far\nCRYSEARCH_MONGO_PASSWORD=far\n")
    assert "//far:far@127.0.0.1:27017/" in docker_uri([near, tmp_path], {}).get_secret_value()
    (near / ".env").write_text(
        "CRYSEARCH_MONGO_USERNAME=me\nCRYSEARCH_MONGO_PASSWORD=a@b\nCRYSEARCH_MONGO_PORT=27018\n"
    )
    assert docker_uri([near, tmp_path], {}).get_secret_value() == (
        "mongodb://me:a%40b@127.0.0.1:27018/crysearch"
    )
    found = docker_uri([near, tmp_path], {"CRYSEARCH_MONGO_PASSWORD": "other"})
    assert "//me:other@" in found.get_secret_value()


def test_a_port_that_is_none_is_refused(tmp_path):
    values = {
        "CRYSEARCH_MONGO_USERNAME": "me",
        "CRYSEARCH_MONGO_PASSWORD": "p",
        "CRYSEARCH_MONGO_PORT": "many",
    }
    with pytest.raises(SettingsError, match="CRYSEARCH_MONGO_PORT"):
        docker_uri([tmp_path], values)
