"""The Materials Project's own client against a server on this machine that answers as theirs."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from crysearch.errors import ReferencesError
from crysearch.references import (
    Reference,
    check_references,
    fetch_materials_project,
    load_snapshot,
    materials_project,
)

KEY = "k3yThatMustNotBeSeenAnywhere0123"


def fetch(server, formula: str = "Si", key: str | None = KEY, **arguments) -> list[Reference]:
    secret = None if key is None else SecretStr(key)
    defaults = {"endpoint": server.endpoint, "longest_wait": 0.05, "timeout": 5.0}
    return fetch_materials_project(formula, secret, **(defaults | arguments))


def failure(server, caplog, capfd, key: str | None = KEY, **arguments) -> str:
    """The message of the failure, after making sure that the key is nowhere to be seen."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ReferencesError) as caught:
        fetch(server, key=key, **arguments)
    error = caught.value
    texts = ["".join(traceback.format_exception(error)), caplog.text, *capfd.readouterr()]
    chain: BaseException | None = error
    while chain is not None:
        texts.append(repr(chain) + str(vars(chain)))
        chain = chain.__cause__ or chain.__context__
    if key is not None and key.strip():
        assert not any(key.strip() in text for text in texts)
    message = str(error)
    assert "\n" not in message and message.endswith(".")
    assert message.count(". ") == 0  # one sentence
    return message


def test_one_query_brings_every_entry(server, capfd) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    references = fetch(server)
    assert capfd.readouterr() == ("", "")

    expected = {entry.reference_id: entry for entry in load_snapshot("Si")}
    assert [entry.reference_id for entry in references] == sorted(
        expected, key=lambda name: int(name[3:])
    )
    for entry in references:
        known = expected[entry.reference_id]
        assert entry.structure == known.structure
        assert entry.reported_space_group == known.reported_space_group
        assert entry.energy_above_ground_state == pytest.approx(known.energy_above_ground_state)
        assert (entry.energy_origin is None) == (known.energy_above_ground_state is None)
        assert entry.metadata["database_version"] == "2025.02.12.post"
        assert entry.metadata["license"] == "BY-C"
        assert before <= datetime.fromisoformat(entry.metadata["fetched_at"]) <= datetime.now(UTC)
        assert KEY not in repr(entry)


def test_nothing_unneeded_is_asked(server) -> None:
    fetch(server)
    assert [item.path for item in server.received] == ["/heartbeat", "/materials/summary/"]
    heartbeat, query = server.received
    assert heartbeat.key is None
    assert query.key == KEY  # the one given, not the one of the environment
    assert query.query["formula"] == "Si"
    assert "volume" not in query.query["_fields"] and "structure" in query.query["_fields"]


def test_answers_in_pages(server, monkeypatch) -> None:
    monkeypatch.setattr(materials_project, "_PAGE_SIZE", 10)
    assert len(fetch(server)) == 43
    assert [item.query.get("_skip", "0") for item in server.queries()] == [
        "0", "10", "20", "30", "40"
    ]  # fmt: skip


