"""The local record folder: several processes, kills, and damaged files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, open_records
from crysearch.records.journal import FILE_NAME

BATCH = 7

# Writes batches for ever and says so after each; stops for a line on its standard input.
WRITER = f"""
import sys
from crysearch.records import open_records
store = open_records(sys.argv[1])
for batch in range(int(sys.argv[2])):
    store.upsert("candidates", [
        {{"_id": f"{{batch:06d}}-{{i}}", "batch": batch, "padding": "x" * 2000}}
        for i in range({BATCH})
    ])
    print(batch + 1, flush=True)
sys.stdin.readline()
"""

FORKING_WRITER = """
import os, sys, time
from crysearch.records import open_records
store = open_records(sys.argv[1])
store.upsert("candidates", [{"_id": "a"}])
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
sys.stdin.readline()
"""

# The kernel refuses to let the file grow, as a full disk would.
FULL_DISK = """
import resource, signal, sys
from crysearch.errors import RecordsError
from crysearch.records import open_records
store = open_records(sys.argv[1])
store.upsert("candidates", [{"_id": "kept", "n": 1}])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.upsert("candidates", [{"_id": f"{i}", "padding": "x" * 1000} for i in range(1000)])
except RecordsError as error:
    print(error, flush=True)
print(store.count("candidates"), flush=True)
"""


@contextmanager
def python(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended early"
    return line.strip()


def seal(folder: Path) -> Path:
    """Write some records, close them, and return the file."""
    with open_records(folder) as store:
        for i in range(200):
            store.upsert("candidates", [{"_id": f"{i:03d}", "padding": "x" * 500}])
    return folder / FILE_NAME


@pytest.mark.parametrize("batches", [1, 25, 80])
def test_kill_loses_no_acknowledged_write_and_leaves_no_half_batch(
    tmp_path: Path, batches: int
) -> None:
    with python(WRITER, str(tmp_path), "1000000") as writer:
        while int(read_line(writer)) < batches:
            pass
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate()
    acknowledged = batches + len(rest.split())
    with open_records(tmp_path) as store:
        found = store.count("candidates")
        assert found >= acknowledged * BATCH
        assert found % BATCH == 0
        written = store.distinct("candidates", "batch")
        assert sorted(written) == list(range(found // BATCH))
        store.upsert("candidates", [{"_id": "after"}])  # the dead process blocks nobody
        assert store.count("candidates") == found + 1


def test_the_second_writer_is_told_who_writes_and_may_read(tmp_path: Path) -> None:
    with python(WRITER, str(tmp_path), "3") as writer, open_records(tmp_path) as store:
        while read_line(writer) != "3":
            pass
        assert store.count("candidates") == 3 * BATCH
        with pytest.raises(RecordsError, match=rf"written by process {writer.pid}.*Wait"):
            store.upsert("candidates", [{"_id": "mine"}])
        with pytest.raises(RecordsError, match=str(writer.pid)):
            store.put_blob("mine", b"")
        assert store.count("candidates") == 3 * BATCH
        writer.communicate("stop\n")
        assert writer.returncode == 0
        store.upsert("candidates", [{"_id": "mine"}])
        assert store.count("candidates") == 3 * BATCH + 1


def test_an_open_reader_sees_what_another_process_commits(tmp_path: Path) -> None:
    seal(tmp_path)
    with open_records(tmp_path, read_only=True) as reader:
        before = reader.count("candidates")
        assert reader.get("candidates", "mine") is None
        with python(WRITER, str(tmp_path), "20") as writer:
            for batch in range(1, 21):
                assert read_line(writer) == str(batch)
                assert reader.count("candidates") >= before + batch * BATCH
            writer.communicate("stop\n")
        assert reader.count("candidates") == before + 20 * BATCH


def test_a_writer_knows_what_was_written_since_it_last_read(tmp_path: Path) -> None:
    seal(tmp_path)
    with open_records(tmp_path) as store:
        before = store.count("candidates")
        with python(WRITER, str(tmp_path), "3") as writer:
            writer.communicate("stop\n")
        store.update("candidates", {"000002-0": {"batch": -1}})
        assert store.count("candidates") == before + 3 * BATCH
        assert store.count("candidates", {"batch": -1}) == 1
        with python(WRITER, str(tmp_path), "1") as refused:
            refused.communicate()
            assert refused.returncode == 1
    with open_records(tmp_path) as store:
        assert store.count("candidates") == before + 3 * BATCH
        with python(WRITER, str(tmp_path), "4") as writer:
            writer.communicate("stop\n")
        store.upsert("candidates", [{"_id": "mine"}])  # without reading in between
        assert store.count("candidates") == before + 4 * BATCH + 1


def test_a_worker_forked_from_a_killed_writer_does_not_keep_the_lock(tmp_path: Path) -> None:
    with python(FORKING_WRITER, str(tmp_path)) as writer:
        child = int(read_line(writer))
        try:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            os.kill(child, 0)  # still alive
            with open_records(tmp_path) as store:
                store.upsert("candidates", [{"_id": "b"}])
                assert store.count("candidates") == 2
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_is_told_to_open_the_records_itself(tmp_path: Path) -> None:
    with open_records(tmp_path) as store:
        store.upsert("candidates", [{"_id": "a"}])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.upsert("candidates", [{"_id": "b"}])
            except RecordsError as error:
                code = 0 if "open them again in the child" in str(error) else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.upsert("candidates", [{"_id": "c"}])
        assert store.count("candidates") == 2


def test_stores_of_one_process_share_the_folder(tmp_path: Path) -> None:
    first, second = open_records(tmp_path), open_records(tmp_path)
    first.upsert("candidates", [{"_id": "a"}])
    second.upsert("candidates", [{"_id": "b"}])
    assert first.count("candidates") == second.count("candidates") == 2
    first.close()
    second.upsert("candidates", [{"_id": "c"}])
    second.close()
    with open_records(tmp_path, read_only=True) as third:
        assert third.count("candidates") == 3


def test_threads_share_a_store(local: RecordStore) -> None:
    failures: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for i in range(30):
                local.upsert("candidates", [{"_id": f"{thread}-{i}", "thread": thread}])
                assert local.count("candidates", {"thread": thread}) == i + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert local.count("candidates") == 120


def test_a_full_disk_is_reported_and_leaves_the_records_whole(tmp_path: Path) -> None:
    with python(FULL_DISK, str(tmp_path)) as process:
        output, _ = process.communicate(timeout=60)
    message, count = output.strip().split("\n")
    assert str(tmp_path / FILE_NAME) in message
    assert count == "1"
    with open_records(tmp_path) as store:
        assert store.find("candidates") == [{"_id": "kept", "n": 1}]
        store.upsert("candidates", [{"_id": "after"}])


def test_reading_creates_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    with pytest.raises(RecordsError, match=r"no records in .*run a search"):
        open_records(folder, read_only=True)
    with open_records(folder) as store:
        assert store.find("candidates") == []
        assert store.count("relaxations", {"x": 1}) == 0
        with pytest.raises(RecordsError, match="no blob"):
            store.get_blob("absent")
    assert not folder.exists()
    seal(folder)
    before = sorted(os.listdir(folder))
    with open_records(folder, read_only=True) as store:
        assert store.count("candidates") == 200
        with pytest.raises(RecordsError, match="reading only"):
            store.upsert("candidates", [{"_id": "a"}])
        assert sorted(os.listdir(folder)) == before
    assert sorted(os.listdir(folder)) == before


def test_records_stay_after_closing_and_opening(tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = [{"_id": f"{i}", "n": i} for i in (3, 1, 2)]
    with open_records(tmp_path) as store:
        store.upsert("candidates", documents)
        store.update("candidates", {"1": {"n": 10}})
        store.delete("candidates", {"n": 2})
        store.put_blob("b", b"\x00" * 1000, {"k": 1})
    with open_records(tmp_path, read_only=True) as store:
        assert store.find("candidates") == [{"_id": "3", "n": 3}, {"_id": "1", "n": 10}]
        assert store.get_blob("b") == b"\x00" * 1000


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match="is a file"):
        open_records(tmp_path / "file")
    with pytest.raises(RecordsError, match="Cannot write records"):
        open_records(tmp_path / "file" / "records").upsert("candidates", [{"_id": "a"}])


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def make_foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE documents (a)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
        pytest.param(lambda path: path.write_text("not SQLite at all" * 100), id="text"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size // 2), id="cut short"),
        pytest.param(lambda path: overwrite(path, 0, b"\x00" * 100), id="header lost"),
        pytest.param(lambda path: overwrite(path, 40_000, b"?" * 5_000), id="pages lost"),
        pytest.param(make_foreign, id="another program's"),
        pytest.param(
            lambda path: overwrite(path, path.read_bytes().index(b"x" * 500) + 250, b"y"),
            id="one byte of a document",
        ),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Any, read_only: bool) -> None:
    path = seal(tmp_path)
    damage(path)
    damaged = path.read_bytes()
    with (
        pytest.raises(RecordsError, match=r"records.sqlite cannot be read: .*Put back a copy"),
        open_records(tmp_path, read_only=read_only) as store,
    ):
        store.find("candidates")
        if not read_only:
            store.upsert("candidates", [{"_id": "a"}])
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("read_only", [True, False])
def test_a_newer_format_is_refused_before_any_work(tmp_path: Path, read_only: bool) -> None:
    path = seal(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RecordsError, match=r"format 99.*newer crysearch.*Upgrade"):
        open_records(tmp_path, read_only=read_only)
