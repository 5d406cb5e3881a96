from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.analysis import MatchTolerances, find_duplicates
from crysearch.errors import AnalysisError


def test_silicon_of_the_materials_project(silicon, fingerprint):
    names = list(silicon)
    structures = list(silicon.values())
    duplicates = find_duplicates(structures, fingerprint(structures))
    found = {names[k]: names[i] for k, i in enumerate(duplicates) if i is not None}
    assert found == {"mp-1524805": "mp-1001113"}


def test_bc8_and_r8_are_two_phases(silicon, fingerprint):
    """Si-III and Si-XII, which StructureMatcher's own tolerances merge."""
    structures = [silicon["mp-168"], silicon["mp-571520"]]
    assert find_duplicates(structures, fingerprint(structures)) == [None, None]
    wide = MatchTolerances(length=0.2, site=0.3, angle=5)
    assert find_duplicates(structures, fingerprint(structures), tolerances=wide) == [None, 0]


def test_similar_fingerprints_do_not_suffice(published, silicon, fingerprint):
    """Within 0.11 of each other: the published pair; diamond and lonsdaleite."""
    structures = [*published.values(), silicon["mp-149"], silicon["mp-165"]]
    assert find_duplicates(structures, fingerprint(structures)) == [None] * 4


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000))
def test_the_same_crystal_in_other_words(seed, published, silicon, fingerprint, disguise):
    originals = [*published.values(), silicon["mp-149"], silicon["mp-165"], silicon["mp-168"]]
    copies = [disguise(structure, seed + k, 0.01) for k, structure in enumerate(originals)]
    structures = originals + copies
    energies = np.arange(10) % 5 * 1.0
    energies[5:] += 0.001
    order = np.random.default_rng(seed).permutation(10)
    shuffled = [structures[k] for k in order]
    duplicates = find_duplicates(shuffled, fingerprint(shuffled), energies[order])
    groups = {int(order[k]): i for k, i in enumerate(duplicates)}
    for k in range(5):
        # The original is lower in energy and therefore the representative, wherever it stands.
        assert groups[k] is None
        assert order[groups[k + 5]] == k


def test_lowest_energy_then_first_represents(silicon, fingerprint):
    structures = [silicon["mp-149"]] * 4
    prints = fingerprint(structures)
    assert find_duplicates(structures, prints, [0.002, 0.001, 0.0, 0.0]) == [2, 2, None, 2]
    assert find_duplicates(structures, prints) == [None, 0, 0, 0]


def test_energies_and_fingerprints_separate(silicon, fingerprint):
    structures = [silicon["mp-149"]] * 2
    prints = fingerprint(structures)
    assert find_duplicates(structures, prints, [0.0, 0.006]) == [None, None]
    assert find_duplicates(structures, prints, [0.0, 0.004]) == [None, 0]
    # A stretched cell has the same shape after scaling, but not the same distances.
    stretched = silicon["mp-149"].copy()
    stretched.scale_lattice(stretched.volume * 1.1)
    assert find_duplicates(
        [silicon["mp-149"], stretched], fingerprint([silicon["mp-149"], stretched])
    ) == [None, None]


def test_every_duplicate_matches_its_representative_directly(silicon, fingerprint):
    """Energies in steps below the tolerance form no chain."""
    structures = [silicon["mp-149"]] * 5
    duplicates = find_duplicates(
        structures, fingerprint(structures), [0.0, 0.004, 0.008, 0.012, 0.016]
    )
    assert duplicates == [None, 0, None, 2, None]


def test_composition_separates():
    cell = Lattice.cubic(5.64)
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    salts = [Structure.from_spacegroup("Fm-3m", cell, ["Na", other], sites) for other in "FI"]
    assert find_duplicates(salts, np.tile(np.random.default_rng(0).random(50), (2, 1))) == [
        None,
        None,
    ]


def test_more_than_one_block_and_progress(silicon, fingerprint):
    pool = [silicon["mp-149"], silicon["mp-165"]]
    structures = pool * 150
    seen: list[int] = []
    duplicates = find_duplicates(
        structures, np.tile(fingerprint(pool), (150, 1)), progress=seen.append
    )
    assert duplicates == [None, None, *[k % 2 for k in range(298)]]
    assert sum(seen) == 300


def test_nothing_to_compare():
    assert find_duplicates([], np.empty((0, 200))) == []


def test_bad_input(silicon, fingerprint):
    structures = [silicon["mp-149"]] * 2
    prints = fingerprint(structures)
    with pytest.raises(AnalysisError, match="one row per structure"):
        find_duplicates(structures, prints[:1])
    with pytest.raises(AnalysisError, match="one energy per atom"):
        find_duplicates(structures, prints, [0.0])
    with pytest.raises(AnalysisError, match="energy of structure 1 is not finite"):
        find_duplicates(structures, prints, [0.0, np.nan])
    with pytest.raises(AnalysisError, match="site=0"):
        MatchTolerances(site=0)
    with pytest.raises(AnalysisError, match="pearson_distance=3"):
        MatchTolerances(pearson_distance=3)
