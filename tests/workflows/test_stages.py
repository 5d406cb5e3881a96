"""Stages one by one: failures are recorded, quotas bounded, batches stable, input checked."""

from __future__ import annotations

import pytest

from crysearch.errors import SpecError, TrainingError
from crysearch.records import open_records, queries
from crysearch.records.values import from_binary_vector
from crysearch.relaxation import RelaxationResult, Relaxer, create_relaxer
from crysearch.spec import SearchSpec
from crysearch.workflows import CrystalSearchMaker, run_search, stages
from crysearch.workflows.stages import relaxation as relaxation_stage

from .conftest import names_of


class OneFails(Relaxer):
    """A real engine, but for the first structure of each batch, which fails."""

    def __init__(self) -> None:
        self.inner = create_relaxer("stillinger-weber")

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def provenance(self) -> dict[str, str]:
        return self.inner.provenance

    def relax(self, structures, settings=None, progress=None):
        first = RelaxationResult(
            structures[0], None, None, 0, "failed", "explosion", "made to fail"
        )
        return [first, *self.inner.relax(structures[1:], settings, progress)]

    def single_point(self, structures, progress=None):
        return self.inner.single_point(structures, progress)


@pytest.fixture
def prepared(small_spec, database):
    """Records of a search up to the replicas."""
    with open_records(database) as records:
        stages.open_search(records, small_spec)
        stages.gather_references(records, small_spec)
        stages.train_model(records, small_spec)
        stages.generate_replicas(records, small_spec)
    return small_spec


def test_one_failed_structure_is_a_document_and_no_more(prepared, database, monkeypatch):
    spec = prepared
    monkeypatch.setattr(relaxation_stage, "make_relaxer", lambda spec: OneFails())
    with open_records(database) as records:
        stages.sample_and_screen(records, spec, 4)
        batches = stages.pending_batches(records, spec, "candidate")
        for name, ids in batches:
            stages.relax_batch(records, spec, "candidate", name, ids)
        failures = records.find("failures")
        assert len(failures) == len(batches)
        assert {failure["parent"] for failure in failures} == {ids[0] for _, ids in batches}
        assert {failure["reason"] for failure in failures} == {"explosion"}
        assert all(failure["input"]["lattice"] for failure in failures)
        assert stages.pending_batches(records, spec, "candidate") == []
        summary = stages.judge(records, spec)
        total = sum(len(ids) for _, ids in batches)
        assert summary["judged"] + summary["unconverged"] == total - len(batches)
        assert queries.counts(records, spec.search_id)["failures"] == {
            "relaxation": {"explosion": len(batches)}
        }


def test_an_unfinished_batch_is_pending_whole(prepared, database):
    spec = prepared
    with open_records(database) as records:
        stages.sample_and_screen(records, spec, 4)
        before = stages.pending_batches(records, spec, "candidate")
        assert len(before) > 1
        stages.relax_batch(records, spec, "candidate", *before[0])
        records.delete("relaxations", {"parent_id": before[0][1][-1]})
        assert stages.pending_batches(records, spec, "candidate") == before


def test_sampling_stops_at_the_limit_and_says_what_is_missing(prepared, database, caplog):
    spec = prepared.with_changes(
        {
            "screening.threshold": 1e-6,
            "sampling.maximum_candidates": 600,
            "screening.quotas": {"I": 2, "II": 1, "III": 2},
        }
    )
    with open_records(database) as records:
        for step in (stages.gather_references, stages.train_model, stages.generate_replicas):
            step(records, spec)
        summary = stages.sample_and_screen(records, spec, 4)
        assert summary["accepted"] == 600
        assert summary["shortfall"] == {"I": 2, "II": 1}
        assert summary["kept_by_group"] == {"I": 0, "II": 0, "III": 2}
    assert "not filled after 600 crystals" in caplog.text


def test_candidates_do_not_depend_on_when_the_sampling_was_interrupted(prepared, database):
    """Batches that are already in the records are counted, not repeated."""
    spec = prepared
    with open_records(database) as records:
        stages.sample_and_screen(records, spec, 8)
        whole = names_of(records, "candidates")
        last = max(batch["batch"] for batch in records.find("batches"))
        assert last > 0
        records.delete("batches", {"batch": last})
        records.delete("candidates", {"batch": last})
        stages.sample_and_screen(records, spec, 8)
        assert names_of(records, "candidates") == whole


