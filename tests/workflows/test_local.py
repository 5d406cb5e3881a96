"""A whole search: records, lineage, reproducibility, continuation after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from crysearch.analysis import analyse_symmetry
from crysearch.cli.run import Goal
from crysearch.errors import SpecError
from crysearch.fingerprints import RadialDistributionFunction, pearson_distance
from crysearch.records import open_records, queries
from crysearch.records.values import from_binary_vector, structure_from_document
from crysearch.references import load_snapshot
from crysearch.relaxation import create_relaxer
from crysearch.spec import SearchSpec
from crysearch.workflows import run_search
from crysearch.workflows.makers import GOALS
from small_search import SMALL

from .conftest import content

RUN = (
    "import sys; from crysearch.spec import SearchSpec; from crysearch.workflows import run_search;"
    "run_search(SearchSpec.from_yaml(sys.argv[1]))"
)


@pytest.mark.slow
def test_everything_asked_for_is_in_the_records(finished_search):
    spec, place = finished_search
    with open_records(place, read_only=True) as records:
        search = queries.resolve_search(records, spec.search_id)
        assert search["status"] == "complete"
        counts = queries.counts(records, spec.search_id)
        assert counts["references"]["sound"] == 34
        assert records.count("replicas") == 4 * 4 + 3
        # Two cell sizes, each with its own quotas.
        assert counts["candidates"]["I"] == 6
        assert counts["candidates"]["III"] == 6
        kept = counts["candidates"]["total"]
        assert counts["relaxed"]["total"] + records.count("failures") >= kept
        assert sum(counts["near"].values()) == counts["accepted"]
        assert counts["accepted"] % spec.sampling.batch_size == 0
        judged = records.find("relaxations", {"parent_kind": "candidate", "converged": True})
        assert judged
        assert all(document["is_new"] is not None for document in judged)


def volume_of_target(records, guiding: dict) -> float:
    """Å^3 per atom of the known structure that is the target, or nearest to it."""
    target = guiding["target_id"]
    if guiding["target_kind"] == "replica":
        target = records.get("replicas", target)["nearest_reference"]["id"]
    return records.get("references", target)["volume_per_atom"]


@pytest.mark.slow
def test_stored_numbers_follow_from_stored_structures(finished_search):
    """Distances, symmetries and energies are recomputed from what was stored."""
    spec, place = finished_search
    rdf = RadialDistributionFunction()
    with open_records(place, read_only=True) as records:
        known = records.find("references", {"status": "sound"})
        fingerprints = rdf.from_structures([structure_from_document(d) for d in known])
        for document in records.find("candidates"):
            structure = structure_from_document(document)
            own = rdf.from_structures([structure])[0]
            np.testing.assert_allclose(
                own, from_binary_vector(document["fingerprint"]), atol=1e-5 * own.max()
            )
            distances = [pearson_distance(own, other) for other in fingerprints]
            nearest = document["nearest_reference"]
            assert nearest["distance"] == pytest.approx(min(distances), abs=1e-5)
            assert known[int(np.argmin(distances))]["reference_id"] == nearest["reference_id"]
            if "I" in document["groups"]:
                assert nearest["distance"] <= spec.screening.threshold
            volume = document["formula_units"] * spec.volume_per_formula_unit
            if document["guided"]:
                volume = len(structure) * volume_of_target(records, document["guiding"])
            assert abs(structure.volume / volume - 1) <= spec.volume_tolerance + 1e-9
            shortest = structure.distance_matrix[~np.eye(len(structure), dtype=bool)].min()
            assert shortest >= spec.minimum_distances["Si-Si"] - 1e-9
        engine = create_relaxer(spec.relaxation.engine)
        lowest = min(d["energy_per_atom"] for d in records.find("relaxations", {"converged": True}))
        for document in records.find("relaxations"):
            symmetry = analyse_symmetry(structure_from_document(document), 0.1)
            assert document["space_group_after"]["number"] == symmetry.number
            (single,) = engine.single_point(
                [structure_from_document(document, "initial_structure")]
            )
            assert document["energy_per_atom_before"] == pytest.approx(single.energy_per_atom)
            if document["converged"]:
                assert document["energy_above_ground_state_found"] == pytest.approx(
                    document["energy_per_atom"] - lowest
                )
                assert document["max_force"] <= spec.relaxation.force_tolerance


@pytest.mark.slow
def test_lineage_leads_back_to_the_references(finished_search):
    spec, place = finished_search
    with open_records(place, read_only=True) as records:
        document = records.find("relaxations", {"parent_kind": "candidate"})[0]
        ancestry = queries.lineage(records, document["_id"])
        assert not ancestry["missing"]
        assert ancestry["candidate"]["_id"] == document["parent_id"]
        assert ancestry["nearest_replica"]["model_id"] == ancestry["model"]["_id"]
        assert len(ancestry["references"]) == 34
        assert ancestry["search"]["_id"] == spec.search_id


@pytest.mark.slow
def test_the_stored_model_decodes_to_the_stored_replicas(finished_search):
    from crysearch.workflows.stages.generation import load_trained_model

    spec, place = finished_search
    with open_records(place, read_only=True) as records:
        model = load_trained_model(records, spec.search_id)
        replicas = records.find("replicas")
        decoded = model.decode(np.array([replica["latent"] for replica in replicas]))
        for replica, fingerprint in zip(replicas, decoded, strict=True):
            np.testing.assert_array_equal(
                from_binary_vector(replica["fingerprint"]), fingerprint.astype(np.float32)
            )


@pytest.mark.slow
def test_a_complete_search_is_not_run_again_and_nothing_doubles(finished_search, monkeypatch):
    spec, place = finished_search
    before = content(place)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    run_search(spec)
    assert content(place) == before


@pytest.mark.slow
def test_settings_and_files_relative_to_the_current_folder_hold_in_every_job(tmp_path, monkeypatch):
    """jobflow can change folders between jobs; records and references must not move with it."""
    monkeypatch.delenv("CRYSEARCH_DATABASE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crysearch.yaml").write_text("database: here\n", encoding="utf-8")
    known = tmp_path / "known"
    known.mkdir()
    for reference in load_snapshot("Si")[:6]:
        reference.structure.to(str(known / f"{reference.reference_id}.cif"))
    spec = SearchSpec.build(SMALL).with_changes(
        {
            "formula_units": [4],
            "screening.quotas": {"I": 0, "II": 0, "III": 2},
            "references": {"source": "files", "files": ["known"]},
        }
    )
    assert run_search(spec)["judged"] >= 1
    with open_records(tmp_path / "here", read_only=True) as records:
        assert queries.resolve_search(records)["status"] == "complete"
    assert {path.name for path in tmp_path.iterdir()} == {"crysearch.yaml", "known", "here"}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["candidates", "relaxations"])
def test_a_killed_search_continues_and_ends_with_the_same_records(
    finished_search, tmp_path, moment
):
    """SIGKILL as soon as the collection has documents; the next run ends like an undisturbed one.

    The undisturbed search ran in another process, so this also shows that two runs with one seed
    give identical records.
    """
    spec, undisturbed = finished_search
    place = tmp_path / "records"
    file = tmp_path / "spec.yaml"
    file.write_text(spec.to_yaml(), encoding="utf-8")
    environment = os.environ | {"CRYSEARCH_DATABASE": str(place)}
    command = [sys.executable, "-c", RUN, str(file)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if (place / "records.sqlite").exists():
                with open_records(place, read_only=True) as records:
                    if records.count(moment):
                        break
            time.sleep(0.02)
        assert process.poll() is None, "the search ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    interrupted = content(place)
    assert interrupted != content(undisturbed)
    assert interrupted[moment]
    subprocess.run(command, env=environment, check=True, timeout=400, stderr=subprocess.DEVNULL)
    assert content(place) == content(undisturbed)


@pytest.mark.slow
def test_a_search_paused_on_the_way_ends_with_the_same_records(
    finished_search, tmp_path, monkeypatch
):
    spec, undisturbed = finished_search
    place = tmp_path / "records"
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    made: list[dict[str, bool]] = []
    for until in GOALS[:-1]:
        assert run_search(spec, until) == {}
        with open_records(place, read_only=True) as records:
            assert queries.resolve_search(records)["status"] == "paused"
            names = ("references", "replicas", "candidates", "relaxations")
            made.append({name: records.count(name) > 0 for name in names})
    assert [sum(there.values()) for there in made] == [1, 2, 3]
    assert run_search(spec)
    # Asked for less than there is: nothing changes.
    assert run_search(spec, "candidates")
    assert content(place) == content(undisturbed)


def test_a_pause_is_one_of_the_goals():
    assert tuple(goal.value for goal in Goal) == GOALS
    with pytest.raises(SpecError, match="until: 'sampling' — choose one of references, replicas"):
        run_search(SearchSpec.build(SMALL), "sampling")
