"""`crysearch init`: every file is read by the program that it is for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import typer
import yaml
from fireworks import FWorker, LaunchPad
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from jobflow.settings import JobflowSettings
from typer.testing import CliRunner

from crysearch.cli.init import init
from crysearch.errors import SettingsError
from crysearch.settings import load_settings

BIN = Path(sys.executable).parent
PASSWORD = "p:a'\"s{}s #%@/&"
HEADERS = {
    "slurm": ["#SBATCH --time=01:30:00", "#SBATCH --partition=short", "#SBATCH --ntasks=1"],
    "pbs": ["#PBS -l walltime=01:30:00", "#PBS -q short", "#PBS -l nodes=1:ppn=1"],
    "sge": ["#$ -l h_rt=01:30:00", "#$ -q short", "#$ -S /bin/bash"],
    "lsf": ["#BSUB -W 1:30", "#BSUB -q short", "#BSUB -n 1"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty home and folder, with credentials for the docker target."""
    for name in list(os.environ):
        if name.startswith(("CRYSEARCH_", "FW_", "JOBFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    folder = tmp_path / "the project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    (folder / ".env").write_text(
        f"CRYSEARCH_MONGO_USERNAME=worker\nCRYSEARCH_MONGO_PASSWORD='{quoted}'\n"
    )
    return folder


def run(*arguments):
    app = typer.Typer()
    app.command()(init)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def environment(folder, **more):
    return os.environ | {"FW_CONFIG_FILE": str(folder / "FW_config.yaml")} | more


def test_files_for_docker_are_read_by_fireworks_jobflow_and_crysearch(place, monkeypatch):
    result = run("--target", "docker", "--queue", "none")
    assert result.exit_code == 0, result.output
    launchpad = LaunchPad.from_file(str(place / "launchpad.yaml"))
    assert (launchpad.username, launchpad.password) == ("worker", PASSWORD)
    assert (launchpad.host, launchpad.port, launchpad.name) == ("127.0.0.1", 27017, "crysearch")
    assert launchpad.mongoclient_kwargs["serverSelectionTimeoutMS"] == 120_000
    assert FWorker.from_file(str(place / "my_fworker.yaml")).category == ""

    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(place / "jobflow.yaml"))
    store = JobflowSettings().JOB_STORE
    assert store.docs_store.collection_name == "outputs"
    assert (store.docs_store.password, store.docs_store.database) == (PASSWORD, "crysearch")
    assert store.additional_stores["data"].password == PASSWORD

    monkeypatch.delenv("CRYSEARCH_DATABASE")
    settings = load_settings()
    assert settings.database.get_secret_value().endswith("@127.0.0.1:27017/crysearch")
    assert settings.launchpad_file == place / "launchpad.yaml"
    assert not (place / "my_qadapter.yaml").exists()


def test_files_with_a_password_are_private_and_ignored_by_git(place):
    result = run("--target", "docker", "--queue", "slurm")
    assert PASSWORD not in result.output
    private = {"launchpad.yaml", "jobflow.yaml", "crysearch.yaml"}
    for name in private:
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    subprocess.run(["git", "init", "--quiet"], check=True, cwd=place)
    seen = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        check=True, cwd=place, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "my_qadapter.yaml" in seen
    assert not private & set(seen.split())


def test_nothing_is_overwritten_and_nothing_half_written(place):
    (place / "my_fworker.yaml").write_text("mine")
    (place / "jobflow.yaml").symlink_to(place / "nowhere")
    result = run("--target", "docker", "--queue", "slurm")
    assert isinstance(result.exception, SettingsError)
    assert "my_fworker.yaml" in str(result.exception)
    assert "jobflow.yaml" in str(result.exception)
    assert (place / "my_fworker.yaml").read_text() == "mine"
    assert {path.name for path in place.iterdir()} == {".env", "my_fworker.yaml", "jobflow.yaml"}


def test_a_second_call_is_refused(place):
    assert run("--target", "docker", "--queue", "none").exit_code == 0
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert run("--target", "docker", "--queue", "none").exit_code == 1
    assert before == {path: path.read_bytes() for path in place.iterdir() if path.is_file()}


@pytest.mark.parametrize("queue", HEADERS)
def test_queue_script(place, queue, recwarn):
    arguments = ["--queue", queue, "--walltime", "01:30:00", "--partition", "short"]
    result = run("--target", "docker", *arguments)
    assert result.exit_code == 0, result.output
    adapter = CommonAdapter.from_file(str(place / "my_qadapter.yaml"))
    script = adapter.get_script_str(str(place / "launch"))
    assert not [w for w in recwarn if "not present in template" in str(w.message)]
    for header in HEADERS[queue]:
        assert header in script.splitlines()

    # What the script does, with a program in the place of rlaunch that says what it was given.
    stand_in = place / "stand_in.py"
    stand_in.write_text(
        "import os, sys, time\n"
        "print(os.environ['CRYSEARCH_CONFIG'], os.environ['FW_CONFIG_FILE'], sep='\\n')\n"
        "print(os.environ['JOBFLOW_CONFIG_FILE'], os.environ['PATH'].split(':')[0], sep='\\n')\n"
        "print(round(float(os.environ['CRYSEARCH_JOB_END']) - time.time(), -2), *sys.argv[1:])\n"
    )
    (place / "launch").mkdir()
    script = script.replace(str(BIN / "rlaunch"), f"{sys.executable} '{stand_in}'")
    (place / "script").write_text(script)
    shell = ["sh"] if queue == "lsf" else ["bash"]
    said = subprocess.run([*shell, "script"], cwd=place, capture_output=True, text=True, check=True)
    lines = said.stdout.splitlines()
    assert lines[:3] == [
        str(place / name) for name in ("crysearch.yaml", "FW_config.yaml", "jobflow.yaml")
    ]
    assert lines[3] == str(BIN)
    assert lines[4].startswith(f"5400.0 -l {place}/launchpad.yaml -w {place}/my_fworker.yaml rapid")
    assert (place / "logs").is_dir()


def test_workers_for_categories(place):
    result = run("--target", "docker", "--queue", "slurm", "--category", "cpu", "--category", "mpi")
    assert result.exit_code == 0, result.output
    worker = FWorker.from_file(str(place / "my_fworker_mpi.yaml"))
    assert worker.category == "crysearch-mpi"
    assert worker.name != FWorker.from_file(str(place / "my_fworker.yaml")).name
    adapter = CommonAdapter.from_file(str(place / "my_qadapter_mpi.yaml"))
    assert f"-w '{place}/my_fworker_mpi.yaml'" in adapter["rocket_launch"]
    assert (
        adapter["ntasks"] > CommonAdapter.from_file(str(place / "my_qadapter_cpu.yaml"))["ntasks"]
    )


@pytest.mark.parametrize(
    ("commands", "queue"),
    [
        (["sbatch"], "SLURM"),
        (["qsub"], "PBS"),
        (["qsub", "qconf"], "SGE"),
        (["bsub"], "LoadSharingFacility"),
        ([], None),
    ],
)
def test_queue_system_is_found_by_its_commands(place, monkeypatch, commands, queue):
    bin_folder = place / "bin"
    bin_folder.mkdir()
    for command in commands:
        (bin_folder / command).write_text("#!/bin/sh\nexit 1\n")
        (bin_folder / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder))
    result = run("--target", "docker")
    assert result.exit_code == 0, result.output
    file = place / "my_qadapter.yaml"
    found = yaml.safe_load(file.read_text())["_fw_q_type"] if file.exists() else None
    assert found == queue


