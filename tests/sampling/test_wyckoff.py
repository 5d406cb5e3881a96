"""The symmetry tables and the counting of Wyckoff combinations."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st
from pyxtal.symmetry import Group

from crysearch.errors import SamplingError
from crysearch.sampling.build_tables import TABLES_PATH, TRANSLATION_UNIT, build_tables
from crysearch.sampling.wyckoff import (
    Combination,
    combination_table,
    count_combinations,
    enumerate_combinations,
    hosting_groups,
    wyckoff_tables,
)

COMPOSITIONS = (
    *((1,), (2,), (3,), (4,), (6,), (8,)),
    *((1, 1), (1, 2), (2, 3), (2, 2), (4, 4)),
    *((1, 1, 1), (1, 1, 3), (2, 2, 4)),
)
MOST_LISTED = 20_000


@pytest.fixture(scope="module")
def library() -> dict[int, Group]:
    return {number: Group(number) for number in range(1, 231)}


def test_shipped_tables_equal_the_library() -> None:
    shipped = wyckoff_tables()
    for name, array in build_tables().items():
        np.testing.assert_array_equal(getattr(shipped, name), array, err_msg=name)
    assert TABLES_PATH.stat().st_size < 300_000


def test_labels_equal_the_library(library: dict[int, Group]) -> None:
    tables = wyckoff_tables()
    for number, group in library.items():
        labels = [tables.label(number, i) for i in range(len(tables.positions(number)))]
        assert labels == [position.get_label() for position in group.Wyckoff_positions]


def test_general_positions_are_the_operations_of_spglib() -> None:
    tables = wyckoff_tables()
    for number in range(1, 231):
        known = spglib.get_symmetry_from_database(int(tables.hall_numbers[number - 1]))
        assert known is not None
        rotations, translations = tables.operations(tables.positions(number)[0])
        assert operation_set(rotations, translations) == operation_set(
            known["rotations"], known["translations"]
        )


def operation_set(rotations: np.ndarray, translations: np.ndarray) -> set[tuple[int, ...]]:
    shifts = np.rint(np.asarray(translations) * TRANSLATION_UNIT).astype(int) % TRANSLATION_UNIT
    flat = np.asarray(rotations).astype(int).reshape(-1, 9)
    return set(map(tuple, np.hstack([flat, shifts]).tolist()))


def test_every_position_is_one_closed_orbit_of_distinct_points() -> None:
    tables = wyckoff_tables()
    generic = np.array([0.1234, 0.2718, 0.4142])
    for number in range(1, 231):
        positions = tables.positions(number)
        rotations, translations = tables.operations(positions[0])
        for position in positions:
            own_rotations, own_translations = tables.operations(position)
            atoms = own_rotations @ generic + own_translations
            orbit = np.einsum("oij,j->oi", rotations, atoms[0]) + translations
            expected = set(map(tuple, (np.rint(atoms * 1e6) % 1e6).astype(int).tolist()))
            assert len(expected) == tables.multiplicity[position]
            assert set(map(tuple, (np.rint(orbit * 1e6) % 1e6).astype(int).tolist())) == expected
            assert np.linalg.matrix_rank(own_rotations[0]) == tables.freedom[position]


def brute_force(number: int, counts: tuple[int, ...]) -> list[Combination]:
    """All combinations by trying every position for every species, one use after the other.

    Knows only the multiplicities and which positions are fixed points: no tables of counts, no
    common divisors, no order of placing.
    """
    tables = wyckoff_tables()
    positions = tables.positions(number)
    sizes = [int(tables.multiplicity[p]) for p in positions]
    fixed = [tables.freedom[p] == 0 for p in positions]

    def one_species(left: int, first: int, used: frozenset[int]) -> Iterator[tuple[int, ...]]:
        if left == 0:
            yield ()
            return
        for i in range(first, len(sizes)):
            if sizes[i] <= left and not (fixed[i] and i in used):
                for rest in one_species(left - sizes[i], i, used | {i}):
                    yield (i, *rest)

    def all_species(counts: tuple[int, ...], used: frozenset[int]) -> Iterator[Combination]:
        if not counts:
            yield ()
            return
        for mine in one_species(counts[0], 0, used):
            for others in all_species(counts[1:], used | set(mine)):
                yield (mine, *others)

    return list(all_species(counts, frozenset()))


@pytest.mark.parametrize("counts", COMPOSITIONS, ids=str)
def test_enumeration_equals_brute_force_in_all_groups(counts: tuple[int, ...]) -> None:
    compared = groups = 0
    for number in range(1, 231):
        total = count_combinations(number, counts)
        if total > MOST_LISTED:
            continue
        expected = brute_force(number, counts)
        listed = list(enumerate_combinations(number, counts))
        assert len(listed) == len(set(listed)) == total
        assert sorted(listed) == sorted(expected), number
        assert (number in hosting_groups(counts)) == bool(expected)
        compared += len(listed)
        groups += 1
    assert groups >= 227 and compared >= 100


def series(number: int, counts: tuple[int, ...]) -> int:
    """Number of combinations as a coefficient of their generating function, in exact integers.

    A fixed position of multiplicity m contributes 1 + Σ x_s^m over the species s, a free one
    Π 1 / (1 - x_s^m).
    """
    tables = wyckoff_tables()
    coefficient: Counter[tuple[int, ...]] = Counter({(0,) * len(counts): 1})

    def shifted(state: tuple[int, ...], species: int, by: int) -> tuple[int, ...] | None:
        moved = state[species] + by
        if moved > counts[species]:
            return None
        return (*state[:species], moved, *state[species + 1 :])

    for position in tables.positions(number):
        size = int(tables.multiplicity[position])
        if tables.freedom[position] == 0:
            product = Counter(coefficient)
            for state, ways in coefficient.items():
                for species in range(len(counts)):
                    if (target := shifted(state, species, size)) is not None:
                        product[target] += ways
            coefficient = product
            continue
        for species in range(len(counts)):
            for state in itertools.product(*(range(count + 1) for count in counts)):
                if (target := shifted(state, species, size)) is not None:
                    coefficient[target] += coefficient[state]
    return coefficient[counts]


@pytest.mark.parametrize("counts", [(16,), (8, 8), (4, 6), (12, 18), (4, 4, 8)], ids=str)
def test_counts_of_large_cells_equal_the_generating_function(counts: tuple[int, ...]) -> None:
    for number in range(1, 231):
        assert count_combinations(number, counts) == pytest.approx(
            series(number, counts), rel=1e-12
        )


@pytest.mark.parametrize(
    "counts", [(1,), (2,), (3,), (4,), (8,), (1, 2), (2, 2), (1, 1, 2)], ids=str
)
def test_enumeration_equals_pyxtal(library: dict[int, Group], counts: tuple[int, ...]) -> None:
    """All groups whose list PyXtal can make in reasonable time.

    It tries all products of numbers of uses of the positions, and cuts its list beyond 10 million.
    """
    tables = wyckoff_tables()
    compared = groups = 0
    for number, group in library.items():
        uses = [
            count // tables.multiplicity[p] for count in counts for p in tables.positions(number)
        ]
        if math.prod(n + 1 for n in map(int, uses)) > 300_000:
            continue
        theirs = group.list_wyckoff_combinations(list(counts))[0]
        ours = [
            [[tables.label(number, i) for i in chosen] for chosen in combination]
            for combination in enumerate_combinations(number, counts)
        ]
        assert sorted(map(canonical, ours)) == sorted(map(canonical, theirs)), number
        compared += len(ours)
        groups += 1
    assert groups >= 190 and compared > 100


def canonical(combination: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(sorted(labels)) for labels in combination)


def test_hosting_groups_equal_pyxtal(library: dict[int, Group]) -> None:
    for counts in ((8,), (1,), (5,), (4, 6), (8, 8), (3, 1, 1), (12, 8)):
        compatible = {n for n, group in library.items() if group.check_compatible(counts)[0]}
        assert set(hosting_groups(counts)) == compatible


@given(
    number=st.integers(1, 230),
    counts=st.lists(st.integers(1, 8), min_size=1, max_size=2).map(tuple),
)
@settings(max_examples=60, deadline=None)
def test_combinations_add_up_and_use_fixed_positions_once(
    number: int, counts: tuple[int, ...]
) -> None:
    tables = wyckoff_tables()
    positions = tables.positions(number)
    listed = list(itertools.islice(enumerate_combinations(number, counts), 2000))
    assert len(set(listed)) == len(listed) == min(2000, count_combinations(number, counts))
    for combination in listed:
        for chosen, count in zip(combination, counts, strict=True):
            assert sum(tables.multiplicity[positions[i]] for i in chosen) == count
        for i, uses in Counter(itertools.chain(*combination)).items():
            assert uses == 1 or tables.freedom[positions[i]] > 0


def test_counts_too_large_to_tabulate_are_refused() -> None:
    with pytest.raises(SamplingError, match=r"counts: .* space group 47; use a smaller cell"):
        combination_table(47, (99, 98, 97, 95))
