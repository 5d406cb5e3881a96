from __future__ import annotations

import gzip
import json
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from crysearch.fingerprints import RadialDistributionFunction


@pytest.fixture(scope="session")
def fingerprint():
    return RadialDistributionFunction().from_structures


@pytest.fixture(scope="session")
def silicon() -> dict[str, Structure]:
    """Silicon of the Materials Project by identifier, without the cells of 40 atoms and more."""
    data = files("crysearch.references") / "data" / "si_mp.json.gz"
    return {
        entry["material_id"]: Structure.from_dict(entry["structure"])
        for entry in json.loads(gzip.decompress(data.read_bytes()))
        if entry["nsites"] < 40
    }


@pytest.fixture(scope="session")
def published() -> dict[str, Structure]:
    """Cells of Lee and Chang."""
    cells = {
        "C2/m": (
            (13.73, 3.82, 6.29, 90, 83.3, 90),
            [
                (0.94460, 0, 0.87347),
                (0.44097, 0, 0.65322),
                (0.78744, 0, 0.05727),
                (0.27303, 0, 0.58547),
            ],
        ),
        "C2/m*": (
            (3.77, 16.56, 6.93, 90, 133.7, 90),
            [(0.08137, 0, 0.86120), (0.07598, 0.87869, 0.36283), (0, 0.29131, 0)],
        ),
    }
    return {
        name: Structure.from_spacegroup(
            "C2/m", Lattice.from_parameters(*cell), ["Si"] * len(sites), sites
        )
        for name, (cell, sites) in cells.items()
    }


@pytest.fixture(scope="session")
def disguise():
    """The same crystal in other words: supercell or other axes, moved, turned, shuffled."""

    def apply(structure: Structure, seed: int, noise: float = 0.0) -> Structure:
        rng = np.random.default_rng(seed)
        cells = (
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
            [[1, 0, 0], [0, 2, 0], [0, 0, 1]],
            [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        )
        changed = structure * cells[rng.integers(len(cells))]
        changed.translate_sites(range(len(changed)), rng.random(3))
        changed.apply_operation(
            SymmOp.from_axis_angle_and_translation(rng.normal(size=3), rng.uniform(0, 360))
        )
        if noise:
            changed.perturb(noise, seed=seed)
        return Structure.from_sites([changed[k] for k in rng.permutation(len(changed))])

    return apply
