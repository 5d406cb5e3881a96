"""A finished study, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from crysearch import localdb
from crysearch.study import StudySpec
from crysearch.workflows.study import run_study
from small_study import SMALL_STUDY


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the small study."""
    place = tmp_path_factory.mktemp("study") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_study(StudySpec.build(SMALL_STUDY))
    localdb.stop(place)
    return place
