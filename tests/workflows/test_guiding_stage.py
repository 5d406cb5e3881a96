"""Guided crystals in a search: onto which targets, how many, the same however they are made."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from crysearch.errors import SpecError
from crysearch.fingerprints import pearson_distance
from crysearch.records import open_records, queries
from crysearch.records.values import from_binary_vector, structure_from_document
from crysearch.spec import SearchSpec
from crysearch.workflows import stages
from crysearch.workflows.pace import Pace

from .conftest import content

CHANGES = {
    "screening.threshold": 0.13,
    "screening.quotas": {"I": 0, "II": 0, "III": 0, "IV": 12},
    "guiding": {"targets": "references", "batch_size": 20},
}


@pytest.fixture
def prepared(small_spec, database):
    """A search with its references, a model and replicas, and a quota of guided crystals."""
    spec = small_spec.with_changes(CHANGES)
    prepare(spec)
    return spec


def prepare(spec: SearchSpec) -> None:
    from crysearch.workflows.context import job_records

    with job_records() as records:
        stages.open_search(records, spec)
        for step in (stages.gather_references, stages.train_model, stages.generate_replicas):
            step(records, spec)


def guide(records, spec, formula_units=8, parts=1):
    """Rounds of jobs until the quota is settled."""
    for _ in range(10):
        summary = stages.settle_guided(records, spec, formula_units)
        if summary is not None:
            return summary
        for part in range(parts):
            stages.guide_batches(records, spec, formula_units, Pace(None), part, parts)
    raise AssertionError("the quota is not settled after 10 rounds")


def test_guided_crystals_are_where_their_documents_say(prepared, database):
    spec = prepared
    rdf = spec.radial_distribution_function
    with open_records(database) as records:
        summary = guide(records, spec)
        assert summary["kept"] == 12 and summary["shortfall"] == 0
        assert summary["set_out"] == 20 * summary["batches"]
        assert (
            summary["reached"]
            + sum(number for reason, number in summary["lost"].items() if reason != "duplicate")
            == summary["set_out"]
        )
        known = {d["_id"]: d for d in records.find("references")}
        crystals = records.find("candidates", {}, sort=[("batch", 1), ("index", 1)])
    assert len(crystals) == 12
    for crystal in crystals:
        guiding = crystal["guiding"]
        assert crystal["groups"] == ["IV"] and crystal["guided"]
        assert guiding["target_kind"] == "reference"
        target = known[guiding["target_id"]]
        assert guiding["target_label"] == target["reference_id"]
        assert guiding["target_id"] in crystal["provenance"]["parents"]
        structure = structure_from_document(crystal)
        fingerprint = rdf.from_structures([structure])[0]
        distance = pearson_distance(fingerprint, from_binary_vector(target["fingerprint"]))
        assert distance == pytest.approx(guiding["distance_after"], abs=1e-5)
        assert distance <= spec.screening.threshold
        assert crystal["nearest_reference"]["distance"] <= distance + 1e-5
        assert crystal["near"] in ("database", "both")
        assert structure.distance_matrix[np.triu_indices(8, 1)].min() >= 2.1
        assert guiding["path_length"] > 0.0 and guiding["steps"] > 0
    for one, other in itertools.combinations(crystals, 2):
        prints = (from_binary_vector(c["fingerprint"]) for c in (one, other))
        assert pearson_distance(*prints) > spec.guiding.duplicate_distance - 1e-6


def test_records_do_not_depend_on_the_number_of_jobs(small_spec, tmp_path, monkeypatch):
    spec = small_spec.with_changes(CHANGES | {"guiding": {"targets": "both", "batch_size": 8}})
    found = []
    for parts in (1, 3):
        place = tmp_path / str(parts)
        monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
        prepare(spec)
        with open_records(place) as records:
            guide(records, spec, parts=parts)
        found.append(content(place))
    assert found[0]["candidates"] and found[0] == found[1]


def test_an_interrupted_settlement_ends_like_an_undisturbed_one(prepared, database, monkeypatch):
    spec = prepared.with_changes({"guiding.duplicate_distance": 0.12})
    prepare(spec)
    with open_records(database) as records:
        undisturbed = guide(records, spec)
        whole = content(database)
        assert undisturbed["lost"]["duplicate"] > 0
        records.delete("batches", {"stage": "guiding"})
        records.delete("candidates", {})
        stages.guide_batches(records, spec, 8, Pace(None))

        class Killed(BaseException):
            pass

        deleted = []

        def delete(collection, query):
            if deleted:
                raise Killed
            # Half of what should go is gone when the process dies.
            ids = query["_id"]["$in"]
            deleted.append(original(collection, {"_id": {"$in": ids[: len(ids) // 2]}}))
            raise Killed

        original = records.delete
        monkeypatch.setattr(records, "delete", delete)
        with pytest.raises(Killed):
            stages.settle_guided(records, spec, 8)
        monkeypatch.undo()
        monkeypatch.setenv("CRYSEARCH_DATABASE", str(database))
        assert guide(records, spec) == undisturbed
    assert content(database) == whole


def test_what_cannot_be_found_is_bounded_and_said(prepared, database, caplog):
    spec = prepared.with_changes(
        {"screening.threshold": 1e-3, "guiding.stop_distance": 1e-3, "guiding.maximum_crystals": 30}
    )
    prepare(spec)
    with open_records(database) as records:
        summary = guide(records, spec)
        counts = queries.counts(records, spec.search_id)
    assert summary["set_out"] == 40 and summary["shortfall"] == 12 - summary["kept"]
    assert counts["guided"]["set_out"] == 40
    assert counts["candidates"]["IV"] == summary["kept"]
    assert "guided crystals found after 40 (guiding.maximum_crystals)" in caplog.text


def test_guiding_that_cannot_work_is_refused():
    quota = {"screening": {"quotas": {"IV": 1}}}
    with pytest.raises(SpecError, match=r"guiding.targets: 'replicas', but none are asked for"):
        SearchSpec.build(
            {"screening": {"quotas": {"II": 0, "IV": 1}}, "replicas": {"grid_points": 0}}
        )
    with pytest.raises(SpecError, match=r"guiding.steps: \(50, 50\) has 2 entries"):
        SearchSpec.build(quota | {"guiding": {"steps": [50, 50]}})
    with pytest.raises(SpecError, match=r"stop_distance: 0.2 is above wanted_distance"):
        SearchSpec.build(quota | {"guiding": {"stop_distance": 0.2}})
    # What is not asked for cannot be wrong.
    SearchSpec.build({"screening": {"threshold": 0.05}})
