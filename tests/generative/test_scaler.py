from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import correlation

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_fingerprints
from crysearch.generative.scaler import GlobalMaximumScaler

FINGERPRINTS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    elements=st.floats(0.0, 1e6, allow_subnormal=False),
).filter(lambda array: array.max() > 1e-6)


@settings(max_examples=50, deadline=None)
@given(FINGERPRINTS)
def test_transform_maps_to_the_unit_interval_and_back(fingerprints):
    scaler = GlobalMaximumScaler.fit(fingerprints)
    scaled = scaler.transform(fingerprints)
    assert scaled.min() >= 0.0
    assert scaled.max() == 1.0
    np.testing.assert_allclose(
        scaler.inverse_transform(scaled), fingerprints, rtol=1e-14, atol=1e-300
    )


def test_pearsons_distance_is_the_same_before_and_after(small):
    scaled = GlobalMaximumScaler.fit(small).transform(small)
    assert correlation(scaled[0], scaled[1]) == pytest.approx(correlation(small[0], small[1]))


def test_values_above_the_maximum_are_counted_refused_or_clipped(small):
    scaler = GlobalMaximumScaler.fit(small)
    above = small.copy()
    above[3, 4] = 2.0 * scaler.maximum
    assert scaler.count_above(small) == 0
    assert scaler.count_above(above) == 1
    with pytest.raises(TrainingError, match=r"1 of 12 fingerprints \(first: row 3\) exceed"):
        scaler.transform(above)
    clipped = scaler.transform(above, above_maximum="clip")
    assert clipped[3, 4] == 1.0
    untouched = np.delete(np.arange(12), 3)
    assert (clipped[untouched] == scaler.transform(small)[untouched]).all()
    with pytest.raises(TrainingError, match="above_maximum is 'ignore'"):
        scaler.transform(above, above_maximum="ignore")


def test_round_trip_through_json(small):
    scaler = GlobalMaximumScaler.fit(small)
    assert GlobalMaximumScaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler
    with pytest.raises(TrainingError, match="kind 'min-max'"):
        GlobalMaximumScaler.from_dict({"kind": "min-max", "maximum": 1.0})


@pytest.mark.parametrize("maximum", [0.0, -1.0, np.nan, np.inf, "12", None])
def test_impossible_maximum(maximum):
    with pytest.raises(TrainingError, match="maximum of the fingerprints is"):
        GlobalMaximumScaler(maximum)


@pytest.mark.parametrize(
    ("fingerprints", "message", "input_size"),
    [
        (
            [[1.0, np.nan], [0.0, 1.0]],
            r"NaN or infinite values in 1 of 2 rows \(first: row 0\)",
            None,
        ),
        ([[0.0, 1.0], [-0.5, 1.0]], r"lowest: -0.5 in row 1", None),
        ([1.0, 2.0], r"shape \(2,\)", None),
        ([[1.0], [1.0, 2.0]], "cannot be read", None),
        ([["a", "b"]], "cannot be read", None),
        (np.zeros((3, 0)), "0 grid points", None),
        (np.ones((2, 3)), "3 grid points each, but the model takes 2", 2),
        (np.ones((2, 2)) * 1j, "complex128", None),
    ],
)
def test_bad_fingerprints_are_named(fingerprints, message, input_size):
    with pytest.raises(TrainingError, match=message):
        check_fingerprints(fingerprints, input_size)


def test_nothing_to_fit():
    with pytest.raises(TrainingError, match="empty"):
        GlobalMaximumScaler.fit(np.empty((0, 4)))
    with pytest.raises(TrainingError, match=r"maximum of the fingerprints is 0\.0"):
        GlobalMaximumScaler.fit(np.zeros((2, 4)))
