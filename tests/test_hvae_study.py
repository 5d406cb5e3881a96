"""The study of the Hamiltonian autoencoder, as it is in `flows`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from crysearch.study import StudySpec

FILE = Path(__file__).parents[1] / "flows" / "hvae_study.py"


@pytest.fixture(scope="module")
def flow():
    description = importlib.util.spec_from_file_location("hvae_study", FILE)
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def test_what_is_written_out_there_is_the_default(flow):
    spec, default = flow.build_study(), StudySpec.build({})
    assert spec.known.search_id == default.known.search_id
    for field in ("seeds", "equal_time_factor", "crystals", "relaxations", "evidence_samples"):
        assert getattr(spec, field) == getattr(default, field)
    assert flow.build_study(seeds=3).seeds == 3


def test_what_is_compared_differs_in_one_thing(flow):
    spec = flow.build_study()
    for variant in spec.variants:
        for name in variant.baselines:
            mine, its = variant.generative.model_dump(), spec.variant(name).generative.model_dump()
            assert {key for key in mine if mine[key] != its[key]} <= {"model", "hamiltonian"}


def test_the_flow_has_a_job_for_each_variant(flow):
    names = [job.name for job, _ in flow.build_flow(seeds=2, crystals=10).iterflow()]
    variants = [variant.name for variant in flow.build_study().variants]
    assert names == [
        "known structures",
        *(f"train {name}" for name in variants),
        "screen random crystals",
        "relax what was chosen",
        "conclude",
    ]
