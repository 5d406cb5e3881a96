"""Compiled code is kept and found again, wherever the package lies and whoever starts at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import crysearch

PROGRAM = """
from crysearch.fingerprints import RadialDistributionFunction, kernel
from crysearch.sampling import CrystalRequest, create_sampler
request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
batch = create_sampler("wyckoff", request).sample(20, 0)
prints = RadialDistributionFunction().compute(batch.lattices, batch.fractional_coordinates)
print(kernel._fill.stats.cache_hits.total(), len(set(map(bytes, prints))), prints.sum().hex())
"""


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> list[str]:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.split()


@pytest.mark.slow
def test_processes_that_start_at_once_compile_the_same(tmp_path):
    folder = {"NUMBA_CACHE_DIR": str(tmp_path)}
    together = [answer(process) for process in [start(folder) for _ in range(2)]]
    assert len({tuple(words[1:]) for words in together}) == 1
    later = answer(start(folder))
    assert later == ["1", *together[0][1:]]


@pytest.mark.slow
def test_a_package_that_cannot_be_written_to_is_compiled_once_per_user(tmp_path):
    """As in a shared installation: the code then goes to the user's cache folder."""
    package = tmp_path / "site-packages" / "crysearch"
    shutil.copytree(
        Path(crysearch.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        # Even root cannot make a folder where there is a file.
        (folder / "__pycache__").write_text("")
    home = tmp_path / "home"
    environment = {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "NUMBA_CACHE_DIR": "",
    }
    first, second = answer(start(environment)), answer(start(environment))
    assert first[0] == "0"
    assert second == ["1", *first[1:]]
    assert list(home.rglob("*.nbi"))
