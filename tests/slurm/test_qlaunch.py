"""FireWorks' own launchers, through Slurm, against the local store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from fireworks import Firework, LaunchPad, ScriptTask, Workflow

from crysearch import localdb

from .cluster import Cluster, wait_for

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
# Two of the jobs end only when they have seen each other: proof that two workers run at once.
MEETING = "touch {mine}; until [ -e {other} ]; do sleep 0.1; done; "
REPORT = "echo {name} $SLURM_JOB_ID >> {place}/done"


@dataclass
class Service:
    """A project folder with what FireWorks' launchers want to know, as files."""

    folder: Path
    launchpad: LaunchPad
    slurm: Cluster

    def qlaunch(self, *options: str, seconds: int = 90) -> str:
        """Run qlaunch in the project folder until it ends, and then wait for its jobs."""
        done = subprocess.run(
            [PROGRAMS / "qlaunch", "-l", "launchpad.yaml", "-w", "fworker.yaml",
             "-q", "qadapter.yaml", *options],
            cwd=self.folder,
            env={**self.slurm.environment, "FW_CONFIG_FILE": str(self.folder / "FW_config.yaml")},
            capture_output=True,
            text=True,
            timeout=seconds,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        wait_for(lambda: not self.slurm.queued(), "the workers to end", 60)
        return done.stdout + done.stderr


@pytest.fixture
def service(slurm: Cluster, tmp_path: Path) -> Iterator[Service]:
    store = tmp_path / "store"
    address = localdb.start(store)
    try:
        launchpad = LaunchPad(host=address.uri("crysearch"), name="crysearch", uri_mode=True)
        launchpad.reset("", require_password=False)
        launchpad.to_file(str(tmp_path / "launchpad.yaml"))
        (tmp_path / "fworker.yaml").write_text("name: worker\ncategory: ''\nquery: '{}'\n")
        (tmp_path / "qadapter.yaml").write_text(
            "_fw_name: CommonAdapter\n_fw_q_type: SLURM\nqueue: main\nwalltime: '00:05:00'\n"
            f"rocket_launch: {PROGRAMS}/rlaunch -l {tmp_path}/launchpad.yaml "
            f"-w {tmp_path}/fworker.yaml singleshot\n"
        )
        # Between submissions (else 5 s), and until a worker looks for work again (else 60 s).
        (tmp_path / "FW_config.yaml").write_text(
            "QUEUE_UPDATE_INTERVAL: 1\nRAPIDFIRE_SLEEP_SECS: 1\n"
        )
        yield Service(tmp_path, launchpad, slurm)
    finally:
        localdb.stop(store)


def workflow(place: Path) -> Workflow:
    """Six jobs side by side, two of which have to meet, and one that waits for all."""
    scripts = {name: REPORT.format(name=name, place=place) for name in "abcdef"}
    for mine, other in (("a", "b"), ("b", "a")):
        meeting = MEETING.format(mine=place / f"met-{mine}", other=place / f"met-{other}")
        scripts[mine] = meeting + scripts[mine]
    jobs = [
        Firework(ScriptTask.from_str(script), name=name, spec={"_priority": 9 * (name in "ab")})
        for name, script in scripts.items()
    ]
    last = Firework(ScriptTask.from_str(REPORT.format(name="z", place=place)), name="z",
                    parents=jobs)  # fmt: skip
    return Workflow([*jobs, last])


@pytest.mark.parametrize("mode", ["rapidfire workers", "reservations"])
def test_every_job_runs_once_on_workers_that_run_at_once(service: Service, mode: str) -> None:
    service.launchpad.add_wf(workflow(service.folder))
    if mode == "reservations":  # qlaunch reserves a job of FireWorks for each job of Slurm
        log = service.qlaunch("--reserve", "rapidfire", "--sleep", "1", "-m", "3")
    else:  # each job of Slurm takes jobs of FireWorks until there are none
        adapter = service.folder / "qadapter.yaml"
        adapter.write_text(adapter.read_text().replace("singleshot", "rapidfire"))
        log = service.qlaunch("rapidfire", "--sleep", "1", "-m", "3")
    jobs = list(service.launchpad.fireworks.find())
    assert [job["state"] for job in jobs] == ["COMPLETED"] * 7, log

    done = [line.split() for line in (service.folder / "done").read_text().splitlines()]
    assert sorted(name for name, _ in done) == list("abcdefz")
    assert done[-1][0] == "z"
    worker_of = dict(done)
    assert worker_of["a"] != worker_of["b"]
    if mode == "reservations":
        assert len(set(worker_of.values())) == 7
    assert service.launchpad.launches.count_documents({}) == 7
    name_of = {job["fw_id"]: job["name"] for job in jobs}
    by_name = {
        name_of[launch["fw_id"]]: running_time(launch)
        for launch in service.launchpad.launches.find()
    }
    (a_start, a_end), (b_start, b_end) = by_name["a"], by_name["b"]
    assert a_start < b_end and b_start < a_end
    assert by_name["z"][0] >= max(end for name, (_, end) in by_name.items() if name != "z")


def running_time(launch: dict) -> tuple[datetime, datetime]:
    """When a launch began to run and when it was complete."""
    at = {entry["state"]: entry["created_on"] for entry in launch["state_history"]}
    return at["RUNNING"], at["COMPLETED"]
