"""Every crystal of any request keeps every promise, and the check would notice if it did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice

from crysearch.errors import SamplingError
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.conformance import violations
from crysearch.sampling.wyckoff import hosting_groups, wyckoff_tables

SPECIES = ("Al", "O", "Mg")


def all_pairs(species: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(a, b) for i, a in enumerate(species) for b in species[i:]]


@st.composite
def requests_in_one_group(draw: st.DrawFn) -> CrystalRequest:
    """A composition made of the group's own positions, so that any group is met as often."""
    group = draw(st.integers(1, 230))
    tables = wyckoff_tables()
    sizes = [int(tables.multiplicity[p]) for p in tables.positions(group)]
    kinds = draw(st.integers(1, 3))
    counts = tuple(
        sum(draw(st.lists(st.sampled_from(sizes), min_size=1, max_size=3))) for _ in range(kinds)
    )
    assume(sum(counts) <= 96 and group in hosting_groups(counts))
    species = SPECIES[:kinds]
    return CrystalRequest(
        species,
        counts,
        draw(st.floats(12.0, 40.0)) * sum(counts),
        {pair: draw(st.floats(0.4, 2.0)) for pair in all_pairs(species)},
        volume_tolerance=draw(st.sampled_from([0.0, 0.05, 0.3])),
        space_groups=(group,),
        attempts_per_orbit=draw(st.sampled_from([1, 10])),
    )


@given(request=requests_in_one_group(), seed=st.integers(0, 2**32))
@settings(max_examples=120, deadline=None)
def test_any_composition_in_any_group(request: CrystalRequest, seed: int) -> None:
    try:
        batch = create_sampler("wyckoff", request).sample(2, seed)
    except SamplingError as error:
        # Wyckoff positions that share fixed points need not leave room: said, not spun on.
        assert "enlarge volume" in str(error)
        return
    assert violations(batch, request) == []


@given(
    counts=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    group=st.sampled_from([1, 2]),
    fraction=st.floats(0.75, 0.95),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_skewed_triclinic_cells_with_long_distances(
    counts: tuple[int, ...], group: int, fraction: float, seed: int
) -> None:
    """Distances of nearly half the edges: images beyond the adjacent cells matter."""
    species = SPECIES[: len(counts)]
    largest = 2.6
    pairs = {pair: largest * fraction**i for i, pair in enumerate(all_pairs(species))}
    request = CrystalRequest(species, counts, 26.0 * sum(counts), pairs, space_groups=(group,))
    batch = create_sampler("wyckoff", request).sample(6, seed)
    assert violations(batch, request) == []


def test_skewed_cells_are_among_the_triclinic_ones() -> None:
    """In some of them a shortest image lies outside the 26 adjacent cells."""
    request = CrystalRequest(("Si",), (4,), 92.0, {("Si", "Si"): 2.1}, space_groups=(1, 2))
    batch = create_sampler("wyckoff", request).sample(400, 2)
    assert violations(batch, request) == []
    angles = np.array([Lattice(matrix).angles for matrix in batch.lattices])
    assert angles.min() < 40.0 and angles.max() > 140.0
    beyond = 0
    for matrix in batch.lattices:
        heights = 1.0 / np.linalg.norm(np.linalg.inv(matrix), axis=0)
        beyond += bool(heights.min() < 2.1)
    assert beyond > 20


@pytest.mark.parametrize(
    ("species", "counts", "distances"),
    [
        (("Na", "Cl"), (4, 4), (3.0, 2.4, 3.2)),
        (("Al", "O"), (4, 6), (2.3, 1.6, 2.1)),
        (("Ca", "Ti", "O"), (2, 2, 6), (3.0, 2.6, 2.1, 2.4, 1.7, 2.2)),
        (("Cs", "Sn", "Br"), (4, 4, 12), (4.0, 3.8, 3.0, 3.6, 2.4, 3.0)),
    ],
)
def test_every_pair_of_species_keeps_its_own_distance(species, counts, distances) -> None:
    """Each pair comes close to its own limit, and none passes it."""
    pairs = dict(zip(all_pairs(species), distances, strict=True))
    volume = 12.0 * sum(counts) * (3.0 if "Cs" in species else 1.3)
    request = CrystalRequest(species, counts, volume, pairs)
    batch = create_sampler("wyckoff", request).sample(300, 3)
    assert violations(batch.select(slice(0, 40)), request) == []
    nearest = dict.fromkeys(pairs, np.inf)
    for i in range(300):
        first, second, _, found = batch.structure(i).get_neighbor_list(max(distances) + 0.5)
        for (a, b), limit in pairs.items():
            mine = np.isin(batch.species_index[first], species.index(a))
            mine &= np.isin(batch.species_index[second], species.index(b))
            if mine.any():
                nearest[a, b] = min(nearest[a, b], float(found[mine].min()))
                assert found[mine].min() >= limit
    for pair, limit in pairs.items():
        assert limit <= nearest[pair] < 1.15 * limit, pair


def sample() -> tuple[CrystalBatch, CrystalRequest]:
    request = CrystalRequest(
        ("Al", "O"), (4, 6), 105.0, dict(zip(all_pairs(("Al", "O")), (2.2, 1.6, 2.1), strict=True)),
        space_groups=(15, 167, 194, 221),
    )  # fmt: skip
    return create_sampler("wyckoff", request).sample(12, 4), request


@pytest.mark.parametrize("fault", ["moved", "squeezed", "swollen", "foreign", "twice", "renamed"])
def test_the_check_sees_faults(fault: str) -> None:
    """A check that finds nothing in good crystals says little unless it finds this."""
    batch, request = sample()
    assert violations(batch, request) == []
    xyz, sites = batch.fractional_coordinates.copy(), batch.sites.copy()
    if fault == "moved":
        xyz[0, 0] = (xyz[0, 0] + [0.011, 0.017, 0.013]) % 1.0
        batch, expected = replace(batch, fractional_coordinates=xyz), "spglib misses"
    elif fault == "squeezed":
        xyz[0, 1] = (xyz[0, 0] + 0.05) % 1.0
        batch, expected = replace(batch, fractional_coordinates=xyz), "Å apart (ASE)"
    elif fault == "swollen":
        batch, expected = replace(batch, lattices=batch.lattices * 1.05), "is not in"
    elif fault == "foreign":
        request, expected = replace(request, space_groups=(2,)), "was not requested"
    elif fault == "twice":
        tables = wyckoff_tables()
        row = next(i for i in range(12) if has_fixed_point(batch, i))
        group = int(batch.space_groups[row])
        fixed = next(
            k for k, code in enumerate(sites[row])
            if code >= 0 and tables.freedom[tables.positions(group)[code // 2]] == 0
        )  # fmt: skip
        sites[row, (fixed + 1) % sites.shape[1]] = sites[row, fixed]
        batch, expected = replace(batch, sites=sites), "is a fixed point and used twice"
    else:
        batch, expected = replace(batch, species=("O", "Al")), "do not spell the composition"
    assert any(expected in text for text in violations(batch, request)), Counter(
        violations(batch, request)
    )


def has_fixed_point(batch: CrystalBatch, i: int) -> bool:
    tables = wyckoff_tables()
    positions = tables.positions(int(batch.space_groups[i]))
    used = [int(code) // len(batch.species) for code in batch.sites[i] if code >= 0]
    return any(tables.freedom[positions[index]] == 0 for index in used)
