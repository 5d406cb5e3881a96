"""A database that goes away while workers need it."""

from __future__ import annotations

import time

import pytest

from crysearch import localdb

from .project import Project

pytestmark = pytest.mark.slow


def test_a_worker_waits_for_a_database_that_restarts(finished_search, project: Project):
    """It goes away, politely or not, between the documents of a batch and what completes them."""
    spec, undisturbed = finished_search
    project.submit(spec)
    worker = project.worker("pauses", str(project.folder), "candidates:2", "relaxations:2")
    with project.paused("candidates"):
        assert localdb.stop(project.store)
    time.sleep(3)
    assert worker.alive
    localdb.start(project.store)
    with project.paused("relaxations"):
        project.kill_database()
    time.sleep(3)
    assert worker.alive
    localdb.start(project.store)
    assert worker.end() == 0, project.said()
    project.assert_complete(undisturbed)
    assert set(project.launches_per_job().values()) == {1}


def test_a_worker_gives_up_on_a_database_that_stays_away(finished_search, project_with):
    spec, undisturbed = finished_search
    project = project_with(patience=2)
    project.submit(spec)
    worker = project.worker("pauses", str(project.folder), "candidates:2")
    with project.paused("candidates"):
        (running,) = project.running("sample and screen")
        localdb.stop(project.store)
    assert worker.end() == 1
    assert "has not answered for 2 s (setting database_patience)" in worker.said()
    localdb.start(project.store)
    # Of the batch there are whole crystals, and nothing says that it is complete.
    begun = project.database.candidates.distinct("batch")
    done = project.database.batches.distinct("batch", {"stage": "sampling"})
    assert len(set(begun) - set(done)) == 1
    assert project.rerun_lost() == [running]
    assert project.worker().end() == 0
    project.assert_complete(undisturbed)
