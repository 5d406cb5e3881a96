"""Fixtures for every room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from crysearch import localdb
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.spec import SearchSpec
from crysearch.study import StudySpec
from materials_project_server import server
from small_active_learning import SMALL_ACTIVE_LEARNING
from small_search import SMALL
from small_study import SMALL_STUDY

__all__ = ["finished_active_learning", "finished_search", "finished_study", "server"]


def stop_servers_below(folder: Path) -> None:
    """Stop the servers of all local stores in a folder."""
    for lock in folder.rglob("server.lock"):
        localdb.stop(lock.parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that workers end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def no_server_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Local stores that a test has opened in its folder are closed after it."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        stop_servers_below(folder)


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory) -> Iterator[tuple[SearchSpec, Path]]:
    """One undisturbed search and its records, for the tests that only read them."""
    from crysearch.workflows import run_search

    place = tmp_path_factory.mktemp("finished") / "records"
    spec = SearchSpec.build(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_search(spec)
    yield spec, place
    stop_servers_below(place.parent)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory) -> Path:
    """The records of one undisturbed study; tests copy them."""
    from crysearch.workflows.study import run_study

    place = tmp_path_factory.mktemp("study") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_study(StudySpec.build(SMALL_STUDY))
    localdb.stop(place)
    return place


@pytest.fixture(scope="session")
def finished_active_learning(tmp_path_factory) -> Iterator[Path]:
    """The records of one undisturbed active learning; tests that write copy them."""
    from crysearch.workflows.active_learning import run_active_learning

    place = tmp_path_factory.mktemp("active-learning") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_active_learning(ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING))
    localdb.stop(place)
    yield place
    stop_servers_below(place.parent)
