"""Several workers that want the same jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fireworks import Firework, ScriptTask, Workflow

from crysearch.records import open_records

from .project import Project

pytestmark = pytest.mark.slow


def test_each_job_of_a_search_is_launched_once(finished_search, project: Project):
    spec, undisturbed = finished_search
    project.submit(spec)
    workers = [project.worker() for _ in range(4)]
    assert [worker.end() for worker in workers] == [0] * 4, project.said()
    project.assert_complete(undisturbed)
    assert set(project.launches_per_job().values()) == {1}
    assert project.pad.fireworks.count_documents({"archived_launches": {"$ne": []}}) == 0
    with open_records(project.uri) as records:
        assert len(records.distinct("batches", "worker")) > 1


def test_each_of_many_short_jobs_is_launched_once(project: Project, tmp_path: Path):
    """Jobs so short that the workers do little else than to ask for the next one."""
    log = tmp_path / "done"
    jobs = [Firework(ScriptTask.from_str(f"echo {i} >> {log}"), name=str(i)) for i in range(60)]
    last = Firework(ScriptTask.from_str(f"echo end >> {log}"), parents=jobs)
    project.pad.add_wf(Workflow([*jobs, last]))
    workers = [project.worker() for _ in range(4)]
    assert [worker.end() for worker in workers] == [0] * 4, project.said()
    done = log.read_text().split()
    assert sorted(done[:-1], key=int) == [str(i) for i in range(60)]
    assert done[-1] == "end"
    assert project.launches_per_job() == dict.fromkeys(range(1, 62), 1)
    assert sum("RUNNING fw_id" in worker.said() for worker in workers) > 1
