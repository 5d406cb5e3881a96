"""Labelled frames as arrays, as configurations, as a pool and as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crysearch.datasets.frames import LabelledFrames
from crysearch.errors import DatasetError

RNG = np.random.default_rng(5)
NUMBERS = np.array([11, 17, 17])


def frames(**changes: Any) -> LabelledFrames:
    arrays: dict[str, Any] = {
        "numbers": NUMBERS,
        "cells": np.tile(5.0 * np.eye(3), (4, 1, 1)),
        "positions": RNG.random((4, 3, 3)),
        "energies": np.array([-9.0, -8.0, -7.0, -6.0]),
        "forces": RNG.normal(size=(4, 3, 3)),
        "stresses": np.tile(np.diag([0.1, 0.2, 0.3]), (4, 1, 1)),
        "state_points": np.array([0, 0, 1, 1]),
        "atomic_energies": RNG.normal(size=(4, 3)),
    }
    return LabelledFrames(**{**arrays, **changes})


def test_bytes_give_the_same_frames() -> None:
    for given in (frames(), frames(atomic_energies=None)):
        again = LabelledFrames.from_bytes(given.to_bytes())
        for name in LabelledFrames.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(again, name), getattr(given, name))
    with pytest.raises(DatasetError, match="calculate the frames again"):
        LabelledFrames.from_bytes(given.to_bytes()[:-3])


def test_frames_become_configurations_in_the_order_asked_for() -> None:
    given = frames()
    third, first = given.configurations([2, 0])
    assert (third.energy, first.energy) == (-7.0, -9.0)
    np.testing.assert_array_equal(third.forces, given.forces[2])
    np.testing.assert_array_equal(first.numbers, NUMBERS)
    assert len(given.configurations()) == 4


def test_the_pool_has_atoms_after_one_another() -> None:
    given = frames()
    pool = given.pool(features=np.ones((4, 2)))
    assert len(pool) == 4
    assert pool.energies_per_atom is not None and pool.forces is not None
    np.testing.assert_allclose(pool.energies_per_atom, [-3.0, -8 / 3, -7 / 3, -2.0])
    np.testing.assert_array_equal(pool.numbers.reshape(4, 3)[3], NUMBERS)
    np.testing.assert_array_equal(pool.forces[pool.owners == 1], given.forces[1])
    assert frames(atomic_energies=None).pool().atomic_energies is None


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"forces has shape \(3, 3, 3\): give \(4, 3, 3\)"):
        frames(forces=np.zeros((3, 3, 3)))
