"""Jobs whose time in the queue ends soon."""

from __future__ import annotations

import math
import time
from collections import Counter

import pytest

from .project import Project

pytestmark = pytest.mark.slow


def test_jobs_stop_at_the_border_of_a_batch(finished_search, project_with):
    """Each job makes one batch, the least that it can, and leaves the rest to others."""
    spec, undisturbed = finished_search
    project: Project = project_with(job_minutes=10, sampling_jobs=2)
    project.submit(spec)
    end = str(time.time() + 1)
    workers = [project.worker(CRYSEARCH_JOB_END=end) for _ in range(2)]
    assert [worker.end() for worker in workers] == [0, 0], project.said()
    project.assert_complete(undisturbed)
    assert set(project.launches_per_job().values()) == {1}
    names = Counter(job["name"] for job in project.pad.fireworks.find({}, {"name": 1}))
    for size in spec.formula_units:
        of_size = {"formula_units": size, "stage": "sampling"}
        batches = project.database.batches.count_documents(of_size)
        assert names[f"sample and screen, {size} formula units, 1/2"] >= math.ceil(batches / 2)
        assert batches > 2
    # A job of several batches has left all but its first one to a job of their own.
    assert {name: n for name, n in names.items() if name.startswith("relax candidates, batch")} == {
        "relax candidates, batch 1–3": 1,
        "relax candidates, batch 2–3": 1,
        "relax candidates, batch 3": 1,
        "relax candidates, batch 4–5": 1,
        "relax candidates, batch 5": 1,
    }
