"""``crysearch data``: what a person sees of data sets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from click.testing import Result
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.datasets import read_extxyz
from crysearch.errors import CrysearchError
from labelled_crystals import silicon, silicon_file

Command = Callable[..., str]
METHOD = "Stillinger-Weber, matscipy"


@pytest.fixture
def crysearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``crysearch data`` on a new record folder; returns what it prints."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> str:
        result: Result = CliRunner().invoke(app, ["data", *arguments])
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return call


def test_from_a_file_to_a_file(crysearch: Command, tmp_path: Path) -> None:
    frames = silicon(range(20))
    frames[7].calc.results["forces"][0] += 60.0
    ase.io.write("sw.extxyz", frames)
    said = crysearch(
        "import", "sw.extxyz", "--name", "sw", "--method", METHOD, "--licence", "CC0",
        "--split", "0.5,0.25,0.25", "--seed", "3",
    )  # fmt: skip
    assert "configurations  20 with 160 atoms; 20 with forces, 20 with stress" in said
    assert "train 10, validation 5, test 5 (train 0.5, validation 0.25, test 0.25; seed 3)" in said
    assert "flagged         1: large_force 1, net_force 1" in said
    assert "sw.extxyz, 20 frames, CC0" in said
    assert "Read 20 frames: 20 new configurations, 0 that were there, 0 repeated exactly." in said
    for line in said[said.index("Next:") :].splitlines()[1:]:
        crysearch(*line.split()[2:])
    assert len(list(read_extxyz(tmp_path / "train.extxyz"))) in (9, 10)
    (row,) = json.loads(crysearch("list", "--format", "json"))
    assert (row["name"], row["configurations"], row["flagged"]) == ("sw", 20, 1)
    assert METHOD in crysearch("list")
    shown = crysearch("show", "sw", "--flagged")
    assert "large_force" in shown and "a force of 10" in shown
    rows = list(
        csv.DictReader(io.StringIO(crysearch("show", "sw", "--flagged", "--format", "csv")))
    )
    assert [(r["configuration"], r["flag"]) for r in rows] == [
        ("7", "large_force"),
        ("7", "net_force"),
    ]
    (whole,) = json.loads(crysearch("show", "sw", "--format", "json"))
    assert whole["method"] == METHOD
    said = crysearch("export", "sw", "--to", "all.extxyz.gz", "--flagged")
    assert said == "wrote 20 configurations to all.extxyz.gz\n"
    assert "wrote 19 configurations" in crysearch("export", "sw", "--to", "sound.extxyz")


def test_checks_with_other_limits(crysearch: Command, tmp_path: Path) -> None:
    silicon_file(tmp_path / "sw.extxyz", range(10))
    crysearch("import", "sw.extxyz", "--name", "sw", "--method", METHOD)
    assert "Nothing is flagged." in crysearch("check", "sw")
    said = crysearch("check", "sw", "--limit", "maximum_force=0.1", "--rows", "4")
    assert "flagged         10: large_force 10" in said
    assert "… 10 in all" in said
    assert "large_force" in crysearch("check", "sw", "--format", "json")
    assert "Nothing is flagged." in crysearch("check", "sw", "-l", "maximum_force=50")
    for change, message in (
        (
            "maximum_farce=3",
            "--limit maximum_farce=3: write NAME=VALUE with one of close",
        ),
        ("maximum_force=x", "'x' is not a number"),
        ("maximum_force=0", "maximum_force is 0.0: give a number greater than 0"),
    ):
        with pytest.raises(CrysearchError, match=message):
            crysearch("check", "sw", "--limit", change)


def test_errors_and_empty_records(crysearch: Command, tmp_path: Path) -> None:
    with pytest.raises(CrysearchError, match="There are no records in"):
        crysearch("list")
    silicon_file(tmp_path / "sw.extxyz", range(3))
    keys = ("import", "sw.extxyz", "--name", "sw", "--method", METHOD)
    for arguments, message in (
        (("import", "no.xyz", *keys[2:]), "no.xyz: cannot be read"),
        ((*keys, "--split", "a,b"), "--split a,b: give three shares"),
        ((*keys, "--energy-key", "dft"), "no frame has the energy 'dft'"),
        ((*keys, "--group", "run"), "no frame has the group key 'run'"),
    ):
        with pytest.raises(CrysearchError, match=message):
            crysearch(*arguments)
    assert crysearch("list").startswith("No data sets yet.\n\nNext:\n  crysearch data import FILE")
    with pytest.raises(CrysearchError, match=r"There are no data sets in .*: make one with"):
        crysearch("show", "sw")
