"""References in the records: sound or set aside, cached, never with a key."""

from __future__ import annotations

import pytest

from crysearch.errors import ReferencesError
from crysearch.records import open_records
from crysearch.records.values import structure_from_document
from crysearch.workflows import stages
from materials_project_server import KEY


@pytest.fixture
def asking(small_spec, server, monkeypatch, database):
    """A specification that asks the Materials Project, and settings that lead to our server."""
    monkeypatch.setenv("CRYSEARCH_MATERIALS_PROJECT_API_KEY", KEY)
    monkeypatch.setenv("CRYSEARCH_MATERIALS_PROJECT_ENDPOINT", server.endpoint)
    return small_spec.with_changes({"references.source": "materials_project"})


def test_one_query_serves_later_searches_too(asking, server, database):
    with open_records(database) as records:
        first = stages.gather_references(records, asking)
        again = stages.gather_references(records, asking.with_changes({"seed": 9}))
        assert first == again
        assert len(server.queries()) == 1
        assert records.count("references") == 2 * 43
        aside = records.find("references", {"status": "set_aside", "search": asking.search_id})
        assert {"mp-16220", "mp-988210"} <= {document["reference_id"] for document in aside}
        assert all(document["reason"] and document["detail"] for document in aside)
    assert KEY.encode() not in (database / "records.sqlite").read_bytes()


def test_an_old_answer_is_asked_for_again(asking, server, database, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_MATERIALS_PROJECT_CACHE_DAYS", "0")
    with open_records(database) as records:
        stages.gather_references(records, asking)
        stages.gather_references(records, asking)
    assert len(server.queries()) == 2


def test_the_cached_answer_equals_the_first(asking, server, database):
    with open_records(database) as records:
        stages.gather_references(records, asking)
        second = asking.with_changes({"seed": 9})
        stages.gather_references(records, second)
        first, again = (
            records.find("references", {"search": spec.search_id}, sort=[("reference_id", 1)])
            for spec in (asking, second)
        )
        for one, other in zip(first, again, strict=True):
            assert structure_from_document(one) == structure_from_document(other)
            for field in ("status", "energy_above_ground_state", "metadata", "fingerprint"):
                assert one[field] == other[field]


def test_files_are_a_source(small_spec, tmp_path, database, server):
    from crysearch.references import load_snapshot

    for reference in load_snapshot("Si")[:6]:
        reference.structure.to(str(tmp_path / f"{reference.reference_id}.cif"))
    spec = small_spec.with_changes(
        {"references.source": "files", "references.files": [str(tmp_path / "*.cif")]}
    )
    with open_records(database) as records:
        summary = stages.gather_references(records, spec)
    assert (summary["sound"], summary["set_aside"]) == (6, {})
    assert not server.received


def test_nothing_sound_is_an_error_that_says_why(small_spec, database):
    spec = small_spec.with_changes({"minimum_distances": {"Si-Si": 6.0}})
    with open_records(database) as records:
        with pytest.raises(ReferencesError, match="none of the 43 structures found is sound"):
            stages.gather_references(records, spec)
        assert records.count("references") == 0
