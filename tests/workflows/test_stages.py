"""Stages one by one: failures are recorded, quotas bounded, batches stable, input checked."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.errors import (
    ReferencesError,
    RelaxationError,
    SettingsError,
    SpecError,
    TrainingError,
)
from crysearch.fingerprints import RadialDistributionFunction, pearson_distance
from crysearch.records import open_records, queries
from crysearch.records.values import from_binary_vector
from crysearch.references import load_snapshot
from crysearch.relaxation import RelaxationResult, Relaxer, create_relaxer
from crysearch.spec import SearchSpec
from crysearch.workflows import CrystalSearchMaker, run_search, stages
from crysearch.workflows.context import conditions_of
from crysearch.workflows.pace import Pace
from crysearch.workflows.stages import generation
from crysearch.workflows.stages import relaxation as relaxation_stage
from crysearch.workflows.stages.known import primitive_cell

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

    def relax(self, structures, settings=None, progress=None, on_step=None):
        first = RelaxationResult(
            structures[0], None, None, 0, "failed", "explosion", "made to fail"
        )
        return [first, *self.inner.relax(structures[1:], settings, progress)]

    def single_point(self, structures, progress=None):
        return self.inner.single_point(structures, progress)


def relax_all(records, spec, batches) -> None:
    for batch in batches:
        stages.relax_batch(records, spec, "candidate", batch)


def sample(records, spec, formula_units):
    stages.sample_batches(records, spec, formula_units, Pace(None))
    return stages.settle(records, spec, formula_units)


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
        sample(records, spec, 4)
        batches = stages.pending_batches(records, spec, "candidate")
        relax_all(records, spec, batches)
        failures = records.find("failures")
        assert len(failures) == len(batches)
        firsts = {batch.parents[0] for batch in batches}
        assert {failure["parent"] for failure in failures} == firsts
        assert {failure["reason"] for failure in failures} == {"explosion"}
        assert all(failure["input"]["lattice"] for failure in failures)
        assert stages.pending_batches(records, spec, "candidate") == []
        summary = stages.judge(records, spec)
        total = sum(len(batch.parents) for batch in batches)
        assert summary["judged"] + summary["unconverged"] == total - len(batches)
        assert queries.counts(records, spec.search_id)["failures"] == {
            "relaxation": {"explosion": len(batches)}
        }


def test_a_crystal_relaxed_to_something_indescribable_is_a_failure(prepared, database, monkeypatch):
    """Without two atoms within the cut-off there is no fingerprint to compare."""
    spec = prepared
    real = stages.relaxation._Describer.__call__

    def describe(self, parent, result, structure):
        if parent["index"] == 0:
            structure = structure.copy()
            structure.scale_lattice(1e6)
        return real(self, parent, result, structure)

    monkeypatch.setattr(stages.relaxation._Describer, "__call__", describe)
    with open_records(database) as records:
        sample(records, spec, 4)
        relax_all(records, spec, stages.pending_batches(records, spec, "candidate"))
        failed = records.find("failures")
        assert {failure["reason"] for failure in failed} == {"not_describable"}
        assert "cut-off shorter" in failed[0]["detail"]
        assert records.count("relaxations") > 0
        assert stages.pending_batches(records, spec, "candidate") == []


class NothingWorks(OneFails):
    """An engine whose graphics card is full."""

    def relax(self, structures, settings=None, progress=None, on_step=None):
        return [
            RelaxationResult(s, None, None, 0, "failed", "engine_error", "out of memory")
            for s in structures
        ]


def test_an_engine_that_fails_on_everything_stops_and_is_tried_again(
    prepared, database, monkeypatch
):
    spec = prepared
    with open_records(database) as records:
        sample(records, spec, 4)
        batches = stages.pending_batches(records, spec, "candidate")
        with monkeypatch.context() as patch:
            patch.setattr(relaxation_stage, "make_relaxer", lambda spec: NothingWorks())
            with pytest.raises(RelaxationError, match=r"out of memory.*run the search again"):
                relax_all(records, spec, batches)
        assert not records.count("relaxations")
        assert stages.pending_batches(records, spec, "candidate") == batches
        relax_all(records, spec, batches)
        assert records.count("relaxations") == sum(len(batch.parents) for batch in batches)
        assert not records.count("failures")


def test_the_known_ground_state_is_relaxed_whatever_its_size(small_spec, database):
    spec = small_spec.with_changes({"relaxation.maximum_reference_atoms": 1})
    with open_records(database) as records:
        stages.gather_references(records, spec)
        batches = stages.pending_batches(records, spec, "reference")
        diamond = records.find_one("references", {"reference_id": "mp-149"})
        assert diamond["nsites"] == 2
        assert sum(diamond["_id"] in batch.parents for batch in batches) == 1


def test_a_primitive_cell_is_the_same_crystal():
    """pymatgen's default tolerance would turn distorted references into symmetric ones."""
    for formula, name in (("Si", "mp-1001113"), ("SnSe", "mp-1179336"), ("NaCl", "mp-1120767")):
        (reference,) = [r for r in load_snapshot(formula) if r.reference_id == name]
        primitive = primitive_cell(reference.structure)
        rdf = RadialDistributionFunction()
        before, after = rdf.from_structures([reference.structure, primitive])
        assert pearson_distance(before, after) < 1e-10


