"""What is measured of a trained model, against plain loops and cases known by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.errors import TrainingError
from crysearch.fingerprints import pearson_distance
from crysearch.generative import latent_grid
from crysearch.generative.measures import (
    FINAL_EPOCHS,
    measure_model,
    measure_replicas,
    measure_training,
    reconstruction_distances,
    steadiness,
    unused_coordinates,
)

CURVES = st.lists(st.floats(1.0, 100.0), min_size=2, max_size=120)


def test_a_falling_loss_is_steady():
    found = steadiness(np.linspace(100.0, 50.0, 400))
    assert found.rises == 0.0
    assert found.roughness < 1e-4


def test_a_loss_that_jumps_is_not():
    curve = np.full(200, 10.0)
    curve[120:200:8] = 12.0  # 10 jumps up, alone in their windows
    found = steadiness(curve)
    assert found.rises == pytest.approx(10 / 199)
    # The median is 10 everywhere; of the last 100 epochs 10 deviate by 2.
    assert found.roughness == pytest.approx(math.sqrt(10 * 4 / 100) / 10.2)


@given(CURVES)
def test_steadiness_against_plain_loops(curve):
    found = steadiness(curve)
    n = len(curve)
    rises = sum(later > earlier * 1.01 for earlier, later in pairwise(curve))
    assert found.rises == pytest.approx(rises / (n - 1), abs=1.01 / (n - 1) if rises else 0.0)
    deviations = []
    for epoch in range(n // 2, n):
        window = [curve[min(max(k, 0), n - 1)] for k in range(epoch - 12, epoch + 13)]
        deviations.append(curve[epoch] - sorted(window)[12])
    expected = math.sqrt(np.mean(np.square(deviations))) / np.mean(curve[n // 2 :])
    assert found.roughness == pytest.approx(expected, abs=1e-12)


@given(CURVES, st.floats(0.01, 100.0))
def test_the_scale_of_the_loss_does_not_matter(curve, factor):
    """Losses of different likelihoods are compared by the same numbers."""
    found, scaled = steadiness(curve), steadiness(factor * np.array(curve))
    assert scaled.roughness == pytest.approx(found.roughness, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("curve", [[1.0], [[1.0, 2.0]], [1.0, math.nan]])
def test_what_is_no_curve_is_refused(curve):
    with pytest.raises(TrainingError, match="at least 2 epochs"):
        steadiness(curve)


def test_final_losses_are_means_over_the_last_epochs(trained):
    _, history = trained
    found = measure_training(history)
    last = slice(-FINAL_EPOCHS, None)
    assert found["train_loss"] == pytest.approx(
        np.mean(history.train_reconstruction[last] + history.train_divergence[last])
    )
    assert found["elbo"] == pytest.approx(
        -found["validation_reconstruction"] - found["validation_divergence"]
    )
    assert found["elbo"] < 0 < found["roughness"] < 0.1


def test_the_published_model_reconstructs_and_explains_silicon(trained, silicon):
    model, history = trained
    distances = reconstruction_distances(model, silicon)
    decoded = model.decode(model.encode(silicon)[0])
    assert distances[5] == pytest.approx(pearson_distance(silicon[5], decoded[5]))
    found = measure_model(model, history, silicon, 200, 0)
    assert found["reconstruction_train"] == pytest.approx(distances[history.train_indices].mean())
    assert 0 < found["reconstruction_train"] < found["reconstruction_held_out"] < 0.5
    assert found == measure_model(model, history, silicon, 200, 0)
    # Many importance samples tighten the bound that the loss is.
    assert found["evidence"] > measure_training(history)["elbo"]
    assert found["unused_coordinates"] in (0.0, 1.0)


def test_unused_coordinates():
    points = np.array([[0.0, 1.0, 0.1], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.1]])
    assert unused_coordinates(points) == 2


def test_correlations_of_replicas_against_a_loop(trained, silicon):
    model, _ = trained
    replicas = model.decode(latent_grid(2, 4, 0.9))
    measures, diagnostics = measure_replicas(replicas, silicon)
    table = np.array([[np.corrcoef(r, k)[0, 1] for k in silicon] for r in replicas])
    assert measures["replica_correlation"] == pytest.approx(table.mean())
    assert measures["nearest_correlation"] == pytest.approx(table.max(axis=1).mean())
    assert measures["replica_distance"] == diagnostics["replicas_mean"]
    assert diagnostics["constant_replicas"] == 0


def test_constant_replicas_are_counted_and_left_out(silicon):
    replicas = np.concatenate([silicon[:3], np.zeros((2, 200))])
    measures, diagnostics = measure_replicas(replicas, silicon)
    assert diagnostics["constant_replicas"] == 2
    assert measures == measure_replicas(silicon[:3], silicon)[0]
    with pytest.raises(TrainingError, match="2 of 3 replicas are constant"):
        measure_replicas(replicas[2:], silicon)
