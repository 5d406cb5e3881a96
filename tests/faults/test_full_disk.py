"""A disk that is full in the middle of a search."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crysearch import localdb

from .project import Project, content

pytestmark = pytest.mark.slow


class SmallDisk:
    """A file system of its own, in memory; only root can make one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
        subprocess.run(command, capture_output=True, check=True)

    def fill(self, store: Path) -> None:
        with self.ballast.open("wb", buffering=0) as file, pytest.raises(OSError) as caught:
            while True:
                file.write(bytes(4096))
        assert caught.value.errno == errno.ENOSPC

    def free(self, store: Path) -> None:
        self.ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Quota:
    """The same for any user: the server's files may not grow beyond the size of the largest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def fill(self, store: Path) -> None:
        self._limit(store, max(file.stat().st_size for file in store.glob("records.sqlite*")))

    def free(self, store: Path) -> None:
        self._limit(store, resource.RLIM_INFINITY)

    def _limit(self, store: Path, size: int) -> None:
        pid = localdb.status(store).pid
        assert pid is not None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def close(self) -> None:
        pass


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk | Quota]:
    made: SmallDisk | Quota
    try:
        made = SmallDisk(tmp_path / "disk")
    except (subprocess.CalledProcessError, FileNotFoundError):
        made = Quota(tmp_path / "quota")
    yield made
    localdb.stop(made.folder / "store")
    made.close()


def test_the_job_fails_and_runs_again_when_there_is_room(finished_search, disk, project_with):
    spec, undisturbed = finished_search
    project: Project = project_with(store=disk.folder / "store")
    project.submit(spec)
    worker = project.worker("pauses", str(project.folder), "candidates:2")
    with project.paused("candidates"):
        before = content(project.uri)
        disk.fill(project.store)
    assert worker.end() == 1
    assert "nothing was written" in worker.said()
    assert "OutOfDiskSpace" in worker.said()
    # The server still answers, and what was there is there.
    assert localdb.status(project.store).running
    after = content(project.uri)
    for collection, documents in before.items():
        assert collection == "searches" or documents.items() <= after[collection].items()
    disk.free(project.store)
    # FireWorks could not write down either that the job has failed.
    assert len(project.rerun_lost() + project.rerun_failed()) == 1
    assert project.worker().end() == 0
    project.assert_complete(undisturbed)