@pytest.mark.parametrize("formula", ["SnSe", "Se4Sn4"])
def test_any_way_of_writing_the_composition(server, formula: str) -> None:
    references = fetch(server, formula=formula)
    assert len(references) == 8
    assert server.queries()[0].query["formula"] == "SnSe"
    distances = {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
    sound, set_aside = check_references(references, distances, formula="SnSe")
    assert (len(sound), len(set_aside)) == (6, 2)


def test_deprecated_entries_are_left_out(server) -> None:
    server.documents[4]["deprecated"] = True  # mp-149, the ground state
    references = fetch(server)
    assert len(references) == 42
    energies = {entry.reference_id: entry.energy_above_ground_state for entry in references}
    assert energies["mp-165"] == 0  # the lowest of what is left
    del server.documents[5]["deprecated"]
    assert len(fetch(server)) == 42


def test_gnome_entries_can_be_left_out(server) -> None:
    fetch(server, include_gnome=False)
    fetch(server)
    without, with_gnome = server.queries()
    assert without.query["batch_id_not_eq"] == "gnome_r2scan_statics"
    assert "batch_id_not_eq" not in with_gnome.query


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_missing_key(server, caplog, capfd, key: str | None) -> None:
    message = failure(server, caplog, capfd, key=key)
    assert "no API key" in message and "MP_API_KEY" in message and "snapshots" in message
    assert server.received == []


@pytest.mark.parametrize(
    "key", ["tooShortButSecret", "k3yThatMustNotBe\nSeenAnywhere0123", "é" * 32]
)
def test_malformed_key(server, caplog, capfd, key: str) -> None:
    message = failure(server, caplog, capfd, key=key)
    assert "32 letters and digits" in message
    assert server.received == []


def test_blanks_around_the_key_do_not_matter(server) -> None:
    assert len(fetch(server, key=f" {KEY}\n")) == 43


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key(server, caplog, capfd, status: int) -> None:
    server.reply_for_ever = (status, {"message": f"Invalid credentials {KEY}"}, {})
    message = failure(server, caplog, capfd)
    assert f"refused (HTTP {status})" in message and "materialsproject.org/api" in message
    assert len(server.queries()) == 1


def test_another_key_is_refused_by_the_server_itself(server, caplog, capfd) -> None:
    assert "refused (HTTP 401)" in failure(server, caplog, capfd, key="x" * 32)


def test_rate_limiting_passes(server) -> None:
    server.replies = [(429, {"message": "API rate limit exceeded"}, {"Retry-After": "0"})] * 2
    assert len(fetch(server)) == 43
    assert len(server.queries()) == 3


def test_rate_limiting_persists(server, caplog, capfd) -> None:
    """The pause that the server asks for is bounded, and so is the number of attempts."""
    server.reply_for_ever = (429, {"message": f"API rate limit {KEY}"}, {"Retry-After": "3600"})
    started = time.monotonic()
    message = failure(server, caplog, capfd, retries=2)
    assert time.monotonic() - started < 20
    assert "too many requests" in message and "429" in message
    assert len(server.queries()) == 3


@pytest.mark.parametrize(("status", "attempts"), [(500, 1), (502, 2), (503, 2), (504, 2)])
def test_server_errors(server, caplog, capfd, status: int, attempts: int) -> None:
    server.reply_for_ever = (status, f"<html>{KEY} is down</html>", {})
    message = failure(server, caplog, capfd, retries=1)
    assert f"out of order (HTTP {status})" in message and "status.materialsproject.org" in message
    assert len(server.queries()) == attempts


@pytest.mark.parametrize("status", [400, 404, 422])
def test_requests_the_server_does_not_know(server, caplog, capfd, status: int) -> None:
    server.reply_for_ever = (status, {"detail": [{"loc": ["query"], "msg": KEY}]}, {})
    message = failure(server, caplog, capfd)
    assert f"HTTP {status}" in message and "mp-api" in message


@pytest.mark.parametrize(
    "content",
    [
        "<html>Please log in</html>",
        "",
        "[]",
        '{"meta": {}}',
        '{"data": 5, "meta": {}}',
        '{"data": [5], "meta": {"total_doc": 1}}',
        '{"data": [{}], "meta": {"total_doc": 1}}',
    ],
)
def test_answers_that_are_no_answers(server, caplog, capfd, content: str) -> None:
    server.reply_for_ever = (200, content, {})
    message = failure(server, caplog, capfd)
    assert "not as the Materials Project does" in message


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [
        ((503, "busy", {}), "out of order (HTTP 503)"),
        ((200, "<html></html>", {}), "not as the Materials Project does"),
        ((200, {"status": "OK"}, {}), "not as the Materials Project does"),
        ((404, {"message": "no Route matched"}, {}), "HTTP 404"),
        ((403, "forbidden", {}), "HTTP 403"),
    ],
)
def test_heartbeat_fails(server, caplog, capfd, heartbeat, expected: str) -> None:
    server.heartbeat = heartbeat
    assert expected in failure(server, caplog, capfd, retries=0)
    assert server.queries() == []


def test_empty_answer(server, caplog, capfd) -> None:
    message = failure(server, caplog, capfd, formula="GaN")
    assert "composition GaN" in message and "2025.02.12.post" in message


def test_only_deprecated_entries_are_an_empty_answer(server, caplog, capfd) -> None:
    for document in server.documents:
        document["deprecated"] = True
    assert "no current entry" in failure(server, caplog, capfd)


def test_an_entry_without_structure_is_named(server, caplog, capfd) -> None:
    del server.documents[0]["structure"]
    assert "structure of mp-27" in failure(server, caplog, capfd)


def test_no_network(server, caplog, capfd) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    message = failure(server, caplog, capfd, endpoint=address, retries=1)
    assert "cannot be reached (ConnectionError)" in message and "network" in message


def test_a_silent_server_is_not_waited_for(server, caplog, capfd) -> None:
    server.silence = 1.5
    started = time.monotonic()
    message = failure(server, caplog, capfd, timeout=0.2, retries=1)
    assert time.monotonic() - started < 20
    assert "cannot be reached" in message


def test_a_redirect_to_another_host_does_not_carry_the_key(server) -> None:
    other = server.endpoint.replace("127.0.0.1", "localhost")
    server.replies = [(302, "", {"Location": f"{other}/materials/summary/?formula=Si"})]
    server.reply_for_ever = None
    with pytest.raises(ReferencesError, match="refused"):
        fetch(server)
    first, second = server.queries()
    assert (first.key, second.key) == (KEY, None)


@pytest.mark.parametrize(
    "endpoint",
    ["http://api.materialsproject.org", "api.materialsproject.org", "ftp://x", "https://"],
)
def test_the_key_does_not_travel_in_the_open(server, caplog, capfd, endpoint: str) -> None:
    message = failure(server, caplog, capfd, endpoint=endpoint)
    assert "not an https address" in message
    assert server.received == []
