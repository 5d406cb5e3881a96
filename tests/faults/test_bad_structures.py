"""Crystals with which the engine raises, hangs, explodes or talks nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from crysearch.records.values import structure_from_document

from .project import Project, content

pytestmark = pytest.mark.slow

REASONS = {
    "raises": ("engine_error", "ArithmeticError: the stand-in engine does not converge"),
    "hangs": ("timeout", "did not end within 2 s"),
    "explodes": ("explosion", "exceeds maximum_force=1000"),
    "nonsense": ("non_finite", "energy, forces or stress are not finite"),
}


def relaxed_candidates(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        document["parent_id"]: document
        for document in records["relaxations"].values()
        if document["parent_kind"] == "candidate"
    }


def test_they_are_recorded_failures_and_the_others_are_relaxed(finished_search, project_with):
    spec, undisturbed = finished_search
    good = relaxed_candidates(content(undisturbed))
    guilty = dict(zip(REASONS, sorted(good), strict=False))
    crystals = content(undisturbed)["candidates"]
    volumes = {
        name: structure_from_document(crystals[parent]).volume for name, parent in guilty.items()
    }
    project = project_with(engine_timeout=2)
    project.submit(spec)
    faults = ",".join(f"{name}={volume!r}" for name, volume in volumes.items())
    assert project.worker("engine", faults).end() == 0, project.said()
    assert project.workflow_state() == "COMPLETED"
    assert set(project.launches_per_job().values()) == {1}
    found = content(project.uri)
    assert found["searches"][spec.search_id]["status"] == "complete"
    failures = {document["parent"]: document for document in found["failures"].values()}
    assert failures.keys() == set(guilty.values())
    for name, parent in guilty.items():
        reason, detail = REASONS[name]
        assert failures[parent]["reason"] == reason
        assert detail in failures[parent]["detail"]
        assert failures[parent]["where"] == "stillinger-weber"
        assert failures[parent]["input"]
    relaxed = relaxed_candidates(found)
    assert relaxed.keys() == good.keys() - set(guilty.values())
    for parent, document in relaxed.items():
        assert document["structure"] == good[parent]["structure"]
        assert document["energy_per_atom"] == good[parent]["energy_per_atom"]
        assert document["is_new"] == good[parent]["is_new"]


def test_with_a_broken_engine_jobs_fail_and_run_again_when_it_is_mended(
    finished_search, project: Project
):
    """No crystal is blamed: the jobs fail, and submitting the search again runs these alone."""
    spec, undisturbed = finished_search
    project.submit(spec)
    assert project.worker("broken").end() == 0
    assert project.workflow_state() == "FIZZLED"
    failed = sorted(project.pad.get_fw_ids({"state": "FIZZLED"}))
    found = content(project.uri)
    assert found["searches"][spec.search_id]["status"] == "failed"
    (failure,) = found["failures"].values()
    assert (failure["stage"], failure["reason"]) == ("relaxing references", "error")
    assert "failed on all" in failure["detail"]
    assert not found["relaxations"]
    again = project.submit(spec)
    assert (again.state, again.fw_ids) == ("rerun", failed)
    assert project.worker().end() == 0, project.said()
    project.assert_complete(undisturbed)
    launches = project.launches_per_job()
    assert {job for job in launches if launches[job] == 2} == set(failed)
    assert set(launches.values()) == {1, 2}
