from __future__ import annotations

import gzip
import json
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.core import Structure

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.generative import create_model

# Known bad cells (a broken clathrate, atoms at 1.7 to 1.9 Å, amorphous cells) and duplicates.
LEFT_OUT = {
    "mp-16220", "mp-988210", "mp-1403870",
    "mp-1244933", "mp-1244971", "mp-1244990", "mp-1245041", "mp-1245242",
    "mp-571520", "mp-1524805",
}  # fmt: skip


@pytest.fixture(scope="session")
def silicon():
    """Radial distribution functions (33, 200) of the sound bundled silicon structures."""
    path = files("crysearch.references") / "data" / "si_mp.json.gz"
    entries = json.loads(gzip.decompress(path.read_bytes()))
    structures = [
        Structure.from_dict(entry["structure"])
        for entry in entries
        if entry["material_id"] not in LEFT_OUT
    ]
    fingerprints = RadialDistributionFunction().from_structures(structures)
    assert fingerprints.shape == (33, 200)
    fingerprints.flags.writeable = False
    return fingerprints


@pytest.fixture(scope="session")
def trained(silicon):
    """The published model with all defaults, trained on silicon, and its history."""
    model = create_model("vae")
    history = model.fit(silicon, seed=0)
    return model, history


@pytest.fixture
def small():
    """Twelve different random fingerprints (12, 16)."""
    return np.random.default_rng(1).gamma(2.0, 1.0, size=(12, 16))
