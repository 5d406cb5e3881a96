"""Errors of predictions against numbers calculated by hand."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.potentials import Configuration, Failure, Prediction
from crysearch.potentials.errors import force_error_summary, prediction_errors

CELL = 4.0 * np.eye(3)


def crystal(atoms: int, energy: float | None, forces: float | None) -> Configuration:
    positions = np.arange(3 * atoms).reshape(atoms, 3) * 0.5
    given = None if forces is None else np.full((atoms, 3), forces)
    return Configuration(np.full(atoms, 14), CELL, positions, energy, given)


def prediction(atoms: int, energies: list[float], force: float) -> Prediction:
    members = len(energies)
    zeros = np.zeros((members, atoms))
    forces = np.full((members, atoms, 3), force)
    return Prediction(np.array(energies), forces, np.zeros((members, 3, 3)), zeros, np.zeros(1))


def test_errors_are_of_the_mean_and_per_atom() -> None:
    found = prediction_errors(
        [prediction(2, [-8.0, -6.0], 0.5), prediction(4, [-8.0, -8.0], 0.1),
         Failure("too_close", "atoms meet"), prediction(1, [-4.0, -4.0], 9.0)],
        [crystal(2, -8.0, 0.3), crystal(4, -8.4, 0.2), crystal(1, -1.0, 0.0),
         crystal(1, None, None)],
    )  # fmt: skip
    # Energies: +0.5 and +0.1 eV/atom; forces: 6 components off by 0.2 and 12 by 0.1 eV/Å.
    assert found == {
        "configurations": 4,
        "failed": 1,
        "energy_mae": pytest.approx(0.3),
        "energy_rmse": pytest.approx(np.sqrt((0.25 + 0.01) / 2)),
        "force_mae": pytest.approx((6 * 0.2 + 12 * 0.1) / 18),
        "force_rmse": pytest.approx(np.sqrt((6 * 0.04 + 12 * 0.01) / 18)),
    }


def test_nothing_to_compare_is_not_zero() -> None:
    found = prediction_errors([Failure("too_close", "atoms meet")], [crystal(1, -1.0, 0.0)])
    assert found["failed"] == 1 and found["energy_mae"] is None and found["force_rmse"] is None


def test_errors_of_force_vectors_are_of_their_norms() -> None:
    failure = Failure("too_close", "atoms meet")
    found = force_error_summary(
        [prediction(2, [-8.0], 0.5), failure, prediction(4, [-8.0], 0.1)],
        [crystal(2, None, 0.3), crystal(1, -1.0, 0.0), crystal(4, None, 0.2)],
    )
    # Two vectors off by 0.2 in each component and four by 0.1.
    assert found == {
        "force_error_max": pytest.approx(0.2 * 3**0.5),
        "force_error_rms": pytest.approx((3 * (2 * 0.04 + 4 * 0.01) / 6) ** 0.5),
        "force_error_mean": pytest.approx(3**0.5 * (2 * 0.2 + 4 * 0.1) / 6),
        "failed": 1,
    }
    assert force_error_summary([failure], [crystal(1, -1.0, 0.0)])["force_error_max"] is None
