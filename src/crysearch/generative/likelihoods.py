"""Likelihoods p(x | z) of scaled fingerprints, as functions of the decoder's output.

Every fingerprint value x in [0, 1] has one number y of the decoder (a logit). All shapes are
(models, n, m), and sums over the m grid points are (models, n), in nats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from crysearch.errors import TrainingError

LikelihoodName = Literal["bernoulli", "continuous-bernoulli", "gaussian"]
LIKELIHOODS: tuple[LikelihoodName, ...] = get_args(LikelihoodName)

#: Lowest standard deviation of the Gaussian, in units of the largest fingerprint value.
MINIMUM_DEVIATION = 0.01
_INITIAL_DEVIATION = 0.1
# Below this |y| the closed forms of the continuous Bernoulli lose digits to cancellation.
_SERIES = 0.1


class Likelihood(nn.Module, ABC):
    """A likelihood of `models` autoencoders side by side.

    Attributes
    ----------
    is_density : bool
        Whether p(x | z) integrates to 1 over the values that x takes.
    """

    is_density: ClassVar[bool]

    def __init__(self, models: int) -> None:
        super().__init__()

    @abstractmethod
    def negative_log(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return −log p(x | z), summed over the grid."""

    @abstractmethod
    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of −log p(x | z) by each output; autograd can differentiate it."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean of x in [0, 1] for each output: the decoded fingerprint."""


class Bernoulli(Likelihood):
    """Binary cross-entropy, as published: −x log s − (1 − x) log(1 − s), s = sigmoid(y).

    The logarithm of a probability for x of 0 or 1 only. For values in between it is not a density:
    over x it integrates to something else than 1, and what it gives as evidence compares models
    with this likelihood among each other, no more.
    """

    is_density: ClassVar[bool] = False

    def negative_log(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy, summed over the grid; finite for outputs of any size."""
        pointwise = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return pointwise.sum(dim=-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sigmoid(y) − x."""
        return outputs.sigmoid() - targets

    def mean(self, outputs: Tensor) -> Tensor:
        """Return sigmoid(y)."""
        return outputs.sigmoid()


class ContinuousBernoulli(Likelihood):
    """The density on [0, 1] that is proportional to exp(x y).

    Source: Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", NeurIPS 2019. It is binary cross-entropy with the constant that
    makes it a density: −log p = −x y + log((exp(y) − 1) / y).
    """

    is_density: ClassVar[bool] = True

    def negative_log(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return −log p, summed over the grid."""
        size = outputs.abs()
        near = size < _SERIES
        # Where a branch is not taken it must be finite too, or its gradient would be NaN.
        safe = torch.where(near, torch.ones_like(size), size)
        # log((exp(y) - 1)/y) = y/2 + log(sinh(|y|/2) / (|y|/2)).
        closed = 0.5 * safe + torch.log1p(-torch.exp(-safe)) - torch.log(safe)
        square = torch.where(near, outputs, torch.zeros_like(outputs)).square()
        series = square / 24.0 - square**2 / 2880.0 + square**3 / 181440.0
        normalisation = 0.5 * outputs + torch.where(near, series, closed)
        return (normalisation - targets * outputs).sum(dim=-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean minus x."""
        return self.mean(outputs) - targets

    def mean(self, outputs: Tensor) -> Tensor:
        """Return 1 / (1 − exp(−y)) − 1 / y, which is ½ at y = 0."""
        near = outputs.abs() < _SERIES
        safe = torch.where(near, torch.ones_like(outputs), outputs)
        # 1/(1 - exp(-y)) from exp(-|y|), which never overflows.
        shrunk = torch.exp(-safe.abs())
        closed = torch.where(safe > 0.0, 1.0, -shrunk) / (-torch.expm1(-safe.abs())) - 1.0 / safe
        small = torch.where(near, outputs, torch.zeros_like(outputs))
        series = 0.5 + small / 12.0 - small**3 / 720.0 + small**5 / 30240.0
        return torch.where(near, series, closed)


class Gaussian(Likelihood):
    """Normal density around sigmoid(y), with one standard deviation that is learned.

    The deviation is that of all grid points, in units of the largest fingerprint value; it cannot
    fall below `MINIMUM_DEVIATION`, where a few structures learned by heart would take it.
    """

    is_density: ClassVar[bool] = True

    def __init__(self, models: int) -> None:
        super().__init__(models)
        raw = math.log(_INITIAL_DEVIATION - MINIMUM_DEVIATION)
        self.raw_deviation = nn.Parameter(torch.full((models, 1, 1), raw, dtype=torch.float64))

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each model, (models, 1, 1)."""
        return MINIMUM_DEVIATION + self.raw_deviation.exp()

    def negative_log(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return −log p, summed over the grid."""
        deviation = self.deviation
        scaled = (targets - outputs.sigmoid()) / deviation
        return (0.5 * scaled.square() + deviation.log() + 0.5 * math.log(2.0 * math.pi)).sum(dim=-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (s − x) s (1 − s) / σ² with s = sigmoid(y)."""
        mean = outputs.sigmoid()
        return (mean - targets) * mean * (1.0 - mean) / self.deviation.square()

    def mean(self, outputs: Tensor) -> Tensor:
        """Return sigmoid(y)."""
        return outputs.sigmoid()


_CLASSES: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous-bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
}


def check_likelihood(name: str) -> str:
    """Return the name of a likelihood, or raise TrainingError."""
    if name not in _CLASSES:
        raise TrainingError(f"likelihood is {name!r}; choose one of: {', '.join(_CLASSES)}.")
    return name


def make_likelihood(name: str, models: int) -> Likelihood:
    """Make a likelihood for so many models; raises TrainingError for an unknown name."""
    return _CLASSES[check_likelihood(name)](models)
