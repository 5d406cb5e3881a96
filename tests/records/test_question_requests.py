"""What the questions ask of the database: only checked values, and never without an index."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import bson
import pytest

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, queries, questions
from crysearch.records.questions import QUESTIONS, Find, Recorder, requests_of
from question_records import COMPOUND, FIRST, arguments, stages_of, write_records

from .conftest import BACKENDS


@pytest.fixture
def asked(store: RecordStore) -> RecordStore:
    """The store with the records of two searches."""
    write_records(store)
    return store


@pytest.fixture
def ids(asked: RecordStore) -> list[str]:
    """Some relaxations of the first search."""
    query = {"search": FIRST, "parent_kind": "candidate", "duplicate_of": None}
    return [document["_id"] for document in asked.find("relaxations", query, ["_id"])]


@pytest.mark.parametrize("name", sorted(set(QUESTIONS) - {"duplicates", "lineage"}))
def test_a_search_that_has_done_nothing_has_empty_answers(store: RecordStore, name: str) -> None:
    given = (COMPOUND, *arguments(name, ["ab", "ab"])[1:])
    if "composition" in name:
        given = ("SnSe",)
    assert QUESTIONS[name](store, *given) == []


def parameters() -> Iterator[tuple[str, str]]:
    for name, ask in QUESTIONS.items():
        for parameter in list(inspect.signature(ask).parameters)[1:]:
            yield name, parameter


@pytest.mark.parametrize(("name", "parameter"), list(parameters()))
@pytest.mark.parametrize("injected", [{"$gt": ""}, [{"$ne": None}], {"$function": "x"}, None, b"x"])
def test_operators_are_refused_as_values(name: str, parameter: str, injected: Any) -> None:
    recorder = Recorder()
    names = list(inspect.signature(QUESTIONS[name]).parameters)[1:]
    given = dict(zip(names, arguments(name, ["ab", "ab"]), strict=False)) | {parameter: injected}
    with pytest.raises(RecordsError, match=rf"question '{name}' was given .* for {parameter}"):
        QUESTIONS[name](recorder, **given)
    assert recorder.requests == []


@pytest.mark.parametrize(
    ("ask", "given", "message"),
    [
        (questions.new_structures, ("latest",), "'latest' for search: String should match"),
        (questions.new_structures, ("ab", "5"), "'5' for limit: Input should be a valid integer"),
        (questions.new_structures, ("ab", 0), "0 for limit: .*greater than or equal to 1"),
        (questions.new_structures, (), "nothing for search: Missing required argument"),
        (questions.near_reference, ("ab", "mp-149"), "'mp-149' for references"),
        (questions.near_reference, ("ab", [], -0.1), "-0.1 for within"),
        (questions.density, ("ab", float("nan"), 1.0), "nan for minimum"),
        (questions.from_replica, ("ab", [True]), "True for label"),
        (questions.from_replica, ("ab", [7.0, 3.0]), "7.0 for label"),
    ],
)
def test_wrong_arguments_are_explained(
    ask: Callable[..., Any], given: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(RecordsError, match=message):
        ask(Recorder(), *given)


def test_requests_are_the_data_that_is_sent(asked: RecordStore, ids: list[str]) -> None:
    (only,) = requests_of(questions.new_structures, FIRST, limit=5)
    assert isinstance(only, Find) and only.projection
    assert only.query == {"search": FIRST, "is_new": True, "duplicate_of": None}
    assert only.limit == 5
    found = asked.find(only.collection, only.query, only.projection, only.sort, only.limit)
    assert queries.rows(found, only.projection) == questions.new_structures(asked, FIRST, 5)
    for name, ask in QUESTIONS.items():
        for request in requests_of(ask, *arguments(name, ids), store=asked):
            assert request.collection in queries.COLLECTIONS
            assert bson.encode(vars(request) | {"sort": dict(getattr(request, "sort", None) or ())})


SERVERS = [backend for backend in BACKENDS if backend != "mongomock"]  # that explains nothing
INDEXED = {"IXSCAN", "COUNT_SCAN", "DISTINCT_SCAN", "IDHACK", "EXPRESS_IXSCAN"}
EVERYTHING: dict[str, Callable[..., Any]] = QUESTIONS | {
    "counts": queries.counts,
    "failures": queries.failures,
    "results": queries.results,
    "searches": queries.searches,
    "find_by_id_prefix": queries.find_by_id_prefix,
    "find_by_reference_id": queries.find_by_id_prefix,
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("store", SERVERS, indirect=True)
def test_an_index_is_behind_every_request(asked: RecordStore, ids: list[str], name: str) -> None:
    given = {
        "searches": (),
        "find_by_id_prefix": (ids[0],),
        "find_by_reference_id": ("mp-92",),
    }.get(name, arguments(name, ids))
    filters = {"search": FIRST} if name == "find_by_reference_id" else {}
    sent = requests_of(EVERYTHING[name], *given, store=asked, **filters)
    assert sent
    for part in sent:
        stages = stages_of(part.explain(asked))
        assert "COLLSCAN" not in stages, part
        assert stages & INDEXED, (part, stages)


@pytest.mark.parametrize("store", SERVERS, indirect=True)
def test_a_scan_would_be_seen(asked: RecordStore) -> None:
    assert "COLLSCAN" in stages_of(Find("failures", {"detail": "x"}).explain(asked))
    scan = questions.Aggregate("failures", [{"$match": {"detail": "x"}}, {"$count": "n"}])
    assert "COLLSCAN" in stages_of(scan.explain(asked))
