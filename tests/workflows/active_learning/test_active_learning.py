"""A small active learning: its records against independent calculations, resumed, on a launch pad.

The reference method is Stillinger and Weber's potential.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fireworks.core.rocket_launcher import rapidfire
from typer.testing import CliRunner

from crysearch.active_learning import Scores
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.cli.main import app
from crysearch.datasets import read_extxyz
from crysearch.errors import CrysearchError, DatasetError, RelaxationError, SpecError
from crysearch.potentials import load_potential
from crysearch.records import open_records, potentials
from crysearch.records.values import from_binary_array, plain, structure_from_document
from crysearch.relaxation import create_relaxer
from crysearch.relaxation.base import RelaxationResult
from crysearch.workflows.active_learning import (
    ActiveLearningSearchMaker,
    choosing,
    cycles_of,
    maker,
    pool,
    reference,
    run_active_learning,
    submit_active_learning,
    training,
)
from crysearch.workflows.active_learning.finalists import choose_finalists
from crysearch.workflows.active_learning.pool import potential_of, relaxed_pool
from crysearch.workflows.active_learning.reference import read_configurations
from crysearch.workflows.datasets import check_dataset, import_files
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.potentials import fitting
from small_active_learning import SMALL_ACTIVE_LEARNING

SPEC = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)
KEPT = ("searches", "references", "candidates", "configurations", "datasets", "cycles",
        "potentials", "relaxations", "failures", "batches")  # fmt: skip
TIMES = ("created_at", "started_at", "finished_at", "seconds", "worker")


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return value


def content(place: Path) -> dict[str, dict[str, Any]]:
    """Everything in a record folder but times and who worked."""
    with open_records(place, read_only=True) as records:
        return {
            name: {found["_id"]: without_times(found) for found in records.find(name)}
            for name in KEPT
        }


@pytest.fixture(scope="module")
def place(finished_active_learning):
    return finished_active_learning


@pytest.fixture(scope="module")
def expected(place):
    return content(place)


@pytest.fixture(scope="module")
def records(place):
    with open_records(place, read_only=True) as found:
        yield found


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    return tmp_path / "records"


def test_every_cycle_calculates_what_it_chose(records):
    cycles = cycles_of(records, SPEC)
    assert [cycle["cycle"] for cycle in cycles] == [0, 1, 2]
    assert [cycle["decision"] for cycle in cycles] == ["go_on", "go_on", "cycle_limit"]
    assert [cycle["configurations"] for cycle in cycles] == [0, 7, 11]
    assert [len(cycle["chosen"]) for cycle in cycles] == [7, 4, 0]
    assert [cycle["calculated"] for cycle in cycles] == [7, 4, None]
    found = records.find("configurations", sort=[("index", 1)])
    assert [document["index"] for document in found] == list(range(11))
    wanted = [one["candidate"] for cycle in cycles for one in cycle["chosen"]]
    assert [document["metadata"]["candidate"] for document in found] == wanted
    [dataset] = records.find("datasets")
    assert (dataset["name"], dataset["method"]) == (SPEC.dataset, "stillinger-weber")
    assert dataset["counts"]["configurations"] == 11
    assert {document["dataset"] for document in found} == {dataset["_id"]}


def test_configurations_have_the_labels_of_the_reference_method(records):
    found = records.find("configurations", sort=[("index", 1)])
    structures = [structure_from_document(document) for document in found]
    results = create_relaxer("stillinger-weber").single_point(structures)
    for document, result in zip(found, results, strict=True):
        assert document["energy"] == pytest.approx(result.energy, abs=1e-6)
        forces = from_binary_array(document["forces"], (4, 3))
        assert forces == pytest.approx(result.forces, abs=1e-5)
        assert document["stress"][0] * 160.21766208 == pytest.approx(result.stress[0, 0], abs=1e-3)
    # The first batch are the first crystals of the pool as they were drawn.
    drawn = records.find("candidates", sort=[("batch", 1), ("index", 1)])[:7]
    for document, candidate in zip(found, drawn, strict=False):
        assert document["metadata"]["candidate"] == candidate["_id"]
        assert structure_from_document(document).matches(structure_from_document(candidate))


def test_the_commands_for_data_sets_show_and_export_it_and_leave_it_alone(
    place, records, tmp_path, monkeypatch
):
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    [dataset] = records.find("datasets")
    file = tmp_path / "calculated.extxyz"
    shown = CliRunner().invoke(app, ["data", "show", dataset["name"]])
    assert shown.exit_code == 0
    assert f"active learning {SPEC.identifier}" in shown.output
    exported = CliRunner().invoke(app, ["data", "export", dataset["name"], "--to", str(file)])
    assert exported.exit_code == 0
    assert len(list(read_extxyz(file))) == dataset["counts"]["configurations"]
    before = records.find("configurations")
    with pytest.raises(DatasetError, match="is kept by a workflow"):
        check_dataset(records, dataset["name"])
    with pytest.raises(DatasetError, match="is kept by a workflow"):
        import_files(records, [file], name=dataset["name"], method=dataset["method"])
    assert records.find("configurations") == before


def test_scores_follow_from_the_ensemble_and_the_relaxed_pool(records):
    for cycle in cycles_of(records, SPEC)[1:]:
        potential = load_potential("behler-parrinello", records.get_blob(cycle["blob_id"]))
        relaxed = relaxed_pool(records, SPEC, cycle["cycle"])
        assert len(relaxed) == 14
        assert dict(Counter(crystal.status for crystal in relaxed)) == cycle["pool"]
        sound = [crystal for crystal in relaxed if crystal.structure is not None]
        predictions = potential.predict([crystal.structure for crystal in sound])
        scores = {}
        for crystal, prediction in zip(sound, predictions, strict=True):
            largest = np.linalg.norm(prediction.forces, axis=1).max()
            scores[crystal.candidate] = (prediction.energy - 0.5 * largest) / 4
            if crystal.status == "converged":
                assert largest < 0.05
            if crystal.status == "uncertain":
                assert prediction.force_deviations.max() > 1.5
        clusters = cycle["clusters"]
        assert sum(cluster["size"] for cluster in clusters) == len(sound)
        for one in [*clusters, *cycle["top"], *cycle["chosen"]]:
            assert one["score"] == pytest.approx(scores[one["candidate"]], abs=1e-6)
        ranks = [cluster["score"] for cluster in clusters]
        assert ranks == sorted(ranks)
        assert cycle["lowest_score"] == pytest.approx(min(scores.values()), abs=1e-6)
        assert [best["candidate"] for best in cycle["top"]] == [
            cluster["candidate"] for cluster in clusters[:3]
        ]
        names = [one["candidate"] for one in cycle["chosen"]]
        assert len(set(names)) == len(names)


def test_errors_are_of_structures_that_the_ensemble_had_not_seen(records):
    cycle = cycles_of(records, SPEC)[1]
    potential = load_potential("behler-parrinello", records.get_blob(cycle["blob_id"]))
    new = records.find("configurations", {"metadata.cycle": 1})
    predictions = potential.predict([structure_from_document(document) for document in new])
    errors = [p.energy / 4 - d["energy_per_atom"] for p, d in zip(predictions, new, strict=True)]
    assert cycle["errors"]["energy_mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-7)
    assert cycle["errors"]["force_rmse"] > 0


def test_the_best_are_relaxed_from_where_an_ensemble_left_them(records):
    last = cycles_of(records, SPEC)[-1]
    assert 0 < len(last["finalists"]) <= SPEC.top
    relaxed = records.find("relaxations", {"parent_kind": "candidate"})
    cycle_of = {best["candidate"]: best["cycle"] for best in last["finalists"]}
    assert {document["parent_id"] for document in relaxed} == set(cycle_of)
    pools = {
        cycle: {crystal.candidate: crystal for crystal in relaxed_pool(records, SPEC, cycle)}
        for cycle in (1, 2)
    }
    for document in relaxed:
        start = structure_from_document(document, "initial_structure")
        key = document["parent_id"]
        assert start.matches(pools[cycle_of[key]][key].structure)
        assert document["engine"] == "stillinger-weber"
        assert document["provenance"]["cycle"] == last["_id"]
        if document["converged"]:
            assert document["energy_above_ground_state_found"] >= 0
            assert document["energy_above_reference_ground_state"] > -1e-3
    [search] = records.find("searches")
    assert search["status"] == "complete"


def test_what_an_earlier_cycle_found_and_a_later_one_lost_is_not_forgotten(records):
    """A last pool without a single crystal: what was calculated before is left, best first."""
    potential = potential_of(records, SPEC, 2)
    documents, configurations = read_configurations(records, SPEC, 2)
    before = potential.evaluate(configurations)
    none = np.zeros((0, len(before[0].descriptor)))
    nothing = Scores(*[np.zeros(0) for _ in range(5)])
    found = choose_finalists(SPEC, 2, [], none, nothing, documents, before)
    calculated = records.find("configurations", {"metadata.cycle": 1})
    scores = {
        document["metadata"]["candidate"]: document["energy_per_atom"]
        - 0.5 * np.linalg.norm(from_binary_array(document["forces"], (4, 3)), axis=1).max() / 4
        for document in calculated
    }
    assert 1 <= len(found) <= SPEC.top
    assert found[0]["candidate"] == min(scores, key=scores.get)
    assert [one["score"] for one in found] == sorted(one["score"] for one in found)
    for one in found:
        assert one["calculated"] and one["cycle"] == 1
        assert one["score"] == pytest.approx(scores[one["candidate"]], abs=1e-5)


def test_an_active_learning_that_is_complete_is_not_run_again(place, expected, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    for module, name in (
        (maker, "train_ensemble"),
        (pool, "_relax_batch"),
        (choosing, "choose"),
        (reference, "calculate"),
        (maker.finishing, "relax_best"),
    ):
        monkeypatch.setattr(module, name, None)
    summary = run_active_learning(SPEC)
    assert (summary["cycles"], summary["decision"]) == (2, "cycle_limit")
    assert summary["reference_calculations"] == 11
    assert content(place) == expected
    assert submit_active_learning(SPEC).state == "complete"


def test_interrupted_anywhere_it_goes_on_and_ends_with_the_same_records(
    database, expected, monkeypatch
):
    """Each kind of work is interrupted once in its middle, or before its result is recorded."""
    broken: list[str] = []

    def once(module, name, when, error):
        right = getattr(module, name)

        def wrong(*arguments, **options):
            if name not in broken and when(*arguments):
                broken.append(name)
                raise error
            return right(*arguments, **options)

        monkeypatch.setattr(module, name, wrong)

    once(reference, "calculate", lambda *a: a[2] == 0 and a[3][0] > 0, KeyboardInterrupt())
    once(maker, "relax_pool", lambda *a: a[2] == 1, CrysearchError("the node has gone"))
    once(choosing, "choose", lambda *a: a[2] == 1, KeyboardInterrupt())
    once(choosing, "close_cycle", lambda *a: a[2] == 1, CrysearchError("the disk is full"))
    once(maker.finishing, "relax_best", lambda *a: a[3][0] == "candidate", KeyboardInterrupt())
    calls: Counter[str] = Counter()
    fit = training.train_ensemble
    monkeypatch.setattr(maker, "train_ensemble", lambda *a: (calls.update([str(a[2])]), fit(*a))[1])
    for _ in range(10):
        try:
            run_active_learning(SPEC)
            break
        except (KeyboardInterrupt, CrysearchError):
            continue
    assert len(broken) == 5
    assert calls == {"1": 1, "2": 1}
    assert content(database) == expected


def test_an_interrupted_training_goes_on_from_its_checkpoint(records, tmp_path, monkeypatch):
    """The weights are bitwise those of an undisturbed training."""
    with open_records(tmp_path / "records") as copy:
        for name in ("configurations", "datasets"):
            copy.upsert(name, records.find(name))
        blob = cycles_of(records, SPEC)[1]["blob_id"]
        put = copy.put_blob
        kept: list[str] = []

        def put_and_stop(name, data, metadata=None):
            put(name, data, metadata)
            kept.append(name)
            if len(kept) == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(fitting, "CHECKPOINT_EPOCHS", 10)
        monkeypatch.setattr(copy, "put_blob", put_and_stop)
        with pytest.raises(KeyboardInterrupt):
            training.train_ensemble(copy, SPEC, 1)
        assert kept == [f"{blob}-checkpoint"]
        training.train_ensemble(copy, SPEC, 1)
        assert copy.get_blob(blob) == records.get_blob(blob)
        assert not copy.delete_blob(f"{blob}-checkpoint")
        [document] = copy.find("potentials")
        assert without_times(document) == without_times(records.get("potentials", document["_id"]))


def test_every_training_is_a_potential(records):
    """Its weights are the blob of the cycle, and no copy of it."""
    known = {document["blob_id"]: document for document in potentials.potentials(records)}
    [dataset] = records.find("datasets")
    cycles = cycles_of(records, SPEC)[1:]
    assert sorted(known) == [cycle["blob_id"] for cycle in cycles]
    for cycle in cycles:
        found = known[cycle["blob_id"]]
        assert (found["search"], found["active_learning"]) == (
            SPEC.known.search_id,
            SPEC.identifier,
        )
        assert (found["cycle"], found["seed"]) == (cycle["cycle"], cycle["provenance"]["seed"])
        assert found["method"] == "stillinger-weber" and found["elements"] == ["Si"]
        learned = {"id": dataset["_id"], "name": SPEC.dataset}
        assert found["datasets"] == [learned | {"configurations": cycle["configurations"]}]
        made = load_potential(found["model"], potentials.potential_weights(records, found))
        assert (found["members"], found["cutoff"]) == (made.members, made.cutoff) == (2, 4.5)
        assert found["architecture"] == plain(made.architecture)
        assert found["training"]["energy"] == cycle["training"]["energy"]
        mean = np.mean(cycle["training"]["force"])
        assert found["errors"]["validation"]["force_rmse"] == pytest.approx(mean)
    # The active learning means its last potential.
    last = potentials.resolve_potential(records, SPEC.identifier[:8])
    assert last["blob_id"] == cycles[-1]["blob_id"]


class Moody:
    """The reference method, but calculations of some structures fail."""

    def __init__(self, works) -> None:
        self.engine, self.works = create_relaxer("stillinger-weber"), works
        self.name, self.provenance = self.engine.name, self.engine.provenance
        self.relax, self.check_elements = self.engine.relax, self.engine.check_elements

    def single_point(self, structures, progress=None):
        return [
            result
            if self.works(result)
            else RelaxationResult(
                result.initial, None, None, 0, "failed", "engine_error", "it did not converge"
            )
            for result in self.engine.single_point(structures, progress)
        ]


def test_calculations_that_fail_stop_nothing_and_first_principles_are_jobs_of_their_own(
    database, monkeypatch
):
    sizes: list[int] = []
    calculate = reference.calculate
    monkeypatch.setattr(
        reference, "calculate", lambda *a: (sizes.append(len(a[3])), calculate(*a))[1]
    )
    spec = ActiveLearningSpec.build(
        SMALL_ACTIVE_LEARNING | {"maximum_cycles": 1, "first_batch": 10, "top": 2}
    )
    for module in (reference, maker.finishing):
        monkeypatch.setattr(module, "is_first_principles", lambda engine: True)
    monkeypatch.setattr(reference, "reference_engine", lambda spec: Moody(lambda result: False))
    with pytest.raises(RelaxationError, match=r"failed on all 10 structures of cycle 0: it did"):
        run_active_learning(spec)
    # With an engine that works for most, the same flow goes on.
    moody = Moody(lambda result: round(1e3 * result.initial.volume) % 3)
    monkeypatch.setattr(reference, "reference_engine", lambda spec: moody)
    summary = run_active_learning(spec)
    assert sizes == [1] * 20
    assert 0 < summary["failed"] <= 5
    assert summary["reference_calculations"] == 10 - summary["failed"]
    with open_records(database, read_only=True) as records:
        failures = records.find("failures", {"reason": "engine_error"})
        assert len(failures) == summary["failed"]
        assert {failure["detail"] for failure in failures} == {"it did not converge"}
        first = cycles_of(records, spec)[0]
        assert first["not_calculated"] == summary["failed"]
        assert records.count("batches", {"kind": "candidate", "counts.relaxed": 1}) >= 5
        assert summary["relaxed"]["relaxed"] + summary["relaxed"]["failed"] == 2


@pytest.mark.parametrize(
    ("change", "decision", "cycles"),
    [
        # Everything is one cluster, whose energy may change as it likes.
        ({"cluster_radius": 1e6, "energy_tolerance": 1e6, "maximum_cycles": 5}, "unchanged", 2),
        # Everything is like something that is known.
        ({"known_distance": 1e6}, "nothing_new", 1),
    ],
)
def test_the_search_ends_when_nothing_changes_or_nothing_is_new(database, change, decision, cycles):
    small = {"pool": SMALL_ACTIVE_LEARNING["pool"] | {"size": 8}, "batch": 2, "top": 1}
    spec = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING | small | change)
    summary = run_active_learning(spec)
    assert (summary["decision"], summary["cycles"]) == (decision, cycles)
    assert summary["reference_calculations"] == 7 + 2 * (cycles - 1)
    assert summary["relaxed"]["relaxed"] + summary["relaxed"]["failed"] == 1


@pytest.mark.slow
def test_workers_of_a_launch_pad_end_with_the_same_records(database, expected, monkeypatch):
    monkeypatch.chdir(database.parent)
    monkeypatch.setenv("CRYSEARCH_SAMPLING_JOBS", "2")
    assert submit_active_learning(SPEC).state == "added"
    assert submit_active_learning(SPEC).state == "waiting"
    rapidfire(launchpad(), nlaunches=0, sleep_time=1)
    assert submit_active_learning(SPEC).state == "complete"
    assert content(database) == expected


def test_what_cannot_work_is_refused_before_any_work():
    wrong = SMALL_ACTIVE_LEARNING | {"potential": {"model": "crystal-ball"}}
    with pytest.raises(SpecError, match=r"potential.model: 'crystal-ball' — choose one of behler"):
        ActiveLearningSearchMaker().make(ActiveLearningSpec.build(wrong))
    wrong = SMALL_ACTIVE_LEARNING | {"potential": {"architecture": {"hidden_layers": []}}}
    with pytest.raises(SpecError, match=r"potential: hidden_layers is empty"):
        ActiveLearningSearchMaker().make(ActiveLearningSpec.build(wrong))
    options = {"reference": {"engine": "stillinger-weber", "options": {"functional": "lda"}}}
    with pytest.raises(RelaxationError, match=r"does not take these options \(functional\)"):
        run_active_learning(ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING | options))
    wrong = SMALL_ACTIVE_LEARNING | {"reference": {"engine": "oracle"}}
    with pytest.raises(SpecError, match=r"relaxation.engine: 'oracle'"):
        ActiveLearningSearchMaker().make(ActiveLearningSpec.build(wrong))
