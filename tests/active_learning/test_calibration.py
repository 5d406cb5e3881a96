"""Errors beside the deviations that were to foretell them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.active_learning import Predictions, calibrate, expected_coverage
from crysearch.errors import ActiveLearningError

FACTORS = (0.5, 1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def right():
    """Errors drawn from normal distributions of the deviations given for them."""
    rng = np.random.default_rng(1)
    deviations = np.exp(rng.normal(-2, 1.5, 40_000))
    return deviations * rng.standard_normal(40_000), deviations


def test_right_deviations_cover_what_a_normal_distribution_covers(right):
    found = calibrate(*right)
    assert found.coverage((1, 2)) == pytest.approx([0.6827, 0.9545], abs=0.007)
    assert found.coverage(FACTORS) == pytest.approx(expected_coverage(FACTORS), abs=0.008)
    assert found.ratio == pytest.approx(1, abs=0.03)
    assert found.bin_errors / found.bin_deviations == pytest.approx(np.ones(10), abs=0.05)
    assert len(found.bin_errors) == 10 and (np.diff(found.bin_deviations) > 0).all()


def test_deviations_that_are_too_small_are_found_in_every_bin(right):
    errors, deviations = right
    found = calibrate(errors, deviations / 2)
    assert found.ratio == pytest.approx(2, abs=0.06)
    assert found.bin_errors / found.bin_deviations == pytest.approx(np.full(10, 2), abs=0.1)
    # Within half of the right standard deviation.
    assert found.coverage(1) == pytest.approx(0.3829, abs=0.007)


def test_deviations_without_any_knowledge_show_in_the_bins(right):
    errors, deviations = right
    found = calibrate(errors, np.random.default_rng(2).permutation(deviations))
    assert found.ratio == pytest.approx(1, abs=0.03)
    assert found.bin_errors[0] / found.bin_deviations[0] > 5
    assert found.bin_errors[-1] / found.bin_deviations[-1] < 0.8


@pytest.mark.parametrize("members", [2, 5, 20])
def test_an_ideal_ensemble_covers_what_drawn_ensembles_cover(members):
    """The reference is drawn like the members; mean and deviation are those of numpy."""
    rng = np.random.default_rng(members)
    drawn = rng.normal(-3.0, 0.2, (200_000, members + 1))
    reference, ensemble = drawn[:, 0], drawn[:, 1:]
    found = calibrate(ensemble.mean(axis=1) - reference, ensemble.std(axis=1))
    assert found.coverage(FACTORS) == pytest.approx(expected_coverage(FACTORS, members), abs=0.005)


def test_known_shares():
    assert expected_coverage((1, 2)) == pytest.approx([0.682689, 0.954500], abs=1e-6)
    # Two members: Student's distribution with one degree of freedom is Cauchy's.
    assert expected_coverage(3.0**0.5, 2) == pytest.approx(2 / np.pi * np.arctan(1))
    assert expected_coverage(1, 10**7) == pytest.approx(0.682689, abs=1e-5)


def _amounts(least):
    # Not so small that a power of two would round them.
    return st.floats(least, 10).filter(lambda value: value == 0 or abs(value) > 1e-300)


@given(
    st.lists(st.tuples(_amounts(-10), _amounts(0)), min_size=1, max_size=60),
    st.floats(0.01, 100),
    st.randoms(use_true_random=False),
)
def test_neither_units_nor_order_matter(pairs, unit, random):
    errors, deviations = np.array(pairs).T
    found = calibrate(errors, deviations)
    shares = found.coverage(np.linspace(0, 5, 11))
    assert (np.diff(shares) >= 0).all() and shares[0] >= 0 and shares[-1] <= 1
    # A power of two rounds nothing.
    unit = 2.0 ** round(np.log2(unit))
    order = list(range(len(errors)))
    random.shuffle(order)
    other = calibrate(-unit * errors[order], unit * deviations[order])
    assert (other.coverage(np.linspace(0, 5, 11)) == shares).all()
    assert len(other.bin_errors) == max(1, min(10, len(pairs) // 15))


def test_components_that_symmetry_makes_zero_do_not_count():
    rng = np.random.default_rng(3)
    reference, deviations = rng.normal(size=(50, 3)), np.full((50, 3), 0.1)
    forces = reference + 0.1 * rng.standard_normal((50, 3))
    for values in (reference, forces, deviations):
        values[:, 2] = 1e-15
    forces[0, 2] = 0.3  # a wrong force counts, though all members agree about it
    zeros = np.zeros(50)
    predictions = Predictions(
        zeros.astype(int), zeros - 1, zeros, zeros + 0.5, zeros.astype(int), forces, reference,
        deviations, 5,
    )  # fmt: skip
    found = predictions.of_forces()
    assert len(found.errors) == 101
    assert found.errors.max() >= 0.3 - 1e-12
    energies = predictions.of_energies()
    assert (energies.errors == 1).all() and (energies.deviations == 0.5).all()
    assert energies.ratio == 2 and predictions.count == 50


def test_no_deviation_at_all_is_infinitely_wrong():
    assert calibrate([0.1], [0.0]).ratio == float("inf")
    assert calibrate([0.1, 0.0], [0.0, 0.0]).coverage(2) == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([], []), "at least one prediction"),
        (([1.0], [1.0, 2.0]), r"shape \(1,\) and deviations \(2,\)"),
        (([np.nan], [1.0]), "must be finite"),
        (([1.0], [-1.0]), "at least 0"),
        (([1.0], [1.0], 0), "bins=0"),
    ],
)
def test_refusals(arguments, said):
    with pytest.raises(ActiveLearningError, match=said):
        calibrate(*arguments)


def test_one_member_cannot_disagree():
    with pytest.raises(ActiveLearningError, match="members=1"):
        expected_coverage(1.0, 1)
