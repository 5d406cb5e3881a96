"""`crysearch doctor` as a person and as a pipe use it."""

from __future__ import annotations

import json
import os

import pytest
import typer
from typer.testing import CliRunner

from crysearch.cli.doctor import doctor


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("CRYSEARCH_", "FW_", "JOBFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crysearch.yaml").write_text("database: records\n")
    return tmp_path


def run(*arguments):
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments)


@pytest.mark.slow
def test_on_a_laptop_nothing_fails(place):
    result = run("--format", "json")
    found = json.loads(result.stdout)
    assert not [finding for finding in found if finding["state"] == "failed"]
    assert result.exit_code == 0
    assert {finding["check"] for finding in found} >= {
        "settings", "database", "authentication", "writing", "indexes", "launch pad", "jobs",
        "engine", "device", "disk", "queue", "Materials Project",
    }  # fmt: skip
    assert all(finding["advice"] for finding in found if finding["state"] == "warning")


@pytest.mark.slow
def test_a_broken_database_fails_and_the_other_checks_go_on(place, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", "mongodb://me:hidden@127.0.0.1:1/crysearch")
    result = run()
    assert result.exit_code == 1
    assert "hidden" not in result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("failed     database") for line in lines)
    assert any(line.startswith("ok         engine") for line in lines)
    assert lines[-1].endswith("warnings")


def test_broken_settings_are_said_once(place, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_THREADS", "many")
    result = run()
    assert result.exit_code == 1
    assert result.stdout.count("threads:") == 1
