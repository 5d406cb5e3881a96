"""A small but whole search, with a classical potential, that takes seconds."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "formula_units": [4, 8],
    "generative": {"epochs": 60},
    "replicas": {"grid_points": 4, "random_points": 3},
    "sampling": {"batch_size": 60},
    "screening": {"threshold": 0.2, "quotas": {"I": 3, "II": 0, "III": 3, "IV": 3}},
    "guiding": {"targets": "both", "batch_size": 12},
    "relaxation": {
        "engine": "stillinger-weber",
        "force_tolerance": 0.05,
        "max_steps": 60,
        "batch_size": 4,
        "maximum_reference_atoms": 4,
    },
    "seed": 3,
}
