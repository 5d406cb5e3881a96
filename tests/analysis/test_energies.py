from __future__ import annotations

import numpy as np
import pytest

from crysearch.analysis import energies_above_ground_state
from crysearch.errors import AnalysisError


def test_energies_above_both_ground_states():
    result = energies_above_ground_state(
        [-5.3, -5.5, np.nan, -3.0], ["Si8", "Si16", "Si8", "Na4 Cl4"], [-5.4, -5.2], ["Si2", "Si"]
    )
    np.testing.assert_allclose(result.ground_state_found, [0.2, 0.0, np.nan, 0.0], atol=1e-12)
    np.testing.assert_allclose(
        result.reference_ground_state, [0.1, -0.1, np.nan, np.nan], atol=1e-12
    )


def test_failed_relaxations_do_not_set_the_ground_state():
    result = energies_above_ground_state([np.nan, -1.0], ["Si", "Si"], [np.nan], ["Si"])
    np.testing.assert_array_equal(result.ground_state_found, [np.nan, 0.0])
    assert np.isnan(result.reference_ground_state).all()


def test_bad_input():
    with pytest.raises(AnalysisError, match="reference_energies_per_atom"):
        energies_above_ground_state([1.0], ["Si"], [1.0, 2.0], ["Si"])
