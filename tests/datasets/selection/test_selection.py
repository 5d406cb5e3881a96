"""Choosing configurations, against what the methods promise and against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import kstest

from crysearch.datasets.selection import (
    SelectionPool,
    available_methods,
    create_method,
    farthest_points,
    leverage_scores,
    methods_for,
)
from crysearch.datasets.selection.properties import BINS, bins_of
from crysearch.errors import DatasetError


def pool_of(size: int, seed: int = 0, atoms: int = 3, **changes: Any) -> SelectionPool:
    """Configurations of two elements, with values peaked in the middle of their ranges."""
    rng = np.random.default_rng(seed)
    values = {
        "counts": np.full(size, atoms),
        "numbers": np.tile([11, 17, 17][:atoms], size),
        "energies_per_atom": rng.normal(size=size),
        "forces": rng.normal(size=(size * atoms, 3)),
        "atomic_energies": rng.normal(size=size * atoms),
        "features": rng.normal(size=(size, 5)),
    }
    return SelectionPool(**(values | changes))


@pytest.mark.parametrize("name", available_methods())
@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["peaked", "equal", "two values", "repeated"]),
)
def test_no_repeats_deterministic_and_nested(
    name: str, size: int, share: float, seed: int, kind: str
) -> None:
    pool = pool_of(size, seed % 7)
    if kind != "peaked":
        kept = {"equal": 1, "two values": 2, "repeated": -(-size // 3)}[kind]
        rows = np.arange(size) % kept
        atoms = (3 * rows[:, None] + np.arange(3)).ravel()
        assert pool.energies_per_atom is not None and pool.atomic_energies is not None
        assert pool.forces is not None and pool.features is not None
        pool = pool_of(
            size,
            energies_per_atom=pool.energies_per_atom[rows],
            forces=pool.forces[atoms],
            atomic_energies=pool.atomic_energies[atoms],
            features=pool.features[rows],
        )
    method = create_method(name)
    every = method.select(pool, size, seed)
    assert sorted(every.tolist()) == list(range(size))
    count = max(1, round(share * size))
    assert method.select(pool, count, seed).tolist() == every[:count].tolist()


@pytest.mark.parametrize("name", available_methods())
def test_seeds_differ(name: str) -> None:
    pool, method = pool_of(300), create_method(name)
    assert method.select(pool, 20, 0).tolist() != method.select(pool, 20, 1).tolist()


def values_of(pool: SelectionPool, name: str) -> NDArray[np.float64]:
    values = {
        "global-energy": pool.energies_per_atom,
        "forces": None if pool.forces is None else np.linalg.norm(pool.forces, axis=1),
        "atomic-energies": pool.atomic_energies,
    }[name]
    assert values is not None
    return values


@pytest.mark.parametrize("name", ["global-energy", "forces", "atomic-energies"])
def test_uniform_in_the_range(name: str) -> None:
    pool = pool_of(200_000, atoms=1)
    values = values_of(pool, name)
    # The ends of the range have few values: what is in between can be uniform.
    low, high = np.sort(values)[[200, -200]]
    here = values[create_method(name).select(pool, 500, 3)]
    inside = here[(here > low) & (here < high)]
    assert len(inside) > 250
    assert kstest(inside, "uniform", (low, high - low)).pvalue > 0.01
    random = values[create_method("random").select(pool, 500, 3)]
    random = random[(random > low) & (random < high)]
    assert kstest(random, "uniform", (low, high - low)).pvalue < 1e-6
    assert kstest(random, values[(values > low) & (values < high)]).pvalue > 0.01


@pytest.mark.parametrize("name", ["forces", "atomic-energies"])
def test_each_element_has_a_range_of_its_own(name: str) -> None:
    """A hundred times smaller values of one element are spread no less."""
    rng = np.random.default_rng(1)
    numbers = np.tile([11, 17], 20_000)
    size = np.where(numbers == 11, 0.01, 1.0)
    pool = SelectionPool(
        np.full(20_000, 2),
        numbers,
        forces=size[:, None] * rng.normal(size=(40_000, 3)),
        atomic_energies=size * rng.normal(size=40_000) - 5.0 * (numbers == 17),
    )
    values = values_of(pool, name).reshape(-1, 2)
    chosen = create_method(name).select(pool, 200, 0)
    for element in (0, 1):
        whole, here = values[:, element], values[chosen, element]
        # Half of the turns are the element's, and many of these in its upper end.
        assert (here > np.quantile(whole, 0.99)).mean() > 0.05


def test_few_values_far_away_do_not_stretch_the_range() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=5000), [-900.0, 1e3, 1.1e3, 1e300]])
    bins = bins_of(values)
    assert len(set(bins[:5000].tolist())) > BINS // 2
    assert set(bins[5000:].tolist()).isdisjoint(bins[:5000].tolist())
    chosen = create_method("global-energy").select(
        SelectionPool(np.ones(5004, int), np.full(5004, 14), energies_per_atom=values), 100, 0
    )
    assert values[chosen][np.abs(values[chosen]) < 10].std() > 1.5
    # Two halves far apart are no outliers: both are a part of the range.
    halves = np.concatenate([rng.uniform(0, 1, 500), rng.uniform(9, 10, 500)])
    assert set(np.unique(bins_of(halves))) <= set(range(BINS))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e300, 1e300)))
def test_every_value_has_a_bin(values: NDArray[np.float64]) -> None:
    bins = bins_of(values)
    assert bins.min() >= 0
    inside = bins < BINS
    order = np.argsort(values[inside], kind="stable")
    assert (np.diff(bins[inside][order]) >= 0).all()


def brute_force(points: NDArray[np.float64], count: int, first: int) -> list[int]:
    distances = cdist(points, points)
    chosen = [first]
    while len(chosen) < count:
        chosen.append(int(np.argmax(distances[chosen].min(axis=0))))
    return chosen


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 80), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_farthest_points_are_those_of_brute_force(size: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(size, 3)) @ rng.normal(size=(3, width)) + rng.normal(size=width)
    points += 0.1 * rng.normal(size=points.shape)
    first = int(rng.integers(size))
    chosen, distances = farthest_points(points, size, first)
    assert chosen.tolist() == brute_force(points, size, first)
    assert distances[0] == np.inf and (np.diff(distances) <= 1e-12).all()


@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])
def test_leverage_scores_are_those_of_the_singular_vectors(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=shape) * np.exp(-np.arange(shape[1]) / 3) + 0.2
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    held = np.cumsum(values**2) / (values**2).sum()
    rank = int((held < 0.99).sum()) + 1
    assert 1 < rank < 12
    expected = (left[:, :rank] ** 2).sum(axis=1)
    np.testing.assert_allclose(leverage_scores(features), expected, rtol=1e-8)


def test_cur_draws_by_leverage() -> None:
    """A direction that few configurations have is found, and rows of zeros come last."""
    rng = np.random.default_rng(0)
    features = np.zeros((1000, 3))
    features[:900, 0] = 1.0
    features[900:905, 1] = 5.0
    features[905:905, 2] = rng.normal(size=0)
    pool = pool_of(1000, features=features)
    chosen = create_method("cur").select(pool, 1000, 0)
    assert np.isin(chosen[:12], range(900, 905)).sum() == pytest.approx(5, abs=2)
    assert set(chosen[905:].tolist()) == set(range(905, 1000))


@pytest.mark.parametrize(
    ("count", "seed", "said"),
    [
        (0, 0, "count is 0"),
        (2.5, 0, "count is 2.5"),
        (11, 0, "count is 11, and the pool has 10 configurations"),
        (3, -1, "seed is -1"),
        (3, None, "seed is None"),
    ],
)
def test_impossible_numbers_are_refused(count: Any, seed: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        create_method("random").select(pool_of(10), count, seed)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("energies_per_atom", "global-energy"),
        ("forces", "forces"),
        ("atomic_energies", "atomic-energies"),
        ("features", "farthest-point"),
        ("features", "cur"),
    ],
)
def test_what_is_missing_is_said_with_what_works(field: str, name: str) -> None:
    pool = pool_of(10, **{field: None})
    with pytest.raises(DatasetError, match=f"{field} of the pool is missing") as error:
        create_method(name).select(pool, 3, 0)
    assert str(error.value).endswith(", ".join(methods_for(pool)))
    assert name not in methods_for(pool) and "random" in methods_for(pool)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": np.array([], int)}, "counts hold 0"),
        ({"counts": np.array([3, 0])}, "smallest of 0 atoms"),
        ({"counts": np.array([3.0, 3.0])}, "counts has shape"),
        ({"numbers": np.array([1, 2])}, "numbers has 2 atoms, and counts add up to 6"),
        ({"forces": np.zeros((5, 3))}, r"forces has shape \(5, 3\)"),
        ({"forces": np.full((6, 3), np.nan)}, "forces has 18 numbers that are not finite"),
        ({"energies_per_atom": np.zeros(3)}, "energies_per_atom has shape"),
        ({"atomic_energies": ["a"] * 6}, "atomic_energies has shape"),
        ({"features": np.zeros(2)}, "features has shape"),
    ],
)
def test_pools_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        pool_of(2, **changes)


def test_unknown_method() -> None:
    with pytest.raises(DatasetError, match="method is 'best': choose one of random, global-energy"):
        create_method("best")
