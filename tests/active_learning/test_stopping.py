"""When the best clusters of two cycles count as the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.active_learning import FeatureScaler, TopClusters, compare
from crysearch.errors import ActiveLearningError

SCALER = FeatureScaler(np.zeros(1), np.ones(1))


def top(energies, features) -> TopClusters:
    return TopClusters(np.array(energies), np.array(features, dtype=float)[:, None])


def compared(earlier, later, tolerance=0.1, energy_tolerance=0.01):
    return compare(earlier, later, SCALER, tolerance=tolerance, energy_tolerance=energy_tolerance)


FIRST = top([-3.0, -2.0, -1.0], [0.0, 1.0, 2.0])


def test_the_same_is_unchanged():
    found = compared(FIRST, FIRST)
    assert found.unchanged
    assert found.pairs == (0, 1, 2)
    assert found.largest_energy_change == 0.0


def test_differences_within_the_tolerances_are_unchanged_in_any_order():
    found = compared(FIRST, top([-0.995, -3.008, -2.0], [2.05, 0.02, 0.95]))
    assert found.unchanged
    assert found.pairs == (1, 2, 0)
    assert found.largest_energy_change == pytest.approx(0.008)


@pytest.mark.parametrize("change", [0.02, -0.02])
def test_energies_that_move_either_way_go_on(change):
    # A lower energy is a change too: the difference is absolute.
    found = compared(FIRST, top([-3.0, -2.0 + change, -1.0], [0.0, 1.0, 2.0]))
    assert not found.unchanged
    assert found.pairs == (0, 1, 2)
    assert found.largest_energy_change == pytest.approx(0.02)


def test_another_structure_goes_on():
    found = compared(FIRST, top([-3.0, -2.0, -1.0], [0.0, 1.0, 5.0]))
    assert not found.unchanged
    assert found.pairs == (0, 1, None)


def test_another_number_goes_on():
    assert not compared(FIRST, top([-3.0, -2.0], [0.0, 1.0])).unchanged


def test_nothing_is_not_unchanged():
    none = TopClusters(np.empty(0), np.empty((0, 1)))
    assert not compared(none, none).unchanged
    assert compared(none, FIRST).largest_energy_change is None
    assert compared(FIRST, none).pairs == (None, None, None)


def test_two_do_not_share_a_partner():
    # Both of the first are near 0.05; the second of the later is near 0.1 only.
    first = top([0, 0], [0.0, 0.1])
    assert compare(first, top([0, 0], [0.05, 0.18]), SCALER, tolerance=0.1).pairs == (0, 1)
    assert compare(first, top([0], [0.05]), SCALER, tolerance=0.1).pairs.count(None) == 1


clusters = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)


@given(clusters, clusters)
def test_exchanging_the_cycles_changes_nothing(first, second):
    one, two = (
        top([0.006 * energy for energy, _ in cycle], [0.06 * place for _, place in cycle])
        for cycle in (first, second)
    )
    there, back = compared(one, two), compared(two, one)
    assert there.unchanged == back.unchanged
    assert len(there.pairs) - there.pairs.count(None) == len(back.pairs) - back.pairs.count(None)
    assert compared(one, one).unchanged


def test_bad_input_is_refused():
    with pytest.raises(ActiveLearningError, match="energy_tolerance"):
        compared(FIRST, FIRST, energy_tolerance=-0.01)
    with pytest.raises(ActiveLearningError, match="energies"):
        top([1.0], [1.0, 2.0])
    with pytest.raises(ActiveLearningError, match="finite"):
        top([np.nan], [1.0])
