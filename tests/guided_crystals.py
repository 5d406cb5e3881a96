"""Requests, crystals and targets for the tests of guided crystals."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.references import load_snapshot
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.wyckoff import wyckoff_tables

TIN_SELENIDE = CrystalRequest(
    ("Sn", "Se"), (4, 4), 228.0, {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
)
ALUMINA = CrystalRequest(
    ("Al", "O"), (4, 6), 85.0, {("Al", "Al"): 2.2, ("Al", "O"): 1.6, ("O", "O"): 2.1}
)


def silicon(atoms: int) -> CrystalRequest:
    """As in the published search: 23 Å³ per atom ± 10 %, 2.1 Å."""
    return CrystalRequest(("Si",), (atoms,), 23.0 * atoms, {("Si", "Si"): 2.1})


@lru_cache
def known(formula: str, rdf: RadialDistributionFunction) -> np.ndarray:
    """RDFs of the bundled known structures."""
    return rdf.from_structures([reference.structure for reference in load_snapshot(formula)])


def request_in_group(group: int) -> CrystalRequest:
    """Two species: one on the smallest positions with free coordinates, one on the smallest."""
    tables = wyckoff_tables()
    positions = list(tables.positions(group))
    free = min(int(tables.multiplicity[p]) for p in positions if tables.freedom[p] > 0)
    least = min(int(tables.multiplicity[p]) for p in positions)
    counts = (2 * free if free < 16 else free, least)
    return CrystalRequest(
        ("Si", "O"),
        counts,
        20.0 * sum(counts),
        {("Si", "Si"): 1.2, ("Si", "O"): 1.0, ("O", "O"): 1.2},
        space_groups=(group,),
    )


def crystals_of_group(group: int, n: int, seed: int) -> CrystalBatch:
    """Random crystals of one space group with free coordinates."""
    return create_sampler("wyckoff", request_in_group(group)).sample(n, seed)
