"""The compiled distance test and the documented distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice
from pymatgen.util.coord import pbc_shortest_vectors
from scipy import stats

from crysearch.sampling import CrystalRequest, kernel
from crysearch.sampling.random_crystals import WyckoffSampler
from crysearch.sampling.wyckoff import count_combinations, wyckoff_tables

SMALLEST_P = 1e-4


def lower_triangular(lattice: Lattice) -> np.ndarray:
    return np.linalg.cholesky(lattice.matrix @ lattice.matrix.T)


def shortest_by_brute_force(cell: np.ndarray, delta: np.ndarray, skip_zero: bool) -> float:
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    # Any image at least as short as the nearest of the eight corners lies within this range.
    reach = np.linalg.norm(cell, axis=1).sum()
    ranges = [np.arange(-math.ceil(reach / h) - 1, math.ceil(reach / h) + 2) for h in heights]
    shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    if skip_zero:
        shifts = shifts[(shifts != 0).any(axis=1)]
    return float(np.linalg.norm((shifts + delta) @ cell, axis=1).min())


lengths = st.floats(2.0, 9.0)
angles = st.floats(25.0, 155.0)


@given(
    edges=st.tuples(lengths, lengths, lengths),
    corner=st.tuples(angles, angles, angles),
    delta=st.tuples(*[st.floats(-0.999, 0.999)] * 3),
    skip_zero=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_images_are_found_exactly_in_skewed_cells(
    edges: tuple[float, ...], corner: tuple[float, ...], delta: tuple[float, ...], skip_zero: bool
) -> None:
    cosines = np.cos(np.radians(corner))
    box = 1.0 - (cosines**2).sum() + 2.0 * cosines.prod()
    if box < 0.01:
        return
    cell = lower_triangular(Lattice.from_parameters(*edges, *corner))
    shift = np.zeros(3) if skip_zero else np.array(delta)
    shortest = shortest_by_brute_force(cell, shift, skip_zero)
    if shortest > 1e-3:
        assert not kernel.is_too_close(*shift, cell, shortest * (1 - 1e-6), skip_zero)
    assert kernel.is_too_close(*shift, cell, shortest * (1 + 1e-6) + 1e-9, skip_zero)


def test_images_agree_with_pymatgen_in_ordinary_cells() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        cell = np.tril(rng.normal(scale=1.0, size=(3, 3))) + np.diag([5.0, 6.0, 7.0])
        delta = rng.random(3)
        vector = pbc_shortest_vectors(Lattice(cell), np.zeros(3), delta)[0, 0]
        distance = float(np.linalg.norm(vector))
        assert not kernel.is_too_close(*delta, cell, distance * 0.9999, False)
        assert kernel.is_too_close(*delta, cell, distance * 1.0001, False)


def loose(counts: tuple[int, ...], groups: tuple[int, ...]) -> WyckoffSampler:
    """A request that nothing is rejected from, so that proposals are seen undisturbed."""
    species = ("Si", "Ge", "Sn")[: len(counts)]
    pairs = {(a, b): 0.01 for a in species for b in species}
    request = CrystalRequest(species, counts, 20.0 * sum(counts), pairs, space_groups=groups)
    return WyckoffSampler(request)


@pytest.mark.parametrize(
    ("group", "counts"),
    [(47, (2,)), (10, (1, 2)), (12, (4, 4)), (225, (8,)), (6, (2, 1, 1)), (221, (4, 3))],
)
def test_combinations_are_drawn_uniformly(group: int, counts: tuple[int, ...]) -> None:
    batch = loose(counts, (group,)).sample(6000, 11)
    assert batch.attempts < 6010
    seen = np.unique(np.sort(batch.sites, axis=1), axis=0, return_counts=True)[1]
    assert len(seen) == count_combinations(group, counts)
    assert stats.chisquare(seen).pvalue > SMALLEST_P


def test_groups_are_drawn_uniformly() -> None:
    sampler = loose((8,), tuple(range(1, 231)))
    batch = sampler.sample(20_000, 3)
    seen = np.unique(batch.space_groups, return_counts=True)
    assert tuple(seen[0]) == sampler.request.hosting_groups
    assert stats.chisquare(seen[1]).pvalue > SMALLEST_P


def truncated_angle() -> stats.rv_continuous:
    return stats.truncnorm(-3.0, 3.0, loc=90.0, scale=20.0)


def test_cells_follow_the_documented_distribution() -> None:
    def cells(group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        general = wyckoff_tables().positions(group)[0]
        atoms = 2 * int(wyckoff_tables().multiplicity[general])
        batch = loose((atoms,), (group,)).sample(4000, group)
        lattices = [Lattice(matrix) for matrix in batch.lattices]
        return (
            np.array([lattice.abc for lattice in lattices]),
            np.array([lattice.angles for lattice in lattices]),
            batch.volumes,
        )

    spread = 0.35
    edges, corner, volumes = cells(1)
    low, high = 40.0 * 0.9, 40.0 * 1.1
    assert stats.kstest(volumes, stats.uniform(low, high - low).cdf).pvalue > SMALLEST_P
    ratio = stats.norm(scale=spread * math.sqrt(2.0))
    assert stats.kstest(np.log(edges[:, 0] / edges[:, 2]), ratio.cdf).pvalue > SMALLEST_P
    assert corner.min() > 30.0 and corner.max() < 150.0

    edges, corner, _ = cells(4)
    assert np.allclose(corner[:, [0, 2]], 90.0)
    assert stats.kstest(corner[:, 1], truncated_angle().cdf).pvalue > SMALLEST_P

    edges, corner, _ = cells(19)
    assert np.allclose(corner, 90.0)
    assert stats.kstest(np.log(edges[:, 0] / edges[:, 1]), ratio.cdf).pvalue > SMALLEST_P

    for group, box, gamma in ((76, 1.0, 90.0), (144, math.sqrt(0.75), 120.0)):
        edges, corner, volumes = cells(group)
        assert np.allclose(edges[:, 0], edges[:, 1]) and np.allclose(corner[:, 2], gamma)
        height = np.log(edges[:, 2] / np.cbrt(volumes / box))
        normal = stats.norm(scale=spread * math.sqrt(3.0))
        assert stats.kstest(height, normal.cdf).pvalue > SMALLEST_P

    edges, corner, _ = cells(198)
    assert np.allclose(edges, edges[:, :1]) and np.allclose(corner, 90.0)


def test_free_parameters_are_uniform() -> None:
    batch = loose((4,), (19,)).sample(4000, 8)
    first = batch.fractional_coordinates[:, 0]
    for axis in range(3):
        assert stats.kstest(first[:, axis], stats.uniform.cdf).pvalue > SMALLEST_P
