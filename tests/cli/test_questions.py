"""`crysearch ask` and the page of questions: its three ways of asking agree, and none scans."""

from __future__ import annotations

import inspect
import json
import logging
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.monitoring import CommandListener
from typer.testing import CliRunner, Result

from crysearch import localdb
from crysearch.cli.main import app
from crysearch.errors import RecordsError
from crysearch.records import COLLECTIONS, RecordStore, open_records, queries, questions
from crysearch.records.documents import failure_document
from crysearch.records.values import deterministic_id, structure_from_document
from question_records import stages_of

PAGE = (Path(__file__).parents[2] / "docs" / "questions.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEGINNING, *SECTIONS = re.split(r"^### ", PAGE, flags=re.MULTILINE)
BLOCKS = {
    match[1].replace("-", "_"): [(kind, text) for kind, text in BLOCK.findall(section)]
    for section in SECTIONS
    if (match := re.search(r"^crysearch ask ([\w-]+)", section, re.MULTILINE))
}


class Commands(CommandListener):
    """The queries that a client sends."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        """Keep what asks for documents."""
        if event.command_name in ("find", "aggregate", "count", "distinct"):
            protocol = ("lsid", "$db", "$clusterTime", "$readPreference", "txnNumber")
            command = {key: v for key, v in event.command.items() if key not in protocol}
            self.sent.append(command)

    def succeeded(self, event: Any) -> None:
        """Nothing to do."""

    def failed(self, event: Any) -> None:
        """Nothing to do."""


@pytest.fixture(scope="module")
def asked_of(
    finished_search: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Any], Commands]]:
    """A folder with the records of two searches, and the page's beginning executed in it."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "crysearch.yaml").write_text("database: crysearch-data\n", encoding="utf-8")
    with open_records(folder / "crysearch-data") as store:
        copy_records(finished_search[1], store)
    commands, names = Commands(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        client = pymongo.MongoClient
        listening = lambda *args, **kwargs: client(*args, event_listeners=[commands], **kwargs)  # noqa: E731
        patch.setattr(pymongo, "MongoClient", listening)
        for kind, code in BLOCK.findall(BEGINNING):
            if kind == "python":
                exec(code, names)
    yield folder, names, commands
    names["records"].close()
    names["db"].client.close()
    localdb.stop(folder / "crysearch-data")


def copy_records(source: Path, store: RecordStore) -> None:
    """Copy a real search and change it a little, so that no question has an empty answer.

    A second search named "second" has the same documents under other ids.
    """
    with open_records(source, read_only=True) as records:
        found = {name: records.find(name, sort=[("_id", 1)]) for name in COLLECTIONS}
    (search,) = found["searches"]
    search["created_at"] = datetime.fromisoformat("2040-01-01T00:00:00Z")
    candidates = [r for r in found["relaxations"] if r["parent_kind"] == "candidate"]
    for relaxation in candidates:
        relaxation |= {"is_new": True, "matches": None, "duplicate_of": None}
    candidates[0] |= {"is_new": False, "matches": "mp-149"}
    candidates[1] |= {"is_new": False, "matches": "mp-149", "duplicate_of": candidates[0]["_id"]}
    candidates[2] |= {"converged": False, "is_new": None}
    (replica,) = [r for r in found["replicas"] if r["_id"] == nearest(found, candidates[0])["id"]]
    replica["label"] = [6, 7]
    found["failures"] += [
        failure_document(
            search=search["_id"],
            stage="relaxation",
            where="stillinger-weber",
            reason=reason,
            detail=f"The cell met its {reason}.",
            input=structure_from_document(relaxation),
            parent=relaxation["parent_id"],
        )
        for reason, relaxation in zip(("collapse", "engine_error"), candidates, strict=False)
    ]
    store.ensure_indexes()
    ids = {d["_id"] for documents in found.values() for d in documents}
    other = {key: deterministic_id("second", key) for key in ids}
    for name, documents in found.items():
        store.upsert(name, documents)
        store.upsert(name, renamed(documents, other))
    store.update("searches", {other[search["_id"]]: {
        "name": "second", "created_at": datetime.fromisoformat("2030-01-01T00:00:00Z")
    }})  # fmt: skip


def nearest(found: dict[str, Any], relaxation: dict[str, Any]) -> dict[str, Any]:
    (parent,) = [c for c in found["candidates"] if c["_id"] == relaxation["parent_id"]]
    return parent["nearest_replica"]


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def crysearch(asked_of: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command line in the folder of the records."""
    monkeypatch.chdir(asked_of[0])
    monkeypatch.delenv("CRYSEARCH_DATABASE", raising=False)
    logger = logging.getLogger("crysearch")
    before = (logger.handlers, logger.propagate, logger.level)
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    logger.handlers, logger.propagate, level = before
    logger.setLevel(level)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def test_the_page_has_every_question_in_three_ways_with_an_answer() -> None:
    assert set(BLOCKS) == set(questions.QUESTIONS)
    for name, blocks in BLOCKS.items():
        assert [kind for kind, _ in blocks] == ["python", "python", "sh", "text"], name
        assert f"questions.{name}(" in blocks[1][1]
        title, _, meaning = inspect.getdoc(questions.QUESTIONS[name]).partition("\n\n")
        assert f"### {title}\n\n{meaning.replace('``', '`')}\n" in PAGE
        assert re.search(r"\bdb[.[]", blocks[0][1])


@pytest.mark.slow
@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_pymongo_python_and_command_line_agree(
    asked_of: tuple[Path, dict[str, Any], Commands], crysearch: Any, name: str
) -> None:
    _, names, commands = asked_of
    (_, with_pymongo), (_, with_python), (_, line), (_, shown) = BLOCKS[name]
    commands.sent.clear()
    exec(with_pymongo, names)
    documents, sent = names["rows"], list(commands.sent)
    exec(with_python, names)
    rows = names["rows"]
    assert rows
    assert queries.rows(documents, list(rows[0])) == rows
    assert len(documents) == len(rows)
    # The page names a structure of the search that it shows.
    line = re.sub(r"\b[0-9a-f]{10}\b", names["structure"][:10], line)
    program, *arguments = shlex.split(line)
    assert program == "crysearch"
    assert answer(crysearch(*arguments, "--format", "json")) == json.loads(
        json.dumps(rows, default=plain)
    )
    table = crysearch(*arguments)
    assert table.stdout.splitlines()[0].split() == shown.splitlines()[0].split()
    assert sent
    for command in sent:
        plan = names["db"].command("explain", command, verbosity="queryPlanner")
        stages = stages_of(plan)
        assert stages, plan
        assert "COLLSCAN" not in stages, command


@pytest.mark.slow
def test_tables_are_short_and_have_no_structures(crysearch: Any) -> None:
    table = crysearch("ask", "failed-inputs", "collapse").stdout
    assert "The cell met its collapse." in table
    assert "sites" not in table
    assert len(table.splitlines()[1].split()[0]) == 10
    csv = crysearch("ask", "new-structures", "--format", "csv").stdout.splitlines()
    assert csv[0].startswith("_id,formula,nsites,space_group_after.symbol,")
    assert len(csv[1].split(",")[0]) == 24


@pytest.mark.slow
def test_an_empty_answer_says_so(crysearch: Any) -> None:
    asked = ("ask", "density", "90", "91")
    assert crysearch(*asked).stdout == "Nothing found.\n"
    assert answer(crysearch(*asked, "--format", "json")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("new-structures", "--search", "nowhere"), "'nowhere'"),
        (("failed-inputs", "$where"), "'\\$where' for reason"),
        (("density", "2", "nan"), "nan for maximum"),
        (("near-reference", "--within", "-1"), "-1.0 for within"),
        (("composition", "Xq"), "give a formula such as SnSe"),
        (("lineage", "ffffffffff"), "No document has the id"),
        (("compare-searches", "small", "--search", "third"), "'third'"),
    ],
)
def test_errors_name_the_value(crysearch: Any, arguments: tuple[str, ...], message: str) -> None:
    result = crysearch("ask", *arguments)
    assert isinstance(result.exception, RecordsError)
    assert re.search(message, str(result.exception))
    assert not result.stdout


def test_help_lists_every_question() -> None:
    listed = CliRunner().invoke(app, ["ask", "--help"], env={"COLUMNS": "200"}).stdout
    for name in questions.QUESTIONS:
        assert re.search(rf"\b{name.replace('_', '-')}\b", listed), name
    one = CliRunner().invoke(app, ["ask", "near-reference", "--help"]).stdout
    for option in ("--search", "--reference", "--within", "--limit", "--format"):
        assert option in one
