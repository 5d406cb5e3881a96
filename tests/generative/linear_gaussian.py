"""A decoder whose evidence is known: x = W z + b + noise, as the network of an autoencoder."""

from __future__ import annotations

import math

import torch
from torch import distributions


class LinearGaussian:
    """Stands in for a `HamiltonianNetwork` with one model; also its own likelihood.

    Its encoder gives every x the same wide Gaussian, so that there is something left to gain.
    """

    def __init__(self, seed, *, dimension=2, size=5, step=0.1, inverse_temperature=0.5):
        generator = torch.Generator().manual_seed(seed)
        draw = {"dtype": torch.float64, "generator": generator}
        self.weight = torch.randn(size, dimension, **draw)
        self.bias = torch.randn(size, **draw)
        self.deviation = 0.7
        self.likelihood = self
        self.step_sizes = torch.full((1, 1, dimension), step, dtype=torch.float64)
        root = torch.tensor(math.sqrt(inverse_temperature), dtype=torch.float64)
        self.initial_root = root.reshape(1, 1, 1)
        latent = torch.randn(dimension, **draw)
        noise = self.deviation * torch.randn(size, **draw)
        self.data = (self.weight @ latent + self.bias + noise).reshape(1, 1, size)

    @property
    def log_evidence(self):
        """log N(x; b, W Wᵀ + σ²)."""
        covariance = self.weight @ self.weight.T
        covariance = covariance + self.deviation**2 * torch.eye(len(self.bias)).double()
        exact = distributions.MultivariateNormal(self.bias, covariance)
        return float(exact.log_prob(self.data[0, 0]))

    def encode(self, scaled, conditions):
        means = torch.full((*scaled.shape[:2], self.weight.shape[1]), 0.3, dtype=torch.float64)
        return means, torch.full_like(means, -0.5)

    def decode(self, latent, conditions):
        return latent @ self.weight.T + self.bias

    def decode_with_gradient(self, latent, targets, conditions):
        outputs = self.decode(latent, conditions)
        return outputs, (outputs - targets) / self.deviation**2 @ self.weight

    def negative_log(self, outputs, targets):
        return -distributions.Normal(outputs, self.deviation).log_prob(targets).sum(dim=-1)
