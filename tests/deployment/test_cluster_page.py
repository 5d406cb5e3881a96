"""docs/cluster.md, word by word, on a real Slurm; only the search is a smaller one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from slurm.cluster import SlurmUnavailable, cluster, install
from small_search import SMALL

ROOT = Path(__file__).parents[2]
COMMANDS = re.compile(r"`source .venv/bin/activate`:\n\n((?:    .+\n)+)")


@pytest.fixture
def slurm():
    try:
        install()
    except SlurmUnavailable as error:
        warnings.warn(f"THE CLUSTER PAGE WAS NOT TRIED: {error}", stacklevel=1)
        pytest.skip(str(error))
    with cluster() as made:
        yield made


@pytest.mark.slow
def test_the_page_gives_a_finished_search(place, slurm):
    found = COMMANDS.search((ROOT / "docs" / "cluster.md").read_text())
    lines = [line.removeprefix("    ") for line in found[1].splitlines()]
    (submission,) = [line for line in lines if line.startswith("crysearch submit ")]
    (place / "small.yaml").write_text(yaml.safe_dump(SMALL))
    lines[lines.index(submission)] = "crysearch submit ../small.yaml"
    path = f"{Path(sys.executable).parent}{os.pathsep}{slurm.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -e\n" + "\n".join(lines)],
        cwd=place, env={**slurm.environment, "PATH": path}, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^search \w+ .*: complete$", done.stdout, re.MULTILINE)
    assert "0 failed" in done.stdout
    workers = {path.name for path in (place / "cluster").glob("block_*/launcher_*/crysearch-*.out")}
    assert workers
