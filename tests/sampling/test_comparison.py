"""The distributions beside PyXtal's: alike where the documentation says so."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.sampling.comparison import (
    compare_categories,
    compare_numbers,
    crystal_systems,
    features,
    matching,
)

SMALLEST_P = 1e-3
# Groups beyond P-1 that can hold four atoms in one way only, with free parameters.
ONE_COMBINATION = (4, 7, 9, 19, 29, 33, 36, 41, 42, 76, 78, 80, 92, 96, 109, 198)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(4,), (4, 4)], ids=["Si4", "Na4Cl4"])
def test_agrees_with_pyxtal_where_there_is_one_combination(counts: tuple[int, ...]) -> None:
    """One combination per group and loose distances: nothing is left but the same draws."""
    species = ("Na", "Cl")[: len(counts)] if len(counts) > 1 else ("Si",)
    request = CrystalRequest(
        species,
        counts,
        24.0 * sum(counts),
        {(a, b): 0.4 for a in species for b in species},
        space_groups=ONE_COMBINATION,
    )
    ours = features(create_sampler("wyckoff", request).sample(1500, 2))
    theirs = features(create_sampler("pyxtal", request).sample(300, 2))
    for name, values in ours.items():
        compare = compare_categories if name == "space group found" else compare_numbers
        assert compare(values, theirs[name]).p > SMALLEST_P, name
    # Four equal atoms in 41 or 80 make a smaller cell of higher symmetry.
    assert len(np.unique(ours["space group found"])) >= len(ONE_COMBINATION) - 2


@pytest.mark.slow
def test_agrees_with_pyxtal_once_the_combinations_are_the_same() -> None:
    """The search's own request: of the same groups and combinations, the same crystals."""
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
    theirs = create_sampler("pyxtal", request).sample(100, 1)
    pool = create_sampler("wyckoff", request).sample(60_000, 1)
    mine, yours = matching(pool, theirs)
    assert len(mine) > 0.9 * len(theirs)
    first, second = features(pool.select(mine)), features(theirs.select(yours))
    np.testing.assert_array_equal(first["orbits"], second["orbits"])
    for name in ("volume", "shortest edge", "longest edge", "nearest distance"):
        assert compare_numbers(first[name], second[name]).p > SMALLEST_P, name
    found = [crystal_systems(sample["space group found"]) for sample in (first, second)]
    assert compare_categories(*found).p > SMALLEST_P


def test_comparisons_see_differences() -> None:
    """What is said to agree was looked at by tests that can tell."""
    loose = {("Si", "Si"): 0.4}
    cells = CrystalRequest(("Si",), (4,), 96.0, loose, space_groups=ONE_COMBINATION)
    larger = CrystalRequest(("Si",), (4,), 100.0, loose, space_groups=ONE_COMBINATION)
    weighted = CrystalRequest(
        ("Si",), (4,), 96.0, loose, space_groups=ONE_COMBINATION, space_group_weights={198: 6}
    )
    plain, large, cubic = (
        create_sampler("wyckoff", request).sample(500, seed)
        for seed, request in enumerate((cells, larger, weighted))
    )
    assert compare_numbers(plain.volumes, large.volumes).p < 1e-6
    assert compare_categories(plain.space_groups, cubic.space_groups).p < 1e-6
    same = create_sampler("wyckoff", cells).sample(500, 9)
    assert compare_numbers(plain.volumes, same.volumes).p > SMALLEST_P
    assert compare_categories(plain.space_groups, same.space_groups).p > SMALLEST_P


def test_crystals_are_matched_by_group_and_combination() -> None:
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1}, space_groups=(2, 12, 225))
    sampler = create_sampler("wyckoff", request)
    pool, target = sampler.sample(400, 1), sampler.sample(60, 2)
    mine, yours = matching(pool, target)
    assert len(set(mine)) == len(mine) > 30 and len(set(yours)) == len(yours)
    for i, j in zip(mine, yours, strict=True):
        assert pool.space_groups[i] == target.space_groups[j]
        assert sorted(pool.wyckoff(i)["Si"]) == sorted(target.wyckoff(j)["Si"])
    assert len(matching(pool.select([]), target)[0]) == 0


def test_rare_categories_are_counted_together() -> None:
    first, second = np.repeat([1, 2, 3], [50, 40, 1]), np.repeat([1, 2, 4], [50, 40, 1])
    result = compare_categories(first, second)
    assert result.p > 0.99 and result.statistic < 0.01 and (result.first, result.second) == (3, 3)
    assert compare_categories(np.ones(20), np.ones(20)).p == 1.0
    assert crystal_systems(np.array([1, 2, 3, 167, 168, 230])).tolist() == [0, 0, 1, 4, 5, 6]
