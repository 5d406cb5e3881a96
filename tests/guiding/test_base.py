"""Settings are checked, and messages name the field, the value and the way out."""

from __future__ import annotations

import pytest

from crysearch.errors import GuidingError
from crysearch.guiding import GuidingSettings


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("wanted_distance", 0.0, "wanted_distance: 0.0 is not a Pearson's distance"),
        ("wanted_distance", "near", "wanted_distance: 'near'"),
        ("stop_distance", -0.1, "stop_distance: -0.1 is not a positive number"),
        ("stop_distance", 0.2, "stop_distance: 0.2 is above wanted_distance"),
        ("smearings", 0.3, "smearings: 0.3 is not a sequence"),
        ("smearings", (0.15, 0.4), "do not fall; order them from broad on"),
        ("smearings", (0.4, -1.0), "smearings: -1.0 is not a positive length"),
        ("smearings", (0.4, 0.2, 0.1), r"steps: .* has 3 entries; give 4"),
        ("steps", (50, 50, 0), "steps: 0 is not a positive whole number"),
        ("steps", (50, 50, 1.5), "steps: 1.5 is not"),
        ("longest_steps", (0.1, 0.1), "longest_steps: .* has 2 entries; give 3"),
        ("longest_steps", (0.1, 0.1, 2.0), "longest_steps: 2.0 is not"),
        ("penalty", -1.0, "penalty: -1.0 is not a number from 0"),
        ("margin", 0.9, "margin: 0.9 is not a number from 1"),
        ("skin", float("nan"), "skin: nan is not"),
        ("strain_length", 0.0, "strain_length: 0.0"),
        ("memory", 0, "memory: 0 is not a whole number"),
        ("volume", "loose", "volume: 'loose' is unknown; choose from free, bounded, fixed, target"),
    ],
)
def test_wrong_settings(field, value, text) -> None:
    with pytest.raises(GuidingError, match=text):
        GuidingSettings(**{field: value})


def test_lists_become_tuples() -> None:
    assert GuidingSettings(smearings=[0.4, 0.15]) == GuidingSettings(smearings=(0.4, 0.15))
