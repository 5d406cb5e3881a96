"""Each check against a server that is well, and with the fault that it is for."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import yaml
from fireworks import Firework, ScriptTask

from crysearch import localdb
from crysearch.deployment.check_database import (
    check_database,
    check_fireworks,
    check_job_store,
    check_launchpad,
    check_settings,
)
from crysearch.deployment.files import project_files
from crysearch.deployment.findings import State
from crysearch.deployment.project import secret_texts
from crysearch.deployment.queues import Queue, QueueRequest
from crysearch.deployment.server import local_server
from crysearch.errors import CrysearchError
from crysearch.records import health, open_records
from crysearch.records.health import DatabaseHealth
from crysearch.workflows.launchpad import launchpad


def states(findings):
    return {finding.check: finding.state for finding in findings}


@pytest.fixture
def project(place):
    """A project as `crysearch init` writes it."""
    server = local_server(place / "records")
    files = project_files(server, str(place / "records"), QueueRequest(Queue.none, place))
    for file in files:
        path = place / file.name
        path.write_text(file.text.get_secret_value())
        path.chmod(0o600)
    return place


def test_a_new_local_store_is_well(place):
    found = list(check_database())
    assert states(found) == {
        "database": State.ok,
        "authentication": State.ok,
        "writing": State.ok,
        "indexes": State.absent,
        "clock": State.ok,
    }
    with open_records(place / "records", read_only=True) as records:
        assert not records.find("searches")
    localdb.start(place / "records")
    first = next(iter(check_database()))
    assert not first.advice


@pytest.mark.parametrize(
    ("part", "answer", "check", "said"),
    [
        ("version", (6, 0, 5), "database", "6.0.5"),
        ("asks_for_password", False, "authentication", "off"),
        ("asks_for_password", None, "authentication", "could not be told"),
        ("clock_skew", -90.0, "clock", "90 s behind"),
    ],
)
def test_what_is_not_as_it_should_be_is_a_warning(place, monkeypatch, part, answer, check, said):
    uri = localdb.ensure_running(place / "records").uri()
    monkeypatch.setenv("CRYSEARCH_DATABASE", uri)
    monkeypatch.setattr(DatabaseHealth, part, lambda _: answer)
    found = {finding.check: finding for finding in check_database()}
    assert found.pop(check).state is State.warning
    assert said in next(f.message for f in check_database() if f.check == check)
    assert State.warning not in {finding.state for finding in found.values()}


def test_a_server_that_lets_everybody_in_is_noticed(place, monkeypatch):
    # The local store always asks: let the stranger know the password.
    monkeypatch.setattr(health, "_without_login", lambda uri: uri)
    found = {finding.check: finding for finding in check_database()}["authentication"]
    assert found.state is State.warning
    assert "every user of this machine" in found.message
    monkeypatch.setattr(DatabaseHealth, "on_this_machine", lambda _: False)
    found = {finding.check: finding for finding in check_database()}["authentication"]
    assert "everybody who reaches it over the network" in found.message


def test_a_part_that_breaks_ends_no_other(place, monkeypatch):
    def broken(self):
        raise ZeroDivisionError

    monkeypatch.setattr(DatabaseHealth, "check_write", broken)
    found = states(check_database())
    assert found["writing"] is State.failed
    assert found["clock"] is State.ok


def test_missing_indexes_are_counted_once_there_are_searches(place):
    with open_records(place / "records") as records:
        records.upsert("searches", [{"_id": "a"}])
        found = {finding.check: finding for finding in check_database()}["indexes"]
        assert found.state is State.warning
        assert "missing" in found.message
        records.ensure_indexes()
    found = {finding.check: finding for finding in check_database()}["indexes"]
    assert found.state is State.ok


def test_a_database_that_does_not_answer_fails(place, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("CRYSEARCH_DATABASE", f"mongodb://me:hidden@127.0.0.1:{port}/crysearch")
    with pytest.raises(CrysearchError) as error:
        list(check_database())
    assert "hidden" not in str(error.value)


def test_a_wrong_password_fails(place, monkeypatch):
    server = local_server(place / "records")
    address = f"mongodb://crysearch:hidden@127.0.0.1:{server.port}/crysearch?authSource=admin"
    monkeypatch.setenv("CRYSEARCH_DATABASE", address)
    with pytest.raises(CrysearchError, match="password"):
        list(check_database())


def test_passwords_that_others_can_read_fail(project):
    assert states(check_settings()) == {"settings": State.ok}
    (project / "launchpad.yaml").chmod(0o644)
    (project / ".env").write_text("MONGO_ROOT_PASSWORD=hidden\n")
    (project / ".env").chmod(0o640)
    found = [finding for finding in check_settings() if finding.check == "permissions"]
    assert [finding.state for finding in found] == [State.failed, State.failed]
    assert {finding.advice for finding in found} == {
        f"chmod 600 {project / 'launchpad.yaml'}",
        f"chmod 600 {project / '.env'}",
    }
    assert local_server(project / "records").password.get_secret_value() in set(secret_texts())


def test_files_without_passwords_may_be_read_by_all(place):
    (place / "crysearch.yaml").chmod(0o644)
    assert states(check_settings()) == {"settings": State.ok}


def test_launchpad_jobs_and_lost_runs(project):
    pad = launchpad()
    pad.add_wf(Firework([ScriptTask.from_str("true")], name="waits"))
    pad.add_wf(Firework([ScriptTask.from_str("true")], name="is lost"))
    # In a process of its own: reading a job makes FireWorks import its tests, which use pytest.
    take = (
        "from fireworks import FWorker, LaunchPad;"
        "LaunchPad.from_file('launchpad.yaml').checkout_fw(FWorker(), '.')"
    )
    subprocess.run([sys.executable, "-c", take], cwd=project, check=True, timeout=60)
    found = {finding.check: finding for finding in check_launchpad()}
    assert found["launch pad"].state is State.ok
    assert found["jobs"].message == "1 ready, 1 running"
    assert found["lost runs"].state is State.ok

    then = "2020-01-01T00:00:00.000000"
    history = [{"state": "RUNNING", "created_on": then, "updated_on": then}]
    pad.launches.update_one({"state": "RUNNING"}, {"$set": {"state_history": history}})
    found = {finding.check: finding for finding in check_launchpad()}
    assert found["lost runs"].state is State.warning
    assert "detect_lostruns" in found["lost runs"].advice


def test_a_launchpad_in_another_database_fails(project):
    content = yaml.safe_load((project / "launchpad.yaml").read_text())
    (project / "launchpad.yaml").write_text(yaml.safe_dump(content | {"name": "another"}))
    assert states(check_launchpad())["launch pad"] is State.failed


def test_a_launchpad_that_does_not_answer_fails_soon(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    content = yaml.safe_load((project / "launchpad.yaml").read_text())
    (project / "launchpad.yaml").write_text(yaml.safe_dump(content | {"port": port}))
    with pytest.raises(CrysearchError, match=f"127.0.0.1:{port}"):
        list(check_launchpad())


def test_fireworks_configuration(project, monkeypatch):
    assert states(check_fireworks()) == {"FireWorks": State.ok}
    config = project / "FW_config.yaml"
    content = yaml.safe_load(config.read_text())
    del content["RUN_EXPIRATION_SECS"]
    config.write_text(yaml.safe_dump(content))
    (finding,) = check_fireworks()
    assert finding.state is State.warning
    assert "4 hours" in finding.message
    other = project.parent / "FW_config.yaml"
    config.rename(other)
    assert states(check_fireworks()) == {"FireWorks": State.absent}
    monkeypatch.setenv("FW_CONFIG_FILE", str(other))
    assert "4 hours" in next(iter(check_fireworks())).message
    shadow = project.parent / "home" / ".fireworks" / "FW_config.yaml"
    shadow.parent.mkdir(parents=True)
    shadow.write_text("RUN_EXPIRATION_SECS: 300\n")
    (finding,) = check_fireworks()
    assert finding.state is State.warning
    assert finding.message.startswith(str(shadow))


def test_job_store_in_another_place_is_a_warning(project, monkeypatch):
    (finding,) = check_job_store()
    assert finding.state is State.absent
    assert f"JOBFLOW_CONFIG_FILE={project / 'jobflow.yaml'}" in finding.advice
    file = project / "jobflow.yaml"
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(file))
    assert states(check_job_store()) == {"job store": State.ok}
    content = yaml.safe_load(file.read_text())
    content["JOB_STORE"]["docs_store"]["database"] = "another"
    file.write_text(yaml.safe_dump(content))
    (finding,) = check_job_store()
    assert finding.state is State.warning
    assert "another" in finding.message
    file.write_text("JOB_STORE: store.json\n")
    assert states(check_job_store()) == {"job store": State.warning}
