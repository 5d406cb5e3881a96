"""A study from its specification to its conclusion, with a classical potential."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fireworks.core.rocket_launcher import rapidfire
from scipy import stats

from crysearch import localdb
from crysearch.errors import CrysearchError, SpecError
from crysearch.fingerprints import pearson_distance, pearson_distance_matrix
from crysearch.generative import TrainingHistory, create_model, latent_grid, load_model
from crysearch.plotting import plot_study_losses, plot_study_measures
from crysearch.records import open_records
from crysearch.records.values import from_binary_vector
from crysearch.sampling import create_sampler
from crysearch.study import MEASURES, StudySpec
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.study import (
    GenerativeStudyMaker,
    maker,
    markdown_tables,
    relaxing,
    run_study,
    submit_study,
    trials_of,
)
from small_study import SMALL_STUDY

SPEC = StudySpec.build(SMALL_STUDY)
KNOWN = SPEC.known
KEPT = ("searches", "references", "candidates", "relaxations", "failures", "batches", "trials",
        "studies", "models", "replicas")  # fmt: skip
TIMES = ("created_at", "started_at", "finished_at", "seconds", "worker")


@pytest.fixture
def study(finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The records of the finished study, a copy that the settings point to."""
    place = tmp_path / "records"
    shutil.copytree(finished_study, place)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    with open_records(place) as records:
        yield records


@pytest.fixture(scope="module")
def expected(finished_study):
    """What a study that was not disturbed has in its records."""
    found = content(finished_study)
    localdb.stop(finished_study)
    return found


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def content(place):
    with open_records(place, read_only=True) as records:
        return {name: without_times(records.find(name, sort=[("_id", 1)])) for name in KEPT}


def the_crystals():
    """Fingerprints of all random crystals of the study, drawn here once more."""
    sampler = create_sampler("wyckoff", KNOWN.crystal_request(8))
    rdf = KNOWN.radial_distribution_function
    parts = []
    for batch, size in enumerate((400, 400, 200)):
        drawn = sampler.sample(size, (3, 8, batch))
        parts.append(rdf.compute(drawn.lattices, drawn.fractional_coordinates, ["Si"] * 8))
    return np.concatenate(parts)


def test_trials_hold_what_was_trained(study):
    trials = trials_of(study, SPEC)
    assert [(t["variant"], t["seed"]) for t in trials[:4]] == [
        ("vae", 0), ("vae", 1), ("hvae", 0), ("hvae", 1),
    ]  # fmt: skip
    references = study.find("references", {"status": "sound"}, sort=[("reference_id", 1)])
    fingerprints = np.array([from_binary_vector(r["fingerprint"]) for r in references])
    trial = trials[3]
    assert trial["reference_ids"] == [r["reference_id"] for r in references]
    # The same training on its own gives the same model.
    part = SPEC.generative_of("hvae")
    model = create_model("hvae", **part.architecture(200))
    history = model.fit(fingerprints, seed=1, **part.training)
    stored = load_model("hvae", study.get_blob(trial["blob_id"]))
    grid = latent_grid(2, 5, 0.9)
    np.testing.assert_allclose(stored.decode(grid), model.decode(grid), rtol=1e-9)
    kept = TrainingHistory.from_dict(trial["history"])
    np.testing.assert_allclose(kept.train_total, history.train_total, rtol=1e-9)
    decoded = model.decode(model.locate(fingerprints))
    distances = [pearson_distance(fingerprints[i], decoded[i]) for i in history.validation_indices]
    assert trial["measures"]["reconstruction_held_out"] == pytest.approx(np.mean(distances))
    # Each seed holds out the same structures in every variant, so that seeds are pairs.
    assert len({tuple(t["history"]["validation_indices"]) for t in trials[1:6:2]}) == 1
    assert len(trials[4]["history"]["train_divergence"]) == 90


def test_a_training_that_fails_is_a_failed_trial(study):
    failed = study.find("trials", {"variant": "wild"})
    assert len(failed) == 2
    for trial in failed:
        assert trial["status"] == "failed" and "not finite" in trial["reason"]
        assert trial["blob_id"] is None and trial["near"] is None and trial["chosen"] == []
    [document] = study.find("studies")
    wild = document["variants"][3]
    assert (wild["trials"], wild["failed"], wild["measures"]["train_loss"]["n"]) == (2, 2, 0)
    assert "wild: 2 of 2 trainings failed" in document["sentences"][0]
    outcomes = {m["outcome"] for m in document["differences"][-1]["measures"].values()}
    assert outcomes == {"too few pairs"}