def test_default_partition_of_slurm(place, monkeypatch):
    bin_folder = place / "bin"
    bin_folder.mkdir()
    (bin_folder / "sbatch").write_text("")
    (bin_folder / "sinfo").write_text("#!/bin/sh\nprintf 'long\\nnormal*\\n'\n")
    for path in bin_folder.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    assert run("--target", "docker").exit_code == 0
    assert yaml.safe_load((place / "my_qadapter.yaml").read_text())["queue"] == "normal"


def test_missing_credentials_are_named(place):
    (place / ".env").write_text("CRYSEARCH_MONGO_USERNAME=worker\nCRYSEARCH_MONGO_PASSWORD=\n")
    result = run("--target", "docker", "--queue", "none")
    assert isinstance(result.exception, SettingsError)
    assert "CRYSEARCH_MONGO_PASSWORD" in str(result.exception)
    assert "CRYSEARCH_MONGO_USERNAME" not in str(result.exception)
    assert {path.name for path in place.iterdir()} == {".env"}


@pytest.mark.parametrize("walltime", ["90", "1:75:00", "00:05:00", "one hour"])
def test_walltime_is_checked_first(place, walltime):
    result = run("--target", "docker", "--queue", "slurm", "--walltime", walltime)
    assert "HH:MM:SS" in str(result.exception)
    assert {path.name for path in place.iterdir()} == {".env"}


def test_a_server_in_the_settings_is_the_target(place, monkeypatch):
    address = "mongodb://me:se%2Fcret@db1:27018,db2/crysearch?replicaSet=rs&authSource=users"
    monkeypatch.setenv("CRYSEARCH_DATABASE", address)
    result = run("--queue", "none")
    assert result.exit_code == 0, result.output
    assert "cret" not in result.output
    content = yaml.safe_load((place / "launchpad.yaml").read_text())
    assert content["host"] == "mongodb://db1:27018,db2/?replicaSet=rs"
    assert (content["username"], content["password"]) == ("me", "se/cret")
    assert content["authsource"] == "users"
    launchpad = LaunchPad.from_file(str(place / "launchpad.yaml"))
    assert launchpad.connection.options.pool_options._credentials.source == "users"
    assert yaml.safe_load((place / "crysearch.yaml").read_text())["database"] == address


