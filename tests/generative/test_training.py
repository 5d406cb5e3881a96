from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.errors import TrainingError
from crysearch.generative.training import TrainingSettings, one_thread, torch_generators


def training_settings(**changes):
    values = {
        "validation_fraction": 0.2,
        "epochs": 5,
        "batch_size": 8,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "annealing_epochs": 0,
    }
    return TrainingSettings(**(values | changes))


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 300), st.integers(0, 10))
def test_split_has_every_row_once(n, seed):
    training, validation = training_settings().split(n, np.random.default_rng(seed))
    assert len(validation) == -(-n // 5)
    assert sorted([*training, *validation]) == list(range(n))
    assert (np.diff(training) > 0).all() and (np.diff(validation) > 0).all()


def test_split_depends_on_the_seed():
    splits = {
        tuple(training_settings().split(36, np.random.default_rng(seed))[1]) for seed in range(20)
    }
    assert len(splits) == 20


def test_held_out_count_is_not_raised_by_rounding():
    assert 0.07 * 100 > 7
    held_out = training_settings(validation_fraction=0.07).split(100, np.random.default_rng(0))[1]
    assert len(held_out) == 7


def test_too_few_structures():
    with pytest.raises(TrainingError, match="hold 4 structures, and training needs at least 5"):
        training_settings().split(4, np.random.default_rng(0))
    with pytest.raises(TrainingError, match=r"validation_fraction 0\.9 leaves 1 of 10"):
        training_settings(validation_fraction=0.9).split(10, np.random.default_rng(0))


def test_generators_are_seeded_and_independent():
    first, second = torch_generators(0, 2)
    draws = [torch.randn(1000, generator=generator) for generator in (first, second)]
    assert abs(float(torch.corrcoef(torch.stack(draws))[0, 1])) < 0.15
    repeated = torch.randn(1000, generator=torch_generators(0, 2)[1])
    assert torch.equal(repeated, draws[1])
    assert not torch.equal(torch.randn(1000, generator=torch_generators(1, 2)[1]), draws[1])


def test_one_thread_is_restored():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
