"""Fixtures for every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from crysearch.spec import SearchSpec
from materials_project_server import server
from small_search import SMALL

__all__ = ["finished_search", "server"]


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory) -> tuple[SearchSpec, Path]:
    """One undisturbed search and its records, for the tests that only read them."""
    from crysearch.workflows import run_search

    place = tmp_path_factory.mktemp("finished") / "records"
    spec = SearchSpec.build(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_search(spec)
    return spec, place
