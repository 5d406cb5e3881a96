from __future__ import annotations

import json

import numpy as np
import pytest

from crysearch.errors import TrainingError
from crysearch.generative import TrainingHistory


def history():
    return TrainingHistory(
        train_reconstruction=np.array([3.0, 2.0]),
        train_divergence=np.array([0.5, 1.0]),
        validation_reconstruction=np.array([4.0, 3.0]),
        validation_divergence=np.array([0.25, 0.125]),
        train_indices=np.array([0, 2]),
        validation_indices=np.array([1]),
        seed=3,
        batch_size=8,
        optimizer="adam",
        learning_rate=0.01,
        annealing_epochs=0,
    )


def test_totals_and_epochs():
    assert history().epochs == 2
    assert history().train_total.tolist() == [3.5, 3.0]
    assert history().validation_total.tolist() == [4.25, 3.125]


def test_records_hold_plain_data():
    data = history().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["train_indices"] == [0, 2]
    again = TrainingHistory.from_dict(data)
    assert again.to_dict() == data
    assert again.train_indices.dtype == np.int64
    assert again.validation_total.tolist() == [4.25, 3.125]


def test_missing_fields_are_named():
    data = history().to_dict()
    del data["seed"], data["train_divergence"]
    with pytest.raises(TrainingError, match="lacks train_divergence, seed"):
        TrainingHistory.from_dict(data)
