"""A study of selection from its specification to its conclusion, with LAMMPS as reference."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fireworks.core.rocket_launcher import rapidfire

from crysearch import localdb
from crysearch.datasets.selection import create_method
from crysearch.dynamics import Trajectory
from crysearch.dynamics.observables import pair_distributions
from crysearch.errors import DatasetError
from crysearch.plotting import plot_selection_errors, plot_selection_liquids
from crysearch.potentials import load_potential
from crysearch.potentials.calculator import PotentialCalculator
from crysearch.records import open_records
from crysearch.records.dynamics import trajectory_bytes
from crysearch.records.selection import fits_of, selection_study_id
from crysearch.records.values import from_binary_vector
from crysearch.relaxation import create_relaxer
from crysearch.selection_spec import SelectionStudySpec
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.selection import (
    run_selection_study,
    selection_tables,
    submit_selection_study,
)
from crysearch.workflows.selection.frames import POOL, TEST, read_frames
from small_selection import SMALL_SELECTION

STUDY = SelectionStudySpec.build(SMALL_SELECTION)
KEY = selection_study_id(STUDY.identifier)
TIMES = ("created_at", "seconds", "worker")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """The folder of the records of the finished study."""
    place = tmp_path_factory.mktemp("selection") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        assert run_selection_study(STUDY) == {"study": KEY, "fits": 16, "failed": 0}
    localdb.stop(place)
    return place


@pytest.fixture
def records(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy that the settings point to."""
    shutil.copytree(finished, tmp_path / "records")
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    with open_records(tmp_path / "records") as store:
        yield store


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def results(store) -> dict[str, Any]:
    names = ("selection_studies", "selection_fits", "trajectories")
    return {name: without_times(store.find(name, sort=[("_id", 1)])) for name in names}


def test_frames_have_what_the_reference_says_of_them(records) -> None:
    pool, test = (read_frames(records, STUDY.identifier, part) for part in (POOL, TEST))
    assert len(pool) == 62 and len(test) == 12
    assert np.bincount(pool.state_points).tolist() == [31, 31]
    engine = create_relaxer("born-mayer-nacl")
    for configuration, atomic in zip(
        pool.configurations([0, 40]), pool.atomic_energies[[0, 40]], strict=True
    ):
        known = engine.single_point([configuration.to_structure()])[0].evaluation
        assert configuration.energy == pytest.approx(known.energy, abs=1e-9)
        np.testing.assert_allclose(configuration.forces, known.forces, atol=1e-8)
        assert atomic.sum() == pytest.approx(known.energy, abs=1e-6)
    # Other draws: no frame of the test is one of the pool.
    apart = np.abs(pool.positions[:, None] - test.positions[None]).max(axis=(2, 3))
    assert apart.min() > 1e-3


def test_each_fit_learned_from_what_its_method_chose(records) -> None:
    fits = fits_of(records, STUDY.identifier)
    assert {(f["method"], f["size"], f["seed"]) for f in fits} == {
        (method, size, seed) for method in STUDY.methods for size in (6, 12) for seed in (0, 1)
    }
    pool = read_frames(records, STUDY.identifier, POOL).pool()
    by_key = {(f["method"], f["size"], f["seed"]): f["frames"] for f in fits}
    for method in ("random", "global-energy", "atomic-energies"):
        for seed in (0, 1):
            chosen = create_method(method).select(pool, 12, seed).tolist()
            assert by_key[method, 12, seed] == chosen
            assert by_key[method, 6, seed] == chosen[:6]
    assert by_key["farthest-point", 12, 0][:6] == by_key["farthest-point", 6, 0]


def test_errors_are_those_of_the_weights_kept(records) -> None:
    fit = fits_of(records, STUDY.identifier, "network", "atomic-energies")[-1]
    weights = records.find_blob(fit["blob_id"])
    calculator = PotentialCalculator(load_potential("behler-parrinello", weights))
    norms, energies = [], []
    for known in read_frames(records, STUDY.identifier, TEST).configurations():
        atoms = known.to_atoms()
        atoms.calc = calculator
        norms.append(np.linalg.norm(atoms.get_forces() - known.forces, axis=1))
        energies.append((atoms.get_potential_energy() - known.energy) / len(known))
    errors = np.concatenate(norms)
    assert fit["measures"] == pytest.approx(
        {
            "force_error_max": errors.max(),
            "force_error_rms": np.sqrt((errors**2).mean()),
            "force_error_mean": errors.mean(),
            "energy_error_rms": np.sqrt(np.square(energies).mean()),
        },
        abs=1e-8,
    )


