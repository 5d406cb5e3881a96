"""A search as a user submits it: a folder with settings and launch pad, and worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from fireworks import LaunchPad
from pymongo.database import Database

from crysearch import localdb
from crysearch.spec import SearchSpec
from crysearch.workflows import Submission, submit
from workflows.conftest import content

PROGRAMS = Path(sys.executable).parent
FAULTY_WORKER = Path(__file__).with_name("faulty_worker.py")
#: A worker says every second that it lives; one that has said nothing for so long is lost.
LOST_AFTER = 6


class Project:
    """A folder with settings, launch pad file and FireWorks' configuration, and its workers.

    The settings name the server of the local store by its address, as they would name a MongoDB:
    nobody starts it by looking at it.
    """

    def __init__(
        self, folder: Path, store: Path | None = None, patience: float = 20, **settings: Any
    ) -> None:
        folder.mkdir()
        self.folder, self.store = folder, store or folder.parent / "store"
        self.uri = localdb.start(self.store).uri("crysearch")
        self.workers: list[Worker] = []
        # One BLAS thread, or the workers' threads would wait for one another.
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.environment.pop("CRYSEARCH_DATABASE", None)
        self.write(
            "crysearch.yaml",
            {"database": self.uri, "database_patience": patience, "job_minutes": 0.01} | settings,
        )
        self.write(
            "launchpad.yaml",
            {
                "host": self.uri,
                "uri_mode": True,
                "name": "crysearch",
                "mongoclient_kwargs": {"serverSelectionTimeoutMS": int(1000 * patience)},
            },
        )
        self.pad = LaunchPad.from_file(str(folder / "launchpad.yaml"))
        self.pad.reset("", require_password=False)
        self.configure_fireworks()

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")

    def configure_fireworks(self, **settings: Any) -> None:
        self.write("FW_config.yaml", {"PING_TIME_SECS": 1, "RAPIDFIRE_SLEEP_SECS": 1} | settings)

    @property
    def database(self) -> Database:
        return self.pad.db

    def submit(self, spec: SearchSpec) -> Submission:
        return submit(spec, self.pad)

    def worker(self, *fault: str, **environment: str) -> Worker:
        """Start rlaunch, which ends when nothing is left to do.

        With a fault (see faulty_worker.py), the same in a process where that goes wrong.
        """
        program = [sys.executable, FAULTY_WORKER, *fault, "--"] if fault else [PROGRAMS / "rlaunch"]
        command = [*program, "-l", "launchpad.yaml", "rapidfire", "--timeout", "200"]
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = Worker(command, self.folder, self.environment | environment, log)
        self.workers.append(worker)
        return worker

    @contextmanager
    def paused(self, collection: str) -> Iterator[None]:
        """While a worker that ``pauses`` stands still after writing to a collection."""
        self.wait((self.folder / f"{collection} paused").exists, f"writing to {collection}")
        yield
        (self.folder / f"{collection} go on").touch()

    def lpad(self, *arguments: str) -> str:
        done = subprocess.run(
            [PROGRAMS / "lpad", "-l", "launchpad.yaml", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rerun_lost(self, seconds: float = 0) -> list[int]:
        """What a user runs when workers have died; the jobs that will run again."""
        time.sleep(seconds)
        before = self._given_up()
        self.lpad("detect_lostruns", "--time", str(int(seconds)), "--rerun", "--refresh")
        return sorted(self._given_up() - before)

    def _given_up(self) -> Counter[int]:
        """How many launches of each job do not count any more."""
        jobs = self.pad.fireworks.find({}, {"fw_id": 1, "archived_launches": 1})
        return Counter({job["fw_id"]: len(job["archived_launches"]) for job in jobs})

    def rerun_failed(self) -> list[int]:
        failed = sorted(self.pad.get_fw_ids({"state": "FIZZLED"}))
        self.lpad("rerun_fws", "-s", "FIZZLED")
        return failed

    def locked(self) -> bool:
        """Whether somebody is changing the workflow."""
        return self.pad.workflows.count_documents({"locked": True}) > 0

    def assert_complete(self, undisturbed: Path) -> None:
        """Everything has run, and the records are those of an undisturbed search."""
        assert self.workflow_state() == "COMPLETED", self.said()
        assert set(self.states()) == {"COMPLETED"}, self.said()
        assert content(self.uri) == content(undisturbed)

    def workflow_state(self) -> str:
        (state,) = (w["state"] for w in self.pad.workflows.find({}, {"state": 1}))
        return state

    def states(self) -> Counter[str]:
        return Counter(found["state"] for found in self.pad.fireworks.find({}, {"state": 1}))

    def launches_per_job(self) -> Counter[int]:
        """How often each job was launched, all states counted."""
        return Counter(launch["fw_id"] for launch in self.pad.launches.find({}, {"fw_id": 1}))

    def running(self, name: str) -> list[int]:
        """Jobs, by the beginning of their name, that a worker has begun and not handed in."""
        named = self.pad.get_fw_ids({"state": "RUNNING", "name": {"$regex": f"^{name}"}})
        return self.pad.launches.distinct("fw_id", {"state": "RUNNING", "fw_id": {"$in": named}})

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 200) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s for: {what}\n{self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        return "\n".join(f"{worker.log.name}:\n{worker.said()[-3000:]}" for worker in self.workers)

    def kill_database(self) -> None:
        """As the kernel does when memory is short."""
        pid = localdb.status(self.store).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        localdb.stop(self.store)
        password = (self.store / "password").read_text(encoding="utf-8").strip()
        assert password
        assert not any(password in worker.said() for worker in self.workers)


class Worker:
    """A worker process, and what it says."""

    def __init__(
        self, command: list[Any], folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("w") as file:
            # A session of its own: it can be killed with everything that it has started.
            self.process = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL, to whatever it has started, too."""
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_when(self, condition: Callable[[], Any], seconds: float = 200) -> None:
        """SIGKILL when a condition holds; it is tested while the worker stands still."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.alive:
            if condition():
                self.process.send_signal(signal.SIGSTOP)
                time.sleep(0.1)  # the database finishes what it has been asked for
                if condition():
                    return self.kill()
                self.process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
        raise AssertionError(f"the moment never came\n{self.said()}")

    def end(self, seconds: float = 200) -> int:
        """The exit status, when it ends by itself."""
        return self.process.wait(seconds)