def test_interpolation_ends_at_the_references(small_spec, database):
    line = {"first": "mp-149", "last": "mp-27", "points": 3}
    spec = small_spec.with_changes({"replicas.interpolations": [line]})
    with open_records(database) as records:
        stages.gather_references(records, spec)
        stages.train_model(records, spec)
        stages.generate_replicas(records, spec)
        replicas = records.find("replicas", {"kind": "interpolation"})
        latent = {tuple(replica["label"]): replica["latent"] for replica in replicas}
        for name, index in (("mp-149", 0), ("mp-27", 2)):
            reference = records.find_one("references", {"reference_id": name})
            assert latent["mp-149", "mp-27", index] == pytest.approx(reference["latent"])
        wrong = spec.with_changes({"replicas.interpolations": [line | {"last": "mp-0"}]})
        stages.gather_references(records, wrong)
        stages.train_model(records, wrong)
        with pytest.raises(SpecError, match=r"last = 'mp-0' is not among the sound references"):
            stages.generate_replicas(records, wrong)


def test_a_failed_stage_is_recorded_and_the_next_run_goes_on(small_spec, database, monkeypatch):
    spec = small_spec

    def fail(records, spec):
        raise TrainingError("the loss is not finite")

    with monkeypatch.context() as patch:
        patch.setattr(stages, "train_model", fail)
        with pytest.raises(TrainingError, match="not finite"):
            run_search(spec)
    with open_records(database) as records:
        search = queries.resolve_search(records)
        assert search["status"] == "failed"
        assert search["stages"]["model"]["status"] == "failed"
        (failure,) = records.find("failures")
        assert failure["detail"] == "the loss is not finite"
        written = records.find_one("references", {"reference_id": "mp-149"})["created_at"]
    run_search(spec)
    with open_records(database) as records:
        assert queries.resolve_search(records)["status"] == "complete"
        assert not records.count("failures", {"stage": "model"})
        # What was done before the failure was not done again.
        assert records.find_one("references", {"reference_id": "mp-149"})["created_at"] == written


def test_a_compound_with_species_resolved_fingerprints_and_no_model(database):
    """Three known structures are too few to train on; without replicas no model is trained."""
    content = {
        "composition": "NaCl",
        "formula_units": [2],
        "volume_per_formula_unit": 45.0,
        "minimum_distances": {"Na-Na": 2.6, "Na-Cl": 2.2, "Cl-Cl": 2.6},
        "fingerprint": {"species_resolved": True},
        "sampling": {"batch_size": 50},
        "screening": {"quotas": {"I": 0, "II": 0, "III": 4}},
        "relaxation": {"engine": "chgnet", "max_steps": 2, "maximum_reference_atoms": 2},
    }
    with pytest.raises(TrainingError, match="at least 5"):
        run_search(SearchSpec.build(content))
    spec = SearchSpec.build(content | {"replicas": {"grid_points": 0}})
    run_search(spec)
    with open_records(database) as records:
        candidates = records.find("candidates", {"search": spec.search_id})
        assert len(candidates) == 4
        assert all(len(from_binary_vector(c["fingerprint"])) == 600 for c in candidates)
        assert records.count("models") == records.count("replicas") == 0
        assert records.count("relaxations", {"search": spec.search_id}) == 4 + 2


def test_what_cannot_work_is_refused_before_any_work(small_spec, database):
    spec = small_spec.with_changes(
        {
            "generative.model": "gan",
            "relaxation.engine": "vaspp",
            "minimum_distances": {"Si-Si": 4.0},
        }
    )
    with pytest.raises(SpecError) as caught:
        CrystalSearchMaker().make(spec)
    message = str(caught.value)
    assert "generative.model: 'gan'" in message
    assert "relaxation.engine: 'vaspp'" in message
    assert "sevennet-0" in message
    assert "formula_units 8: volume" in message
    with pytest.raises(SpecError):
        run_search(spec)
    assert not database.exists()
