"""Submitting to a launch pad, and workers that run what was submitted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fireworks import FWorker
from jobflow import Flow, job

from crysearch import localdb
from crysearch.errors import SettingsError, SpecError
from crysearch.records import open_records, queries
from crysearch.workflows import CrystalSearchMaker, submit
from crysearch.workflows.jobs import BATCHED, CPU
from crysearch.workflows.launchpad import launchpad

from .conftest import content

RLAUNCH = Path(sys.executable).parent / "rlaunch"


@job
def add(first, second):
    return first + second


def test_a_search_is_submitted_once(small_spec, database):
    first = submit(small_spec)
    assert first.state == "added"
    assert first.search == small_spec.search_id
    pad = launchpad()
    assert sorted(pad.get_fw_ids()) == first.fw_ids
    # References, model, replicas, two cell sizes drawn and guided, relaxing twice, verdicts.
    assert len(first.fw_ids) == 10
    again = submit(CrystalSearchMaker().make(small_spec))
    assert again.state == "waiting"
    assert again.fw_ids == first.fw_ids
    assert pad.get_wf_ids(count_only=True) == 1
    with open_records(database) as records:
        assert queries.resolve_search(records)["status"] == "submitted"


def test_jobs_have_categories_and_know_their_search(small_spec, database):
    submit(small_spec)
    found = {}
    for document in launchpad().fireworks.find({}, {"name": 1, "spec": 1}):
        assert document["spec"]["search"] == small_spec.search_id
        found[document["name"]] = document["spec"]["_category"]
    assert found["train the model"] == found["generate replicas"] == BATCHED
    assert set(found.values()) == {CPU, BATCHED}
    gpu_worker = FWorker(category=BATCHED)
    assert launchpad().run_exists(FWorker(category=CPU))
    assert not launchpad().run_exists(gpu_worker)


def test_any_flow_of_jobflow_can_be_submitted(database):
    one = add(1, 2)
    submission = submit(Flow([one, add(one.output, 3)]))
    assert submission.search is None
    assert len(submission.fw_ids) == 2


def test_what_cannot_work_is_not_submitted(small_spec, database):
    with pytest.raises(SpecError, match="formula_units 4: volume"):
        submit(small_spec.with_changes({"minimum_distances": {"Si-Si": 4.0}}))
    assert not database.exists()


def test_a_launch_pad_file_that_is_missing_or_wrong_is_named(
    small_spec, database, tmp_path, monkeypatch
):
    monkeypatch.setenv("CRYSEARCH_LAUNCHPAD_FILE", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: no such file"):
        submit(small_spec)
    (tmp_path / "wrong.yaml").write_text("password: hunter2\n")
    monkeypatch.setenv("CRYSEARCH_LAUNCHPAD_FILE", str(tmp_path / "wrong.yaml"))
    with pytest.raises(SettingsError, match="FireWorks cannot read it") as caught:
        submit(small_spec)
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_workers_end_with_the_records_of_a_local_run(finished_search, database, tmp_path):
    """Two rlaunch processes with nothing but a launch pad and the settings in the folder."""
    spec, undisturbed = finished_search
    submit(spec)
    address = localdb.ensure_running(database)
    project = tmp_path / "project"
    project.mkdir()
    (project / "crysearch.yaml").write_text(f"database: {database}\n")
    (project / "launchpad.yaml").write_text(
        f"host: {address.uri('crysearch')}\nuri_mode: true\nname: crysearch\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CRYSEARCH_JOB_MINUTES": "0.01"}
    del environment["CRYSEARCH_DATABASE"]
    command = [str(RLAUNCH), "-l", "launchpad.yaml", "rapidfire", "--timeout", "240"]
    command += ["--nlaunches", "infinite", "--sleep", "1"]
    workers = [
        subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        pad = launchpad()
        wait_for(lambda: pad.get_wf_ids({"state": {"$in": ["COMPLETED", "FIZZLED"]}}), 200)
    finally:
        for worker in workers:
            worker.terminate()
        said = [worker.communicate()[0] for worker in workers]
    assert pad.get_wf_ids({"state": "COMPLETED"}), said
    assert content(database) == content(undisturbed)
    with open_records(database) as records:
        assert len(records.distinct("batches", "worker")) == 2
    assert submit(spec).state == "complete"


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.3)
