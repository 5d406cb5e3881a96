"""A server on this machine that answers as the Materials Project's interface does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from crysearch.references import load_snapshot

KEY = "k3yThatMustNotBeSeenAnywhere0123"  # 32 letters and digits, as theirs are


@dataclass
class Received:
    path: str
    query: dict[str, str]
    key: str | None


@dataclass
class FakeMaterialsProject:
    """What the server says and what it was asked; tests change the former."""

    documents: list[dict[str, Any]]
    received: list[Received] = field(default_factory=list)
    # (HTTP status, body or JSON-able answer, headers) to give before, or instead of, the data.
    replies: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    reply_for_ever: tuple[int, Any, dict[str, str]] | None = None
    heartbeat: tuple[int, Any, dict[str, str]] = (
        200,
        {"status": "OK", "version": "0.87.3", "db_version": "2025.02.12.post",
         "access_controlled_batch_ids": []},
        {},
    )  # fmt: skip
    silence: float = 0.0
    endpoint: str = ""

    def queries(self) -> list[Received]:
        return [item for item in self.received if item.path == "/materials/summary/"]

    def answer(self, item: Received) -> tuple[int, Any, dict[str, str]]:
        self.received.append(item)
        if item.path == "/heartbeat":
            return self.heartbeat
        if item.path != "/materials/summary/":
            return 404, {"message": "no Route matched with those values"}, {}
        time.sleep(self.silence)
        if self.reply_for_ever is not None:
            return self.reply_for_ever
        if self.replies:
            return self.replies.pop(0)
        if item.key != KEY:
            message = "No API key found in request" if not item.key else "Unauthorized"
            return 401, {"message": message}, {}
        matching = [
            document
            for document in self.documents
            if document["formula_pretty"] == item.query["formula"]
        ]
        skip, limit = int(item.query.get("_skip", 0)), int(item.query["_limit"])
        fields = item.query["_fields"].split(",")
        page = [
            {name: document[name] for name in fields if name in document}
            for document in matching[skip : skip + limit]
        ]
        return 200, {"data": page, "meta": {"total_doc": len(matching)}}, {}


def _documents() -> list[dict[str, Any]]:
    """Summary documents of the interface, made of the bundled snapshots."""
    documents = []
    for formula in ("Si", "SnSe"):
        for number, reference in enumerate(load_snapshot(formula)):
            energy = reference.energy_above_ground_state
            documents.append(
                {
                    "material_id": reference.reference_id,
                    "formula_pretty": formula,
                    "structure": reference.structure.as_dict(),
                    "symmetry": {"number": reference.reported_space_group, "symprec": 0.1},
                    "energy_per_atom": None if energy is None else energy - 5.4253,
                    "formation_energy_per_atom": energy,
                    "energy_above_hull": energy,
                    "theoretical": bool(number % 2),
                    "deprecated": False,
                    "last_updated": "2025-02-12T00:00:00",
                    "builder_meta": {"license": "BY-C", "database_version": "2025.02.12"},
                    "volume": reference.structure.volume,
                }
            )
    return documents


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMaterialsProject]:
    """The fake interface, with nothing in the environment that could redirect the client."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "MP_API_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("MP_API_KEY", "anotherKeyFromTheEnvironment9999")
    fake = FakeMaterialsProject(_documents())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            item = Received(parts.path, query, self.headers.get("x-api-key"))
            status, content, headers = fake.answer(item)
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                pass  # The client did not wait: what the test of the time limit is about.

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    fake.endpoint = f"http://127.0.0.1:{listener.server_port}"
    yield fake
    listener.shutdown()
    listener.server_close()
    thread.join()
