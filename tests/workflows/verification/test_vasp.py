"""The best structures of a search through VASP's workflow, with the stand-in for VASP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jobflow
import pytest
from fireworks.core.rocket_launcher import rapidfire
from jobflow import JobStore

import crysearch
from crysearch import localdb
from crysearch.errors import CrysearchError
from crysearch.records import open_records
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.vasp_standin.potcars import write_fake_potcars
from crysearch.verification import VerificationSpec
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.verification import best_distinct, run_verification, submit_verification
from verified_search import SPEC

SEARCH = SPEC.search_id
LEVEL = {"engine": "vasp", "allow_stand_in": True}


@pytest.fixture
def vasp(database, tmp_path, monkeypatch):
    """Settings that lead to the stand-in, and an empty folder to work in."""
    monkeypatch.setenv("CRYSEARCH_VASP_COMMAND", f"{sys.executable} -m crysearch.vasp_standin")
    potentials = write_fake_potcars(tmp_path / "potentials", ["Si"])
    monkeypatch.setenv("CRYSEARCH_VASP_POTENTIALS", str(potentials))
    monkeypatch.setenv("CRYSEARCH_VASP_POLL_SECONDS", "0.1")
    paths = [str(Path(crysearch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    # Workers of FireWorks: what the jobflow.yaml of `crysearch init` says.
    address = localdb.ensure_running(database).uri("crysearch")
    place = {"type": "MongoURIStore", "uri": address, "database": "crysearch"}
    stores = {
        "docs_store": place | {"collection_name": "outputs"},
        "additional_stores": {"data": place | {"collection_name": "outputs_data"}},
    }
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore.from_dict_spec(stores))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return monkeypatch


def build(**level):
    return VerificationSpec.build({"level": LEVEL | level, "properties": {"wanted": []}})


def documents(place, collection, **query):
    with open_records(place, read_only=True) as records:
        return records.find(collection, query, sort=[("_id", 1)])


def subjects_of(place, number):
    with open_records(place) as records:
        return best_distinct(records, SEARCH, number)


def test_a_structure_goes_through_vasp_s_workflow(vasp, database):
    subjects = subjects_of(database, 1)
    run_verification(SEARCH, subjects, build(), "runs")
    [verdict] = documents(database, "verdicts")
    assert verdict["stand_in"] is True
    assert verdict["scheme"] == "stand-in for vasp:lda"
    # The stand-in drives the engine of the search: it must come to the same energies.
    first, second = verdict["levels"]
    assert second["energy_per_atom"] == pytest.approx(first["energy_per_atom"], abs=2e-3)
    assert verdict["answers"]["electronic"]["status"] == "not_computed"
    assert verdict["band_gap"] is None
    calculation = documents(database, "calculations", parent_id=subjects[0])[0]
    # The tasks are in the JobStore, where users of atomate2 look for them.
    with open_records(database, read_only=True) as records:
        for task in calculation["tasks"]:
            found = records.database["outputs"].find_one({"uuid": task["uuid"]})
            assert found["output"]["vasp_objects"] is not None
            assert Path(task["dir_name"].split(":")[-1]).is_dir()
    assert calculation["repairs"] == []


def test_a_stand_in_is_refused_unless_it_is_asked_for(vasp, database):
    subjects = subjects_of(database, 1)
    summary = run_verification(SEARCH, subjects, build(allow_stand_in=False), "runs")
    assert summary["calculated"] == 0
    failures = documents(database, "failures", stage="verification")
    assert {failure["reason"] for failure in failures} == {"stand_in"}


@pytest.mark.slow
def test_workers_and_custodian_bring_the_best_three_to_their_verdicts(vasp, database):
    """Three structures by FireWorks' workers; a ZBRENT failure is repaired and recorded."""
    subjects = subjects_of(database, 3)
    vasp.setenv(FAIL_VARIABLE, "zbrent")
    # Tighter than the search, so that there is something left to relax, and to fail at.
    submit_verification(SEARCH, subjects, build(options={"EDIFFG": -1e-5}))
    rapidfire(launchpad(), strm_lvl="ERROR")
    assert {fw["state"] for fw in launchpad().fireworks.find({}, {"state": 1})} == {"COMPLETED"}
    verdicts = documents(database, "verdicts")
    assert len(verdicts) == 3
    assert all(verdict["stand_in"] for verdict in verdicts)
    for key in subjects:
        [calculation] = documents(database, "calculations", parent_id=key)
        assert calculation["converged"]
        assert any("zbrent" in str(repair["errors"]) for repair in calculation["repairs"])
    for verdict in verdicts:
        assert verdict["levels"][1]["repairs"] >= 1


def test_without_vasp_nothing_starts_here_and_workers_record_why(vasp, database):
    subjects = subjects_of(database, 1)
    vasp.setenv("CRYSEARCH_VASP_COMMAND", "no_such_vasp_std")
    with pytest.raises(CrysearchError, match="no_such_vasp_std"):
        run_verification(SEARCH, subjects, build(), "runs")
    submit_verification(SEARCH, subjects, build())
    rapidfire(launchpad(), strm_lvl="ERROR")
    failures = documents(database, "failures", stage="verification")
    assert {failure["reason"] for failure in failures} == {"no_vasp_command"}
    [verdict] = documents(database, "verdicts")
    assert verdict["levels"][1]["status"] == "failed"
