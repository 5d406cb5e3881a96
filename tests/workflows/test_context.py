"""Where jobs find the records."""

from __future__ import annotations

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MongoStore

from crysearch import localdb
from crysearch.records import open_records
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
