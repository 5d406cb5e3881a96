"""VASP's jobs on a launch pad, run by rlaunch; and one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("atomate2", reason="pip install 'crysearch[vasp]'")

import jobflow
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire
from jobflow import Flow, JobStore
from maggma.stores import MemoryStore

from crysearch import localdb
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.workflows import submit
from crysearch.workflows.jobs import CPU, MPI
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.vasp import vasp_jobs

RLAUNCH = [sys.executable, "-m", "fireworks.scripts.rlaunch_run"]


@pytest.fixture
def project(standin, tmp_path) -> Path:
    """A folder with the files that workers read: launch pad, JobStore, and the stand-in."""
    records = tmp_path / "records"
    standin.setenv("CRYSEARCH_DATABASE", str(records))
    address = localdb.ensure_running(records).uri("crysearch")
    folder = tmp_path / "project"
    folder.mkdir()
    pad = {"host": address, "uri_mode": True, "name": "crysearch", "strm_lvl": "CRITICAL"}
    (folder / "launchpad.yaml").write_text(yaml.safe_dump(pad))
    place = {"type": "MongoStore", "host": address, "database": "crysearch"}
    store = {
        "docs_store": place | {"collection_name": "outputs"},
        "additional_stores": {"data": place | {"collection_name": "blobs"}},
    }
    (folder / "jobflow.yaml").write_text(yaml.safe_dump({"JOB_STORE": store}))
    standin.setenv("JOBFLOW_CONFIG_FILE", str(folder / "jobflow.yaml"))
    standin.setenv("CRYSEARCH_LAUNCHPAD_FILE", str(folder / "launchpad.yaml"))
    for category in (MPI, CPU):
        worker = {"name": category, "category": category, "query": "{}"}
        (folder / f"{category}.yaml").write_text(yaml.safe_dump(worker))
    return folder


def worker(project: Path, category: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [*RLAUNCH, "-l", "launchpad.yaml", "-w", f"{category}.yaml", *arguments]
    return subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def store_of(project: Path) -> JobStore:
    return JobStore.from_dict_spec(
        yaml.safe_load((project / "jobflow.yaml").read_text())["JOB_STORE"]
    )


@pytest.mark.slow
def test_rlaunch(project, silicon, standin):
    """A worker that has VASP, and one (this process) that collects."""
    jobs, final = vasp_jobs(silicon, "lda", "Si2", {"candidate": "c1"})
    submission = submit(Flow(jobs))
    pad = launchpad()
    assert not pad.run_exists(FWorker(category=CPU))
    assert worker(project, MPI, "rapidfire", "--nlaunches", "3").wait(120) == 0
    assert not pad.run_exists(FWorker(category=MPI))
    with store_of(project) as store:
        standin.setattr(jobflow.SETTINGS, "JOB_STORE", store)
        rapidfire(pad, FWorker(category=CPU), nlaunches=1, strm_lvl="CRITICAL")
        outcome = store.get_output(final.uuid)
    assert sorted(pad.get_fw_ids({"state": "COMPLETED"})) == submission.fw_ids
    assert outcome["status"] == "converged", outcome["detail"]
    assert outcome["stand_in"] is True
    folders = {task["dir_name"].split(":")[-1] for task in outcome["tasks"]}
    launches = {launch["launch_dir"] for launch in pad.launches.find({"state": "COMPLETED"})}
    assert folders < launches
    assert all((Path(folder) / "vasprun.xml.gz").is_file() for folder in folders)


@pytest.mark.slow
def test_a_worker_that_is_killed(project, silicon, standin):
    jobs, final = vasp_jobs(silicon, "lda", "Si2", {})
    submit(Flow(jobs))
    standin.setenv(FAIL_VARIABLE, "hang")
    rlaunch = worker(project, MPI, "singleshot")
    try:
        deadline = time.monotonic() + 60
        while not list(project.glob("**/OSZICAR")):
            assert time.monotonic() < deadline, "the stand-in did not start"
            time.sleep(0.1)
    finally:
        # The stand-in ends when its parent has gone.
        os.kill(rlaunch.pid, signal.SIGKILL)
        rlaunch.wait()
    pad = launchpad()
    assert len(pad.detect_lostruns(expiration_secs=0, fizzle=True)[1]) == 1
    # The other jobs start no VASP; this process can be their worker.
    with store_of(project) as store:
        standin.setattr(jobflow.SETTINGS, "JOB_STORE", store)
        rapidfire(pad, FWorker(), nlaunches=3, strm_lvl="CRITICAL")
        outcome = store.get_output(final.uuid)
    assert len(pad.get_fw_ids({"state": "COMPLETED"})) == 3
    assert (outcome["status"], outcome["reason"]) == ("failed", "lost")
    assert "'relax 1'" in outcome["detail"]
    assert [task["state"] for task in outcome["tasks"]] == ["lost", "not run", "not run"]


def test_a_worker_whose_store_is_its_memory_refuses(project, silicon, standin):
    """What VASP computes would end with the worker."""
    jobs, _ = vasp_jobs(silicon, "lda", "Si2", {})
    submit(Flow(jobs))
    store = JobStore(MemoryStore())
    standin.setattr(jobflow.SETTINGS, "JOB_STORE", store)
    rapidfire(launchpad(), FWorker(), nlaunches=4, strm_lvl="CRITICAL")
    outcome = store.get_output(jobs[-1].uuid)
    assert (outcome["status"], outcome["reason"]) == ("failed", "no_job_store")
    assert not list(project.glob("**/vasprun.xml*"))
