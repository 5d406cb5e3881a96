"""The active learning of silicon, as it is in `flows`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from crysearch.active_learning_spec import ActiveLearningSpec

FILE = Path(__file__).parents[1] / "flows" / "active_learning_si16.py"


@pytest.fixture(scope="module")
def flow():
    description = importlib.util.spec_from_file_location("active_learning_si16", FILE)
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def test_what_is_written_out_there_is_the_default(flow):
    spec = flow.build_spec()
    assert spec.identifier == ActiveLearningSpec.build({}).identifier
    assert flow.build_spec(atoms=8, pool=60).first_batch == 60


def test_the_flow_begins_with_three_jobs_that_add_the_others(flow):
    names = [job.name for job, _ in flow.build_flow("stillinger-weber").iterflow()]
    assert names == [
        "known structures",
        "fill the quotas, 16 formula units",
        "cycle 0, references",
    ]
