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
    spec = flow.build_search()
    assert spec.identifier == ActiveLearningSpec.build({}).identifier
    assert flow.build_search(atoms=8, pool=60).first_batch == 60


def test_the_flow_begins_with_three_jobs_that_add_the_others(flow):
    names = [job.name for job, _ in flow.build_flow("stillinger-weber").iterflow()]
    assert names == [
        "known structures",
        "fill the quotas, 16 formula units",
        "cycle 0, references",
    ]


def test_cycles_are_printed_without_errors_where_none_are_known(flow, capsys):
    cycle = {
        "cycle": 1,
        "configurations": 100,
        "cluster_count": 700,
        "lowest_energy_per_atom": -5.4,
        "errors": {"energy_mae": 0.05, "force_mae": 0.3},
    }
    flow.print_cycles([{}, cycle, {**cycle, "cycle": 2, "errors": None}])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "0.050" in lines[1] and "0.050" not in lines[2]
