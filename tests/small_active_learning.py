"""A small but whole active learning, with a classical potential as reference method."""

from __future__ import annotations

from typing import Any

from small_study import LARGE

SMALL_ACTIVE_LEARNING: dict[str, Any] = {
    "name": "small active learning",
    "search": {
        "formula_units": [4],
        "minimum_distances": {"Si-Si": 1.9},
        "references": {"exclude": LARGE},
        # Atoms with forces on them, and not only at centres of symmetry.
        "sampling": {"batch_size": 10, "space_groups": [1, 3, 4, 5, 7, 8]},
        "relaxation": {
            "force_tolerance": 0.05,
            "stress_tolerance": 0.5,
            "max_steps": 60,
            "batch_size": 3,
        },
        "seed": 5,
    },
    "reference": {"engine": "stillinger-weber"},
    "potential": {
        "members": 2,
        "cutoff": 4.5,
        "architecture": {"radial": 6, "angular": 1, "hidden_layers": [8]},
        "validation": 0.2,
        "epochs": 25,
    },
    # The last batch is not a whole one.
    "pool": {"size": 14, "batch_size": 8, "max_steps": 20, "disagreement_limit": 1.5},
    "first_batch": 7,
    "batch": 4,
    "maximum_cycles": 2,
    "top": 3,
}