def test_groups_are_means_and_differences_are_paired(records) -> None:
    study = records.get("selection_studies", KEY)
    fits = {
        (f["method"], f["size"], f["seed"]): f["measures"]["force_error_rms"]
        for f in fits_of(records, STUDY.identifier)
    }
    group = next(g for g in study["groups"] if (g["method"], g["size"]) == ("random", 12))
    mean = (fits["random", 12, 0] + fits["random", 12, 1]) / 2
    assert group["measures"]["force_error_rms"]["mean"] == pytest.approx(mean)
    compared = {(d["method"], d["baseline"], d["size"]): d for d in study["differences"]}
    found = compared["atomic-energies", "global-energy", 6]["measures"]["force_error_rms"]
    pairs = [fits["atomic-energies", 6, s] - fits["global-energy", 6, s] for s in (0, 1)]
    assert found["mean"] == pytest.approx(np.mean(pairs)) and found["n"] == 2
    assert len(study["findings"]) == 2


def test_liquids_are_those_of_the_trajectories(records) -> None:
    study = records.get("selection_studies", KEY)
    document = records.find("trajectories", {"target_temperature": 1400.0})[0]
    trajectory = Trajectory.from_bytes(trajectory_bytes(records, document))
    known = pair_distributions(trajectory, cutoff=6.0, bins=30)
    for pair in study["melt"]["pairs"]:
        g = known[tuple(pair["pair"].split("-"))].g
        np.testing.assert_allclose(from_binary_vector(pair["g"]), g, rtol=1e-6)
        assert pair["onset"] is None
    run = [f for f in fits_of(records, STUDY.identifier) if f["melt"] is not None]
    assert {(f["method"], f["size"], f["seed"]) for f in run} == {(m, 12, 0) for m in STUDY.methods}
    for fit in run:
        assert fit["melt"]["status"] in ("finished", "exploded", "failed")
        assert (fit["melt"]["failure_detail"] is None) == (fit["melt"]["status"] == "finished")


def test_tables_and_figures_say_what_is_in_the_records(records, tmp_path) -> None:
    study, fits = records.get("selection_studies", KEY), fits_of(records, STUDY.identifier)
    text = selection_tables(study, fits)
    for word in (*STUDY.methods, "reference", "first peak Na–Cl"):
        assert word in text
    assert text.count("\n- network: ") + text.startswith("- network: ") == 2
    errors = plot_selection_errors(study, tmp_path / "errors.png")
    assert [axes.get_xlabel() for axes in errors.axes] == ["configurations"] * 3
    drawn = {line.get_label() for line in plot_selection_liquids(study, fits).axes[0].lines}
    assert {"reference"} | {f["method"] for f in fits if f["melt"] and f["melt"]["pairs"]} <= drawn


def test_what_is_lost_is_made_again_and_nothing_else(records) -> None:
    before = results(records)
    times = {f["_id"]: f["created_at"] for f in fits_of(records, STUDY.identifier)}
    lost = fits_of(records, STUDY.identifier, "network", "random")[-2]
    records.delete("selection_fits", {"_id": lost["_id"]})
    records.update("selection_studies", {KEY: {"status": "running", "groups": []}})
    run_selection_study(STUDY)
    assert results(records) == before
    again = {f["_id"]: f["created_at"] for f in fits_of(records, STUDY.identifier)}
    assert {key for key in times if times[key] != again[key]} == {lost["_id"]}


def test_a_fit_that_is_not_possible_is_recorded_and_the_others_go_on(records) -> None:
    model = {**SMALL_SELECTION["models"][0], "sizes": [2, 6]}
    study = STUDY.with_changes({"models": [model], "melt": None, "methods": ["random"]})
    found = run_selection_study(study)
    assert (found["fits"], found["failed"]) == (4, 2)
    failed = [f for f in fits_of(records, study.identifier) if f["status"] == "failed"]
    assert {f["size"] for f in failed} == {2}
    assert all("5" in f["reason"] and f["measures"] is None for f in failed)
    document = records.get("selection_studies", found["study"])
    assert document["groups"][0]["failures"][0]["n"] == 2


def test_too_few_frames_end_the_study_with_a_reason(records) -> None:
    # A run that explodes at once leaves too few frames.
    model = {**SMALL_SELECTION["models"][0], "sizes": [60]}
    change = {"pool.maximum_temperature": 1510.0, "models": [model], "melt": None}
    study = STUDY.with_changes(change)
    with pytest.raises(DatasetError, match=r"frames, 60 needed .*1 exploded"):
        run_selection_study(study)
    document = records.get("selection_studies", selection_study_id(study.identifier))
    assert document["status"] == "failed" and "60 needed" in document["reason"]


def test_workers_find_the_same(records, tmp_path, monkeypatch) -> None:
    expected = results(records)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path)
    with open_records(tmp_path / "other") as other:
        pad = launchpad()
        pad.reset("", require_password=False, max_reset_wo_password=1_000_000)
        first = submit_selection_study(STUDY, pad)
        assert first.state == "added" and submit_selection_study(STUDY, pad).state == "waiting"
        rapidfire(pad, local_redirect=False, strm_lvl="ERROR")
        assert pad.get_fw_ids({"state": "FIZZLED"}) == []
        assert results(other) == expected
        assert submit_selection_study(STUDY, pad).state == "complete"
    localdb.stop(tmp_path / "other")
