"""``crysearch study``."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.errors import SpecError
from crysearch.study import StudySpec
from small_study import SMALL_STUDY


@pytest.fixture
def command(finished_study, tmp_path, monkeypatch):
    shutil.copytree(finished_study, tmp_path / "records")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_a_study_in_a_file_gives_tables_and_figures(command, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL_STUDY))
    shown = command("study", "study.yaml", "--figures", "drawn")
    assert "| hvae − vae |" in re.sub(" +", " ", shown)
    folder = tmp_path / "drawn" / f"study-{StudySpec.build(SMALL_STUDY).identifier}"
    assert sorted(path.name for path in folder.iterdir()) == ["losses.png", "measures.png"]
    assert "complete" in command("study", "study.yaml", "--submit")
    # Trials are found by what was measured of them.
    listed = command(
        "results", "--collection", "trials", "--filter", "measures.train_loss<1000",
        "--columns", "variant,seed,measures.train_loss", "--format", "csv",
    )  # fmt: skip
    assert len(listed.splitlines()) == 1 + 6
    assert "small study" in command("status")


def test_what_is_wrong_with_a_file_is_said(command, tmp_path):
    (tmp_path / "study.yaml").write_text("seeds: 1\n")
    with pytest.raises(SpecError, match=r"seeds: 1 — "):
        command("study", "study.yaml")
