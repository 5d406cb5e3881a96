"""A study of selection that takes seconds: eight ions of salt, tiny networks."""

from __future__ import annotations

from typing import Any

SALT = {"formula": "NaCl", "prototype": "rocksalt"}
SMALL_SELECTION: dict[str, Any] = {
    "name": "salt",
    "pool": {
        "structure": {**SALT, "lattice_constant": 5.8},
        "engine": "born-mayer-nacl",
        "temperatures": [600, 1500],
        "timestep": 2.0,
        "equilibration_steps": 50,
        "steps": 300,
        "sample_every": 10,
        "seed": 3,
    },
    "test_frames": 12,
    "methods": ["random", "global-energy", "atomic-energies", "farthest-point"],
    "models": [
        {
            "name": "network",
            "potential": {
                "cutoff": 5.0,
                "architecture": {"radial": 4, "angular": 1, "hidden_layers": [6]},
                "epochs": 15,
                "loss": {"stress": 0.0},
            },
            "sizes": [6, 12],
        }
    ],
    "seeds": 2,
    "melt": {
        "structure": {**SALT, "lattice_constant": 6.5, "repetitions": [2, 2, 2]},
        "engine": "born-mayer-nacl",
        "temperatures": [1400],
        "timestep": 2.0,
        "equilibration_steps": 0,
        "steps": 40,
        "sample_every": 10,
    },
    "rdf_cutoff": 6.0,
    "rdf_bin": 0.2,
}
