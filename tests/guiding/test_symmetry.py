"""Descents stay in their space group, in all 230."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.guiding import Guide, GuidingSettings
from crysearch.sampling.conformance import missing_operations
from crysearch.sampling.wyckoff import wyckoff_tables
from guided_crystals import crystals_of_group, request_in_group

RDF = RadialDistributionFunction(cutoff=6.0, grid_points=150)
SETTINGS = GuidingSettings(steps=(20, 20, 20), stop_distance=0.01)


@pytest.mark.parametrize("group", range(1, 231))
def test_all_operations_are_kept(group: int) -> None:
    """Onto other crystals of the group: exactly by the tables, and as spglib finds it."""
    batch = crystals_of_group(group, 4, seed=group)
    symbols = [batch.species[s] for s in batch.species_index]
    targets = RDF.compute(batch.lattices, batch.fractional_coordinates, symbols)
    guide = Guide(RDF, targets, request_in_group(group), SETTINGS)
    guided = guide.descend(batch, np.array([1, 2, 3, 0]))
    assert (guided.path_length > 0.05).any()
    after = guided.crystals
    np.testing.assert_array_equal(after.sites, batch.sites)
    tables = wyckoff_tables()
    rotations, translations = tables.operations(tables.positions(group)[0])
    for i in range(len(after)):
        lattice, xyz = after.lattices[i], after.fractional_coordinates[i]
        metric = lattice @ lattice.T
        turned = np.swapaxes(rotations, 1, 2) @ metric @ rotations
        assert np.abs(turned - metric).max() < 1e-9
        for kind in range(2):
            mine = xyz[after.species_index == kind]
            images = np.einsum("oij,aj->oai", rotations, mine) + translations[:, None]
            away = images[:, :, None] - mine
            away -= np.rint(away)
            # Chebyshev's distance in fractions: cheap, and zero where the true one is.
            assert np.abs(away).max(axis=3).min(axis=2).max() < 1e-10
        assert missing_operations(after, i, symprec=1e-5) == 0
