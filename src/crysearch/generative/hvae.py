"""The Hamiltonian variational autoencoder on radial distribution functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.generative.dense import DenseAutoencoder
from crysearch.generative.hamiltonian import (
    TEMPERINGS,
    Tempering,
    evolve,
    inverse_temperature_roots,
)
from crysearch.generative.layers import DenseNetwork
from crysearch.generative.scaler import AboveMaximum
from crysearch.generative.training import one_thread

KineticTerm = Literal["mean", "drawn"]
KINETIC_TERMS: tuple[KineticTerm, ...] = get_args(KineticTerm)


class HamiltonianNetwork(DenseNetwork):
    """Encoders, decoders, step sizes and initial inverse temperatures.

    Step sizes are ``maximum_step_size * sigmoid(raw_step)``, one for each latent coordinate, and
    √β₀ = sigmoid(raw_temperature), each learned.
    """

    def __init__(
        self, model: HamiltonianVariationalAutoencoder, models: int, *arguments: Any
    ) -> None:
        super().__init__(models, *arguments)
        self.maximum_step_size, self.tempering = model.maximum_step_size, model.tempering
        share = model.initial_step_size / model.maximum_step_size
        steps = torch.full((models, 1, model.latent_dimension), _logit(share), dtype=torch.float64)
        self.raw_step = nn.Parameter(steps)
        if model.tempering == "quadratic":
            raw = _logit(math.sqrt(model.initial_inverse_temperature))
            self.raw_temperature = nn.Parameter(
                torch.full((models, 1, 1), raw, dtype=torch.float64)
            )

    @property
    def step_sizes(self) -> Tensor:
        """ε, (models, 1, d)."""
        return self.maximum_step_size * self.raw_step.sigmoid()

    @property
    def initial_root(self) -> Tensor:
        """√β₀, (models, 1, 1); 1 without tempering."""
        if self.tempering == "none":
            return torch.ones((len(self.raw_step), 1, 1), dtype=torch.float64)
        return self.raw_temperature.sigmoid()


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share))


class HamiltonianVariationalAutoencoder(DenseAutoencoder):
    """Variational autoencoder whose posterior follows Hamilton's equations.

    Sources: Caterini, Doucet and Sejdinovic, "Hamiltonian Variational Auto-Encoder", NeurIPS 2018;
    Shin and Lee for radial distribution functions. Encoder and decoder are those of the plain
    model. A point z₀ drawn from the encoder's Gaussian, with a momentum ρ₀ ~ N(0, 1/β₀), makes K
    leapfrog steps on the potential −log p(x, z), each followed by tempering. The lower bound is the
    mean of log p(x, z_K) − ½ ρ_K·ρ_K − log q(z₀ | x) + ½ β₀ ρ₀·ρ₀, of which the published estimator
    takes the last term by its mean, d/2 (Rao-Blackwellised). Its gradient flows through the steps
    to all weights, the step sizes and β₀. The recorded reconstruction is −log p(x | z_K), the
    divergence all other terms; a single value of it may be negative. With K = 0 there are no
    momenta and it is the plain model's bound, with the divergence taken at the drawn point.

    Parameters
    ----------
    input_size, hidden_layers, latent_dimension, initial_weight_scale, likelihood, condition_size
        See `DenseAutoencoder`.
    leapfrog_steps : int
        K, 0 or more.
    maximum_step_size : float
        Upper bound of the step sizes ε, in units of the latent coordinates.
    initial_step_size : float
        Before training; below the maximum.
    tempering : {"quadratic", "none"}
        The schedule of `crysearch.generative.hamiltonian.inverse_temperature_roots`; with "none"
        all β are 1.
    initial_inverse_temperature : float
        β₀ before training, between 0 and 1 (neither included).
    initial_kinetic_term : {"mean", "drawn"}
        How ½ β₀ ρ₀·ρ₀ enters the recorded loss: by its mean, as published, or as it was drawn.

    Raises
    ------
    TrainingError
        For an impossible argument.

    Notes
    -----
    ½ β₀ ρ₀·ρ₀ does not depend on any weight (ρ₀ is drawn from N(0, 1/β₀)): the choice of
    `initial_kinetic_term` changes the recorded loss, not the training. ρ₀ and ρ_K have much in
    common where the steps change the momentum little. Taking one by its mean and not the other
    then adds noise to the loss, up to the variance d/2 of ½ ρ_K·ρ_K, instead of removing some.
    """

    name: ClassVar[str] = "hvae"

    def __init__(
        self,
        input_size: int = 200,
        hidden_layers: Sequence[int] = (50, 25, 12),
        latent_dimension: int = 2,
        initial_weight_scale: float = 1.4,
        likelihood: str = "bernoulli",
        condition_size: int = 0,
        leapfrog_steps: int = 3,
        maximum_step_size: float = 0.2,
        initial_step_size: float = 0.03,
        tempering: Tempering = "quadratic",
        initial_inverse_temperature: float = 0.5,
        initial_kinetic_term: KineticTerm = "mean",
    ) -> None:
        self.leapfrog_steps = check_count("leapfrog_steps", leapfrog_steps, 0)
        self.maximum_step_size = check_positive("maximum_step_size", maximum_step_size)
        self.initial_step_size = check_positive(
            "initial_step_size", initial_step_size, below=self.maximum_step_size
        )
        if tempering not in TEMPERINGS:
            raise TrainingError(
                f"tempering is {tempering!r}; choose one of: {', '.join(TEMPERINGS)}."
            )
        self.tempering: Tempering = tempering
        self.initial_inverse_temperature = check_positive(
            "initial_inverse_temperature", initial_inverse_temperature, below=1.0
        )
        if initial_kinetic_term not in KINETIC_TERMS:
            raise TrainingError(
                f"initial_kinetic_term is {initial_kinetic_term!r}; choose one of: "
                f"{', '.join(KINETIC_TERMS)}."
            )
        self.initial_kinetic_term: KineticTerm = initial_kinetic_term
        super().__init__(
            input_size,
            hidden_layers,
            latent_dimension,
            initial_weight_scale,
            likelihood,
            condition_size,
        )

    def _empty_network(self, models: int) -> HamiltonianNetwork:
        return HamiltonianNetwork(
            self,
            models,
            self.input_size,
            self.hidden_layers,
            self.latent_dimension,
            self.condition_size,
            self.likelihood,
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return super().architecture | {
            "leapfrog_steps": self.leapfrog_steps,
            "maximum_step_size": self.maximum_step_size,
            "initial_step_size": self.initial_step_size,
            "tempering": self.tempering,
            "initial_inverse_temperature": self.initial_inverse_temperature,
            "initial_kinetic_term": self.initial_kinetic_term,
        }

    @property
    def step_sizes(self) -> NDArray[np.float64]:
        """The step sizes ε as they are now, (latent_dimension,)."""
        with torch.no_grad():
            return self._hamiltonian.step_sizes[0, 0].numpy()

    @property
    def inverse_temperature(self) -> float:
        """β₀ as it is now."""
        with torch.no_grad():
            return float(self._hamiltonian.initial_root.square())

    @property
    def _hamiltonian(self) -> HamiltonianNetwork:
        assert isinstance(self._network, HamiltonianNetwork)
        return self._network

    @property
    def _noise_width(self) -> int:
        return self.latent_dimension * (2 if self.leapfrog_steps else 1)

    def _follow(
        self,
        network: HamiltonianNetwork,
        position: Tensor,
        momentum: Tensor,
        batch: Tensor,
        conditions: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return z_K, ρ_K and the decoder's outputs at z_K."""

        def potential(latent: Tensor) -> tuple[Tensor, Tensor]:
            outputs, gradient = network.decode_with_gradient(latent, batch, conditions)
            return gradient + latent, outputs

        roots = inverse_temperature_roots(network.initial_root, self.leapfrog_steps)
        return evolve(position, momentum, network.step_sizes, roots, potential)

    def _sampled(
        self, network: HamiltonianNetwork, batch: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return −log p(x | z_K), the other terms without d/2, and ½ β₀ ρ₀·ρ₀."""
        means, log_variances = network.encode(batch, conditions)
        drawn = noise[..., : self.latent_dimension]
        start = means + (0.5 * log_variances).exp() * drawn
        # -log p(z) + log q(z0 | x): the factors of 2 pi cancel.
        divergence = -0.5 * (drawn.square() + log_variances).sum(dim=-1)
        if not self.leapfrog_steps:
            outputs = network.decode(start, conditions)
            reconstruction = network.likelihood.negative_log(outputs, batch)
            divergence = divergence + 0.5 * start.square().sum(dim=-1)
            return reconstruction, divergence, torch.zeros_like(divergence)
        kinetic = 0.5 * noise[..., self.latent_dimension :].square().sum(dim=-1)
        momentum = noise[..., self.latent_dimension :] / network.initial_root
        end, momentum, outputs = self._follow(network, start, momentum, batch, conditions)
        reconstruction = network.likelihood.negative_log(outputs, batch)
        divergence = divergence + 0.5 * (end.square() + momentum.square()).sum(dim=-1)
        return reconstruction, divergence, kinetic

    def _loss_terms(
        self, network: HamiltonianNetwork, batch: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        reconstruction, divergence, kinetic = self._sampled(network, batch, conditions, noise)
        if self.leapfrog_steps and self.initial_kinetic_term == "mean":
            return reconstruction, divergence - 0.5 * self.latent_dimension
        return reconstruction, divergence - kinetic

    def _log_weights(
        self, network: HamiltonianNetwork, batch: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> Tensor:
        # Only with the drawn momenta is the mean of the weights p(x).
        reconstruction, divergence, kinetic = self._sampled(network, batch, conditions, noise)
        return kinetic - reconstruction - divergence

    def locate(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> NDArray[np.float64]:
        """Return where the means of the encoder's Gaussians are carried, started without momentum.

        The steps take them towards the structures' own posterior; see `GenerativeModel.locate`.
        """
        data, scaled_conditions = self._inputs(fingerprints, conditions, above_maximum)
        network = self._hamiltonian
        with one_thread(), torch.no_grad():
            means, _ = network.encode(data, scaled_conditions)
            end, _, _ = self._follow(
                network, means, torch.zeros_like(means), data, scaled_conditions
            )
        return end[0].numpy()
