"""What a study of selection refuses, and what makes it another one."""

from __future__ import annotations

from typing import Any

import pytest

from crysearch.errors import SpecError
from crysearch.selection_spec import SelectionStudySpec
from small_selection import SMALL_SELECTION

STUDY = SelectionStudySpec.build(SMALL_SELECTION)


def test_yaml_gives_the_same_study() -> None:
    import yaml

    again = SelectionStudySpec.build(yaml.safe_load(STUDY.to_yaml()))
    assert again == STUDY and again.identifier == STUDY.identifier


def test_a_name_changes_no_result_and_everything_else_may() -> None:
    assert STUDY.with_changes({"name": "x", "pool.name": "y"}).identifier == STUDY.identifier
    for change in ({"seeds": 3}, {"pool.seed": 4}, {"melt.steps": 50}, {"rdf_bin": 0.1}):
        assert STUDY.with_changes(change).identifier != STUDY.identifier


def test_the_test_is_the_same_dynamics_with_other_draws() -> None:
    assert STUDY.test.seed == STUDY.pool.seed + 1
    assert STUDY.test.with_changes({"seed": 3, "name": STUDY.pool.name}) == STUDY.pool


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"methods": ["forces"]}, "'random' must be among them"),
        ({"methods": ["random", "luck"]}, "methods: 'luck' — choose among random, global-energy"),
        ({"methods": ["random", "random"]}, "give one or several different ones"),
        ({"models": []}, "models: \\[\\] — give one or several"),
        ({"models": [{"name": "a", "sizes": [8, 4]}]}, "models.0.sizes: \\[8, 4\\] — give differ"),
        ({"models": [{"name": "a", "sizes": [900]}]}, "900 — the pool has at most 62 frames"),
        ({"models": [{"name": "a", "potential": {"model": "b"}}]}, "'b' — choose one of"),
        ({"melt.engine": "emt"}, "melt.engine: 'emt' with {} — the reference method is that of"),
        ({"melt.temperatures": [1, 2]}, "2 state points — give one"),
        ({"melt.ensemble": "npt"}, "melt.ensemble: 'npt' — give 'nvt'"),
        ({"melt_seeds": 3}, "melt_seeds: 3 — give at most seeds, 2"),
        ({"rdf_bin": 7.0}, "rdf_bin: 7 — give less than rdf_cutoff, 6"),
        ({"pool.steps": 305}, "steps=305 must be a multiple"),
        ({"seeds": 1}, "seeds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        STUDY.with_changes(change)
