"""The dense networks of autoencoders, for several models side by side.

All weights have a leading axis of models, so that an ensemble is trained with the calls of one:
shapes are (models, n, features).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from crysearch.generative.likelihoods import Likelihood, make_likelihood


class DenseLayer(nn.Module):
    """One linear layer of each model: weights (models, outputs, inputs), biases."""

    def __init__(self, models: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(models, outputs, inputs, dtype=torch.float64))
        self.bias = nn.Parameter(torch.empty(models, outputs, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (models, n, inputs) to (models, n, outputs)."""
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.transpose(1, 2))

    def backward(self, gradient: Tensor) -> Tensor:
        """Map derivatives by the outputs (models, n, outputs) to those by the inputs."""
        return torch.bmm(gradient, self.weight)


def _chain(layers: nn.ModuleDict) -> list[DenseLayer]:
    return cast(list[DenseLayer], list(layers.values()))


class DenseNetwork(nn.Module):
    """Encoders with two heads and mirrored decoders; ReLU between all layers.

    Parameters
    ----------
    models : int
        Autoencoders side by side.
    input_size, latent_dimension, condition_size : int
        Conditions are further inputs of encoder and decoder.
    hidden_layers : sequence of int
    likelihood : str
    """

    likelihood: Likelihood

    def __init__(
        self,
        models: int,
        input_size: int,
        hidden_layers: Sequence[int],
        latent_dimension: int,
        condition_size: int,
        likelihood: str,
    ) -> None:
        super().__init__()
        sizes = [input_size, *hidden_layers]
        mirrored = [latent_dimension, *sizes[::-1]]
        self.encoder = self._layers(models, sizes, condition_size)
        last = sizes[-1] + (0 if hidden_layers else condition_size)
        self.mean = DenseLayer(models, last, latent_dimension)
        self.log_variance = DenseLayer(models, last, latent_dimension)
        self.decoder = self._layers(models, mirrored, condition_size)
        self.likelihood = make_likelihood(likelihood, models)

    @staticmethod
    def _layers(models: int, sizes: Sequence[int], further_inputs: int) -> nn.ModuleDict:
        # Named by their place in a chain with a ReLU after every layer, as models are stored.
        return nn.ModuleDict(
            {
                str(2 * place): DenseLayer(
                    models, inputs + (0 if place else further_inputs), outputs
                )
                for place, (inputs, outputs) in enumerate(pairwise(sizes))
            }
        )

    def initialise(self, scale: float, generators: Sequence[torch.Generator]) -> None:
        """Draw each model's weights with its own generator; biases become zero."""
        for layer in self.modules():
            if isinstance(layer, DenseLayer):
                deviation = scale * (2.0 / layer.weight.shape[2]) ** 0.5
                for weight, generator in zip(layer.weight, generators, strict=True):
                    weight.normal_(0.0, deviation, generator=generator)
                layer.bias.zero_()

    def encode(self, scaled: Tensor, conditions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map inputs in [0, 1] to latent means and log-variances, each (models, n, d)."""
        hidden = scaled if conditions is None else torch.cat((scaled, conditions), dim=-1)
        for layer in _chain(self.encoder):
            hidden = layer(hidden).relu()
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, latent: Tensor, conditions: Tensor | None) -> Tensor:
        """Map latent points (models, n, d) to the outputs (models, n, m) of the likelihood."""
        hidden = latent if conditions is None else torch.cat((latent, conditions), dim=-1)
        *inner, last = _chain(self.decoder)
        for layer in inner:
            hidden = layer(hidden).relu()
        return last(hidden)

    def decode_with_gradient(
        self, latent: Tensor, targets: Tensor, conditions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs, and the derivatives of −log p(x | z) by z, (models, n, d).

        Written out rather than asked of autograd: one backward pass through it is then all that
        training needs, where autograd would build and walk a graph of the graph.
        """
        hidden = latent if conditions is None else torch.cat((latent, conditions), dim=-1)
        *inner, last = _chain(self.decoder)
        passed = []
        for layer in inner:
            hidden = layer(hidden).relu()
            passed.append(hidden)
        outputs = last(hidden)
        gradient = last.backward(self.likelihood.gradient(outputs, targets))
        for layer, hidden in zip(reversed(inner), reversed(passed), strict=True):
            # ReLU backwards: zero where it gave zero.
            gradient = torch.ops.aten.threshold_backward(gradient, hidden, 0.0)
            gradient = layer.backward(gradient)
        return outputs, gradient[..., : latent.shape[-1]]