def test_counts_are_those_of_all_pairs_compared(study):
    """Every crystal against every replica, without the shortcuts of the screening."""
    crystals = the_crystals()
    candidates = {c["_id"]: c for c in study.find("candidates")}
    threshold = KNOWN.screening.threshold
    seen = 0
    for trial in trials_of(study, SPEC, status="trained"):
        model = load_model(trial["model"], study.get_blob(trial["blob_id"]))
        random = np.random.default_rng(3).standard_normal((4, 2))
        replicas = model.decode(np.concatenate([latent_grid(2, 5, 0.9), random]))
        near = (pearson_distance_matrix(crystals, replicas) <= threshold).any(axis=1)
        assert trial["near"] == near.sum()
        assert trial["measures"]["share_near"] == near.mean()
        chosen = [candidates[key] for key in trial["chosen"]]
        places = [candidate["batch"] * 400 + candidate["index"] for candidate in chosen]
        assert places == np.flatnonzero(near)[:2].tolist()
        seen += len(places)
    assert seen
    [document] = study.find("studies")
    references = study.find("references", {"status": "sound"})
    known = np.array([from_binary_vector(reference["fingerprint"]) for reference in references])
    near = (pearson_distance_matrix(crystals, known) <= threshold).any(axis=1)
    database, unscreened = document["controls"]
    assert (database["near"], unscreened["near"]) == (near.sum(), 1000)
    for candidate in candidates.values():
        place = candidate["batch"] * 400 + candidate["index"]
        own = from_binary_vector(candidate["fingerprint"])
        assert pearson_distance(own, crystals[place]) < 1e-6
        assert (candidate["near"] == "database") == near[place]
    # However many trials have let a crystal through, it is there once.
    wanted = {key for trial in trials_of(study, SPEC) for key in trial["chosen"]}
    assert wanted < set(candidates)
    assert len(candidates) <= len(wanted) + 4 + 4


def test_energies_follow_from_the_relaxations(study):
    relaxed = {d["parent_id"]: d for d in study.find("relaxations", {"converged": True})}
    [ground_state] = study.find("relaxations", {"parent_kind": "reference"})
    reference = study.get("references", ground_state["parent_id"])
    assert reference["reference_id"] == "mp-149"
    checked = 0
    for trial in trials_of(study, SPEC, status="trained"):
        energies = [
            relaxed[key]["energy_per_atom"] - ground_state["energy_per_atom"]
            for key in trial["chosen"]
            if key in relaxed
        ]
        measures, outcome = trial["measures"], trial["relaxed"]
        assert sum(outcome.values()) == len(trial["chosen"])
        assert outcome["converged"] == len(energies)
        if energies:
            assert measures["energy_mean"] == pytest.approx(np.mean(energies))
            assert measures["energy_lowest"] == pytest.approx(min(energies))
            assert measures["distinct_low"] <= sum(e < SPEC.low_energy for e in energies)
            checked += 1
        else:
            assert measures["energy_mean"] is None
            assert measures["distinct_low"] == (None if trial["chosen"] else 0)
    assert checked


def test_intervals_are_those_of_the_trials(study):
    [document] = study.find("studies")
    by_variant = {
        variant.name: study.find("trials", {"variant": variant.name}, sort=[("seed", 1)])
        for variant in SPEC.variants
    }
    for variant in document["variants"][:3]:
        for key in ("train_loss", "roughness", "replica_correlation", "share_near"):
            values = [trial["measures"][key] for trial in by_variant[variant["name"]]]
            found = variant["measures"][key]
            assert found["mean"] == pytest.approx(np.mean(values))
            assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    for difference in document["differences"][:2]:
        pair = [by_variant[difference[name]] for name in ("variant", "baseline")]
        for key, found in difference["measures"].items():
            values = [[trial["measures"][key] for trial in trials] for trials in pair]
            if None in (*values[0], *values[1]) or np.ptp(np.subtract(*values)) < 1e-9:
                continue
            interval = stats.ttest_rel(*values).confidence_interval(0.95)
            assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
            outcome = "higher" if interval.low > 0 else "lower"
            if interval.low <= 0 <= interval.high:
                outcome = "no difference seen"
            assert found["outcome"] == outcome


