"""When a job stops at a border between batches."""

from __future__ import annotations

import pytest

from crysearch.errors import SettingsError
from crysearch.workflows.pace import END_VARIABLES, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_queue(monkeypatch):
    for name in END_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def batches(pace: Pace, clock: Clock, seconds: float, most: int = 1000) -> int:
    number = 0
    while number < most and pace.another():
        clock.now += seconds
        number += 1
    return number


def test_without_an_aim_and_a_queue_it_goes_on():
    clock = Clock()
    assert batches(Pace(None, clock), clock, 3600) == 1000


@pytest.mark.parametrize(("aim", "each", "expected"), [(60, 10, 6), (60, 25, 3), (60, 1000, 1)])
def test_it_ends_once_the_aim_is_reached(aim, each, expected):
    clock = Clock()
    assert batches(Pace(aim, clock), clock, each) == expected


@pytest.mark.parametrize("name", END_VARIABLES)
def test_no_batch_is_begun_that_may_not_end_in_time(monkeypatch, name):
    """With batches of 60 s, another is begun while 1.5 × 60 s and 30 s are left."""
    clock, wall = Clock(), Clock()
    wall.now = 1_800_000_000.0
    monkeypatch.setenv(name, str(int(wall.now) + 600))
    assert batches(Pace(None, clock, wall), clock, 60) == 8


def test_the_first_batch_is_begun_however_late_it_is(monkeypatch):
    monkeypatch.setenv("CRYSEARCH_JOB_END", "1")
    clock = Clock()
    assert batches(Pace(None, clock), clock, 5) == 1


def test_a_wrong_end_is_named(monkeypatch):
    monkeypatch.setenv("CRYSEARCH_JOB_END", "soon")
    with pytest.raises(SettingsError, match="CRYSEARCH_JOB_END = 'soon': give the time in seconds"):
        Pace(None)
