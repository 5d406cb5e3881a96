"""Starting, finding, stopping: one server per folder, whoever asks for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from crysearch import localdb
from crysearch.errors import RecordsError
from crysearch.localdb import LocalDatabaseError

from .conftest import finish, start_python
from .local_servers import alive, connect, kill, running_pid, stopped_after, wait_until

STARTER = """
import sys, time
from pathlib import Path
from crysearch import localdb
time.sleep(max(0, float(sys.argv[2]) - time.time()))
address = getattr(localdb, sys.argv[3])(Path(sys.argv[1]))
print(address.port, localdb.status(Path(sys.argv[1])).pid)
"""


@pytest.fixture
def folder(tmp_path):
    with stopped_after(tmp_path / "store") as place:
        yield place


def test_start_status_stop(folder):
    assert not localdb.status(folder).running
    address = localdb.start(folder)
    with connect(address) as client:
        client["crysearch"]["things"].insert_many([{} for _ in range(3)])
        status = localdb.status(folder)
    assert status.running
    assert status.stays
    assert (status.host, status.port) == (address.host, address.port) == ("127.0.0.1", address.port)
    assert alive(status.pid)
    assert status.size_bytes > 0
    assert abs(status.started_at.timestamp() - time.time()) < 60
    assert status.connections >= 1
    assert status.documents["crysearch.things"] == 3
    assert localdb.stop(folder) is True
    assert not alive(status.pid)
    assert not localdb.status(folder).running
    assert localdb.stop(folder) is False


def test_starting_again_gives_the_same_server(folder):
    first = localdb.start(folder)
    pid = running_pid(folder)
    assert localdb.start(folder) == first
    assert localdb.ensure_running(folder) == first
    assert running_pid(folder) == pid


def test_a_restarted_server_has_the_same_address_and_documents(folder):
    first = localdb.start(folder)
    with connect(first) as client:
        client["crysearch"]["things"].insert_one({"_id": 1})
        localdb.stop(folder)
        assert localdb.ensure_running(folder) == first
        # The same client goes on.
        assert client["crysearch"]["things"].find_one() == {"_id": 1}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ensure_running", "start"])
def test_simultaneous_starters_get_one_server(folder, how):
    moment = str(time.time() + 1.5)
    starters = [start_python(STARTER, str(folder), moment, how) for _ in range(4)]
    answers = {tuple(printed.split()) for printed in finish(starters)}
    assert len(answers) == 1
    ((port, pid),) = answers
    assert (int(port), int(pid)) == (localdb.start(folder).port, running_pid(folder))


def test_a_server_on_demand_ends_by_itself(folder):
    localdb.ensure_running(folder, idle_minutes=0.02)
    status = localdb.status(folder)
    assert status.running
    assert not status.stays
    wait_until(lambda: not alive(status.pid))
    assert not localdb.status(folder).running


@pytest.mark.slow
def test_a_server_in_use_does_not_end(folder):
    address = localdb.ensure_running(folder, idle_minutes=0.02)
    pid = running_pid(folder)
    with connect(address) as client:
        client["crysearch"]["things"].insert_one({"_id": 1})
        time.sleep(2.5)  # connected, though silent
        assert client["crysearch"]["things"].find_one() == {"_id": 1}
        assert alive(pid)
    wait_until(lambda: not alive(pid))


@pytest.mark.slow
def test_start_makes_a_server_on_demand_stay(folder):
    address = localdb.ensure_running(folder, idle_minutes=0.02)
    pid = running_pid(folder)
    assert localdb.start(folder) == address
    assert localdb.status(folder).stays
    time.sleep(2.5)
    assert running_pid(folder) == pid


def test_a_server_outlives_the_process_that_started_it(folder):
    (printed,) = finish([start_python(STARTER, str(folder), "0", "ensure_running")])
    _, pid = map(int, printed.split())
    assert alive(pid)
    assert os.getpgid(pid) != os.getpgid(0)  # Ctrl-C in the terminal does not reach it


def test_a_chosen_port(folder, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert localdb.start(folder, port=port).port == port
    assert localdb.start(folder, port=port).port == port
    with pytest.raises(LocalDatabaseError, match=str(port)):
        localdb.start(folder, port=port + 1)
    localdb.stop(folder)
    assert localdb.ensure_running(folder).port == port  # remembered


def test_a_taken_port_is_named(folder):
    port = localdb.start(folder).port
    localdb.stop(folder)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(LocalDatabaseError, match="--port") as raised:
            localdb.ensure_running(folder)
        assert str(port) in str(raised.value)
    assert localdb.ensure_running(folder).port == port


def test_two_stores_side_by_side(folder, tmp_path):
    with stopped_after(tmp_path / "other") as other:
        first, second = localdb.start(folder), localdb.start(other)
        assert first.port != second.port
        with connect(first) as one, connect(second) as two:
            one["crysearch"]["things"].insert_one({"_id": 1})
            assert two["crysearch"]["things"].count_documents({}) == 0


@pytest.mark.parametrize("pid", ["dead", "somebody else", "nonsense"])
def test_a_stale_notice_is_not_believed(folder, pid):
    first = localdb.start(folder)
    notice = folder / "server.json"
    content = json.loads(notice.read_text())
    former = kill(folder)
    content["pid"] = {"dead": former, "somebody else": os.getpid(), "nonsense": "x"}[pid]
    notice.write_text(json.dumps(content) if pid != "nonsense" else "{")
    assert not localdb.status(folder).running
    assert localdb.stop(folder) is False  # and ends nobody else
    assert localdb.ensure_running(folder) == first
    assert running_pid(folder) != former


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(folder, how):
    with connect(localdb.start(folder)) as client:
        client["crysearch"]["things"].insert_one({"_id": 1})
        pid = running_pid(folder)
        os.kill(pid, how)
        wait_until(lambda: not alive(pid))
    assert not (folder / "server.json").exists()
    assert not list(folder.glob("*-wal"))  # everything is in the one file
    with connect(localdb.start(folder)) as client:
        assert client["crysearch"]["things"].count_documents({}) == 1


def test_a_server_of_a_deleted_folder_leaves_its_successor_alone(folder):
    localdb.start(folder)
    former = running_pid(folder)
    shutil.rmtree(folder)
    address = localdb.start(folder)
    assert running_pid(folder) != former
    os.kill(former, signal.SIGTERM)
    wait_until(lambda: not alive(former))
    assert localdb.status(folder).running
    assert localdb.ensure_running(folder) == address


def test_stop_does_not_wait_for_connected_clients(folder):
    with connect(localdb.start(folder), patience=0.1) as client:
        client["crysearch"]["things"].insert_many([{} for _ in range(500)])
        next(client["crysearch"]["things"].find().batch_size(2))
        began = time.monotonic()
        assert localdb.stop(folder)
        assert time.monotonic() - began < 5


def test_the_server_by_its_command(folder):
    command = [sys.executable, "-m", "crysearch.localdb", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: localdb.status(folder).running)
        assert running_pid(folder) == server.pid
        # A second one for the same folder gives way, and says so.
        second = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert second.returncode != 0
        assert str(server.pid) in second.stderr or "already" in second.stderr
        assert "Traceback" not in second.stderr
        assert localdb.stop(folder)
        server.wait(20)
    finally:
        server.kill()
        server.communicate(timeout=20)


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LocalDatabaseError, match="file"):
            localdb.ensure_running(place)
    assert issubclass(LocalDatabaseError, RecordsError)


def test_importing_is_light():
    code = (
        "import sys, time; began = time.process_time(); import crysearch.localdb;"
        "print(time.process_time() - began);"
        "print([n for n in ('torch', 'pymatgen', 'pydantic', 'numpy') if n in sys.modules])"
    )
    (printed,) = finish([start_python(code)])
    seconds, heavy = printed.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 0.6  # well below 0.3 on a machine at rest


def test_a_working_directory_that_goes_away(folder, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import sys; from pathlib import Path; from crysearch import localdb;"
        "localdb.start(Path(sys.argv[1]))"
    )
    finish([start_python(code, str(folder), cwd=gone)])
    gone.rmdir()
    with connect(localdb.start(folder)) as client:
        client["crysearch"]["things"].insert_one({})
    with contextlib.suppress(FileNotFoundError):
        assert os.readlink(f"/proc/{running_pid(folder)}/cwd") != str(gone)
