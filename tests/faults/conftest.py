"""Searches on a launch pad, run by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .project import Project


@pytest.fixture
def project_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Project]]:
    """Makes the project of a test; its settings are in force in the test's own process, too."""
    made: list[Project] = []

    def make(**settings: Any) -> Project:
        made.append(Project(tmp_path / "project", **settings))
        monkeypatch.delenv("CRYSEARCH_DATABASE", raising=False)
        monkeypatch.setenv("CRYSEARCH_CONFIG", str(made[0].folder / "crysearch.yaml"))
        return made[0]

    yield make
    for project in made:
        project.close()


@pytest.fixture
def project(project_with: Callable[..., Project]) -> Project:
    return project_with()
