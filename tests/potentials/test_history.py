from __future__ import annotations

import json

import numpy as np
import pytest

from crysearch.errors import TrainingError
from crysearch.potentials import FitHistory, LossWeights
from crysearch.potentials.splits import split


def test_a_damaged_history_is_refused():
    with pytest.raises(TrainingError, match="train_loss"):
        FitHistory.from_dict({})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"energy": -1.0}, "weights.energy"),
        ({"force": float("nan")}, "weights.force"),
        ({"stress": "much"}, "weights.stress"),
        ({"energy_scale": 0.0}, "weights.energy_scale"),
        ({"energy": 0.0, "force": 0.0, "stress": 0.0}, "all zero"),
    ],
)
def test_bad_weights_are_refused(values, field):
    with pytest.raises(TrainingError, match=field):
        LossWeights(**values)


def test_weights_survive_plain_data():
    history = FitHistory(
        *(np.ones((2, 3)) for _ in range(4)),
        best_epoch=np.array([0, 2]),
        train_indices=[np.array([0, 1]), np.array([1, 2])],
        validation_indices=[np.array([2]), np.array([0])],
        skipped={3: "because"},
        skipped_validation={},
        seed=1,
        optimizer="adam",
        batch_size=4,
        learning_rate=0.1,
        patience=5,
        maximum_epochs=9,
        weights=LossWeights(force=0.3),
    )
    assert (history.epochs, history.members) == (3, 2)
    again = FitHistory.from_dict(json.loads(json.dumps(history.to_dict())))
    assert again.weights == history.weights
    assert again.skipped == {3: "because"}
    assert again.to_dict() == history.to_dict()


def test_each_member_has_its_own_split():
    training, validation = split(20, 0.07, 4, seed=0)
    for inside, outside in zip(training, validation, strict=True):
        assert sorted([*inside, *outside]) == list(range(20))
        assert len(outside) == 2
    assert len({tuple(rows) for rows in validation}) > 1
    again = split(20, 0.07, 4, seed=0)
    np.testing.assert_array_equal(np.array(again[1]), np.array(validation))
    with pytest.raises(TrainingError, match="at least 2 remain"):
        split(5, 0.7, 1, seed=0)