def test_tables_and_figures_can_be_made_of_the_records(study, tmp_path):
    [document] = study.find("studies")
    text = re.sub(" +", " ", markdown_tables(document))
    assert "| epochs | 60 | 60 | 90 | 60 |" in text
    assert "| trainings, of these failed | 2, 0 | 2, 0 | 2, 0 | 2, 2 |" in text
    assert "| hvae − vae-equal-time |" in text
    assert all(sentence in text for sentence in document["sentences"])
    for measure in MEASURES[:5]:
        assert f"| {measure.label} ({measure.unit}) |" in text
    trials = trials_of(study, SPEC)
    plot_study_losses(trials, tmp_path / "losses.png")
    plot_study_measures(document, trials, tmp_path / "measures.png")
    assert (tmp_path / "measures.png").stat().st_size > 10_000


def test_a_study_that_is_complete_is_not_run_again(study, monkeypatch):
    before = content(study.description)
    for name in ("train_variant", "screen_trials", "relax_pending", "conclude"):
        monkeypatch.setattr(maker, name, None)
    summary = run_study(SPEC)
    assert summary["trials"] == 8 and summary["failed"] == 2
    assert content(study.description) == before
    assert submit_study(SPEC).state == "complete"


def test_an_interrupted_study_goes_on_and_ends_with_the_same_documents(
    expected, tmp_path, monkeypatch
):
    place = tmp_path / "records"
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    trained, relaxed = [], []
    train, screen, relax = maker.train_variant, maker.screen_trials, relaxing.relax_batch

    def counted_train(*arguments):
        trained.append(arguments[-1])
        return train(*arguments)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    def broken_relax(*arguments):
        if len(relaxed) == 2:
            raise CrysearchError("the engine has gone")
        return counted_relax(*arguments)

    def counted_relax(*arguments):
        relaxed.append(arguments[-2].parents)
        return relax(*arguments)

    def status():
        with open_records(place, read_only=True) as records:
            return records.get("searches", KNOWN.search_id)["status"]

    monkeypatch.setattr(maker, "train_variant", counted_train)
    monkeypatch.setattr(maker, "screen_trials", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(SPEC)
    assert status() == "interrupted"
    monkeypatch.setattr(maker, "screen_trials", screen)
    monkeypatch.setattr(relaxing, "relax_batch", broken_relax)
    with pytest.raises(CrysearchError, match="the engine has gone"):
        run_study(SPEC)
    assert status() == "failed"
    monkeypatch.setattr(relaxing, "relax_batch", counted_relax)
    run_study(SPEC)
    # Neither a training nor a batch of relaxations was done twice.
    assert trained == [variant.name for variant in SPEC.variants]
    assert len(relaxed) == len(expected["batches"])
    assert content(place) == expected


def test_workers_of_a_launch_pad_run_a_study(expected, tmp_path, monkeypatch):
    place = tmp_path / "records"
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    monkeypatch.chdir(tmp_path)
    submission = submit_study(SPEC)
    assert submission.state == "added" and submission.search == KNOWN.search_id
    assert len(submission.fw_ids) == 1 + 4 + 3
    assert submit_study(SPEC).state == "waiting"
    rapidfire(launchpad(), nlaunches=0, sleep_time=1)
    assert submit_study(SPEC).state == "complete"
    assert content(place) == expected


def test_what_cannot_work_is_refused_before_any_work():
    model = SMALL_STUDY | {"variants": [{"name": "a", "generative": {"model": "gan"}}]}
    with pytest.raises(SpecError, match=r"variants.0.generative.model: 'gan' — choose one of vae"):
        GenerativeStudyMaker().make(StudySpec.build(model))
    engine = SMALL_STUDY["search"] | {"relaxation": {"engine": "none"}}
    with pytest.raises(SpecError, match=r"relaxation.engine: 'none'"):
        GenerativeStudyMaker().make(StudySpec.build(SMALL_STUDY | {"search": engine}))
