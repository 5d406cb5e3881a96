"""The dense variational autoencoder on radial distribution functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from crysearch.errors import TrainingError
from crysearch.generative import storage
from crysearch.generative.base import GenerativeModel, Progress, TrainingHistory
from crysearch.generative.checks import check_count, check_fingerprints, check_positive
from crysearch.generative.scaler import AboveMaximum, GlobalMaximumScaler
from crysearch.generative.training import (
    TrainingSettings,
    one_thread,
    to_tensor,
    torch_generators,
    train,
)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of sigmoid(logits) against targets in [0, 1], summed over the grid.

    Shapes (n, m) and (n, m) to (n,), in nats.
    """
    pointwise = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return pointwise.sum(dim=1)


def standard_normal_divergence(means: Tensor, log_variances: Tensor) -> Tensor:
    """Return the Kullback–Leibler divergence of diagonal Gaussians to the standard normal.

    KL = ½ Σ (exp(log σ²) + μ² − 1 − log σ²); shapes (n, d) and (n, d) to (n,), in nats.
    """
    return 0.5 * (log_variances.exp() + means.square() - 1.0 - log_variances).sum(dim=1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    # skip_init: the usual initialisation would draw from torch's global random state.
    return nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64)


class DenseNetwork(nn.Module):
    """Encoder with two heads and the mirrored decoder; ReLU between all layers."""

    def __init__(self, input_size: int, hidden_layers: Sequence[int], latent_dimension: int):
        super().__init__()
        sizes = [input_size, *hidden_layers]
        encoder: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            encoder += [_linear(inputs, outputs), nn.ReLU()]
        decoder: list[nn.Module] = []
        mirrored = [latent_dimension, *sizes[::-1]]
        for inputs, outputs in pairwise(mirrored):
            decoder += [_linear(inputs, outputs), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder)
        self.mean = _linear(sizes[-1], latent_dimension)
        self.log_variance = _linear(sizes[-1], latent_dimension)
        self.decoder = nn.Sequential(*decoder[:-1])

    def encode(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (n, m) in [0, 1] to latent means and log-variances, each (n, d)."""
        hidden = self.encoder(scaled)
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, latent: Tensor) -> Tensor:
        """Map latent points (n, d) to logits (n, m); their sigmoid is the scaled fingerprint."""
        return self.decoder(latent)


class VariationalAutoencoder(GenerativeModel):
    """Dense variational autoencoder of radial distribution functions.

    Source: Lee and Chang, "Crystal structure prediction in a continuous representative space",
    Comput. Mater. Sci. Encoder 200 → 50 → 25 → 12 → 2 (mean and log-variance), mirrored decoder,
    ReLU, normal initial weights, Adam; loss = binary cross-entropy (summed over the grid) plus
    the divergence to a standard normal. The published layers have 23,550 parameters (the paper
    says about 14,000).

    Parameters
    ----------
    input_size : int
        Length of one fingerprint.
    hidden_layers : sequence of int
        Sizes of the encoder's hidden layers; the decoder has them in reverse.
    latent_dimension : int
    initial_weight_scale : float
        Initial weights are normal with standard deviation
        ``initial_weight_scale * sqrt(2 / inputs of the layer)``; biases start at zero.

    Raises
    ------
    TrainingError
        If a size is not a whole number of at least 1, or the scale is not a finite positive number.

    Notes
    -----
    The paper leaves weight deviation, learning rate, batch size and epochs open. They were chosen
    on the g(r) of the 33 sound, distinct bundled silicon structures (26 to train, 7 held out).
    Pearson's distance of decoded means to their originals, 20 seeds, mean ± deviation over seeds:

    ==================  =============  =============
    decoded from        training       held out
    ==================  =============  =============
    trained, defaults   0.093 ± 0.018  0.198 ± 0.067
    mean of training    0.390 ± 0.026  0.409 ± 0.086
    ==================  =============  =============

    The 225 replicas of the grid are 0.52 ± 0.05 (mean over the pairs, ± over seeds) from each
    other, the database 0.64, both together 0.54 ± 0.04; deviations over pairs 0.37, 0.34, 0.36.
    The divergence is 1.9 ± 0.3 nats. About 2.5 s on one core.

    - Weight deviation (10 seeds; 6 where marked *): with one deviation for all layers, 0.05 and
      less* die (divergence below 1e-5 nats, all replicas alike), 0.1* dies in half the seeds.
      Scaled to the layer's inputs, a scale of 0.25* still fails; 1.0 and 1.4 reconstruct alike
      (0.095), but leave one of the two latent coordinates unused in 5 and in 2 of 10 seeds; 2.0*
      reconstructs worse. Hence 1.4. With it 4 of 20 seeds leave a coordinate unused (spread of the
      encoded means below 0.2), and their replicas lie on a line.
    - Learning rate: at 500 epochs 0.0003 has learned nothing, 0.001 little and 0.003 most;
      0.01 is no better than 0.003.
    - Batch size: 800 epochs in batches of 8 take as long as 2,000 of one batch of all and
      reconstruct alike (0.112 and 0.184 held out, against 0.095 and 0.199; 10 seeds).
    - Epochs: the held-out loss is lowest after 1,550 ± 340; later only the training
      reconstruction improves (0.081 at 3,000).
    """

    name: ClassVar[str] = "vae"

    def __init__(
        self,
        input_size: int = 200,
        hidden_layers: Sequence[int] = (50, 25, 12),
        latent_dimension: int = 2,
        initial_weight_scale: float = 1.4,
    ) -> None:
        if isinstance(hidden_layers, str) or not isinstance(hidden_layers, Sequence):
            raise TrainingError(
                f"hidden_layers is {hidden_layers!r}; give a list of sizes such as [50, 25, 12]."
            )
        self.input_size = check_count("input_size", input_size, 1)
        self.hidden_layers = tuple(
            check_count(f"hidden_layers[{index}]", size, 1)
            for index, size in enumerate(hidden_layers)
        )
        self.latent_dimension = check_count("latent_dimension", latent_dimension, 1)
        self.initial_weight_scale = check_positive("initial_weight_scale", initial_weight_scale)
        self.scaler: GlobalMaximumScaler | None = None
        self._network = self._empty_network()

    def _empty_network(self) -> DenseNetwork:
        return DenseNetwork(self.input_size, self.hidden_layers, self.latent_dimension)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return {
            "input_size": self.input_size,
            "hidden_layers": list(self.hidden_layers),
            "latent_dimension": self.latent_dimension,
            "initial_weight_scale": self.initial_weight_scale,
        }

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases, both heads included: 23,550 for the published layers."""
        return sum(parameter.numel() for parameter in self._network.parameters())

    @property
    def is_fitted(self) -> bool:
        """Whether there are trained weights."""
        return self.scaler is not None

    def _initialise(self, network: DenseNetwork, generator: torch.Generator) -> None:
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                deviation = self.initial_weight_scale * (2.0 / layer.in_features) ** 0.5
                nn.init.normal_(layer.weight, std=deviation, generator=generator)
                nn.init.zeros_(layer.bias)

    def _loss_terms(
        self, network: DenseNetwork, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        means, log_variances = network.encode(batch)
        noise = torch.randn(means.shape, dtype=means.dtype, generator=generator)
        latent = means + (0.5 * log_variances).exp() * noise
        return (
            binary_cross_entropy(network.decode(latent), batch),
            standard_normal_divergence(means, log_variances),
        )

    def fit(
        self,
        fingerprints: ArrayLike,
        *,
        validation_fraction: float = 0.2,
        epochs: int = 2000,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        seed: int,
        progress: Progress | None = None,
    ) -> TrainingHistory:
        """Train from scratch; see `GenerativeModel.fit`, and the class on how defaults were chosen.

        The scaler takes the maximum over all structures given, held out or not: cross-entropy has
        no meaning for targets above 1.
        """
        settings = TrainingSettings(validation_fraction, epochs, batch_size, learning_rate, seed)
        array = check_fingerprints(fingerprints, self.input_size)
        split = settings.split(len(array), np.random.default_rng(settings.seed))
        scaler = GlobalMaximumScaler.fit(array)
        weights, training_noise, validation_noise = torch_generators(settings.seed, 3)
        network = self._empty_network()
        with torch.no_grad():
            self._initialise(network, weights)
        history = train(
            network,
            lambda batch, generator: self._loss_terms(network, batch, generator),
            scaler.transform(array),
            settings,
            split,
            (training_noise, validation_noise),
            progress,
        )
        self._network, self.scaler = network, scaler
        return history

    def _fitted_scaler(self) -> GlobalMaximumScaler:
        if self.scaler is None:
            raise TrainingError(f"The model {self.name!r} is not trained; call fit or load it.")
        return self.scaler

    def encode(
        self, fingerprints: ArrayLike, *, above_maximum: AboveMaximum = "raise"
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latent means and log-variances; see `GenerativeModel.encode`."""
        scaler = self._fitted_scaler()
        array = check_fingerprints(fingerprints, self.input_size)
        scaled = to_tensor(scaler.transform(array, above_maximum=above_maximum))
        with one_thread(), torch.no_grad():
            means, log_variances = self._network.encode(scaled)
        return means.numpy(), log_variances.numpy()

    def decode(self, latent: ArrayLike) -> NDArray[np.float64]:
        """Return the fingerprints of latent points; see `GenerativeModel.decode`."""
        scaler = self._fitted_scaler()
        points = np.asarray(latent, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.latent_dimension:
            raise TrainingError(
                f"latent has shape {points.shape}; give points of shape (n, "
                f"{self.latent_dimension})."
            )
        if not np.isfinite(points).all():
            raise TrainingError("latent holds NaN or infinite coordinates; leave them out.")
        with one_thread(), torch.no_grad():
            scaled = self._network.decode(to_tensor(points)).sigmoid()
        return scaler.inverse_transform(scaled.numpy())

    def to_bytes(self) -> bytes:
        """Return architecture, scaler and weights as bytes; see `storage`."""
        return storage.pack(
            self.name,
            {"architecture": self.architecture, "scaler": self._fitted_scaler().to_dict()},
            {key: value.numpy() for key, value in self._network.state_dict().items()},
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a stored model; see `GenerativeModel.from_bytes`."""
        header, arrays = storage.unpack(cls.name, data)
        try:
            model = cls(**header["architecture"])
            scaler = GlobalMaximumScaler.from_dict(header["scaler"])
            weights = {key: to_tensor(value) for key, value in arrays.items()}
            model._network.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"The stored model {cls.name!r} does not fit its own architecture ({error}); it "
                "is damaged: train again."
            ) from error
        model.scaler = scaler
        return model
