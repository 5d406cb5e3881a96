"""Queue systems: which one is here, and FireWorks' queue adapter for it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from crysearch.errors import SettingsError


class Queue(StrEnum):
    """Queue systems that FireWorks has an adapter for and crysearch writes files for."""

    slurm = "slurm"
    pbs = "pbs"
    sge = "sge"
    lsf = "lsf"
    none = "none"


class Category(StrEnum):
    """What a worker can be set aside for; the ``_category`` of jobs is ``crysearch-<name>``."""

    cpu = "cpu"
    batched = "batched"
    mpi = "mpi"

    @property
    def label(self) -> str:
        """As FireWorks sees it."""
        return f"crysearch-{self.value}"


SUBMIT_COMMAND = {
    Queue.slurm: "sbatch",
    Queue.pbs: "qsub",
    Queue.sge: "qsub",
    Queue.lsf: "bsub",
}
FIREWORKS_TYPE = {
    Queue.slurm: "SLURM",
    Queue.pbs: "PBS",
    Queue.sge: "SGE",
    Queue.lsf: "LoadSharingFacility",
}
# How often an idle worker asks for a job, and how often in all before it leaves the queue: 5 min.
_IDLE_SECONDS, _IDLE_LOOPS = 3, 100


def output_of(*command: str) -> str | None:
    """What a command prints; None if it is not there, fails, or does not answer in 10 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def detect_queue() -> Queue:
    """The queue system of this machine, by its commands."""
    if shutil.which("sbatch"):
        return Queue.slurm
    if shutil.which("bsub"):
        return Queue.lsf
    if shutil.which("qsub"):
        # PBS and Grid Engine share qsub; qconf is Grid Engine's alone.
        return Queue.sge if shutil.which("qconf") else Queue.pbs
    return Queue.none


def default_partition(queue: Queue) -> str | None:
    """The queue (Slurm: partition) that jobs go to unless told, where the system says."""
    if queue is Queue.slurm:
        names = (output_of("sinfo", "--noheader", "--format=%P") or "").split()
        return next((name.rstrip("*") for name in names if name.endswith("*")), None)
    if queue is Queue.pbs:
        found = re.search(r"default_queue = (\S+)", output_of("qstat", "-B", "-f") or "")
        return found[1] if found else None
    if queue is Queue.lsf:
        found = re.search(r"Default Queues:\s*(\S+)", output_of("bparams") or "")
        return found[1] if found else None
    if queue is Queue.sge:
        names = (output_of("qconf", "-sql") or "").split()
        return "all.q" if "all.q" in names else None
    return None


def seconds_of(walltime: str) -> int:
    """The seconds of a time HH:MM:SS or HH:MM.

    Raises
    ------
    SettingsError
        It is something else, or shorter than ten minutes.
    """
    found = re.fullmatch(r"(\d+):([0-5]\d)(?::([0-5]\d))?", walltime)
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0) if found else 0
    if seconds < 600:
        raise SettingsError(
            f"walltime {walltime!r}: give hours, minutes and seconds as HH:MM:SS, "
            "at least 00:10:00 (a job takes some minutes)"
        )
    return seconds


@dataclass(frozen=True)
class QueueRequest:
    """What a job in the queue should be like."""

    queue: Queue
    folder: Path
    walltime: str = "01:00:00"
    partition: str | None = None
    category: Category | None = None


def worker_file(category: Category | None) -> str:
    """The name of the file that describes a worker to FireWorks."""
    return f"my_fworker_{category}.yaml" if category else "my_fworker.yaml"


def adapter_file(category: Category | None) -> str:
    """The name of the file that describes a job in the queue to FireWorks."""
    return f"my_qadapter_{category}.yaml" if category else "my_qadapter.yaml"


def environment_lines(folder: Path) -> list[str]:
    """Shell lines (POSIX) after which every program finds this project and this Python."""
    names = {
        "CRYSEARCH_CONFIG": folder / "crysearch.yaml",
        "FW_CONFIG_FILE": folder / "FW_config.yaml",
        "JOBFLOW_CONFIG_FILE": folder / "jobflow.yaml",
    }
    return [
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
        *(f"export {name}={shlex.quote(str(place))}" for name, place in names.items()),
    ]


def _program(name: str) -> str:
    """A command of this Python's installation, by its whole path."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or name


def queue_adapter(request: QueueRequest) -> dict[str, Any]:
    """The content of a FireWorks ``my_qadapter.yaml``."""
    seconds = seconds_of(request.walltime)
    folder = request.folder
    before = environment_lines(folder)
    before.append(f"export CRYSEARCH_JOB_END=$(( $(date +%s) + {seconds} ))")
    content: dict[str, Any] = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": FIREWORKS_TYPE[request.queue],
        # No new job in the last sixth: the one that is running wants to end in peace.
        "rocket_launch": shlex.join(
            [
                _program("rlaunch"),
                *("-l", str(folder / "launchpad.yaml")),
                *("-w", str(folder / worker_file(request.category))),
                *("rapidfire", "--timeout", str(seconds * 5 // 6)),
                *("--sleep", str(_IDLE_SECONDS), "--max_loops", str(_IDLE_LOOPS)),
            ]
        ),
        "job_name": request.category.label if request.category else "crysearch",
        "logdir": str(folder / "logs"),
    }
    if request.partition:
        content["queue"] = request.partition
    processes = 4 if request.category is Category.mpi else 1
    hours, minutes = divmod(seconds // 60, 60)
    clock = f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}"
    if request.queue is Queue.slurm:
        content |= {"walltime": clock, "nodes": 1, "ntasks": processes, "cpus_per_task": 1}
    elif request.queue is Queue.pbs:
        content |= {"walltime": clock, "nnodes": 1, "ppnode": processes}
    elif request.queue is Queue.lsf:
        content |= {"walltime": f"{hours}:{minutes:02d}", "ntasks": processes}
    else:
        # FireWorks' template for Grid Engine has no lines for these; it reads `#$` anywhere.
        before = ["#$ -S /bin/bash", f"#$ -l h_rt={clock}", *before]
        if processes > 1:
            before.insert(2, f"#$ -pe mpi {processes}")
    content["pre_rocket"] = "\n".join(before) + "\n"
    return content
