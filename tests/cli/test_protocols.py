"""``crysearch dynamics`` with protocols, and what it measures of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.errors import AnalysisError, CrysearchError, SpecError

Command = Callable[..., str]
ROOT = Path(__file__).parents[2]
SPEC = """
name: copper
structure: {formula: Cu, prototype: fcc, lattice_constant: 3.6, repetitions: [2, 2, 1]}
engine: emt
timestep: 4
sample_every: 4
frames: 2
compare_with: cold
stages:
  - {name: cold, ensemble: npt, temperature: 100, steps: 16}
  - {name: heating, temperature: 100, final_temperature: 600, steps: 8}
  - {name: hot, temperature: 600, steps: 40, volume: mean}
  - {name: dense, after: start, density: 9.5, temperature: 100, steps: 8}
"""


@pytest.fixture
def crysearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``crysearch`` on a new record folder; returns what it prints."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")

    def call(*arguments: str) -> str:
        result: Result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


@pytest.mark.slow
def test_run_show_and_measure(crysearch: Command, tmp_path: Path) -> None:
    said = crysearch("dynamics", "run", "spec.yaml", "--set", "stages.hot.steps=60")
    assert "(copper): Cu16, ase:emt, 4 of 4 stages finished, complete" in said
    assert "100 → 600" in said and "above cold (eV/atom)" in said and "reason" not in said
    [row] = json.loads(crysearch("dynamics", "list", "--protocols", "--format", "json"))
    assert (row["name"], row["stages"], row["finished"]) == ("copper", 4, 4)
    table = crysearch("dynamics", "list")
    assert table.startswith("Protocols") and f"{row['_id']}/hot" in table
    runs = json.loads(crysearch("dynamics", "list", "--format", "json"))
    assert sorted(one["protocol"] for one in runs) == sorted(
        f"{row['_id']}/{name}" for name in ("cold", "heating", "hot", "dense")
    )
    stages = json.loads(crysearch("dynamics", "show", "copper", "--format", "json"))
    assert [one["name"] for one in stages] == ["cold", "heating", "hot", "dense"]
    cold, _, hot, dense = stages
    assert cold["relative_energy"] is None
    energies = [one["potential_energy_per_atom"]["mean"] for one in (hot, cold)]
    assert hot["relative_energy"] == pytest.approx(energies[0] - energies[1])
    assert dense["relative_density"] == pytest.approx(9.5 / cold["mean_density"]["mean"] - 1)
    assert "1 of 1 runs" in crysearch("dynamics", "show", "copper/hot")
    frames = crysearch("dynamics", "show", f"{row['_id']}/hot", "--frames", "--format", "csv")
    assert len(frames.splitlines()) == 3
    assert "wrote 16 frames" in crysearch("dynamics", "export", "copper/hot", "--to", "hot.traj")
    said = crysearch(
        *("dynamics", "analyse", "copper/hot", "copper", "--cutoff", "5", "--bins", "50"),
        *("--figure", "rdf.png", "--bond-cutoff", "3.2"),
    )
    assert "copper: hot (" in said and "Cu–Cu" in said and "npt" not in said
    assert "share of atoms by neighbours (%)" in said and (tmp_path / "rdf.png").exists()
    content = json.loads(crysearch("dynamics", "analyse", "copper/cold", "--json"))
    [measured] = content["runs"]
    assert len(measured["pairs"][0]["g"]) == 200 and measured["diffusion"][0]["reason"]
    assert "observables" in crysearch("show", measured["_id"][:12])
    # A failing stage says why in the table.
    wild = ("--set", "minimum_distance_ratio=0.95", "--set", "name=wild")
    said = crysearch("dynamics", "run", "spec.yaml", *wild)
    assert "0 of 4 stages finished, incomplete" in said
    assert said.count("not run") == 2 and "cold exploded: " in said


@pytest.mark.slow
def test_submitting(crysearch: Command) -> None:
    from fireworks.core.rocket_launcher import rapidfire

    from crysearch.workflows.launchpad import launchpad

    said = crysearch("dynamics", "run", "spec.yaml", "--submit")
    assert said.startswith("Protocol ") and "(copper) is on the launch pad: 5 jobs" in said
    said = crysearch("dynamics", "run", "spec.yaml", "--submit")
    assert "is on the launch pad already: 5 jobs" in said
    [row] = json.loads(crysearch("dynamics", "list", "--protocols", "--format", "json"))
    assert row["status"] == "submitted"
    pad = launchpad()
    rapidfire(pad, strm_lvl="ERROR", sleep_time=1)
    assert pad.get_fw_ids({"state": "FIZZLED"}) == []
    assert pad.get_fw_ids({"state": "COMPLETED"}, count_only=True) == 5
    assert "4 of 4 stages finished, complete" in crysearch("dynamics", "show", "copper")
    assert "is complete already" in crysearch("dynamics", "run", "spec.yaml", "--submit")


def test_the_specification_as_file_and_page(crysearch: Command, tmp_path: Path) -> None:
    written = yaml.safe_load(crysearch("spec", "--protocol"))
    assert [stage["name"] for stage in written["stages"]] == ["density", "sampling"]
    checked = yaml.safe_load(crysearch("spec", "--protocol", "spec.yaml"))
    assert checked["stages"][2]["volume"] == "mean"
    page = crysearch("spec", "--protocol", "--format", "markdown")
    assert "## `stages`" in page and "| `after` | none | The earlier stage" in page
    assert page == (ROOT / "docs" / "protocol-spec.md").read_text(encoding="utf-8")
    with pytest.raises(SpecError, match="give one of them"):
        crysearch("spec", "--dynamics", "--protocol")


def test_what_is_wrong_is_said(crysearch: Command, tmp_path: Path) -> None:
    for change, words in (
        ("stages.hot.steps=41", r"stages\.hot: steps=41 must be a multiple"),
        ("stages.melt.steps=4", r"write stages\.NAME\.FIELD with one of cold, heating"),
        ("temperatures=[3]", "temperatures: unknown field"),
    ):
        with pytest.raises(SpecError, match=words):
            crysearch("dynamics", "run", "spec.yaml", "--set", change)
    with pytest.raises(AnalysisError, match=r"--figure a\.txt: give a name ending in \.png"):
        crysearch("dynamics", "analyse", "copper", "--figure", "a.txt")
    flow = str(ROOT / "flows" / "nacl_melt.py")
    with pytest.raises(SpecError, match="neither a parameter of build_spec"):
        crysearch("dynamics", "run", flow, "--set", "speed=3")
    with pytest.raises(SpecError, match=r"stages: no stage|write stages\.NAME"):
        crysearch("dynamics", "run", flow, "--set", "stages.glass.steps=50")
