"""The Hamiltonian variational autoencoder against theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crysearch.errors import TrainingError
from crysearch.generative import create_model
from crysearch.generative.hvae import HamiltonianVariationalAutoencoder
from crysearch.generative.vae import VariationalAutoencoder

from .linear_gaussian import LinearGaussian

SMALL = {"input_size": 6, "hidden_layers": (5, 4), "latent_dimension": 2}


def pair(likelihood="bernoulli", **hamiltonian):
    """A plain and a Hamiltonian model with the same random weights, and their networks."""
    plain = VariationalAutoencoder(**SMALL, likelihood=likelihood)
    other = HamiltonianVariationalAutoencoder(**SMALL, likelihood=likelihood, **hamiltonian)
    networks = plain._empty_network(1), other._empty_network(1)
    with torch.no_grad():
        for model, network in zip((plain, other), networks, strict=True):
            model._initialise(network, [torch.Generator().manual_seed(0)])
    return plain, networks[0], other, networks[1]


def batch_and_noise(model, rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.rand(1, 1, 6, dtype=torch.float64, generator=generator).expand(-1, rows, -1)
    shape = (1, rows, model._noise_width)
    return batch, torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous-bernoulli", "gaussian"])
def test_without_steps_it_is_the_bound_of_the_plain_model(likelihood):
    plain, network, other, hamiltonian = pair(likelihood, leapfrog_steps=0)
    batch, noise = batch_and_noise(other, 100_000)
    with torch.no_grad():
        weights = plain._log_weights(network, batch, None, noise)
        torch.testing.assert_close(other._log_weights(hamiltonian, batch, None, noise), weights)
        found = -sum(other._loss_terms(hamiltonian, batch, None, noise))
        torch.testing.assert_close(found, weights)
        # The plain model's own loss has the divergence integrated: the same in the mean.
        analytic = -sum(plain._loss_terms(network, batch, None, noise))
    error = float((found - analytic).std() / found.numel() ** 0.5)
    assert abs(float((found - analytic).mean())) < 5.0 * error
    assert 0.0 < error < 0.02


@pytest.mark.parametrize("tempering", ["quadratic", "none"])
def test_vanishing_steps_recover_the_plain_model(tempering):
    plain, network, other, hamiltonian = pair(leapfrog_steps=3, tempering=tempering)
    batch, noise = batch_and_noise(other, 50)
    with torch.no_grad():
        hamiltonian.raw_step.fill_(-40.0)
        expected = plain._log_weights(network, batch, None, noise[..., :2])
        found = other._log_weights(hamiltonian, batch, None, noise)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        # In the loss d/2 stands for the momenta, whose temperature has come down to 1.
        loss = -sum(other._loss_terms(hamiltonian, batch, None, noise))
        momenta = 0.5 * noise[..., 2:].square().sum(dim=-1) - 1.0
        torch.testing.assert_close(loss, expected - momenta, rtol=1e-9, atol=1e-9)
        hamiltonian.raw_step.fill_(0.0)
        assert not torch.allclose(other._log_weights(hamiltonian, batch, None, noise), expected)


def linear(steps, rows, *, step=0.1, inverse_temperature=0.5, seed=0, noise_seed=1):
    """Log-weights and Rao-Blackwellised estimates on a model with known evidence."""
    network = LinearGaussian(seed, step=step, inverse_temperature=inverse_temperature)
    model = HamiltonianVariationalAutoencoder(
        input_size=5, hidden_layers=(3,), latent_dimension=2, leapfrog_steps=steps
    )
    generator = torch.Generator().manual_seed(noise_seed)
    shape = (1, rows, model._noise_width)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    batch = network.data.expand(-1, rows, -1)
    weights = model._log_weights(network, batch, None, noise)[0]
    return network, weights, -sum(model._loss_terms(network, batch, None, noise))[0]


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
@pytest.mark.parametrize("inverse_temperature", [0.2, 1.0])
def test_the_estimate_of_a_known_evidence_is_unbiased(steps, inverse_temperature):
    network, log_weights, _ = linear(steps, 400_000, inverse_temperature=inverse_temperature)
    weights = (log_weights - network.log_evidence).exp()
    error = float(weights.std()) / len(weights) ** 0.5
    assert error < 0.01
    assert abs(float(weights.mean()) - 1.0) < 4.0 * error


@pytest.mark.parametrize("steps", [1, 3])
def test_a_wrong_jacobian_or_momentum_would_show(steps):
    """Without the drawn momenta in the weights, their mean is not the evidence."""
    network, _, estimates = linear(steps, 400_000)
    weights = (estimates - network.log_evidence).exp()
    error = float(weights.std()) / len(weights) ** 0.5
    assert abs(float(weights.mean()) - 1.0) > 20.0 * error


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_the_bound_is_unbiased_and_below_the_evidence(steps):
    """Rao-Blackwellised and plain estimates have one mean, below the logarithm of the evidence."""
    network, log_weights, estimates = linear(steps, 200_000)
    difference = log_weights - estimates
    error = float(difference.std()) / len(difference) ** 0.5
    assert abs(float(difference.mean())) < 4.0 * error
    assert float(estimates.mean()) < network.log_evidence


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_variance_falls_and_the_bound_rises_with_the_number_of_steps(seed):
    """As long as the steps together are shorter than a quarter of an oscillation."""
    figures = []
    for steps in (0, 1, 2, 4, 8):
        _, log_weights, estimates = linear(steps, 50_000, step=0.05, seed=seed)
        figures.append((float(log_weights.var()), float(estimates.mean())))
    variances, bounds = np.transpose(figures)
    assert (np.diff(variances) < 0.0).all()
    assert (np.diff(bounds) > 0.0).all()
    assert variances[-1] < 0.7 * variances[0]


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_drawn_kinetic_term_is_the_logarithm_of_the_weight(likelihood):
    _, _, model, network = pair(likelihood, leapfrog_steps=3, initial_kinetic_term="drawn")
    batch, noise = batch_and_noise(model, 20)
    with torch.no_grad():
        weights = model._log_weights(network, batch, None, noise)
        torch.testing.assert_close(-sum(model._loss_terms(network, batch, None, noise)), weights)


def test_the_kinetic_term_changes_the_recorded_loss_and_not_the_training(small):
    trained = []
    for term in ("mean", "drawn"):
        model = create_model("hvae", input_size=16, hidden_layers=(9,), initial_kinetic_term=term)
        trained.append((model, model.fit(small, seed=0, epochs=20)))
    (first, losses), (second, others) = trained
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(first.decode(points), second.decode(points), rtol=1e-9)
    assert not np.allclose(losses.train_divergence, others.train_divergence, rtol=1e-3)
    np.testing.assert_allclose(losses.train_reconstruction, others.train_reconstruction)


def test_the_mean_of_the_kinetic_term_adds_noise_for_short_steps():
    """Both momenta are nearly one then: their noise cancels only if both are drawn."""
    _, drawn, mean = linear(3, 200_000, step=1e-3)
    # The variance of half a squared momentum in two dimensions.
    assert float(mean.var() - drawn.var()) == pytest.approx(1.0, rel=0.2)


class _Loss(torch.nn.Module):
    def __init__(self, model, network, noise):
        super().__init__()
        self.model, self.network, self.noise = model, network, noise

    def forward(self, batch):
        return sum(self.model._loss_terms(self.network, batch, None, self.noise)).mean()


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous-bernoulli", "gaussian"])
def test_gradients_against_finite_differences(likelihood):
    """Through three leapfrog steps, to all weights, the step sizes and the temperature."""
    model = HamiltonianVariationalAutoencoder(
        input_size=4, hidden_layers=(3,), latent_dimension=2, likelihood=likelihood,
        leapfrog_steps=3, maximum_step_size=0.5, initial_step_size=0.2,
    )  # fmt: skip
    network = model._empty_network(1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        model._initialise(network, [generator])
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(0.3)  # away from the kink of ReLU
    batch = torch.rand(1, 5, 4, dtype=torch.float64, generator=generator)
    noise = torch.randn(1, 5, 4, dtype=torch.float64, generator=generator)
    names, parameters = zip(*network.named_parameters(), strict=True)
    assert {"raw_step", "raw_temperature"} <= set(names)

    def loss(*values):
        weights = {f"network.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(_Loss(model, network, noise), weights, (batch,))

    assert torch.autograd.gradcheck(loss, parameters, eps=1e-6, atol=1e-5)
    for name, gradient in zip(
        names, torch.autograd.grad(loss(*parameters), parameters), strict=True
    ):
        assert gradient.abs().sum() > 0.0, name


def test_step_sizes_and_temperature_are_learned_within_their_bounds(small):
    settings = {"input_size": 16, "hidden_layers": (9,), "maximum_step_size": 0.3}
    model = create_model("hvae", **settings)
    before = model.step_sizes, model.inverse_temperature
    model.fit(small, seed=0, epochs=100)
    assert not np.allclose(model.step_sizes, before[0], rtol=1e-3)
    assert model.inverse_temperature != pytest.approx(before[1], rel=1e-3)
    assert ((model.step_sizes > 0.0) & (model.step_sizes < 0.3)).all()
    assert 0.0 < model.inverse_temperature < 1.0
    untempered = create_model("hvae", **settings, tempering="none")
    untempered.fit(small, seed=0, epochs=3)
    assert untempered.inverse_temperature == 1.0
    assert untempered.parameter_count == model.parameter_count - 1


def test_parameters_are_those_of_the_plain_model_and_of_the_steps():
    assert create_model("hvae").parameter_count == 23_550 + 2 + 1


def test_located_points_have_a_higher_joint_density(silicon):
    """Carried by the steps, the encoder's means come nearer to the structures' posterior."""
    model = create_model("hvae")
    model.fit(silicon, seed=0, epochs=400)

    def joint(points):
        scaled = torch.tensor(model.scaler.transform(silicon))[None]
        latent = torch.tensor(points)[None]
        with torch.no_grad():
            outputs = model._network.decode(latent, None)
            likelihood = -model._network.likelihood.negative_log(outputs, scaled)
        return (likelihood - 0.5 * latent.square().sum(dim=-1))[0].numpy()

    gain = joint(model.locate(silicon)) - joint(model.encode(silicon)[0])
    assert gain.mean() > 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leapfrog_steps": -1}, "leapfrog_steps is -1"),
        ({"maximum_step_size": 0.0}, "maximum_step_size is 0.0"),
        ({"initial_step_size": 0.5}, "initial_step_size is 0.5; give a number above 0 and below"),
        ({"tempering": "linear"}, "tempering is 'linear'; choose one of: quadratic, none"),
        ({"initial_inverse_temperature": 1.0}, "initial_inverse_temperature is 1.0"),
        ({"initial_kinetic_term": "none"}, "initial_kinetic_term is 'none'; choose one of: mean"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(TrainingError, match=message):
        create_model("hvae", **changes)
