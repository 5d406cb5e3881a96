"""A machine with a "VASP": the stand-in, and potentials without content."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

import crysearch
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.vasp_standin.potcars import write_fake_potcars
from crysearch.workflows.vasp import vasp_jobs

COMMAND = f"{sys.executable} -m crysearch.vasp_standin"


@pytest.fixture(scope="session")
def potentials(tmp_path_factory) -> Path:
    return write_fake_potcars(tmp_path_factory.mktemp("potentials"), ["Si"])


@pytest.fixture
def standin(potentials, tmp_path, monkeypatch) -> pytest.MonkeyPatch:
    """Settings that lead to the stand-in, and an empty folder to work in."""
    monkeypatch.setenv("CRYSEARCH_VASP_COMMAND", COMMAND)
    monkeypatch.setenv("CRYSEARCH_VASP_POTENTIALS", str(potentials))
    monkeypatch.setenv("CRYSEARCH_VASP_POLL_SECONDS", "0.1")
    # The stand-in is a process of its own; it is to be that of these sources.
    paths = [str(Path(crysearch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.delenv(FAIL_VARIABLE, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return monkeypatch


@pytest.fixture
def silicon() -> Structure:
    """The primitive cell of diamond, somewhat too large and out of shape."""
    lattice = Lattice.from_parameters(3.95, 3.9, 3.92, 61, 60, 60)
    return Structure(lattice, ["Si", "Si"], [[0, 0, 0], [0.26, 0.25, 0.25]])


def compute(
    structure: Structure, protocol: str = "lda", success: bool = True, **options: Any
) -> tuple[Any, JobStore]:
    """The outcome of a structure, computed in this process, and the JobStore."""
    jobs, final = vasp_jobs(structure, protocol, "test", {"search": "none"}, **options)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    responses = run_locally(Flow(jobs), store=store, log=False, ensure_success=success)
    return responses[final.uuid][1].output, store
