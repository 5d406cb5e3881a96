"""``crysearch potential``: what a person sees of potentials, and a search with one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.errors import CrysearchError, SpecError
from crysearch.records import open_records
from small_potential import METHOD, QUICK, silicon_dataset
from small_study import LARGE

Command = Callable[..., str]
SETTINGS = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
SPEC = f"""
formula_units: [4]
references: {{exclude: {json.dumps(LARGE)}}}
replicas: {{grid_points: 0}}
screening: {{quotas: {{I: 0, II: 0, III: 3}}}}
sampling: {{batch_size: 20}}
relaxation: {{max_steps: 5, maximum_reference_atoms: 2, force_tolerance: 5, stress_tolerance: 50}}
"""


@pytest.fixture
def crysearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``crysearch`` on a new record folder; returns what it prints."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> str:
        result: Result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return call


def test_from_a_data_set_to_a_search(crysearch: Command, tmp_path: Path) -> None:
    with open_records(tmp_path / "records") as records:
        silicon_dataset(records, tmp_path)
    assert crysearch("potential", "list").endswith("Next:\n  crysearch potential train DATASET\n")
    said = crysearch("potential", "train", "silicon", *SETTINGS, "--seed", "1")
    assert "members         2 of " in said and f"method          {METHOD}" in said
    assert "learned from    silicon\n" in said
    assert "configurations  24, those held out included" in said
    assert "test            mean absolute 0." in said and " eV/Å; 6 configurations" in said
    [row] = json.loads(crysearch("potential", "list", "--format", "json"))
    assert (row["learned_from"], row["method"], row["members"]) == ("silicon", METHOD, 2)
    key = row["_id"]
    assert f"crysearch potential export {key} --to {key}.potential" in said
    assert METHOD in crysearch("potential", "list")
    assert crysearch("potential", "show", key[:6]).strip() in said
    [whole] = json.loads(crysearch("potential", "show", key, "--format", "json"))
    assert whole["settings"]["epochs"] == 20
    assert "wrote potential" in crysearch("potential", "export", key, "--to", "si.potential")
    assert whole["_id"] in crysearch("potential", "import", "si.potential")
    assert "self-trained" not in crysearch("show", key)  # one document, as of any collection
    (tmp_path / "spec.yaml").write_text(SPEC)
    engine = ("--set", "relaxation.engine=self-trained", "--set")
    crysearch("run", "spec.yaml", *engine, f"relaxation.options.potential={key[:7]}")
    with open_records(tmp_path / "records", read_only=True) as records:
        [search] = records.find("searches")
        assert search["spec"]["relaxation"]["options"] == {"potential": whole["_id"]}
        relaxed = records.find("relaxations")
        assert relaxed and {one["engine"] for one in relaxed} == {"self-trained"}
    for wrong in ("12345678901", "latest"):
        with pytest.raises(SpecError, match=rf"options\.potential: '{wrong}' — No potential"):
            crysearch("run", "spec.yaml", *engine, f"relaxation.options.potential={wrong}")
    with pytest.raises(SpecError, match=r"options\.potential: missing"):
        crysearch("run", "spec.yaml", "--set", "relaxation.engine=self-trained")


def test_what_is_wrong_is_named(crysearch: Command, tmp_path: Path) -> None:
    with pytest.raises(CrysearchError, match="There are no records in"):
        crysearch("potential", "list")
    with pytest.raises(CrysearchError, match="There are no data sets in"):
        crysearch("potential", "train", "silicon")
    with pytest.raises(CrysearchError, match=r"epochs: 0 — input should be greater than 0"):
        crysearch("potential", "train", "silicon", "--set", "epochs=0")
    with pytest.raises(CrysearchError, match="There are no potentials in"):
        crysearch("potential", "show", "ab")
    with pytest.raises(CrysearchError, match="none: cannot be read"):
        crysearch("potential", "import", "none")
