from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate
from torch import distributions

from crysearch.errors import TrainingError
from crysearch.generative.likelihoods import LIKELIHOODS, MINIMUM_DEVIATION, make_likelihood


def arrays(low, high):
    shapes = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 5))
    return shapes.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(float, shape, elements=st.floats(low, high)),
            hnp.arrays(float, shape, elements=st.floats(0.0, 1.0)),
        )
    )


def reference(name, outputs):
    """torch's own distribution for the outputs of a decoder."""
    if name == "bernoulli":
        return distributions.Bernoulli(logits=outputs, validate_args=False)
    if name == "continuous-bernoulli":
        return distributions.ContinuousBernoulli(logits=outputs)
    return distributions.Normal(outputs.sigmoid(), 0.1)


@pytest.mark.parametrize("name", LIKELIHOODS)
@settings(max_examples=60, deadline=None)
@given(arrays(-12.0, 12.0))
def test_against_torch_distributions(name, pair):
    outputs, targets = map(torch.tensor, pair)
    likelihood = make_likelihood(name, len(outputs))
    expected = -reference(name, outputs).log_prob(targets).sum(dim=-1)
    # torch's continuous Bernoulli cuts its Taylor series early.
    tolerance = 1e-5 if name == "continuous-bernoulli" else 1e-9
    found = likelihood.negative_log(outputs, targets)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    mean = reference(name, outputs).mean
    torch.testing.assert_close(likelihood.mean(outputs), mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
@settings(max_examples=60, deadline=None)
@given(arrays(-12.0, 12.0))
def test_gradient_against_autograd(name, pair):
    outputs, targets = torch.tensor(pair[0], requires_grad=True), torch.tensor(pair[1])
    likelihood = make_likelihood(name, len(outputs))
    total = likelihood.negative_log(outputs, targets).sum()
    (expected,) = torch.autograd.grad(total, outputs)
    found = likelihood.gradient(outputs, targets)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.0999, 0.1001, 3.0, 700.0, 1e5])
def test_finite_and_continuous_for_outputs_of_any_size(name, size):
    outputs = torch.tensor([[[size, -size]]], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[[0.25, 0.75]]], dtype=torch.float64)
    likelihood = make_likelihood(name, 1)
    total = likelihood.negative_log(outputs, targets).sum()
    gradient = likelihood.gradient(outputs, targets)
    gradient.sum().backward()
    for values in (total, gradient, likelihood.mean(outputs), outputs.grad):
        assert torch.isfinite(values).all()
    assert ((likelihood.mean(outputs) >= 0.0) & (likelihood.mean(outputs) <= 1.0)).all()
    # Neither end of an exchange of formulas shows as a step.
    near = make_likelihood(name, 1).negative_log(outputs * (1.0 + 1e-7), targets)
    assert abs(float((near.sum() - total).detach())) < 1e-6 * (1.0 + size)


@pytest.mark.parametrize("output", [-6.0, -0.05, 0.0, 0.3, 4.0])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_which_of_them_are_densities(name, output):
    likelihood = make_likelihood(name, 1)

    def density(x):
        pair = torch.full((1, 1, 1), output).double(), torch.full((1, 1, 1), x).double()
        return float((-likelihood.negative_log(*pair)).exp())

    low, high = (-1.0, 2.0) if name == "gaussian" else (0.0, 1.0)
    total, _ = integrate.quad(density, low, high, points=[0.0, 0.5, 1.0])
    if likelihood.is_density:
        assert total == pytest.approx(1.0, abs=1e-6)
    else:
        assert total < 0.999


def test_bernoulli_is_bounded_by_the_entropy_of_the_targets():
    random = np.random.default_rng(0)
    targets = torch.tensor(random.random((1, 50, 8)))
    outputs = torch.tensor(random.normal(0.0, 3.0, (1, 50, 8)))
    likelihood = make_likelihood("bernoulli", 1)
    entropy = distributions.Bernoulli(probs=targets).entropy().sum(dim=-1)
    assert (likelihood.negative_log(outputs, targets) >= entropy - 1e-9).all()
    best = likelihood.negative_log(targets.logit(), targets)
    torch.testing.assert_close(best, entropy)


def test_the_deviation_of_the_gaussian_is_learned_and_bounded():
    likelihood = make_likelihood("gaussian", 2)
    assert likelihood.deviation.flatten().tolist() == pytest.approx([0.1, 0.1])
    with torch.no_grad():
        likelihood.raw_deviation.fill_(-1e3)
    assert likelihood.deviation.flatten().tolist() == [MINIMUM_DEVIATION] * 2


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(TrainingError, match="likelihood is 'poisson'; choose one of: bernoulli"):
        make_likelihood("poisson", 1)
