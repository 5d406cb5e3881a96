"""The integrator against theory, on potentials of our own and on those of decoders."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.generative.hamiltonian import evolve, inverse_temperature_roots, leapfrog
from crysearch.generative.layers import DenseNetwork
from crysearch.generative.likelihoods import LIKELIHOODS

DIMENSION = 3


def network_of(seed, likelihood="bernoulli", condition_size=0):
    network = DenseNetwork(1, 7, (6, 5), DIMENSION, condition_size, likelihood)
    with torch.no_grad():
        network.initialise(1.4, [torch.Generator().manual_seed(seed)])
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(0.2)
    return network


def potential_of(network, seed):
    """U(z) = −log p(x, z) of a network with random weights and one random x."""
    targets = torch.rand(
        1, 1, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )

    def potential(latent):
        outputs, gradient = network.decode_with_gradient(latent, targets, None)
        return gradient + latent, outputs

    return potential


def start(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, 1, DIMENSION, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("condition_size", [0, 2])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_gradient_of_the_decoder_against_autograd(likelihood, condition_size, seed):
    network = network_of(seed, likelihood, condition_size)
    generator = torch.Generator().manual_seed(seed + 1)
    latent = torch.randn(1, 4, DIMENSION, dtype=torch.float64, generator=generator)
    targets = torch.rand(1, 4, 7, dtype=torch.float64, generator=generator)
    conditions = None
    if condition_size:
        conditions = torch.randn(1, 4, condition_size, dtype=torch.float64, generator=generator)
    latent.requires_grad_()
    outputs, gradient = network.decode_with_gradient(latent, targets, conditions)
    torch.testing.assert_close(outputs, network.decode(latent, conditions))
    total = network.likelihood.negative_log(outputs, targets).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(total, latent)[0])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 0.3))
def test_leapfrog_reverses(seed, size):
    potential = potential_of(network_of(seed), seed)
    position, momentum = start(seed + 1)
    step = torch.full((1, 1, DIMENSION), size, dtype=torch.float64)
    moved, turned, gradient, _ = leapfrog(
        position, momentum, potential(position)[0], step, potential
    )
    assert not torch.equal(moved, position)
    back, again, _, _ = leapfrog(moved, -turned, gradient, step, potential)
    torch.testing.assert_close(back, position, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(-again, momentum, rtol=1e-9, atol=1e-9)


def jacobian_determinant(function, position, momentum):
    def flat(point):
        parts = point.reshape(2, 1, 1, DIMENSION)
        return torch.cat([part.flatten() for part in function(parts[0], parts[1])])

    point = torch.cat([position.flatten(), momentum.flatten()])
    return float(torch.linalg.det(torch.autograd.functional.jacobian(flat, point)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 0.5))
def test_leapfrog_preserves_volume(seed, size):
    potential = potential_of(network_of(seed), seed)
    step = size * torch.rand(
        1, 1, DIMENSION, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )

    def moved(position, momentum):
        return leapfrog(position, momentum, potential(position)[0], step, potential)[:2]

    assert jacobian_determinant(moved, *start(seed + 1)) == pytest.approx(1.0, rel=1e-8)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.05, 1.0))
def test_tempering_changes_volume_by_the_known_factor(seed, steps, inverse_temperature):
    """All K steps have the Jacobian β₀^{d/2}, whatever the network: the bound relies on it."""
    potential = potential_of(network_of(seed), seed)
    step = torch.full((1, 1, DIMENSION), 0.1, dtype=torch.float64)
    root = torch.full((1, 1, 1), math.sqrt(inverse_temperature), dtype=torch.float64)
    roots = inverse_temperature_roots(root, steps)
    found = jacobian_determinant(
        lambda position, momentum: evolve(position, momentum, step, roots, potential)[:2],
        *start(seed + 1),
    )
    assert found == pytest.approx(inverse_temperature ** (DIMENSION / 2), rel=1e-8)


def test_energy_is_conserved_to_second_order():
    """On a smooth potential: a quarter of the error for half the step (here U = z⁴/4 + z²/2)."""

    def potential(z):
        return z**3 + z, None

    def energy(z, momentum):
        return float((z**4 / 4 + z**2 / 2 + momentum**2 / 2).sum())

    def drift(size):
        position, momentum = start(0)
        step = torch.full((1, 1, DIMENSION), size, dtype=torch.float64)
        before = energy(position, momentum)
        roots = torch.ones(round(1.0 / size) + 1, 1, 1, 1, dtype=torch.float64)
        return abs(energy(*evolve(position, momentum, step, roots, potential)[:2]) - before)

    assert drift(0.01) / drift(0.02) == pytest.approx(0.25, rel=0.05)


def test_harmonic_motion():
    """For U = z²/2 phase space turns: after a quarter period z and ρ have changed place."""
    position, momentum = start(3)
    steps = 2000
    step = torch.full((1, 1, DIMENSION), 0.5 * math.pi / steps, dtype=torch.float64)
    roots = torch.ones(steps + 1, 1, 1, 1, dtype=torch.float64)
    end, turned, _ = evolve(position, momentum, step, roots, lambda z: (z, None))
    torch.testing.assert_close(end, momentum, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(turned, -position, rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 1.0), st.integers(1, 20))
def test_quadratic_schedule(initial, steps):
    root = torch.tensor(initial, dtype=torch.float64)
    roots = inverse_temperature_roots(root, steps).numpy()
    k = np.arange(steps + 1)
    expected = 1.0 / ((1.0 - 1.0 / initial) * k**2 / steps**2 + 1.0 / initial)
    np.testing.assert_allclose(roots, expected, rtol=1e-12)
    assert roots[0] == pytest.approx(initial) and roots[-1] == pytest.approx(1.0)
    assert (np.diff(roots) >= -1e-15).all()


def test_no_steps_and_no_tempering():
    root = torch.tensor([0.3], dtype=torch.float64)
    assert inverse_temperature_roots(root, 0).tolist() == [[1.0]]
    assert inverse_temperature_roots(torch.ones(1), 4).tolist() == [[1.0]] * 5