def test_target_mongodb_needs_an_address(place):
    result = run("--target", "mongodb", "--queue", "none")
    assert "CRYSEARCH_DATABASE" in str(result.exception)


def test_a_malformed_address_is_not_shown(place, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", "mongodb://me:hidden@?x")
    result = run("--queue", "none")
    assert isinstance(result.exception, SettingsError)
    assert "hidden" not in str(result.exception)


def call(place, program, *arguments):
    """The output of a program of FireWorks, run in the project."""
    done = subprocess.run(
        [str(BIN / program), *arguments],
        cwd=place, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_local_store_serves_lpad_rlaunch_and_jobflow(place, tmp_path, monkeypatch):
    result = run("--queue", "none")
    assert result.exit_code == 0, result.output
    monkeypatch.delenv("CRYSEARCH_DATABASE")
    assert load_settings().database.get_secret_value() == str(tmp_path / "records")
    call(place, "lpad", "reset", "--password", datetime.now().strftime("%Y-%m-%d"))
    call(place, "lpad", "add_scripts", "echo hello > said", "-n", "greeting")
    assert "greeting" in call(place, "lpad", "get_wflows", "-d", "more")
    call(place, "rlaunch", "rapidfire")
    assert '"state": "COMPLETED"' in call(place, "lpad", "get_wflows", "-d", "more")
    assert [path.read_text() for path in place.glob("launcher_*/said")] == ["hello\n"]

    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(place / "jobflow.yaml"))
    store = JobflowSettings().JOB_STORE
    store.connect()
    store.update([{"uuid": "a", "index": 1, "data": list(range(1000))}], save={"data": "data"})
    assert store.query_one({"uuid": "a"}, load=True)["data"] == list(range(1000))
    pad = LaunchPad.from_file(str(place / "launchpad.yaml"))
    assert pad.db["outputs"].count_documents({"uuid": "a"}) == 1


# What each queue's submit command is given, and what it answers.
SUBMIT = {
    "slurm": ("sbatch", 'bash -l "$1"', "Submitted batch job 7"),
    "pbs": ("qsub", 'bash "$1"', "7.host"),
    "sge": ("qsub", 'bash "$1"', 'Your job 7 ("crysearch") has been submitted'),
    "lsf": ("bsub", "sh", "Job <7> is submitted to queue <short>."),
}


@pytest.mark.slow
@pytest.mark.parametrize("queue", SUBMIT)
def test_qlaunch_submits_a_script_that_runs_a_worker(place, monkeypatch, queue):
    """With a submit command that runs the script at once; the real Slurm has a test of its own."""
    command, shell, answer = SUBMIT[queue]
    bin_folder = place / "bin"
    bin_folder.mkdir()
    stand_in = bin_folder / command
    stand_in.write_text(f"#!/bin/bash\n{shell} > said 2>&1\necho '{answer}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    assert run("--queue", queue, "--partition", "short").exit_code == 0
    call(place, "lpad", "reset", "--password", datetime.now().strftime("%Y-%m-%d"))
    call(place, "lpad", "add_scripts", "echo $CRYSEARCH_CONFIG > said", "-n", "greeting")
    call(place, "qlaunch", "singleshot")
    assert "COMPLETED" in call(place, "lpad", "get_wflows")
    (said,) = place.glob("launcher_*/said")
    assert said.read_text() == f"{place / 'crysearch.yaml'}\n"


@pytest.mark.slow
def test_fireworks_programs_use_the_project_wherever_they_run(place, tmp_path):
    assert run("--target", "docker", "--queue", "slurm").exit_code == 0
    code = (
        "from fireworks import fw_config as c;"
        "print(c.LAUNCHPAD_LOC, c.FWORKER_LOC, c.QUEUEADAPTER_LOC, sep='\\n');"
        "print(c.PING_TIME_SECS, c.RUN_EXPIRATION_SECS)"
    )
    for folder, more in ((place, {}), (tmp_path, environment(place))):
        said = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder, env=os.environ | more, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        names = ("launchpad.yaml", "my_fworker.yaml", "my_qadapter.yaml")
        assert said == [*(str(place / name) for name in names), "60 300"]
    for program in ("rlaunch", "qlaunch", "lpad"):
        subprocess.run([str(BIN / program), "--help"], cwd=place, check=True, capture_output=True)
