"""The questions people ask: their answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, questions
from crysearch.records.documents import reference_document, relaxation_document
from question_records import COMPOUND, ENERGY, FIRST, SECOND, START, cell, write_records


@pytest.fixture
def written(store: RecordStore) -> dict[str, list[Any]]:
    """Write the records; the documents of the first search, by collection."""
    return write_records(store)


@pytest.fixture
def asked(store: RecordStore, written: Any) -> RecordStore:
    """The store with the records."""
    return store


@pytest.fixture
def ids(written: dict[str, list[Any]]) -> list[str]:
    """The relaxations of the first search, in the order of `CRYSTALS`."""
    return [document["_id"] for document in written["relaxations"]]


def column(answer: questions.Rows, name: str) -> list[Any]:
    return [row[name] for row in answer]


def test_lowest_energy_by_space_group(asked: RecordStore, ids: list[str]) -> None:
    answer = questions.lowest_energy_by_space_group(asked, FIRST)
    assert column(answer, "symbol") == ["Fd-3m", "Cmcm", "P1"]
    assert column(answer, "number") == [227, 63, 1]
    assert column(answer, "energy") == [0.0, 0.1, 0.5]
    assert column(answer, "best") == [ids[0], ids[3], ids[4]]
    assert column(answer, "structures") == [1, 2, 1]
    assert len(questions.lowest_energy_by_space_group(asked, FIRST, 1)) == 1


def test_new_structures(asked: RecordStore, ids: list[str]) -> None:
    answer = questions.new_structures(asked, FIRST)
    assert column(answer, "_id") == [ids[3], ids[2], ids[4]]
    assert answer[0]["nearest_reference_after.distance"] == 0.6
    assert column(questions.new_structures(asked, FIRST, limit=1), "_id") == [ids[3]]


def test_below_energy(asked: RecordStore, ids: list[str]) -> None:
    assert column(questions.below_energy(asked, FIRST), "_id") == [ids[0], ids[3]]
    assert column(questions.below_energy(asked, FIRST, 0), "_id") == [ids[0]]


def test_lowest_energy_by_cell_size(asked: RecordStore, ids: list[str]) -> None:
    answer = questions.lowest_energy_by_cell_size(asked, FIRST)
    assert [(row["nsites"], row["structures"], row["best"]) for row in answer] == [
        (4, 2, ids[3]),
        (8, 2, ids[0]),
    ]


def test_density(asked: RecordStore, ids: list[str]) -> None:
    everything = questions.density(asked, FIRST, 0, 99)
    densities = column(everything, "density")
    assert densities == sorted(densities)
    assert set(column(everything, "_id")) == {ids[0], *ids[2:6]}
    some = questions.density(asked, FIRST, densities[1], densities[2])
    assert column(some, "_id") == column(everything, "_id")[1:3]


def test_near_reference(asked: RecordStore, ids: list[str]) -> None:
    assert column(questions.near_reference(asked, FIRST), "_id") == [ids[0], ids[4]]
    assert column(questions.near_reference(asked, FIRST, within=0.12), "_id") == [ids[0]]
    assert len(questions.near_reference(asked, FIRST, ["mp-149", "mp-2"], 2)) == 5
    assert questions.near_reference(asked, FIRST, ["mp-165"], 2) == []


def test_symmetry_changes(asked: RecordStore) -> None:
    answer = questions.symmetry_changes(asked, FIRST)
    assert [(row["before"], row["after"], row["structures"]) for row in answer] == [
        ("P1", "Cmcm", 2),
        ("P1", "Fd-3m", 2),
        ("P1", "P1", 2),
    ]
    assert column(answer, "energy") == [0.1, 0.0, 0.5]


def test_relaxation_moves(asked: RecordStore) -> None:
    answer = questions.relaxation_moves(asked, FIRST)
    assert column(answer, "group") == ["I", "II", "III"]
    assert column(answer, "structures") == [1, 2, 4]
    assert column(answer, "converged") == [1, 2, 3]
    assert column(answer, "largest_moved") == [0.0, 0.1, 0.5]
    assert column(answer, "mean_moved") == pytest.approx([0.0, 0.05, 0.35])
    assert column(answer, "mean_gained") == pytest.approx([1, 15 / 16, (3 / 4 + 1 / 4 - 1 / 4) / 4])
    assert column(answer, "mean_steps") == [10, 10.5, 13.5]


def test_unconverged(asked: RecordStore, ids: list[str]) -> None:
    answer = questions.unconverged(asked, FIRST)
    assert column(answer, "_id") == [ids[5], ids[6]]
    assert column(answer, "parent_kind") == ["candidate", "reference"]


def test_known_found_and_missed(asked: RecordStore, ids: list[str]) -> None:
    (found,) = questions.known_found(asked, FIRST)
    assert found == {
        "reference_id": "mp-149",
        "times": 2,
        "symbol": "Fd-3m",
        "energy": 0.0,
        "best": ids[0],
    }
    missed = questions.known_missed(asked, FIRST)
    assert column(missed, "reference_id") == ["mp-165", "mp-1014212", "mp-92"]
    assert column(missed, "energy_above_ground_state") == [0.011, 0.3, None]
    assert len(questions.known_missed(asked, SECOND)) == 4


@pytest.mark.parametrize("composition", ["Si", "Si8", "-".join(["Si", "Si"])])
def test_composition(asked: RecordStore, ids: list[str], composition: str) -> None:
    answer = questions.composition(asked, composition)
    assert column(answer, ENERGY) == [0.0, 0.1, 0.1, 0.2, 0.2, 0.5]
    assert set(column(answer, "search")) == {FIRST, SECOND}
    assert set(column(answer, "engine")) == {"engine", "other"}


def test_composition_of_compounds(asked: RecordStore) -> None:
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.0), ["Sn", "Se"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    relaxation = relaxation_document(
        search=COMPOUND,
        parent_kind="candidate",
        parent_id="x",
        engine="engine",
        structure=salt,
        energy=-1.0,
        converged=True,
        steps=1,
        energy_above_ground_state_found=0.0,
    )
    known = reference_document(
        search=COMPOUND, reference_id="mp-1", structure=salt, status="sound", source="snapshot"
    )
    asked.upsert("relaxations", [relaxation])
    asked.upsert("references", [known])
    for composition in ("SnSe", "Se2Sn2", "Sn-Se", "Se-Sn"):
        assert column(questions.composition(asked, composition), "formula") == ["Sn4Se4"]
    assert questions.composition(asked, "Sn-Si") == questions.composition(asked, "SnSe2") == []
    assert len(questions.composition(asked, "Si")) == 6
    (search,) = questions.searches_of_composition(asked, "SeSn")
    assert (search["_id"], search["known_structures"]) == (COMPOUND, 1)
    for nonsense in ("Xq", "Sn-", "X2", "4"):
        with pytest.raises(RecordsError, match="give a formula such as SnSe"):
            questions.composition(asked, nonsense)


def test_searches_of_composition(asked: RecordStore) -> None:
    answer = questions.searches_of_composition(asked, "Si2")
    assert column(answer, "name") == ["second", "first"]
    assert column(answer, "known_structures") == [5, 5]


def test_compare_searches(asked: RecordStore) -> None:
    answer = questions.compare_searches(asked, FIRST, SECOND)
    assert [tuple(row.values()) for row in answer] == [
        ("mp-149", "Fd-3m", 1, 0, 0.0, None),
        (None, "Cmcm", 2, 2, 0.1, 0.1),
        (None, "P1", 1, 0, 0.5, None),
    ]
    assert list(answer[0]) == [
        "known",
        "symbol",
        "structures",
        "structures_other",
        "energy",
        "energy_other",
    ]


def test_from_replica(asked: RecordStore, written: Any, ids: list[str]) -> None:
    answer = questions.from_replica(asked, FIRST, (7, 3))
    candidates = [document["_id"] for document in written["candidates"]]
    assert column(answer, "_id") == candidates[::2]
    assert column(answer, "relaxation") == ids[:6:2]
    assert column(answer, "matches") == ["mp-149", None, None]
    assert column(answer, "nearest_replica.distance") == pytest.approx([0.1, 0.12, 0.14])
    assert len(questions.from_replica(asked, FIRST, [3, 7], within=0.115)) == 1
    assert questions.from_replica(asked, FIRST, [9, 9]) == []
    asked.delete("relaxations", {"_id": ids[0]})
    assert questions.from_replica(asked, FIRST, [7, 3])[0]["relaxation"] is None


def test_crystals_near_reference(asked: RecordStore) -> None:
    answer = questions.crystals_near_reference(asked, FIRST)
    assert column(answer, "nearest_reference.distance") == [0.05, 0.1, 0.13]
    answer = questions.crystals_near_reference(asked, FIRST, ["mp-165", "mp-92"], within=1.0)
    assert column(answer, "nearest_reference.reference_id") == ["mp-165"]


def test_replicas_by_reference(asked: RecordStore) -> None:
    answer = questions.replicas_by_reference(asked, FIRST)
    assert column(answer, "reference_id") == ["mp-149", "mp-165"]
    assert column(answer, "replicas") == [2, 1]
    assert column(answer, "smallest") == [0.1, 0.2]
    assert column(answer, "mean") == pytest.approx([0.2, 0.2])


def test_duplicates(asked: RecordStore, ids: list[str]) -> None:
    for structure in ids[:2]:
        answer = questions.duplicates(asked, structure)
        assert column(answer, "_id") == ids[:2]
        assert column(answer, "duplicate_of") == [None, ids[0]]
    assert column(questions.duplicates(asked, ids[2]), "_id") == [ids[2]]
    with pytest.raises(RecordsError, match="no relaxation 'abc'"):
        questions.duplicates(asked, "abc")


def test_lineage(asked: RecordStore, written: Any, ids: list[str]) -> None:
    answer = questions.lineage(asked, ids[0])
    assert column(answer, "step") == [
        "relaxation",
        "candidate",
        "nearest_reference",
        "nearest_replica",
        "model",
        "search",
    ]
    assert column(answer, "name") == ["Si8", "Si8", "mp-149", [7, 3], "vae", "first"]
    for row in answer:
        found = asked.get(row["collection"], row["_id"])
        assert found is not None
    asked.delete("replicas", {})
    lost = {
        "step": "missing",
        "collection": "replicas",
        "_id": written["replicas"][0]["_id"],
        "name": None,
    }
    assert lost in questions.lineage(asked, ids[0])


def test_engines(asked: RecordStore) -> None:
    answer = questions.engines(asked, FIRST)
    assert column(answer, "version") == ["1.2", "1.3"]
    assert column(answer, "relaxations") == [1, 6]
    assert column(answer, "engine") == ["engine", "engine"]
    assert answer[1]["last"] == START + timedelta(hours=5)


def test_failures(asked: RecordStore) -> None:
    answer = questions.failures_by_reason(asked, FIRST)
    assert [(row["reason"], row["failures"]) for row in answer] == [
        ("exploded", 2),
        ("engine_error", 1),
    ]
    assert answer[0]["latest"] == START + timedelta(minutes=2)
    inputs = questions.failed_inputs(asked, FIRST, "exploded")
    assert column(inputs, "created_at") == [START + timedelta(minutes=m) for m in (2, 0)]
    assert Structure.from_dict(inputs[0]["input"]).matches(cell(2))
    with pytest.raises(RecordsError, match="'\\$where' for reason"):
        questions.failed_inputs(asked, FIRST, "$where")


def test_acceptance_and_rejections(asked: RecordStore) -> None:
    answer = questions.acceptance(asked, FIRST)
    assert column(answer, "formula_units") == [4, 8]
    assert column(answer, "batches") == [2, 2]
    assert column(answer, "accepted") == [80, 160]
    assert column(answer, "share") == [0.4, 0.8]
    assert column(answer, "kept") == [6, 6]
    assert questions.rejections(asked, FIRST) == [
        {"reason": "too close", "crystals": 200},
        {"reason": "volume", "crystals": 24},
    ]


def test_crystals_by_space_group(asked: RecordStore) -> None:
    answer = questions.crystals_by_space_group(asked, FIRST)
    assert [(row["space_group"], row["crystals"]) for row in answer] == [(1, 2), (63, 2), (227, 2)]


def test_throughput(asked: RecordStore) -> None:
    answer = questions.throughput(asked, FIRST)
    assert column(answer, "worker") == ["node0:1", "node0:1", "node1:1"]
    assert column(answer, "stage") == ["relaxation", "sampling", "sampling"]
    assert column(answer, "structures") == [9, 120, 120]
    assert column(answer, "seconds") == [3, 4, 4]
    assert column(answer, "per_second") == [3, 30, 30]


def test_throughput_where_no_time_was_taken(asked: RecordStore) -> None:
    batches = asked.find("batches", {"search": FIRST}, ["_id"])
    asked.update("batches", {batch["_id"]: {"seconds": None} for batch in batches})
    assert column(questions.throughput(asked, FIRST), "per_second") == [None] * 3


def test_progress(asked: RecordStore) -> None:
    answer = questions.progress(asked, FIRST)
    assert column(answer, "stage") == ["references", "sampling", "relaxation"]
    assert column(answer, "status") == ["complete", "complete", "running"]
    assert column(answer, "seconds") == [0, 30, None]
