"""The package as it is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import crysearch

ROOT = Path(__file__).parents[1]


def test_version_is_one_everywhere():
    assert metadata.version("crysearch") == crysearch.__version__
    assert f"version: {crysearch.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_every_dependency_is_pinned_for_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in wanted:
        name = requirement.split("[")[0].split(">")[0].strip().lower().replace("_", "-")
        assert name in pinned | {"crysearch"}, name


def test_asking_the_records_loads_neither_torch_nor_jobflow():
    """The commands that only read must start quickly."""
    code = (
        "import sys, crysearch.cli.main;"
        "print([name for name in ('torch', 'jobflow', 'pyxtal', 'matplotlib') "
        "if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"
