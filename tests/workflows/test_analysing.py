"""What is measured of runs, as documents and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from crysearch.dynamics.diffusion import diffusion
from crysearch.errors import AnalysisError, DynamicsError, RecordsError, SpecError
from crysearch.protocol_spec import ProtocolSpec
from crysearch.records import RecordStore, observables, open_records
from crysearch.records.values import from_binary_vector
from crysearch.workflows import dynamics as workflow

AMORPHOUS = "mp-1244933,mp-1244971"
SILICON = ProtocolSpec.build(
    {
        "name": "silicon",
        "structure": {"reference": "mp-149", "repetitions": [2, 2, 2]},
        "engine": "stillinger-weber",
        "timestep": 2.0,
        "sample_every": 10,
        "stages": [
            {"name": "melt", "temperature": 4000, "steps": 400, "equilibration_steps": 400},
            {"name": "ramp", "temperature": 4000, "final_temperature": 2000, "steps": 20},
            {"name": "free", "ensemble": "npt", "temperature": 2000, "steps": 20},
            {"name": "short", "temperature": 2000, "steps": 20},
            {"name": "crystal", "after": "start", "temperature": 300, "steps": 20},
        ],
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("silicon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(folder / "records"))
        assert workflow.run_protocol(SILICON)["finished"] == 5
        yield folder


@pytest.fixture
def records(place: Path) -> Iterator[RecordStore]:
    with open_records(place / "records") as records:
        yield records


def test_documents_have_independent_numbers(records: RecordStore) -> None:
    found = workflow.analyse_runs(records, ["silicon/melt"], cutoff=5.0, bins=50, bond_cutoff=3.0)
    [shown] = found.runs
    document = records.get("observables", shown["_id"])
    assert document == {key: value for key, value in shown.items() if key != "label"}
    run_document, run = workflow.read_trajectory(records, "silicon/melt")
    assert shown["label"] == "silicon: melt" and document["frames"] == len(run) == 41
    assert document["provenance"]["parents"] == [run_document["_id"]]
    assert document["trajectory_sha256"] == run_document["blob_sha256"]
    assert document["chemical_formula_reduced"] == "Si" and document["target_temperature"] == 4000
    assert document["mean_density"]["mean"] == pytest.approx(run.densities.mean())
    # g(r) and neighbours by ASE's lists of neighbours.
    distances, numbers = [], []
    for index in range(len(run)):
        first, distance = neighbor_list("id", run.atoms(index), 5.0)
        distances.append(distance)
        numbers.append(np.bincount(first[distance < 3.0], minlength=64))
    edges = np.linspace(0, 5, 51)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    counts = np.histogram(np.concatenate(distances), edges)[0] / len(run)
    g = counts * run.volumes[0] / (64 * 64 * shells)
    [pair] = document["pairs"]
    assert pair["pair"] == "Si-Si"
    assert from_binary_vector(pair["g"]) == pytest.approx(g, rel=1e-3, abs=1e-3)
    assert from_binary_vector(pair["r"]) == pytest.approx((edges[1:] + edges[:-1]) / 2)
    bonds = document["bonds"]
    assert bonds["cutoff"] == 3.0 and bonds["mean"] == pytest.approx(np.mean(numbers), rel=1e-3)
    shares = {one["neighbours"]: one["share"] for one in bonds["shares"]}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[4] == pytest.approx(np.mean(np.concatenate(numbers) == 4), abs=2e-3)
    degrees, angles = (from_binary_vector(bonds[name]) for name in ("degrees", "angles"))
    assert np.trapezoid(angles, degrees) == pytest.approx(1, rel=1e-2)
    [motion] = document["diffusion"]
    alone = diffusion(run, "Si")
    assert (motion["coefficient"], motion["error"]) == (alone.coefficient, alone.error)
    assert motion["last"] == pytest.approx(alone.times[-1]) and motion["coefficient"] > 1
    # One document for a run and its settings; others join it.
    assert (
        workflow.analyse_runs(records, ["silicon/melt"], cutoff=5.0, bins=50, bond_cutoff=3.0).runs[
            0
        ]["_id"]
        == shown["_id"]
    )
    workflow.analyse_runs(records, [run_document["_id"][:12]], cutoff=6.0)
    assert len(observables.observables_of(records, run_document["_id"])) == 2
    assert records.count("observables", {"pairs.pair": "Si-Si", "bonds.mean": {"$gt": 3}}) >= 2


def test_what_is_not_measured_has_a_reason(records: RecordStore) -> None:
    which = ["silicon/ramp", "silicon/free", "silicon/short", "silicon"]
    found = workflow.analyse_runs(records, which)
    reasons = [one["diffusion"][0]["reason"] for one in found.runs]
    assert reasons[0] == "the temperature changes during the run"
    assert reasons[1].startswith("npt: the barostat moves the atoms")
    assert reasons[2] == "3 frames are too few for diffusion; give 12"
    assert found.runs[0]["mean_density"]["standard_error"] is None
    assert [one["label"] for one in found.runs][3] == "silicon: crystal"
    assert found.runs[3]["bonds"]["shares"] == [{"neighbours": 4, "share": 1.0}]
    with pytest.raises(RecordsError, match="no stage 'glass'"):
        workflow.analyse_runs(records, ["silicon/glass"])
    with pytest.raises(DynamicsError, match="cutoff=-1"):
        workflow.analyse_runs(records, ["silicon"], cutoff=-1.0)


def test_frames_that_are_gone_end_nothing_else(records: RecordStore) -> None:
    document, run = workflow.read_trajectory(records, "silicon/short")
    records.delete_blob(document["blob_id"])
    try:
        found = workflow.analyse_runs(records, ["silicon/short", "silicon/crystal"])
        assert len(found.runs) == 1 and "are gone" in found.skipped[document["_id"]]
        with pytest.raises(RecordsError, match="are gone"):
            workflow.analyse_runs(records, ["silicon/short"])
    finally:
        records.put_blob(document["blob_id"], run.to_bytes())


def test_known_structures_beside(records: RecordStore, tmp_path: Path) -> None:
    found = workflow.analyse_runs(
        records, ["silicon"], beside=[f"known={AMORPHOUS}", "mp-149"], cutoff=6.0, bins=120
    )
    known, diamond = found.beside
    assert (known["label"], known["frames"], known["formula"]) == ("known", 2, "Si100")
    assert diamond["label"] == "mp-149" and diamond["bonds"]["mean"] == 4
    assert records.count("observables", {"nsites": 100}) == 0
    workflow.draw_observables(found, tmp_path / "networks.png")
    assert (tmp_path / "networks.png").stat().st_size > 10_000
    with pytest.raises(AnalysisError, match="txt"):
        workflow.draw_observables(found, tmp_path / "networks.txt")
    for beside, words in (
        ("mp-22862", "'mp-22862' is made of Cl, Na, the runs of Si"),
        (f"{AMORPHOUS},mp-149", "cells of different atoms"),
        ("a=", "give ids such as"),
    ):
        with pytest.raises(DynamicsError, match=words):
            workflow.analyse_runs(records, ["silicon"], beside=[beside])
    with pytest.raises(SpecError, match="beside: 'mp-0' — not among the bundled structures"):
        workflow.analyse_runs(records, ["silicon"], beside=["mp-0"])


def test_lines_where_bonds_are_missing(records: RecordStore, tmp_path: Path) -> None:
    found = workflow.analyse_runs(records, ["silicon/melt"], cutoff=2.4, bins=24)
    assert found.runs[0]["bonds"] is None
    workflow.draw_observables(found, tmp_path / "lines.png")
    assert (tmp_path / "lines.png").stat().st_size > 5_000
