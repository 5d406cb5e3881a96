"""What the dense autoencoders share: networks, training, coding, evidence and storage."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from crysearch.errors import TrainingError
from crysearch.generative import storage
from crysearch.generative.base import (
    EnsembleMember,
    GenerativeModel,
    Optimizer,
    Progress,
    TrainingHistory,
)
from crysearch.generative.checks import (
    check_conditions,
    check_count,
    check_fingerprints,
    check_positive,
)
from crysearch.generative.layers import DenseNetwork
from crysearch.generative.likelihoods import check_likelihood
from crysearch.generative.scaler import AboveMaximum, ConditionScaler, GlobalMaximumScaler
from crysearch.generative.training import (
    TrainingSettings,
    one_thread,
    to_tensor,
    torch_generators,
    train,
)

# Values of fingerprints that are decoded at once in an estimate of the evidence: 32 MB.
_CHUNK = 4_000_000


class DenseAutoencoder(GenerativeModel):
    """Base of the autoencoders; a subclass says what its loss and importance weights are.

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
    likelihood : {"bernoulli", "continuous-bernoulli", "gaussian"}
        See `crysearch.generative.likelihoods`; "bernoulli" is binary cross-entropy, as published.
    condition_size : int
        Conditions of each structure, given to encoder and decoder.

    Raises
    ------
    TrainingError
        If a size is not a whole number of at least 1 (0 for `condition_size`), the scale is not a
        finite positive number, or the likelihood is unknown.
    """

    #: Used when `fit` is given none.
    learning_rates: ClassVar[Mapping[Optimizer, float]] = {"adam": 3e-3, "sgd": 3e-3}

    def __init__(
        self,
        input_size: int = 200,
        hidden_layers: Sequence[int] = (50, 25, 12),
        latent_dimension: int = 2,
        initial_weight_scale: float = 1.4,
        likelihood: str = "bernoulli",
        condition_size: int = 0,
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
        self.likelihood = check_likelihood(likelihood)
        self.condition_size = check_count("condition_size", condition_size, 0)
        self.scaler: GlobalMaximumScaler | None = None
        self.condition_scaler: ConditionScaler | None = None
        self._network = self._empty_network(1)

    def _empty_network(self, models: int) -> DenseNetwork:
        return DenseNetwork(
            models,
            self.input_size,
            self.hidden_layers,
            self.latent_dimension,
            self.condition_size,
            self.likelihood,
        )

    def _initialise(self, network: Any, generators: Sequence[torch.Generator]) -> None:
        """Set all weights before training; each model draws with its own generator."""
        network.initialise(self.initial_weight_scale, generators)

    @property
    @abstractmethod
    def _noise_width(self) -> int:
        """Standard normal numbers that a structure's loss and importance weight take."""

    @abstractmethod
    def _loss_terms(
        self, network: Any, batch: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Reconstruction and divergence (models, n) of scaled fingerprints (models, n, m)."""

    @abstractmethod
    def _log_weights(
        self, network: Any, batch: Tensor, conditions: Tensor | None, noise: Tensor
    ) -> Tensor:
        """Logarithm (models, n) of an importance weight whose mean over the noise is p(x)."""

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return {
            "input_size": self.input_size,
            "hidden_layers": list(self.hidden_layers),
            "latent_dimension": self.latent_dimension,
            "initial_weight_scale": self.initial_weight_scale,
            "likelihood": self.likelihood,
            "condition_size": self.condition_size,
        }

    @property
    def parameter_count(self) -> int:
        """Number of trainable numbers: 23,550 for the published layers of the plain model."""
        return sum(parameter.numel() for parameter in self._network.parameters())

    @property
    def is_fitted(self) -> bool:
        """Whether there are trained weights."""
        return self.scaler is not None

    def fit(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        validation_fraction: float = 0.2,
        epochs: int = 2000,
        batch_size: int = 32,
        optimizer: Optimizer = "adam",
        learning_rate: float | None = None,
        annealing_epochs: int = 0,
        seed: int,
        progress: Progress | None = None,
    ) -> TrainingHistory:
        """Train from scratch; see `GenerativeModel.fit`, and the class on how defaults were chosen.

        The scaler takes the maximum over all structures given, held out or not: cross-entropy has
        no meaning for targets above 1.
        """
        (member,) = self.fit_ensemble(
            self.architecture,
            fingerprints,
            seeds=[seed],
            conditions=conditions,
            validation_fraction=validation_fraction,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            annealing_epochs=annealing_epochs,
            progress=progress,
        )
        if member.model is None or member.history is None:
            raise TrainingError(str(member.failure))
        self._network, self.scaler = member.model._network, member.model.scaler
        self.condition_scaler = member.model.condition_scaler
        return member.history

    @classmethod
    def fit_ensemble(
        cls,
        architecture: Mapping[str, Any],
        fingerprints: ArrayLike,
        *,
        seeds: Sequence[int],
        conditions: ArrayLike | None = None,
        validation_fraction: float = 0.2,
        epochs: int = 2000,
        batch_size: int = 32,
        optimizer: Optimizer = "adam",
        learning_rate: float | None = None,
        annealing_epochs: int = 0,
        progress: Progress | None = None,
    ) -> list[EnsembleMember[Self]]:
        """Train one model for each seed at once; see `GenerativeModel.fit_ensemble`."""
        seeds = [check_count("seed", seed, 0) for seed in seeds]
        if not seeds or len(set(seeds)) != len(seeds):
            raise TrainingError(f"seeds are {seeds}; give one or several different ones.")
        if learning_rate is None:
            learning_rate = cls.learning_rates.get(optimizer, 1.0)  # a wrong optimiser is refused
        settings = TrainingSettings(
            validation_fraction, epochs, batch_size, optimizer, learning_rate, annealing_epochs
        )
        try:
            models = [cls(**architecture) for _ in seeds]
        except TypeError as error:
            raise TrainingError(f"architecture of {cls.name!r}: {error}.") from error
        first = models[0]
        array = check_fingerprints(fingerprints, first.input_size)
        given = check_conditions(conditions, len(array), first.condition_size)
        splits = [settings.split(len(array), np.random.default_rng(seed)) for seed in seeds]
        scaler = GlobalMaximumScaler.fit(array)
        condition_scaler = ConditionScaler.fit(given) if first.condition_size else None
        scaled = scaler.transform(array)
        scaled_conditions = condition_scaler.transform(given) if condition_scaler else None

        def rows_of(part: int) -> tuple[Tensor, Tensor | None]:
            rows = np.array([split[part] for split in splits])
            if scaled_conditions is None:
                return to_tensor(scaled[rows]), None
            return to_tensor(scaled[rows]), to_tensor(scaled_conditions[rows])

        generators = [torch_generators(seed, 3) for seed in seeds]
        network = first._empty_network(len(seeds))
        with torch.no_grad():
            first._initialise(network, [three[0] for three in generators])
        curves, failures = train(
            network,
            lambda *batch: first._loss_terms(network, *batch),
            first._noise_width,
            rows_of(0),
            rows_of(1),
            settings,
            [(three[1], three[2]) for three in generators],
            progress,
        )
        members = []
        for index, (seed, model, failure) in enumerate(zip(seeds, models, failures, strict=True)):
            if failure is not None:
                members.append(EnsembleMember[Self](seed, None, None, failure))
                continue
            model._load({key: value[index] for key, value in network.state_dict().items()})
            model.scaler, model.condition_scaler = scaler, condition_scaler
            curve = np.ascontiguousarray(curves[index])
            history = TrainingHistory(
                train_reconstruction=curve[0],
                train_divergence=curve[1],
                validation_reconstruction=curve[2],
                validation_divergence=curve[3],
                train_indices=splits[index][0],
                validation_indices=splits[index][1],
                seed=seed,
                batch_size=int(batch_size),
                optimizer=optimizer,
                learning_rate=float(settings.learning_rate),
                annealing_epochs=int(annealing_epochs),
            )
            members.append(EnsembleMember(seed, model, history, None))
        return members

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of one model, without the axis of models."""
        self._network.load_state_dict({key: value.clone()[None] for key, value in weights.items()})

    def _fitted_scaler(self) -> GlobalMaximumScaler:
        if self.scaler is None:
            raise TrainingError(f"The model {self.name!r} is not trained; call fit or load it.")
        return self.scaler

    def _scaled_conditions(self, conditions: ArrayLike | None, rows: int) -> Tensor | None:
        given = check_conditions(conditions, rows, self.condition_size)
        if self.condition_scaler is None:
            return None
        return to_tensor(self.condition_scaler.transform(given))[None]

    def _inputs(
        self, fingerprints: ArrayLike, conditions: ArrayLike | None, above_maximum: AboveMaximum
    ) -> tuple[Tensor, Tensor | None]:
        """Scaled fingerprints (1, n, m) and conditions (1, n, c) of what a person gave."""
        scaler = self._fitted_scaler()
        array = check_fingerprints(fingerprints, self.input_size)
        scaled = scaler.transform(array, above_maximum=above_maximum)
        return to_tensor(scaled)[None], self._scaled_conditions(conditions, len(array))

    def encode(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latent means and log-variances; see `GenerativeModel.encode`."""
        inputs = self._inputs(fingerprints, conditions, above_maximum)
        with one_thread(), torch.no_grad():
            means, log_variances = self._network.encode(*inputs)
        return means[0].numpy(), log_variances[0].numpy()

    def decode(
        self, latent: ArrayLike, *, conditions: ArrayLike | None = None
    ) -> NDArray[np.float64]:
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
        scaled_conditions = self._scaled_conditions(conditions, len(points))
        with one_thread(), torch.no_grad():
            outputs = self._network.decode(to_tensor(points)[None], scaled_conditions)
            scaled = self._network.likelihood.mean(outputs)[0]
        return scaler.inverse_transform(scaled.numpy())

    def log_evidence(
        self,
        fingerprints: ArrayLike,
        *,
        samples: int = 1000,
        seed: int = 0,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> NDArray[np.float64]:
        """Return the importance-weighted evidence; see `GenerativeModel.log_evidence`."""
        samples = check_count("samples", samples, 1)
        (generator,) = torch_generators(check_count("seed", seed, 0), 1)
        data, scaled_conditions = self._inputs(fingerprints, conditions, above_maximum)
        rows, size = data.shape[1:]
        each = max(1, _CHUNK // max(1, rows * size))
        parts = []
        with one_thread(), torch.no_grad():
            for start in range(0, samples, each):
                count = min(each, samples - start)
                noise = torch.randn(
                    (1, count * rows, self._noise_width), dtype=torch.float64, generator=generator
                )
                repeated = (
                    None if scaled_conditions is None else scaled_conditions.repeat(1, count, 1)
                )
                weights = self._log_weights(
                    self._network, data.repeat(1, count, 1), repeated, noise
                )
                parts.append(weights.reshape(count, rows))
            total = torch.cat(parts).logsumexp(dim=0) - math.log(samples)
        return total.numpy()

    def to_bytes(self) -> bytes:
        """Return architecture, scalers and weights as bytes; see `storage`."""
        header = {"architecture": self.architecture, "scaler": self._fitted_scaler().to_dict()}
        if self.condition_scaler is not None:
            header["condition_scaler"] = self.condition_scaler.to_dict()
        weights = self._network.state_dict()
        return storage.pack(self.name, header, {k: v[0].numpy() for k, v in weights.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a stored model; see `GenerativeModel.from_bytes`."""
        header, arrays = storage.unpack(cls.name, data)
        try:
            model = cls(**header["architecture"])
            scaler = GlobalMaximumScaler.from_dict(header["scaler"])
            if model.condition_size:
                model.condition_scaler = ConditionScaler.from_dict(header["condition_scaler"])
            model._load({key: to_tensor(value) for key, value in arrays.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"The stored model {cls.name!r} does not fit its own architecture ({error}); it "
                "is damaged: train again."
            ) from error
        model.scaler = scaler
        return model
