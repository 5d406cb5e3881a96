"""Confidence intervals against scipy and against worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crysearch.analysis import MeanInterval, mean_interval, paired_difference
from crysearch.errors import AnalysisError

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def test_worked_by_hand():
    # Mean 2, deviation 1; t of 2 degrees of freedom at 97.5 % is 4.3027 (any table).
    interval = mean_interval([1.0, 2.0, 3.0])
    assert (interval.n, interval.mean, interval.deviation) == (3, 2.0, 1.0)
    assert interval.high - interval.mean == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert interval.outcome == "no difference seen"
    assert mean_interval([11.0, 12.0, 13.0]).outcome == "higher"
    assert mean_interval([-11.0, -12.0, -13.0]).outcome == "lower"


@given(VALUES, st.floats(0.5, 0.999))
def test_the_interval_is_that_of_scipy(values, confidence):
    interval = mean_interval(values, confidence)
    if np.ptp(values) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-6)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20))
def test_pairs_are_compared_as_by_the_paired_t_test(pairs):
    first, second = np.array(pairs).T
    if np.ptp(first - second) < 1e-6:
        return
    interval = paired_difference(first, second)
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_what_is_not_known_is_left_out():
    assert mean_interval([1.0, None, 2.0, math.nan, 3.0]) == mean_interval([1.0, 2.0, 3.0])
    assert paired_difference([1.0, None, 4.0, 6.0], [0.0, 2.0, None, 3.0]) == mean_interval(
        [1.0, 3.0]
    )


def test_too_few_values_have_no_interval():
    one = mean_interval([4.0])
    assert (one.n, one.mean, one.outcome) == (1, 4.0, "too few pairs")
    assert math.isnan(one.low) and math.isnan(one.deviation)
    assert mean_interval([None]).n == 0
    assert math.isnan(mean_interval([]).mean)


def test_equal_differences_are_a_difference_unless_they_are_zero():
    assert paired_difference([2.0, 3.0], [1.0, 2.0]).outcome == "higher"
    assert paired_difference([2.0, 3.0], [2.0, 3.0]).outcome == "no difference seen"
    rounded = paired_difference([0.1 + 0.2, 0.1 + 0.2], [0.3, 0.3])
    assert (rounded.mean, rounded.outcome) == (0.0, "no difference seen")


def test_plain_data():
    assert MeanInterval(2, 1.0, 0.5, 0.0, 2.0).to_dict() == {
        "n": 2, "mean": 1.0, "deviation": 0.5, "low": 0.0, "high": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mean_interval([1.0, 2.0], 1.0), "confidence = 1.0"),
        (lambda: mean_interval([1.0, math.inf]), "value 1 is infinite"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "1 and 2 values cannot be paired"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(AnalysisError, match=said):
        call()
