"""An active learning on the launch pad, run by workers of which one is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.records import open_records
from crysearch.workflows.active_learning import run_active_learning, submit_active_learning
from small_active_learning import SMALL_ACTIVE_LEARNING
from workflows.active_learning.test_active_learning import content

from .project import LOST_AFTER, Project

pytestmark = pytest.mark.slow

SPEC = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, dict[str, Any]]:
    place: Path = tmp_path_factory.mktemp("undisturbed") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_active_learning(SPEC)
    return content(place)


@pytest.mark.parametrize("moment", ["cycles:1", "configurations:2"])
def test_two_workers_one_of_which_is_killed(project: Project, undisturbed, moment):
    """When the first structures are chosen, and while reference calculations are written."""
    collection = moment.partition(":")[0]
    submit_active_learning(SPEC, project.pad)
    workers = [project.worker("pauses", str(project.folder), moment) for _ in range(2)]
    with project.paused(collection):
        file = project.folder / f"{collection} paused"
        project.wait(file.read_text, "the number of the process")
        number = int(file.read_text())
        (doomed,) = (worker for worker in workers if worker.process.pid == number)
        doomed.kill()
        (killed,) = project.rerun_lost(LOST_AFTER)
    (other,) = (worker for worker in workers if worker is not doomed)
    assert other.end() == 0, project.said()
    assert project.worker().end() == 0
    assert project.workflow_state() == "COMPLETED", project.said()
    launches = project.launches_per_job()
    assert launches.pop(killed) == 2
    assert set(launches.values()) == {1}
    assert content(project.uri) == undisturbed
    with open_records(project.uri, read_only=True) as records:
        assert records.count("cycles") == 3
