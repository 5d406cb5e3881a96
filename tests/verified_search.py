"""A small finished search with a classical potential, to verify structures of."""

from __future__ import annotations

from pathlib import Path

import pytest

from crysearch import localdb
from crysearch.spec import SearchSpec
from crysearch.workflows import run_search

SPEC = SearchSpec.build(
    {
        "name": "to verify",
        "formula_units": [4],
        "replicas": {"grid_points": 0},
        "screening": {"quotas": {"I": 0, "II": 0, "III": 6}},
        "relaxation": {
            "engine": "stillinger-weber",
            "force_tolerance": 1e-3,
            "stress_tolerance": 0.01,
            "maximum_reference_atoms": 4,
        },
        "seed": 2,
    }
)


def run_in(place: Path) -> Path:
    """Run the search with its records in a folder, whose server is stopped afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        run_search(SPEC)
    localdb.stop(place)
    return place
