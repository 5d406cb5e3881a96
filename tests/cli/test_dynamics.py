"""``crysearch dynamics``: what a person sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.errors import CrysearchError, SpecError
from crysearch.records import open_records

Command = Callable[..., str]
SPEC = """
name: copper
structure: {formula: Cu, prototype: fcc, lattice_constant: 3.6}
engine: emt
ensemble: npt
temperatures: [200, 400]
steps: 40
equilibration_steps: 0
timestep: 4
sample_every: 4
frames: 3
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
def test_from_a_specification_to_a_data_set(crysearch: Command, tmp_path: Path) -> None:
    with open_records(tmp_path / "records"):
        pass
    assert crysearch("dynamics", "list").endswith("Next:\n  crysearch dynamics run SPEC\n")
    said = crysearch("dynamics", "run", "spec.yaml")
    assert "(copper): Cu4, ase:emt, npt, 2 of 2 runs" in said
    assert said.count("finished") == 2 and "drift" not in said and "reason" not in said
    [row] = json.loads(crysearch("dynamics", "list", "--format", "json"))
    assert (row["name"], row["runs"], row["status"]) == ("copper", 2, "complete")
    runs = json.loads(crysearch("dynamics", "show", "copper", "--format", "json"))
    assert [run["target_temperature"] for run in runs] == [200, 400]
    assert runs[0]["temperature"]["mean"] > 0
    one = runs[1]["trajectory"][:12]
    assert "1 of 2 runs" in crysearch("dynamics", "show", one)
    frames = json.loads(crysearch("dynamics", "show", one, "--frames", "--format", "json"))
    assert [frame["step"] for frame in frames] == [0, 20, 40]
    crysearch("export", frames[1]["_id"][:12], "--format", "cif", "-o", "frame.cif")
    assert len(ase.io.read(tmp_path / "frame.cif")) == 4
    hot = crysearch("dynamics", "show", "copper", "--filter", "time>0.1", "--format", "csv")
    assert len(hot.splitlines()) == 3
    assert "wrote 11 frames" in crysearch("dynamics", "export", one, "--to", "run.traj")
    assert len(ase.io.read(tmp_path / "run.traj", ":")) == 11
    said = crysearch("dynamics", "label", "copper", "--engine", "emt", "--to", "all.extxyz")
    assert "wrote 22 configurations" in said
    assert "data import all.extxyz --name NAME --method emt --group trajectory" in said
    options = ("--name", "cu", "--method", "emt", "--group", "trajectory")
    said = crysearch("data", "import", "all.extxyz", *options)
    # Both runs begin with the same structure.
    assert "Read 22 frames: 21 new configurations, 0 that were there, 1 repeated" in said


@pytest.mark.slow
def test_submitting(crysearch: Command, tmp_path: Path) -> None:
    from crysearch.workflows.launchpad import launchpad

    said = crysearch("dynamics", "run", "spec.yaml", "--submit")
    assert "is on the launch pad: 3 jobs" in said and "rlaunch rapidfire" in said
    said = crysearch("dynamics", "run", "spec.yaml", "--submit")
    assert "is on the launch pad already: 3 jobs" in said
    pad = launchpad()
    assert pad.workflows.count_documents({}) == 1
    said = crysearch("dynamics", "run", "spec.yaml", "--set", "temperatures=[600]", "--submit")
    assert "is on the launch pad: 2 jobs" in said
    from fireworks.core.rocket_launcher import rapidfire

    rapidfire(pad, strm_lvl="ERROR", sleep_time=1)
    assert pad.get_fw_ids({"state": "FIZZLED"}) == []
    assert "3 of 3 runs" in crysearch("dynamics", "show", "copper")
    [row] = json.loads(crysearch("dynamics", "list", "--format", "json"))
    assert row["status"] == "complete"
    said = crysearch("dynamics", "run", "spec.yaml", "--submit")
    assert "is complete already" in said


def test_the_specification_as_file_and_page(crysearch: Command, tmp_path: Path) -> None:
    written = yaml.safe_load(crysearch("spec", "--dynamics"))
    assert written["ensemble"] == "nvt"
    assert yaml.safe_load(crysearch("spec", "--dynamics", "spec.yaml"))["engine"] == "emt"
    page = crysearch("spec", "--dynamics", "--format", "markdown")
    assert "| `temperatures` | `[300.0]` |" in page and "## `structure`" in page
    with pytest.raises(SpecError, match="give one of them"):
        crysearch("spec", "--dynamics", "--verification")


def test_a_specification_of_another_kind(crysearch: Command, tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(
        "from crysearch.spec import SearchSpec\ndef build_spec():\n    return SearchSpec()\n"
    )
    with pytest.raises(
        SpecError, match="where a DynamicsSpec or ProtocolSpec is needed; try crysearch run"
    ):
        crysearch("dynamics", "run", "search.py")
    with pytest.raises(SpecError, match="steps=41 must be a multiple"):
        crysearch("dynamics", "run", "spec.yaml", "--set", "steps=41")


def test_the_example_is_valid() -> None:
    from crysearch.cli.run import read_spec_of
    from crysearch.dynamics_spec import DynamicsSpec

    file = Path(__file__).parents[2] / "flows" / "silicon_dynamics.py"
    spec = read_spec_of(DynamicsSpec, file, ["picoseconds=4", "temperatures=[300]"])
    assert (spec.steps, spec.temperatures) == (2000, (300.0,))
