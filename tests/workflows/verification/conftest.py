"""A finished search to verify structures of, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from verified_search import run_in


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_in(tmp_path_factory.mktemp("verified") / "records")


@pytest.fixture
def database(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the search's records that the settings point to."""
    place = tmp_path / "records"
    shutil.copytree(finished, place)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    return place