def test_changed_files_are_not_taken_for_the_old_ones(small_spec, database, tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    snapshot = load_snapshot("Si")
    for reference in snapshot[:6]:
        reference.structure.to(str(folder / f"{reference.reference_id}.cif"))
    spec = small_spec.with_changes(
        {"references": {"source": "files", "files": [str(folder)]}, "formula_units": [4]}
    )
    run_search(spec)
    run_search(spec)
    snapshot[7].structure.to(str(folder / "another.cif"))
    with pytest.raises(ReferencesError, match="have changed since search"):
        run_search(spec)


def test_references_without_neighbours_within_the_cutoff_are_named(small_spec, database):
    spec = small_spec.with_changes({"fingerprint.cutoff": 2.0})
    with (
        open_records(database) as records,
        pytest.raises(ReferencesError, match=r"fingerprint\.cutoff: 2\.0 — mp-"),
    ):
        stages.gather_references(records, spec)


def test_an_engine_for_other_elements_or_a_missing_device_is_refused(
    small_spec, database, monkeypatch
):
    with pytest.raises(SpecError, match="'emt' does not know Si — choose one of sevennet-0"):
        CrystalSearchMaker().make(small_spec.with_changes({"relaxation.engine": "emt"}))
    monkeypatch.setenv("CRYSEARCH_DEVICE", "cuda:99")
    pretrained = small_spec.with_changes({"relaxation.engine": "sevennet-0"})
    with pytest.raises(SettingsError, match="CRYSEARCH_DEVICE"):
        run_search(pretrained)
    assert CrystalSearchMaker().make(pretrained)  # workers elsewhere may have the device


def test_an_unfinished_batch_is_pending_whole(prepared, database):
    spec = prepared
    with open_records(database) as records:
        sample(records, spec, 4)
        before = stages.pending_batches(records, spec, "candidate")
        assert len(before) > 1
        relax_all(records, spec, before[:1])
        relaxed = names_of(records, "relaxations")
        # As if killed before the batch was marked as done.
        records.delete("batches", {"stage": "relaxation"})
        assert stages.pending_batches(records, spec, "candidate") == before
        relax_all(records, spec, before[:1])
        assert names_of(records, "relaxations") == relaxed
        assert stages.pending_batches(records, spec, "candidate") == before[1:]
        assert records.count("relaxations") + records.count("failures") == len(before[0].parents)


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
        summary = sample(records, spec, 4)
        assert summary["accepted"] == 600
        assert summary["shortfall"] == {"I": 2, "II": 1}
        assert summary["kept_by_group"] == {"I": 0, "II": 0, "III": 2}
    assert "not filled after 600 crystals" in caplog.text


def test_candidates_do_not_depend_on_when_the_sampling_was_interrupted(prepared, database):
    """Batches that are already in the records are counted, not repeated."""
    spec = prepared
    with open_records(database) as records:
        sample(records, spec, 8)
        whole = names_of(records, "candidates")
        last = max(batch["batch"] for batch in records.find("batches", {"stage": "sampling"}))
        assert last > 0
        records.delete("batches", {"batch": last})
        records.delete("candidates", {"batch": last})
        sample(records, spec, 8)
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
        with pytest.raises(SpecError, match=r"last = 'mp-0' is not among the sound references"):
            stages.gather_references(records, wrong)


def test_references_that_a_conditional_model_cannot_use_are_told_of_before_the_training(
    small_spec, database
):
    conditional = {"generative.condition": "energy", "replicas.conditions": [0.1]}
    line = {"first": "mp-149", "last": "mp-1072544"}
    wrong = small_spec.with_changes(conditional | {"replicas.interpolations": [line]})
    with_energy = [
        reference.reference_id
        for reference in load_snapshot("Si")
        if reference.energy_above_ground_state is not None
    ]
    few = small_spec.with_changes(conditional | {"references.exclude": with_energy[4:]})
    with open_records(database) as records:
        with pytest.raises(SpecError, match=r"last = 'mp-1072544' has no place .* energy .* not k"):
            stages.gather_references(records, wrong)
        with pytest.raises(ReferencesError, match=r"'energy' — it is known of 4 of the 16 sound"):
            stages.gather_references(records, few)
        assert not records.count("references")


def test_conditions_outside_of_the_training_are_told_of(caplog):
    known = [{"energy_above_ground_state": value} for value in (0.0, None, 0.4)]
    spec = SearchSpec.build(
        {"generative": {"condition": "energy"}, "replicas": {"conditions": [0.2, 0.5]}}
    )
    np.testing.assert_array_equal(conditions_of(spec, known), [[0.0], [np.nan], [0.4]])
    assert conditions_of(SearchSpec(), known) is None
    generation._warn_of_extrapolation(spec, known)
    assert "replicas.conditions: 0.5 outside of what the model has learned, 0 to 0.4" in caplog.text


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
    with pytest.raises(ReferencesError, match=r"needs at least 5.*replicas\.grid_points: 0"):
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
