"""Waiting for a database that has gone away."""

from __future__ import annotations

import threading

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure

from crysearch import localdb
from crysearch.errors import DatabaseAbsent, RecordsError
from crysearch.records import RecordStore, mongodb, open_records, patience
from crysearch.records.patience import Patience


class Flaky:
    """Fails so many times."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


@pytest.mark.parametrize(
    "error", [AutoReconnect("gone"), OperationFailure("closing", 91), OperationFailure("x", 11600)]
)
def test_an_absent_server_is_waited_for(error, caplog):
    operation = Flaky(3, error)
    assert Patience(30).repeat(operation, "here") == "done"
    assert operation.calls == 4
    assert caplog.text.count("The database at here does not answer: trying again for 30 s") == 1


def test_without_patience_there_is_one_attempt():
    operation = Flaky(1, AutoReconnect("gone"))
    with pytest.raises(AutoReconnect):
        Patience(0).repeat(operation, "here")
    assert operation.calls == 1


@pytest.mark.parametrize("error", [DuplicateKeyError("twice", 11000), OperationFailure("no", 13)])
def test_what_waiting_does_not_mend_is_not_repeated(error):
    operation = Flaky(1, error)
    with pytest.raises(type(error)):
        Patience(30).repeat(operation, "here")
    assert operation.calls == 1


def test_pauses_grow_and_patience_ends(monkeypatch):
    pauses = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(patience.time, "sleep", sleep)
    monkeypatch.setattr(patience.random, "uniform", lambda low, high: high)
    with pytest.raises(AutoReconnect):
        Patience(10).repeat(Flaky(10**6, AutoReconnect("gone")), "here")
    assert pauses[:5] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
    assert max(pauses) <= 5
    assert sum(pauses) == pytest.approx(10)


@pytest.mark.slow
def test_records_wait_for_a_server_that_restarts(tmp_path, monkeypatch):
    """A store that stays open goes on with the restarted server; without patience it says so."""
    monkeypatch.setattr(mongodb, "_TIMEOUT_SECONDS", 0.5)
    uri = localdb.start(tmp_path).uri("crysearch")
    with open_records(uri, patience=60) as waiting, open_records(uri) as impatient:
        waiting.upsert("candidates", [{"_id": "a"}])
        localdb.stop(tmp_path)
        with pytest.raises(DatabaseAbsent, match=r"has not answered for 0 s .*: start it again"):
            impatient.count("candidates")
        restart = threading.Timer(2.0, localdb.start, [tmp_path])
        restart.start()
        waiting.upsert("candidates", [{"_id": "b"}])
        restart.join()
        assert waiting.count("candidates") == 2
        assert impatient.count("candidates") == 2


def test_a_closed_store_says_so(store: RecordStore):
    store.close()
    with pytest.raises(RecordsError, match="have been closed"):
        store.count("candidates")
