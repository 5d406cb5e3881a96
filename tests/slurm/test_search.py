"""A whole search on a real cluster, command by command as docs/cluster.md has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from crysearch import localdb
from crysearch.spec import SearchSpec
from small_search import SMALL
from workflows.conftest import content

from .cluster import Cluster, wait_for

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
# Seconds that qlaunch sleeps after a submission, and a worker before it looks for work again.
SHORT_NAPS = {"QUEUE_UPDATE_INTERVAL": 1, "RAPIDFIRE_SLEEP_SECS": 0.1}


@dataclass
class Terminal:
    """A user at the login node, in a folder."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, seconds: float = 90) -> str:
        """Run a command that must succeed; what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cd(self, folder: str) -> Terminal:
        """The same user in another folder."""
        return Terminal(self.folder / folder, self.environment)

    def said(self) -> str:
        """The end of what the workers that ran below this folder wrote."""
        return "\n".join(
            f"{path.name}: {path.read_text()[-3000:]}" for path in self.folder.rglob("*.error")
        )


@pytest.fixture
def project(slurm: Cluster, tmp_path: Path) -> Iterator[Terminal]:
    """A folder with settings and a specification, of a user without other configuration."""
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    (folder / "crysearch.yaml").write_text("database: crysearch-data\n")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    kept = {
        name: value
        for name, value in slurm.environment.items()
        if not name.startswith(("CRYSEARCH_", "FW_", "JOBFLOW_", "XDG_"))
    }
    path = f"{PROGRAMS}:{kept['PATH']}"
    variables = {"HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "1"}
    yield Terminal(folder, {**kept, **variables})
    slurm.cancel_all()  # first those who would start the server again
    localdb.stop(folder / "crysearch-data")


def test_a_search_on_two_workers_of_a_cluster_ends_like_an_undisturbed_one(
    slurm: Cluster, project: Terminal, finished_search: tuple[SearchSpec, Path]
) -> None:
    spec, undisturbed = finished_search
    project.run("crysearch", "db", "start")
    project.run("crysearch", "init", "--queue", "slurm", "--folder", "cluster")
    cluster = project.cd("cluster")
    config = cluster.folder / "FW_config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | SHORT_NAPS))
    assert "0 failed" in cluster.run("crysearch", "doctor")
    assert spec.search_id in cluster.run("crysearch", "submit", "../small.yaml")
    # Filled up: these jobs are too short for qlaunch to see that there is work for two.
    log = cluster.run("qlaunch", "--fill_mode", "rapidfire", "-m", "2", "--timeout", "240",
                      seconds=270)  # fmt: skip
    wait_for(lambda: not slurm.queued(), "the workers to leave")
    assert "complete" in cluster.run("crysearch", "status", "latest").splitlines()[0], (
        f"{log}\n{cluster.said()}"
    )
    states = slurm.command("squeue", "--states=all", "--name=crysearch", "--noheader", "-o", "%T")
    assert set(states.split()) == {"COMPLETED"}

    # Both took part, at the same time; which of them wrote batches is a matter of milliseconds.
    store = project.folder / "crysearch-data"
    launched = launches(cluster)
    assert len({worker for worker, _, _ in launched}) >= 2
    assert any(
        one != other and start < other_end and other_start < end
        for (one, start, end), (other, other_start, other_end) in combinations(launched, 2)
    )
    assert content(store) == content(undisturbed)


def launches(cluster: Terminal) -> list[tuple[Path, datetime, datetime]]:
    """The folder of the worker, the start and the end of each launch; one for every job."""
    listing = cluster.run("lpad", "get_fws", "--display_format", "all")
    jobs = yaml.safe_load(listing)
    found = []
    for job in jobs:
        (launch,) = job["launches"]
        at = {entry["state"]: entry["created_on"] for entry in launch["state_history"]}
        start, end = (datetime.fromisoformat(at[state]) for state in ("RUNNING", "COMPLETED"))
        found.append((Path(launch["launch_dir"]).parent, start, end))
    return found


def test_a_worker_knows_when_its_place_in_the_queue_ends(slurm: Cluster, project: Terminal) -> None:
    options = ("--folder", "cluster", "--walltime", "00:20:00")
    project.run("crysearch", "init", "--queue", "slurm", *options)
    adapter = yaml.safe_load((project.folder / "cluster/my_qadapter.yaml").read_text())
    number = slurm.submit(
        f"{adapter['pre_rocket']}\necho $CRYSEARCH_JOB_END\n"
        "SLURM_TIME_FORMAT=%s squeue --noheader --job $SLURM_JOB_ID --format=%e",
        project.folder,
        f"--time={adapter['walltime']}",
    )
    slurm.wait(number, "COMPLETED")
    told, true = (project.folder / f"slurm-{number}.out").read_text().split()
    assert float(told) == pytest.approx(float(true), abs=10)
