from __future__ import annotations

import os

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty home and current folder, and a local store as the settings' database."""
    for name in list(os.environ):
        if name.startswith(("CRYSEARCH_", "FW_", "JOBFLOW_", "ATOMATE2_", "MP_API", "PMG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "crysearch.yaml").write_text("database: records\n")
    return folder
