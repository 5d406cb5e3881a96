"""A real Slurm cluster of one machine, in a folder of its own.

munged, slurmctld and slurmd run in the foreground as children of the tests, with a configuration,
a key, a socket and ports of their own: nothing outside the folder is read or written, so a machine
that has a Slurm of its own does not notice. Works without systemd and without being root; only
installing the Debian packages wants root.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "slurm-wlm", "munge")
PREFIX = "crysearch-slurm-"
NODE = "crysearch"
# Daemons live in /usr/sbin, which is not on every user's path.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

CONFIGURATION = """\
ClusterName=crysearch
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MailProg={true}
# No control groups: they want root, systemd or both.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
# More processors than the machine has, so that jobs run side by side on one core, too.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Short intervals: a queued job starts within about a second, a cancelled one is killed after two.
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
KillWait=2
ReturnToService=2
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={processors} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=60 DefaultTime=5 State=UP
"""


class SlurmUnavailable(Exception):
    """Slurm is not on this machine and cannot be put there; the text says what to do."""


class SlurmError(Exception):
    """The cluster or one of its commands failed."""


def install(seconds: float = 240) -> None:
    """See to it that Slurm's programs are there, from Debian's packages where that is possible.

    Raises
    ------
    SlurmUnavailable
        If programs are missing and cannot be installed here.
    """
    missing = _missing()
    if not missing:
        return
    advice = f"{', '.join(missing)} not found; to run these tests: {' '.join(INSTALL)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise SlurmUnavailable(f"{advice} (as root, on Debian or Ubuntu)")
    if Path("/run/systemd/system").is_dir():
        # The packages would start services of their own: not for a test to decide.
        raise SlurmUnavailable(f"{advice} (not done by itself on a machine run by systemd)")
    end = time.monotonic() + seconds
    error = run_apt(INSTALL, end)
    if error:  # most often because the machine has no package lists, or old ones
        error = run_apt(("apt-get", "update"), end) or run_apt(INSTALL, end)
    if error or _missing():
        raise SlurmUnavailable(f"{advice}. It was tried: {error or 'programs still missing'}")


def _missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


def run_apt(command: tuple[str, ...], end: float) -> str:
    """Run apt-get until the given time; the reason if it fails, otherwise an empty text."""
    try:
        done = subprocess.run(
            [*command, "-o", "DPkg::Lock::Timeout=120"],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=max(1.0, end - time.monotonic()),
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} took too long"
    return "" if done.returncode == 0 else done.stderr.strip()[-500:]


class Cluster:
    """A running cluster: what a user at its login node can do.

    Attributes
    ----------
    folder
        Where its configuration, logs and state lie.
    environment
        The variables in which its commands, and programs that call them, have to run.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)

    def command(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run one of Slurm's commands; what it printed."""
        done = subprocess.run(
            arguments, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise SlurmError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}".strip())
        return done.stdout.strip()

    def submit(self, script: str, cwd: Path, *options: str) -> int:
        """Submit the lines of a shell script; its output goes to ``slurm-ID.out`` in `cwd`."""
        path = cwd / f"job-{secrets.token_hex(4)}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        return int(self.command("sbatch", "--parsable", *options, str(path), cwd=cwd))

    def job(self, number: int) -> dict[str, str]:
        """What Slurm says about a job, running or ended not long ago."""
        text = self.command("scontrol", "--oneliner", "show", "job", str(number))
        return dict(item.split("=", 1) for item in text.split() if "=" in item)

    def wait(self, number: int, *states: str, seconds: float = 30) -> dict[str, str]:
        """Wait until a job is in one of the states; what Slurm then says about it."""
        wait_for(
            lambda: self.job(number)["JobState"] in states,
            f"job {number} to be {' or '.join(states)}",
            seconds,
        )
        return self.job(number)

    def queued(self) -> list[str]:
        """The states of all jobs that wait or run."""
        return self.command("squeue", "--noheader", "--format=%T").split()

    def cancel_all(self) -> None:
        """Cancel every job and wait until all have ended."""
        self.command("scancel", "--user", getpass.getuser())
        wait_for(lambda: not self.queued(), "all jobs to end")

    def logs(self) -> str:
        """The last lines of the daemons' logs."""
        return "\n".join(
            f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SlurmError(f"Waited {seconds:g} s in vain for {what}")
        time.sleep(0.1)


@contextmanager
def cluster(processors: int = 4) -> Iterator[Cluster]:
    """Bring up a cluster, and take it down with everything that runs on it.

    Parameters
    ----------
    processors
        How many one-processor jobs run at once, whatever the machine has.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Held as long as this process lives: a folder whose lock is free is a leftover. Renamed, so
    # that nobody sees it free before.
    with (folder / "lock.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock.new").rename(folder / "lock")
        running: list[subprocess.Popen[bytes]] = []
        try:
            result = Cluster(folder, _environment(folder))
            _configure(folder, processors)
            _start(result, running)
            yield result
        finally:
            _stop(folder, running)
            shutil.rmtree(folder)


def _environment(folder: Path) -> dict[str, str]:
    """The environment without traces of another cluster that the tests may run in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    return {**kept, "PATH": SEARCH_PATH, "SLURM_CONF": str(folder / "slurm.conf")}


def _configure(folder: Path, processors: int) -> None:
    folder.chmod(0o755)  # munged wants its socket to be reachable
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    controller_port, node_port = _free_ports(2)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            controller_port=controller_port,
            node_port=node_port,
            node=NODE,
            processors=processors,
            true=shutil.which("true"),
        )
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _start(made: Cluster, running: list[subprocess.Popen[bytes]]) -> None:
    folder = made.folder
    commands = {
        "munged": [
            "--foreground",
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key",
            f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed",
        ],
        "slurmctld": ["-D"],
        "slurmd": ["-D", "-N", NODE],
    }

    def ready(condition: Callable[[], bool], what: str) -> None:
        def alive_and_true() -> bool:
            if any(process.poll() is not None for process in running):
                raise SlurmError(f"A daemon ended while waiting for {what}.\n{made.logs()}")
            return condition()

        try:
            wait_for(alive_and_true, what)
        except SlurmError as error:
            raise SlurmError(f"{error}\n{made.logs()}") from error

    for name, arguments in commands.items():
        with (folder / f"{name}.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [name, *arguments],
                    env=made.environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Not the terminal's: an interrupt goes to the tests, which stop the daemons.
                    start_new_session=True,
                )
            )
        if name == "munged":
            ready((folder / "munge.socket").exists, "munged's socket")
    ready(lambda: _node_state(made) == "idle", "the node to be idle")


def _node_state(made: Cluster) -> str:
    try:
        return made.command("sinfo", "--noheader", "--format=%t")
    except SlurmError:  # the controller does not answer yet
        return ""


def _stop(folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    """End the daemons and every process of a job, however it was started."""
    for process in reversed(running):
        process.terminate()
    for process in reversed(running):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        for pid in processes_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + seconds
        while processes_of(folder) and time.monotonic() < end:
            for process in running:
                process.poll()
            time.sleep(0.05)
    if left := processes_of(folder):
        raise SlurmError(f"Processes of the cluster in {folder} do not end: {left}")


def processes_of(folder: Path) -> list[int]:
    """The living processes of the cluster in a folder: its daemons, its jobs and their children.

    All of them inherit the variable that names the cluster's configuration.
    """
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        # Processes come and go, and those of other users cannot be read.
        with suppress(OSError):
            if pid != os.getpid() and mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def remove_leftovers() -> list[Path]:
    """End and remove the clusters of this user whose tests were killed; their folders."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError, PermissionError), (folder / "lock").open("r+") as lock:
            if folder.stat().st_uid != os.getuid():
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its tests are still running
            _stop(folder, [])
            shutil.rmtree(folder)
            removed.append(folder)
    return removed
