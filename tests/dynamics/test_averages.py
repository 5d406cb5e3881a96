"""Means of correlated series, and drifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.dynamics.averages import drift_of, mean_of
from crysearch.errors import DynamicsError


def autoregressive(memory: float, count: int, seed: int) -> np.ndarray:
    """x' = memory · x + noise: its correlation time is (1 + memory) / (1 - memory) / 2."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=count)
    series = np.empty(count)
    series[0] = noise[0] / np.sqrt(1 - memory**2)
    for place in range(1, count):
        series[place] = memory * series[place - 1] + noise[place]
    return series


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_error_of_a_series_of_known_correlation(memory):
    exact = (1 + memory) / (1 - memory) / 2
    found = [mean_of(3.0 + autoregressive(memory, 4000, seed)) for seed in range(60)]
    times = [one.correlation_time for one in found]
    assert np.mean(times) == pytest.approx(exact, rel=0.1)
    # The means scatter about the truth as their errors say.
    deviations = [(one.mean - 3.0) / one.standard_error for one in found]
    assert 0.75 < np.std(deviations) < 1.3


def test_short_constant_and_wrong_series():
    assert mean_of([2.0]).standard_error is None
    assert mean_of([2.0] * 5).standard_error == 0.0
    # A slow half-wave is shorter than ten of its correlation times.
    assert mean_of(np.cos(np.linspace(0, np.pi, 50))).standard_error is None
    for wrong in ([], [1.0, np.nan], [[1.0]]):
        with pytest.raises(DynamicsError, match="finite"):
            mean_of(wrong)


@given(
    slope=st.floats(-10, 10),
    atoms=st.integers(1, 50),
    count=st.integers(2, 40),
    offset=st.floats(-1e3, 1e3),
)
def test_drift_is_the_slope_per_atom(slope, atoms, count, offset):
    times = np.linspace(0, 3, count)
    found = drift_of(times, offset + slope * times, atoms)
    assert found == pytest.approx(slope / atoms, abs=1e-9)
    assert drift_of(times[:1], [1.0], atoms) is None
