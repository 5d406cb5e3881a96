from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import distributions

from crysearch.errors import TrainingError
from crysearch.fingerprints import pearson_distance_matrix
from crysearch.generative import create_model, latent_grid, replica_diagnostics
from crysearch.generative.vae import VariationalAutoencoder, standard_normal_divergence


def distances_to(decoded, originals):
    return np.diagonal(pearson_distance_matrix(decoded, originals))


def pairs(low, high):
    """Two arrays of the same shape with elements in [low, high]."""
    shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
    elements = st.floats(low, high)
    return shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(float, shape, elements=elements), hnp.arrays(float, shape, elements=elements)
        )
    )


@settings(max_examples=50, deadline=None)
@given(pairs(-8.0, 8.0))
def test_divergence_against_torch_distributions(arrays):
    means, log_variances = map(torch.tensor, arrays)
    gaussian = distributions.Normal(means, (0.5 * log_variances).exp())
    standard = distributions.Normal(torch.zeros_like(means), torch.ones_like(means))
    expected = distributions.kl_divergence(gaussian, standard).sum(dim=1)
    found = standard_normal_divergence(means, log_variances)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert (found >= -1e-12).all()


def test_loss_is_the_negative_evidence_lower_bound():
    """Averaged over noise, both terms equal the bound estimated from densities alone."""
    model = VariationalAutoencoder(input_size=6, hidden_layers=(5,), latent_dimension=2)
    network = model._empty_network(1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model._initialise(network, [generator])
        scaled = torch.rand(1, 1, 6, dtype=torch.float64, generator=generator)
        many = scaled.expand(-1, 200_000, -1)
        first, second = torch.randn(2, 1, 200_000, 2, dtype=torch.float64, generator=generator)
        reconstruction, divergence = model._loss_terms(network, many, None, first)
        means, log_variances = network.encode(scaled, None)
        posterior = distributions.Normal(means, (0.5 * log_variances).exp())
        latent = means + (0.5 * log_variances).exp() * second
        prior = distributions.Normal(torch.zeros(2).double(), torch.ones(2).double())
        likelihood = distributions.Bernoulli(
            logits=network.decode(latent, None), validate_args=False
        ).log_prob(scaled)
        bound = (
            likelihood.sum(dim=-1)
            + prior.log_prob(latent).sum(dim=-1)
            - posterior.log_prob(latent).sum(dim=-1)
        )
        torch.testing.assert_close(bound, model._log_weights(network, many, None, second))
    loss = (reconstruction + divergence).mean()
    standard_error = ((bound.var() + reconstruction.var()) / bound.numel()).sqrt()
    assert abs(float(loss + bound.mean())) < 5.0 * float(standard_error)
    assert float(standard_error) < 0.05


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_recorded_losses_are_means_over_all_structures(small, batch_size):
    """With weights that stand still, every batch size must record the loss of the final model."""
    model = create_model("vae", input_size=16, hidden_layers=(9,))
    history = model.fit(small, seed=0, epochs=3, batch_size=batch_size, learning_rate=1e-300)
    divergence = standard_normal_divergence(*map(torch.tensor, model.encode(small))).numpy()
    for curve, rows in (
        (history.train_divergence, history.train_indices),
        (history.validation_divergence, history.validation_indices),
    ):
        np.testing.assert_allclose(curve, divergence[rows].mean(), rtol=1e-12)


def test_published_layers_and_their_parameter_count():
    model = create_model("vae")
    assert model.parameter_count == 23_550
    weights = [p for name, p in model._network.named_parameters() if name.endswith("weight")]
    shapes = [tuple(weight.shape[1:]) for weight in weights]
    assert shapes == [
        (50, 200), (25, 50), (12, 25), (2, 12), (2, 12), (12, 2), (25, 12), (50, 25), (200, 50)
    ]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 20), max_size=4), st.integers(1, 5))
def test_parameter_count_of_any_layers(input_size, hidden_layers, latent_dimension):
    model = create_model(
        "vae",
        input_size=input_size,
        hidden_layers=hidden_layers,
        latent_dimension=latent_dimension,
    )
    sizes = [input_size, *hidden_layers]
    encoder = sum((a + 1) * b for a, b in pairwise(sizes))
    heads = 2 * (sizes[-1] + 1) * latent_dimension
    mirrored = [latent_dimension, *sizes[::-1]]
    decoder = sum((a + 1) * b for a, b in pairwise(mirrored))
    assert model.parameter_count == encoder + heads + decoder


def test_initial_weights_are_normal_with_the_stated_deviation():
    model = VariationalAutoencoder(hidden_layers=(400, 300), initial_weight_scale=0.7)
    network = model._empty_network(1)
    with torch.no_grad():
        model._initialise(network, [torch.Generator().manual_seed(0)])
    for layer in (network.encoder["0"], network.encoder["2"], network.decoder["4"]):
        weights = layer.weight.detach().numpy() / (0.7 * np.sqrt(2.0 / layer.weight.shape[2]))
        assert weights.std() == pytest.approx(1.0, abs=0.01)
        assert (np.abs(weights) < 1.96).mean() == pytest.approx(0.95, abs=0.005)
        assert (layer.bias == 0.0).all()


