"""The questions people ask of the records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, queries
from crysearch.records.batches import relaxation_batch_document, sampling_batch_document
from crysearch.records.documents import (
    candidate_document,
    failure_document,
    model_document,
    reference_document,
    relaxation_document,
    replica_document,
    search_document,
)
from crysearch.records.filters import parse_filters
from crysearch.records.schema import Group, Near
from crysearch.records.values import deterministic_id

SEARCH = deterministic_id("silicon")
OTHER = deterministic_id("other")
FINGERPRINT = np.ones(4)
SCREENED: list[tuple[list[Group], Near | None]] = [
    (["I", "II"], "both"),
    (["II"], "replicas"),
    (["III"], None),
    (["III"], None),
]


def group(number: int, symbol: str) -> dict[str, Any]:
    return {
        "number": number,
        "symbol": symbol,
        "tolerance": 0.1,
        "strict_number": 1,
        "strict_tolerance": 0.01,
    }


def make_search(search: str, name: str, day: int) -> dict[str, Any]:
    return search_document(
        search=search,
        name=name,
        spec={"composition": "Si"},
        formula="Si",
        created_at=datetime(2026, 1, day, tzinfo=UTC),
    )


@pytest.fixture
def silicon(store: RecordStore, small_search: dict[str, Any]) -> dict[str, Any]:
    """Write the small search and return its documents."""
    store.upsert("searches", [make_search(SEARCH, "silicon", 2), make_search(OTHER, "other", 1)])
    for collection, documents in small_search.items():
        store.upsert(collection, documents)
    return small_search


@pytest.fixture(scope="module")
def small_search(diamond: Structure) -> dict[str, Any]:
    """Build the documents of a small search."""
    references = [
        reference_document(
            search=SEARCH,
            reference_id=reference_id,
            structure=diamond,
            status="set_aside" if reason else "sound",
            reason=reason,
            source="snapshot",
            fingerprint=FINGERPRINT,
        )
        for reference_id, reason in (("mp-149", None), ("mp-16220", "too close"), ("mp-2", None))
    ]
    model = model_document(
        search=SEARCH,
        model="vae",
        seed=1,
        parameter_count=23550,
        history={},
        reference_ids=["mp-149", "mp-2"],
    )
    replica = replica_document(
        search=SEARCH,
        model_id=model["_id"],
        kind="grid",
        label=[7, 3],
        latent=[0.0, 1.0],
        fingerprint=FINGERPRINT,
    )
    nearest = {"id": references[0]["_id"], "reference_id": "mp-149", "distance": 0.1}
    candidates = [
        candidate_document(
            search=SEARCH,
            seed=1,
            formula_units=8,
            batch=0,
            index=index,
            structure=diamond,
            fingerprint=FINGERPRINT,
            space_group_requested=227,
            groups=groups,
            near=near,
            nearest_reference=nearest,
            nearest_replica={"id": replica["_id"], "label": [7, 3], "distance": 0.1 + index / 100},
        )
        for index, (groups, near) in enumerate(SCREENED)
    ]
    outcomes: list[dict[str, Any]] = [
        {"energy_above_ground_state_found": 0.3, "is_new": True},
        {"energy_above_ground_state_found": 0.0, "is_new": False, "matches": "mp-149"},
        {"energy_above_ground_state_found": 0.1, "duplicate_of": "x", "is_new": True},
        {"energy_above_ground_state_found": None, "is_new": None},
    ]
    relaxations = [
        relaxation_document(
            search=SEARCH,
            parent_kind="candidate",
            parent_id=candidate["_id"],
            engine="engine",
            structure=diamond,
            energy=-40.0 + index,
            converged=index != 3,
            steps=10,
            groups=candidate["groups"],
            space_group_before=group(1, "P1"),
            space_group_after=group(227, "Fd-3m") if index == 1 else group(65, "Cmmm"),
            **outcome,
        )
        for index, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True))
    ]
    relaxed_reference = relaxation_document(
        search=SEARCH,
        parent_kind="reference",
        parent_id=references[0]["_id"],
        engine="engine",
        structure=diamond,
        energy=-43.0,
        converged=True,
        steps=1,
        energy_above_ground_state_found=0.0,
    )
    batches = [
        sampling_batch_document(
            search=SEARCH,
            formula_units=8,
            batch=batch,
            seed=1,
            sampled=100,
            accepted=10 + batch,
            kept=2,
            rejected={"too close": 80, "volume": 10 - batch},
            near={"both": 1, "replicas": 1, "neither": 8 + batch},
            kept_by_group={"III": 2} if batch else {"I": 1, "II": 2},
        )
        for batch in range(2)
    ]
    batches.append(
        relaxation_batch_document(
            search=SEARCH, kind="candidate", batch=0, parents=[], relaxed=4, converged=3, failed=3
        )
    )
    failures = [
        failure_document(
            search=SEARCH,
            stage="relaxation",
            where="engine",
            reason=reason,
            detail=f"The cell {reason}.",
            input=diamond,
            parent=f"{i}",
        )
        for i, reason in enumerate(["exploded", "collapsed", "exploded"])
    ]
    return {
        "references": references,
        "models": [model],
        "replicas": [replica],
        "candidates": candidates,
        "relaxations": [*relaxations, relaxed_reference],
        "batches": batches,
        "failures": failures,
    }


def test_searches_are_newest_first(store: RecordStore, silicon: dict[str, Any]) -> None:
    found = queries.searches(store)
    assert [search["name"] for search in found] == ["silicon", "other"]
    assert "spec" not in found[0]


@pytest.mark.parametrize("which", ["latest", "silicon", SEARCH, SEARCH[:6]])
def test_resolve_search(store: RecordStore, silicon: dict[str, Any], which: str) -> None:
    found = queries.resolve_search(store, which)
    assert found["_id"] == SEARCH
    assert found["spec"] == {"composition": "Si"}


def test_resolve_search_explains_what_it_cannot_find(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match=r"no searches in .*crysearch run"):
        queries.resolve_search(store)
    store.upsert("searches", [make_search("ab1", "same", 1), make_search("ab2", "same", 2)])
    with pytest.raises(RecordsError, match=r"Several searches.*'ab'.*ab2 \(same\), ab1 \(same\)"):
        queries.resolve_search(store, "ab")
    with pytest.raises(RecordsError, match=r"Several searches.*'same'"):
        queries.resolve_search(store, "same")
    for nothing in ("zz", ""):
        with pytest.raises(RecordsError, match=r"No search.*ab2"):
            queries.resolve_search(store, nothing)


def energies(rows: list[dict[str, Any]]) -> list[float | None]:
    return [row["energy_above_ground_state_found"] for row in rows]


def test_results_are_rows_with_the_best_first_and_the_unknown_last(
    store: RecordStore, silicon: dict[str, Any]
) -> None:
    rows = queries.results(store, SEARCH)
    assert [tuple(row) for row in rows] == [queries.RESULT_COLUMNS] * 3
    assert energies(rows) == [0.0, 0.3, None]
    assert rows[0]["space_group_after.symbol"] == "Fd-3m"
    assert rows[0]["matches"] == "mp-149"
    assert energies(queries.results(store, SEARCH, limit=1)) == [0.0]
    largest = queries.results(store, SEARCH, sort="-energy_above_ground_state_found")
    assert energies(largest) == [0.3, 0.0, None]
    assert queries.results(store, OTHER) == []
    assert len(queries.results(store, None)) == 3
    everything = queries.results(store, SEARCH, include_duplicates=True, include_references=True)
    assert energies(everything) == [0.0, 0.0, 0.1, 0.3, None]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["energy_above_ground_state_found<0.2"], [0.0]),
        (["energy_above_ground_state_found <= 0.3", "is_new=true"], [0.3]),
        (["energy_above_ground_state_found=null"], [None]),
        (["energy_above_ground_state_found!=null"], [0.0, 0.3]),
        (["is_new=no"], [0.0]),
        (["is_new!=true"], [0.0, None]),
        (["groups=I"], [0.3]),
        (["groups=I,III"], [0.3, None]),
        (["groups!=III"], [0.0, 0.3]),
        (["matches=mp-149"], [0.0]),
        (["matches=null", "converged=true"], [0.3]),
        (["space_group_after=227"], [0.0]),
        (["space_group_after=Cmmm"], [0.3, None]),
        (["space_group_after.number>=100"], [0.0]),
        (["space_group_after.symbol~FD"], [0.0]),
        (["formula~.*"], []),
        (["duplicate_of!=null"], [0.1]),
        (["parent_kind=reference"], [0.0]),
        (["parent_kind=candidate,reference"], [0.0, 0.0, 0.3, None]),
        (["created_at>2020-01-01", "created_at<2020-01-02T00:00"], []),
        (["steps>9", "nsites=8", "elements=Si", "volume_per_atom<100"], [0.0, 0.3, None]),
        (["engine=$where"], []),
    ],
)
def test_filters(
    store: RecordStore,
    silicon: dict[str, Any],
    filters: list[str],
    expected: list[float | None],
) -> None:
    assert energies(queries.results(store, SEARCH, filters)) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("energy", "cannot be read: write field<op>value"),
        ("", "cannot be read"),
        ("$where=1", "cannot be read"),
        ("enrgy<1", "no field 'enrgy' in relaxations: choose one of .*energy_per_atom"),
        ("structure=x", "no field 'structure'"),
        ("provenance.seed=1", "no field"),
        ("energy<low", "'low' for energy, which takes a number"),
        ("energy<nan", "takes a number"),
        ("steps=1.5", "takes a whole number"),
        (f"steps={2**63}", "takes a whole number"),
        ("is_new=maybe", "takes true or false"),
        ("is_new<true", "use = or !="),
        ("energy~1", "energy is not text"),
        ("created_at>yesterday", "a date such as 2026-01-31"),
        ("matches=", "some text, or null"),
    ],
)
def test_bad_filters_are_explained(expression: str, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        parse_filters("relaxations", [expression])


def test_bad_requests_for_results_are_explained(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match="no field 'enrgy'"):
        queries.results(store, None, sort="-enrgy")
    with pytest.raises(RecordsError, match="no field 'structure'"):
        queries.results(store, None, columns=["structure"])
    with pytest.raises(RecordsError, match="limit is 0"):
        queries.results(store, None, limit=0)
    with pytest.raises(RecordsError, match="no collection 'crystals'"):
        queries.results(store, None, collection="crystals")


def test_other_collections_have_results_too(store: RecordStore, silicon: dict[str, Any]) -> None:
    rows = queries.results(
        store,
        SEARCH,
        ["nearest_replica.label=7,3", "nearest_replica.distance<0.115"],
        collection="candidates",
        sort="-nearest_replica.distance",
        columns=["id", "near", "nearest_replica.distance"],
    )
    assert [row["near"] for row in rows] == ["replicas", "both"]
    assert set(rows[0]) == {"_id", "near", "nearest_replica.distance"}
    assert not queries.results(
        store, SEARCH, ["nearest_replica.label=3,7"], collection="candidates", sort="id"
    )


def test_lineage_leads_back_to_the_references(store: RecordStore, silicon: dict[str, Any]) -> None:
    relaxation = silicon["relaxations"][1]
    found = queries.lineage(store, relaxation["_id"])
    assert found["relaxation"]["_id"] == relaxation["_id"]
    assert found["candidate"]["_id"] == silicon["candidates"][1]["_id"]
    assert found["nearest_reference"]["reference_id"] == "mp-149"
    assert found["nearest_replica"]["label"] == [7, 3]
    assert found["nearest_replica"]["latent"] == [0.0, 1.0]
    assert found["model"]["_id"] == silicon["models"][0]["_id"]
    assert [reference["reference_id"] for reference in found["references"]] == ["mp-149", "mp-2"]
    assert found["search"]["name"] == "silicon"
    assert found["reference"] is None
    assert found["missing"] == []
    assert "structure" not in found["candidate"]


def test_lineage_of_a_relaxed_reference(store: RecordStore, silicon: dict[str, Any]) -> None:
    found = queries.lineage(store, silicon["relaxations"][-1]["_id"])
    assert found["reference"]["reference_id"] == "mp-149"
    assert found["candidate"] is found["model"] is None
    assert found["references"] == found["missing"] == []


def test_lineage_says_what_is_missing(store: RecordStore, silicon: dict[str, Any]) -> None:
    store.delete("references", {"reference_id": "mp-2"})
    relaxation_id = silicon["relaxations"][0]["_id"]
    missing = [{"collection": "references", "id": "mp-2"}]
    assert queries.lineage(store, relaxation_id)["missing"] == missing
    store.delete("candidates", {})
    missing = [{"collection": "candidates", "id": silicon["candidates"][0]["_id"]}]
    assert queries.lineage(store, relaxation_id)["missing"] == missing
    with pytest.raises(RecordsError, match="no relaxation 'absent'"):
        queries.lineage(store, "absent")


def test_counts(store: RecordStore, silicon: dict[str, Any]) -> None:
    assert queries.counts(store, SEARCH) == {
        "references": {"sound": 2, "set_aside": 1, "reasons": {"too close": 1}},
        "sampled": 200,
        "accepted": 21,
        "kept": 4,
        "rejected": {"too close": 160, "volume": 19},
        "near": {"database": 0, "replicas": 2, "both": 2, "neither": 17},
        "candidates": {"I": 1, "II": 2, "III": 2, "IV": 0, "total": 4},
        "guided": {"set_out": 0, "reached": 0, "kept": 0, "lost": {}},
        "relaxed": {"I": 1, "II": 2, "III": 2, "IV": 0, "total": 4},
        "converged": {"I": 1, "II": 2, "III": 1, "IV": 0, "total": 3},
        "duplicates": 1,
        "new": {"I": 1, "II": 1, "III": 0, "IV": 0, "total": 1},
        "matching": {"I": 0, "II": 1, "III": 0, "IV": 0, "total": 1},
        "failures": {"relaxation": {"exploded": 2, "collapsed": 1}},
    }


def test_counts_of_a_search_that_has_done_nothing(store: RecordStore) -> None:
    found = queries.counts(store, "nothing")
    assert found["sampled"] == found["duplicates"] == found["relaxed"]["total"] == 0
    assert found["rejected"] == found["failures"] == {}


def test_failures(store: RecordStore, silicon: dict[str, Any]) -> None:
    rows = queries.failures(store, SEARCH, ["reason=exploded"])
    assert [row["detail"] for row in rows] == ["The cell exploded."] * 2
    assert "input" not in rows[0]
    assert len(queries.failures(store, SEARCH, limit=1)) == 1
    assert queries.failures(store, OTHER) == []


def test_find_by_id_prefix(store: RecordStore, silicon: dict[str, Any]) -> None:
    for collection, documents in silicon.items():
        for document in documents:
            assert queries.find_by_id_prefix(store, document["_id"]) == (collection, document)
            found = queries.find_by_id_prefix(store, document["_id"][:12], search=SEARCH)
            assert found == (collection, document)
    assert queries.find_by_id_prefix(store, "mp-149")[1]["reference_id"] == "mp-149"


def test_find_by_id_prefix_explains(store: RecordStore) -> None:
    store.upsert("candidates", [{"_id": "abc1"}, {"_id": "abf2"}])
    store.upsert("relaxations", [{"_id": "abc2"}])
    with pytest.raises(RecordsError, match=r"Several.*'abc'.*abc1 \(candidates\), abc2"):
        queries.find_by_id_prefix(store, "abc")
    assert queries.find_by_id_prefix(store, "abf")[0] == "candidates"
    assert queries.find_by_id_prefix(store, "abc", collections=["candidates"])[1]["_id"] == "abc1"
    for nothing in ("ffff", "", "mp-1", "$where", "abc1' or"):
        with pytest.raises(RecordsError, match=r"No document.*crysearch results"):
            queries.find_by_id_prefix(store, nothing)


def test_a_known_structure_from_a_file_goes_by_the_file_s_name(
    store: RecordStore, diamond: Structure
) -> None:
    paths = ("known/Cmmm-Si.cif", "known/Cmmm-Si-2.cif", "more/a.b.cif", "more/twice.cif")
    for path in (*paths, "other/twice.vasp"):
        document = reference_document(
            search=SEARCH, reference_id=path, structure=diamond, status="sound", source="files"
        )
        store.upsert("references", [document])
    for name, path in (("Cmmm-Si", paths[0]), ("Cmmm-Si.cif", paths[0]), (paths[1], paths[1])):
        found = queries.find_by_id_prefix(store, name, search=SEARCH)[1]
        assert found["reference_id"] == path
    with pytest.raises(RecordsError, match="Several documents"):
        queries.find_by_id_prefix(store, "twice", search=SEARCH)
    with pytest.raises(RecordsError, match="No document"):
        queries.find_by_id_prefix(store, "Cmmm", search=SEARCH)
