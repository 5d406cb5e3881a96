"""Workers that are killed, and what `lpad detect_lostruns --rerun` makes of their jobs."""

from __future__ import annotations

import signal

import pytest

from .project import LOST_AFTER, Project

pytestmark = pytest.mark.slow

SAMPLING, RELAXING = "sample and screen", "relax candidates, batch"


@pytest.mark.parametrize(
    ("job", "query"),
    [
        pytest.param(SAMPLING, {"stage": "sampling"}, id="sampling"),
        pytest.param(RELAXING, {"stage": "relaxation", "kind": "candidate"}, id="relaxation"),
    ],
)
def test_another_worker_takes_over(finished_search, project: Project, job, query):
    """The second worker is alive, and at work, while the jobs of the first count as lost."""
    spec, undisturbed = finished_search
    project.submit(spec)
    worker = project.worker()
    worker.kill_when(
        lambda: (
            project.database.batches.count_documents(query)
            and project.running(job)
            and not project.locked()
        )
    )
    (killed,) = project.running(job)
    second = project.worker()
    assert project.rerun_lost(LOST_AFTER) == [killed]
    assert second.end() == 0
    project.assert_complete(undisturbed)
    launches = project.launches_per_job()
    assert launches.pop(killed) == 2
    assert set(launches.values()) == {1}


def test_dying_at_the_worst_moments(finished_search, project: Project):
    """Three workers, each killed when documents are written and the batch is not yet complete."""
    spec, undisturbed = finished_search
    project.submit(spec)
    for moment in ("candidates:2", "relaxations:2", "relaxations:1"):
        assert project.worker("dies", moment).end() == -signal.SIGKILL
        assert len(project.rerun_lost()) == 1, moment
    assert project.worker().end() == 0
    project.assert_complete(undisturbed)
    assert sum(launches - 1 for launches in project.launches_per_job().values()) == 3


def test_dying_while_the_workflow_is_locked(finished_search, project: Project):
    """FireWorks' lock outlives its holder: the next who needs it waits, and then takes it."""
    spec, undisturbed = finished_search
    project.configure_fireworks(WFLOCK_EXPIRATION_SECS=3, WFLOCK_EXPIRATION_KILL=True)
    project.submit(spec)
    assert project.worker("locked").end() == -signal.SIGKILL
    assert project.locked()
    project.rerun_lost()
    assert not project.locked()
    assert project.worker().end() == 0
    project.assert_complete(undisturbed)
