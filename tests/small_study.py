"""A small but whole study of generative models, with a classical potential, that takes seconds."""

from __future__ import annotations

from typing import Any

# Cells with more than 16 atoms: most of the time of a run.
LARGE = [
    "mp-971661", "mp-971662", "mp-1094057", "mp-1196961", "mp-1199894", "mp-1200830",
    "mp-1201492", "mp-1202745", "mp-1203790", "mp-1204046", "mp-1204627", "mp-1268191",
]  # fmt: skip

SMALL_STUDY: dict[str, Any] = {
    "name": "small study",
    "search": {
        "name": "small",
        "formula_units": [8],
        "references": {"exclude": LARGE},
        "replicas": {"grid_points": 5, "random_points": 4},
        # The last batch is not a whole one.
        "sampling": {"batch_size": 400},
        "screening": {"threshold": 0.3},
        "relaxation": {
            "engine": "stillinger-weber",
            "force_tolerance": 0.05,
            "max_steps": 60,
            "batch_size": 4,
        },
        "seed": 3,
    },
    "variants": [
        {"name": "vae", "generative": {"epochs": 60}},
        {
            "name": "hvae",
            "generative": {"model": "hvae", "epochs": 60},
            "baselines": ["vae", "vae-equal-time"],
        },
        {"name": "vae-equal-time", "generative": {"epochs": 60}, "equal_time": True},
        # Every training of this one fails: its steps are far too long.
        {
            "name": "wild",
            "generative": {"epochs": 60, "optimizer": "sgd", "learning_rate": 1e6},
            "baselines": ["vae"],
        },
    ],
    "seeds": 2,
    "equal_time_factor": 1.5,
    "crystals": 1000,
    "relaxations": 2,
    "evidence_samples": 20,
}
