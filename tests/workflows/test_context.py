"""Where jobs find the records, and their engine."""

from __future__ import annotations

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MongoStore

from crysearch import localdb
from crysearch.errors import RelaxationError
from crysearch.records import open_records
from crysearch.workflows.context import check_device, make_engine, validate
from crysearch.workflows.jobs import gather_references


@pytest.fixture
def job_store(tmp_path):
    address = localdb.start(tmp_path / "server")
    return JobStore(MongoStore.from_uri(address.uri("group"), "outputs", database="group"))


def run_first_job(spec, store) -> None:
    job = gather_references(spec.model_dump(mode="json"))
    run_locally(job, log=False, store=store, ensure_success=True, raise_immediately=True)


def test_a_worker_without_a_database_of_its_own_writes_to_that_of_its_job_store(
    small_spec, job_store, tmp_path, monkeypatch
):
    monkeypatch.delenv("CRYSEARCH_DATABASE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run_first_job(small_spec, job_store)
    assert not (tmp_path / "home").exists()
    with open_records(localdb.ensure_running(tmp_path / "server").uri("group")) as records:
        assert records.count("references", {"search": small_spec.search_id}) == 43
    assert job_store.count() == 1


def test_a_database_in_the_settings_goes_first(small_spec, job_store, database):
    run_first_job(small_spec, job_store)
    with open_records(database) as records:
        assert records.count("references") == 43
    assert job_store.docs_store._collection.database["references"].count_documents({}) == 0


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program in place of pw.x and a folder in place of the pseudopotentials."""
    program = tmp_path / "my-pw.x"
    program.write_text("#!/bin/sh\necho '     Program PWSCF v.9.9 starts'\n")
    program.chmod(0o755)
    monkeypatch.setenv("CRYSEARCH_ESPRESSO_COMMAND", f"{program} -nk 1")
    monkeypatch.setenv("CRYSEARCH_ESPRESSO_PSEUDOPOTENTIALS", str(tmp_path))
    return program


def test_an_engine_has_the_programs_of_the_settings_and_the_options_given(stand_in):
    engine = make_engine("espresso", {"plane_wave_cutoff": 321.0})
    assert engine.provenance["package_version"] == "9.9"
    assert engine.provenance["plane_wave_cutoff_eV"] == "321"
    with pytest.raises(RelaxationError, match=r"'no-pw\.x': there is no such program"):
        make_engine("espresso", {"command": "no-pw.x"})


def test_the_python_of_the_settings_is_asked_for_gpaw(monkeypatch):
    monkeypatch.setenv("CRYSEARCH_GPAW_PYTHON", "/no/such/python")
    with pytest.raises(RelaxationError, match="'/no/such/python': there is no such program"):
        make_engine("gpaw", {})


def test_a_search_is_told_what_its_engine_lacks_here(small_spec, stand_in):
    spec = small_spec.with_changes({"relaxation.engine": "espresso"})
    validate(spec)  # workers elsewhere may have the program
    with pytest.raises(RelaxationError, match="no LDA pseudopotential of Si"):
        check_device(spec)
    stand_in.unlink()
    validate(spec)
    with pytest.raises(RelaxationError, match="CRYSEARCH_ESPRESSO_COMMAND"):
        check_device(spec)
