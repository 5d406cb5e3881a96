"""The flows of the molten salt and of amorphous silicon, in small and short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flows import amorphous_silicon, nacl_melt

from crysearch.records import open_records
from crysearch.references import load_snapshot
from crysearch.workflows import dynamics as workflow

KNOWN = "mp-1244933,mp-1244971,mp-1244990,mp-1245041,mp-1245242"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    return tmp_path / "records"


def test_salt_melts_and_has_its_density(place: Path, tmp_path: Path) -> None:
    spec = nacl_melt.build_spec(
        repetitions=2, melting=0.6, cooling=0.4, volume=0.6, equilibration=0.3, sampling=0.6
    )
    assert workflow.run_protocol(spec)["finished"] == 4
    with open_records(place) as records:
        free = workflow.read_trajectory(records, "molten NaCl/constant pressure")[1]
        sampled = workflow.read_trajectory(records, "molten NaCl")[1]
        assert len(sampled.numbers) == 64 and np.ptp(sampled.volumes) < 1e-6
        assert sampled.volumes[0] == pytest.approx(free.volumes.mean())
        assert 1.0 < sampled.densities[0] < 1.7
        found = workflow.analyse_runs(records, ["molten NaCl"])
        [melt] = found.runs
        assert [pair["pair"] for pair in melt["pairs"]] == ["Na-Na", "Na-Cl", "Cl-Cl"]
        assert 2.3 < melt["pairs"][1]["peak"] < 3.0
        assert [one["element"] for one in melt["diffusion"]] == ["Na", "Cl"]
        assert all(one["coefficient"] > 0 for one in melt["diffusion"])
        workflow.draw_observables(found, tmp_path / "melt.png")
        assert (tmp_path / "melt.png").stat().st_size > 10_000


def test_silicon_melts_and_is_quenched(place: Path) -> None:
    spec = amorphous_silicon.build_spec(
        repetitions=2, melting=1.5, liquid=0.3, sampling=0.4, rate=1500.0
    )
    assert workflow.run_protocol(spec)["finished"] == 7
    with open_records(place) as records:
        found = workflow.analyse_runs(
            records,
            ["amorphous silicon", "amorphous silicon/crystal"],
            beside=[KNOWN],
            cutoff=9.0,
            bins=180,
        )
        glass, crystal = found.runs
        assert crystal["bonds"]["shares"] == [{"neighbours": 4, "share": 1.0}]
        assert crystal["bonds"]["angle_deviation"] < 10
        assert crystal["mean_density"]["mean"] == pytest.approx(2.323, abs=0.02)
        # Quenched a hundred times too fast: denser than the crystal, neighbours beyond four.
        assert glass["mean_density"]["mean"] > 2.35 and glass["bonds"]["mean"] > 4.2
        assert glass["bonds"]["angle_deviation"] > 12
        # The amorphous cells of the snapshot: no crystal of it has as many atoms.
        cells = [one for one in load_snapshot("Si") if len(one.structure) == 100]
        assert {one.reference_id for one in cells} == set(KNOWN.split(","))
        [known] = found.beside
        assert known["pairs"][0]["peak"] == pytest.approx(2.39, abs=0.02)
        densities = [one.structure.density for one in cells]
        assert known["mean_density"]["mean"] == pytest.approx(np.mean(densities), rel=1e-3)


def test_a_quench_at_constant_volume() -> None:
    spec = amorphous_silicon.build_spec(density=2.2)
    assert spec.dynamics("melting").structure.density == 2.2
    assert spec.dynamics("warming").structure.density is None
    assert [stage.ensemble for stage in spec.stages] == ["npt", "npt", *["nvt"] * 4, "npt"]
    free = [stage.ensemble for stage in amorphous_silicon.build_spec().stages]
    assert free == ["npt", "npt", "nvt", "nvt", "npt", "npt", "npt"]


def test_times_are_whole_sampling_intervals() -> None:
    slow = amorphous_silicon.build_spec(rate=2.0)
    steps = {stage.name: stage.steps for stage in slow.stages}
    assert steps["quench"] == 425_000 and steps["glass"] == 5_000
    assert slow.structure.repetitions == (4, 4, 4) and slow.compare_with == "crystal"
    salt = nacl_melt.build_spec(temperature=1200, sampling=1.04)
    stages = {stage.name: stage for stage in salt.stages}
    assert stages["constant volume"].steps == 1_050 and salt.sample_every == 50
    assert stages["cooling"].final_temperature == 1200 and stages["melting"].temperature == 3000
    assert stages["constant pressure"].equilibration_steps == 4_000
