"""The cluster that the other tests of this folder rely on is a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .cluster import (
    PREFIX,
    Cluster,
    SlurmError,
    SlurmUnavailable,
    cluster,
    install,
    processes_of,
    remove_leftovers,
    wait_for,
)

pytestmark = pytest.mark.slow

DAEMONS = 4  # munged, slurmctld with a helper of its own, slurmd; a job has a slurmstepd first


def test_a_job_runs_and_its_output_appears(slurm: Cluster, tmp_path: Path) -> None:
    number = slurm.submit("echo job $SLURM_JOB_ID in $PWD", tmp_path)
    job = slurm.wait(number, "COMPLETED", "FAILED")
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")
    assert (tmp_path / f"slurm-{number}.out").read_text() == f"job {number} in {tmp_path}\n"


def test_a_job_that_fails_is_seen_to_fail(slurm: Cluster, tmp_path: Path) -> None:
    assert slurm.wait(slurm.submit("exit 3", tmp_path), "COMPLETED", "FAILED")["ExitCode"] == "3:0"


def test_two_jobs_run_at_the_same_time(slurm: Cluster, tmp_path: Path) -> None:
    """Each ends only when it has seen the other."""
    for mine, other in (("a", "b"), ("b", "a")):
        slurm.submit(f"touch {mine}; until [ -e {other} ]; do sleep 0.1; done", tmp_path)
    wait_for(lambda: not slurm.queued(), "both jobs to end")
    assert (tmp_path / "a").exists() and (tmp_path / "b").exists()


def test_a_cancelled_job_is_asked_to_end_and_then_killed(slurm: Cluster, tmp_path: Path) -> None:
    """The process the script waits for gets SIGTERM; one that ignores it is gone soon after."""
    polite = slurm.submit("sleep 300", tmp_path)
    stubborn = slurm.submit('trap "echo asked" TERM; touch up; while :; do sleep 1; done', tmp_path)
    slurm.wait(polite, "RUNNING")
    wait_for((tmp_path / "up").exists, "the trap to be set")
    slurm.command("scancel", str(polite), str(stubborn))
    for number in (polite, stubborn):
        slurm.wait(number, "CANCELLED")
    wait_for(lambda: not slurm.queued(), "both jobs to be gone")
    assert "asked" in (tmp_path / f"slurm-{stubborn}.out").read_text()
    running = [Path(f"/proc/{pid}/cmdline") for pid in processes_of(slurm.folder)]
    assert not [path for path in running if path.exists() and b"sleep" in path.read_bytes()]


def test_a_job_can_know_when_it_ends(slurm: Cluster, tmp_path: Path) -> None:
    """The line of shell that the queue scripts use."""
    number = slurm.submit(
        "SLURM_TIME_FORMAT=%s squeue --noheader --job $SLURM_JOB_ID --format=%e\n"
        "echo ${SLURM_JOB_END_TIME:-unset}",
        tmp_path,
        "--time=7",
    )
    slurm.wait(number, "COMPLETED")
    asked, variable = (tmp_path / f"slurm-{number}.out").read_text().split()
    assert 6 * 60 < float(asked) - time.time() <= 7 * 60
    assert variable in (asked, "unset")  # from some version of Slurm on


def test_nothing_is_left_of_a_cluster(tmp_path: Path) -> None:
    """Nor of its jobs, one of them detached, when the tests on it fail."""
    install_or_skip()
    with pytest.raises(ZeroDivisionError), cluster() as made:
        number = made.submit("setsid sleep 301 & sleep 302", tmp_path)
        made.wait(number, "RUNNING")
        wait_for(lambda: len(processes_of(made.folder)) == DAEMONS + 4, "the job's processes")
        raise ZeroDivisionError
    assert processes_of(made.folder) == []
    assert not made.folder.exists()


def test_leftovers_of_killed_tests_are_removed(tmp_path: Path) -> None:
    """And a cluster that is in use is left alone."""
    install_or_skip()
    folder = Path(__file__).parent
    code = (
        "import sys, time; from pathlib import Path; from cluster import cluster\n"
        "with cluster() as made:\n"
        f"    made.wait(made.submit('sleep 303', Path({str(tmp_path)!r})), 'RUNNING')\n"
        "    print(made.folder, flush=True); time.sleep(120)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as tests:
        try:
            assert tests.stdout is not None
            left = Path(tests.stdout.readline().strip())
            assert left.name.startswith(PREFIX)
            assert left not in remove_leftovers()
            wait_for(lambda: len(processes_of(left)) == DAEMONS + 3, "the job's processes")
        finally:
            tests.kill()
    assert len(processes_of(left)) == DAEMONS + 3
    assert left in remove_leftovers()
    assert processes_of(left) == []
    assert not left.exists()


def test_a_daemon_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install_or_skip()
    monkeypatch.setattr(
        sys.modules[Cluster.__module__], "CONFIGURATION", "ClusterName=x\nSlurmctldHost={host}\n"
    )
    with pytest.raises(SlurmError, match=r"slurmctld\.log"), cluster():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="the packages are installed by root only")
def test_without_slurm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Cluster.__module__], "SEARCH_PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SlurmUnavailable, match=r"sbatch.*apt-get install .*slurm-wlm munge"):
        install()


def install_or_skip() -> None:
    try:
        install()
    except SlurmUnavailable as error:
        pytest.skip(str(error))
