"""The symmetry tables and the counting of Wyckoff combinations."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st
from pyxtal.symmetry import Group

from crysearch.errors import SamplingError
from crysearch.sampling.build_tables import TABLES_PATH, TRANSLATION_UNIT, build_tables
from crysearch.sampling.wyckoff import (
    combination_table,
    count_combinations,
    enumerate_combinations,
    hosting_groups,
    wyckoff_tables,
)

FEW_POSITIONS = (1, 3, 6, 12, 19, 62, 88, 136, 148, 166, 194, 198, 216, 225, 227, 230)


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


def brute_force(number: int, counts: tuple[int, ...]) -> set[tuple[tuple[int, ...], ...]]:
    """All combinations by trying every multiset of positions for every species."""
    tables = wyckoff_tables()
    positions = tables.positions(number)
    sizes = [int(tables.multiplicity[p]) for p in positions]
    fixed = {i for i, p in enumerate(positions) if tables.freedom[p] == 0}
    per_species = [
        [
            chosen
            for length in range(1, count // min(sizes) + 1)
            for chosen in itertools.combinations_with_replacement(range(len(sizes)), length)
            if sum(sizes[i] for i in chosen) == count
        ]
        for count in counts
    ]
    return {
        combination
        for combination in itertools.product(*per_species)
        if all(
            uses == 1 for i, uses in Counter(itertools.chain(*combination)).items() if i in fixed
        )
    }


@pytest.mark.parametrize(
    ("number", "counts"),
    [
        (number, counts)
        for number in FEW_POSITIONS
        for counts in ((4,), (8,), (2, 4), (8, 8), (4, 4, 2))
        if number > 6 or sum(counts) <= 8  # beyond, there are too many multisets to try
    ],
)
def test_enumeration_equals_brute_force(number: int, counts: tuple[int, ...]) -> None:
    expected = brute_force(number, counts)
    listed = list(enumerate_combinations(number, counts))
    assert len(listed) == len(set(listed)) == count_combinations(number, counts)
    assert set(listed) == expected
    assert (number in hosting_groups(counts)) == bool(expected)


def test_enumeration_equals_pyxtal(library: dict[int, Group]) -> None:
    """PyXtal takes a position such as (0, y, -y), of zero trace, to be without freedom."""
    tables = wyckoff_tables()
    compared = 0
    for number, group in library.items():
        rotations = [p.ops[0].rotation_matrix for p in group.Wyckoff_positions]
        misjudged = any(np.trace(r) <= 0 < np.linalg.matrix_rank(r) for r in rotations)
        if misjudged or len(rotations) > 8:
            continue
        for counts in ([4], [8], [2, 4]):
            theirs = group.list_wyckoff_combinations(list(counts))[0]
            ours = [
                [[tables.label(number, i) for i in chosen] for chosen in combination]
                for combination in enumerate_combinations(number, counts)
            ]
            assert sorted(map(canonical, ours)) == sorted(map(canonical, theirs))
            compared += len(ours)
    assert compared > 1000


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