def test_loss_falls_and_reconstruction_beats_the_mean(silicon, trained):
    model, history = trained
    assert history.train_total[-50:].mean() < 0.8 * history.train_total[0]
    means, _ = model.encode(silicon)
    distances = distances_to(model.decode(means), silicon)
    baseline = distances_to(
        np.repeat(silicon[history.train_indices].mean(axis=0)[None], len(silicon), axis=0), silicon
    )
    train, validation = history.train_indices, history.validation_indices
    assert (len(train), len(validation)) == (26, 7)
    assert distances[train].mean() < 0.4 * baseline[train].mean()
    assert distances[validation].mean() < 0.8 * baseline[validation].mean()


def test_no_posterior_collapse(silicon, trained):
    model, history = trained
    assert history.train_divergence[-50:].mean() > 1.0
    assert model.encode(silicon)[0].std(axis=0).max() > 0.5
    found = replica_diagnostics(model.decode(latent_grid()), silicon)
    assert 0.3 < found.replicas_mean < found.both_mean < found.database_mean


def test_small_initial_weights_collapse(silicon):
    model = create_model("vae", initial_weight_scale=0.1)
    history = model.fit(silicon, seed=0, epochs=300)
    assert history.train_divergence[-50:].mean() < 0.01
    assert replica_diagnostics(model.decode(latent_grid()), silicon).replicas_mean < 0.01


@pytest.mark.slow
def test_both_latent_coordinates_are_used_by_most_seeds(silicon):
    """Four of five seeds; asked of two in five, since other processors round otherwise."""
    used = 0
    for seed in range(5):
        model = create_model("vae")
        model.fit(silicon, seed=seed)
        used += int((model.encode(silicon)[0].std(axis=0) > 0.2).all())
    assert used >= 2


def test_shuffled_fingerprints_teach_nothing(silicon, trained):
    """The measure of learning can fail: with the grid points shuffled it does."""
    random = np.random.default_rng(0)
    shuffled = random.permuted(silicon, axis=1)
    model = create_model("vae")
    history = model.fit(shuffled, seed=0, epochs=300)
    held_out = history.validation_indices
    decoded = model.decode(model.encode(shuffled)[0])
    baseline = np.repeat(shuffled[history.train_indices].mean(axis=0)[None], len(shuffled), axis=0)
    assert (
        distances_to(decoded, shuffled)[held_out].mean()
        > 0.8 * distances_to(baseline, shuffled)[held_out].mean()
    )


def test_training_is_fast(silicon):
    create_model("vae").fit(silicon, seed=0, epochs=5)
    start = time.process_time()
    create_model("vae").fit(silicon, seed=0, epochs=300)
    assert time.process_time() - start < 3.0


def test_the_published_split_of_36():
    fingerprints = np.random.default_rng(0).random((36, 10))
    history = create_model("vae", input_size=10).fit(fingerprints, seed=0, epochs=1)
    assert (len(history.train_indices), len(history.validation_indices)) == (28, 8)


def test_non_finite_loss_names_the_epoch_and_what_to_change(small):
    model = create_model("vae", input_size=16)
    finished: list[int] = []
    with pytest.raises(TrainingError, match="not finite in epoch") as caught:
        model.fit(small, seed=0, epochs=100, learning_rate=1e6, progress=finished.append)
    assert f"in epoch {len(finished) + 1} of 100" in str(caught.value)
    assert "lower learning_rate (1e+06)" in str(caught.value)
    assert not model.is_fitted


def test_exploding_initial_weights(small):
    with pytest.raises(TrainingError, match="initial"):
        create_model("vae", input_size=16, initial_weight_scale=1e9).fit(small, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_layers": (50, 0)}, r"hidden_layers\[1\] is 0"),
        ({"hidden_layers": "50"}, "hidden_layers is '50'"),
        ({"hidden_layers": 50}, "hidden_layers is 50"),
        ({"initial_weight_scale": 0.0}, "initial_weight_scale is 0.0"),
        ({"initial_weight_scale": np.inf}, "initial_weight_scale is inf"),
        ({"initial_weight_scale": "big"}, "initial_weight_scale is 'big'"),
    ],
)
def test_impossible_architectures(changes, message):
    with pytest.raises(TrainingError, match=message):
        create_model("vae", **changes)


def test_threads_are_restored_also_after_an_error(small):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        create_model("vae", input_size=16).fit(small, seed=0, epochs=2)
        assert torch.get_num_threads() == 2
        with pytest.raises(TrainingError):
            create_model("vae", input_size=16).fit(small, seed=0, epochs=50, learning_rate=1e12)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
