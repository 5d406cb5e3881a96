"""The contract of every generative model, and the record of a training.

A generative model learns radial distribution functions and makes new ones from points of its
latent space. Adding a model means one new file with a subclass of `GenerativeModel` and one line
in `crysearch.generative.registry`; `crysearch.generative.conformance` checks the whole contract.
Nothing here needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.errors import TrainingError
from crysearch.generative.scaler import AboveMaximum

Progress = Callable[[int], None]
Optimizer = Literal["adam", "sgd"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

#: Fewer structures than this cannot be split into training and validation in earnest.
MINIMUM_TRAINING = 5

_CURVES = (
    "train_reconstruction",
    "train_divergence",
    "validation_reconstruction",
    "validation_divergence",
)
_INDICES = ("train_indices", "validation_indices")


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """What happened in one training, epoch by epoch.

    Losses are means per structure, in nats; the reconstruction term is the negative logarithm of
    the likelihood, summed over all grid points. As binary cross-entropy it has a floor above zero,
    the entropy of the (not binary) targets. The training curves are means over the epoch's
    batches, taken while the weights change; the validation curves are taken after the epoch.

    Parameters
    ----------
    train_reconstruction, train_divergence : ndarray, shape (epochs,)
        Both terms of the negative evidence lower bound on the training structures, without the
        weight that annealing gives to the divergence.
    validation_reconstruction, validation_divergence : ndarray, shape (epochs,)
        The same on the validation structures.
    train_indices, validation_indices : ndarray of int
        Rows of the fingerprints given to `fit`, sorted; no row is in both.
    seed : int
        The seed given to `fit`.
    batch_size : int
    optimizer : {"adam", "sgd"}
    learning_rate : float
    annealing_epochs : int
        Epochs over which the weight of the divergence in the loss rose to 1.
    """

    train_reconstruction: NDArray[np.float64]
    train_divergence: NDArray[np.float64]
    validation_reconstruction: NDArray[np.float64]
    validation_divergence: NDArray[np.float64]
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    seed: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    annealing_epochs: int

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.train_reconstruction)

    @property
    def train_total(self) -> NDArray[np.float64]:
        """Training loss (reconstruction + divergence) per epoch, (epochs,)."""
        return self.train_reconstruction + self.train_divergence

    @property
    def validation_total(self) -> NDArray[np.float64]:
        """Validation loss (reconstruction + divergence) per epoch, (epochs,)."""
        return self.validation_reconstruction + self.validation_divergence

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain lists and numbers, for records."""
        return {
            field.name: value.tolist() if isinstance(value, np.ndarray) else value
            for field in fields(self)
            for value in (getattr(self, field.name),)
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a history from `to_dict`; raises TrainingError if a field is missing."""
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in data]
        if missing:
            raise TrainingError(
                f"The stored training history lacks {', '.join(missing)}; it was written by "
                "another version or is damaged: train again."
            )
        values: dict[str, Any] = {name: data[name] for name in names}
        values |= {name: np.asarray(data[name], dtype=np.float64) for name in _CURVES}
        values |= {name: np.asarray(data[name], dtype=np.int64) for name in _INDICES}
        return cls(**values)


Model = TypeVar("Model", bound="GenerativeModel")


@dataclass(frozen=True, eq=False)
class EnsembleMember(Generic[Model]):
    """One model of an ensemble: trained, or failed with the reason.

    Parameters
    ----------
    seed : int
    model, history : GenerativeModel and TrainingHistory, or None
        None if the training failed.
    failure : str or None
        Why it failed.
    """

    seed: int
    model: Model | None
    history: TrainingHistory | None
    failure: str | None


class GenerativeModel(ABC):
    """A model that is fitted to fingerprints and decodes latent points to fingerprints.

    Models work in float64 on the CPU and are deterministic: the same fingerprints, settings and
    seed give bitwise the same weights on the same processor and torch build, whatever happened
    before, and no global random state is read or changed. All methods raise
    `crysearch.errors.TrainingError` for bad input.

    A conditional model (``condition_size`` above 0) is given `condition_size` numbers with every
    structure, such as its energy, and with every latent point to decode; for any other model
    ``conditions`` must be None.

    Attributes
    ----------
    name : str
        The name in the registry.
    input_size : int
        Length of one fingerprint.
    latent_dimension : int
        Number of latent coordinates.
    condition_size : int
        Conditions of each structure; 0 for a model without.
    """

    name: ClassVar[str]
    input_size: int
    latent_dimension: int
    condition_size: int

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """The plain arguments that make this model: `create_model(name, **architecture)`."""

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """Number of trainable numbers: all weights and biases."""

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether the model has been trained or loaded, so that it can encode and decode."""

    @abstractmethod
    def fit(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        validation_fraction: float = 0.2,
        epochs: int = ...,
        batch_size: int = ...,
        optimizer: Optimizer = "adam",
        learning_rate: float | None = None,
        annealing_epochs: int = 0,
        seed: int,
        progress: Progress | None = None,
    ) -> TrainingHistory:
        """Train from scratch; defaults of the training settings belong to each model.

        Parameters
        ----------
        fingerprints : array_like, shape (n, input_size)
            Radial distribution functions, unscaled, not negative.
        conditions : array_like, shape (n, condition_size), optional
        validation_fraction : float
            Share of the structures, between 0 and 1, that is held out; rounded up.
        epochs, batch_size : int
        optimizer : {"adam", "sgd"}
        learning_rate : float, optional
            None for the model's own with this optimiser.
        annealing_epochs : int
            The weight of the divergence in the loss rises in equal steps to 1 over so many epochs.
        seed : int
            Not negative; decides split, initial weights, batches and noise.
        progress : callable, optional
            Called with the number of newly finished epochs.

        Raises
        ------
        TrainingError
            For bad settings, bad or too few fingerprints (before training), and for a loss that
            is not finite. The model keeps its previous state then.
        """

    @classmethod
    @abstractmethod
    def fit_ensemble(
        cls,
        architecture: Mapping[str, Any],
        fingerprints: ArrayLike,
        *,
        seeds: Sequence[int],
        conditions: ArrayLike | None = None,
        validation_fraction: float = 0.2,
        epochs: int = ...,
        batch_size: int = ...,
        optimizer: Optimizer = "adam",
        learning_rate: float | None = None,
        annealing_epochs: int = 0,
        progress: Progress | None = None,
    ) -> list[EnsembleMember[Self]]:
        """Train one model for each seed, all at once.

        Each sees the split, initial weights, batches and noise that `fit` gives it with its seed,
        and is the same model up to rounding (which a long training amplifies). A training whose
        loss is not finite fails by itself; the others go on.

        Parameters
        ----------
        architecture : mapping
            Arguments of the class.
        seeds : sequence of int
            Different from one another. The other arguments are those of `fit`.

        Returns
        -------
        list of EnsembleMember
            In the order of the seeds.

        Raises
        ------
        TrainingError
            For bad arguments, before training.
        """

    @abstractmethod
    def encode(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means and log-variances, each (n, latent_dimension), of the encoder's Gaussians.

        Fingerprints (n, input_size) with values above the largest one of the training are refused
        with a TrainingError, or cut off there with ``above_maximum="clip"``.
        """

    def locate(
        self,
        fingerprints: ArrayLike,
        *,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> NDArray[np.float64]:
        """Return the latent points (n, latent_dimension) that stand for the structures.

        The means of the encoder's Gaussians, or what the model makes of them.
        """
        return self.encode(fingerprints, conditions=conditions, above_maximum=above_maximum)[0]

    @abstractmethod
    def decode(
        self, latent: ArrayLike, *, conditions: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return the fingerprints (n, input_size) of latent points (n, latent_dimension).

        They are in the scale of the training fingerprints, not negative, finite. ``conditions``
        are (n, condition_size), or (condition_size,) for all points.
        """

    @abstractmethod
    def log_evidence(
        self,
        fingerprints: ArrayLike,
        *,
        samples: int = 1000,
        seed: int = 0,
        conditions: ArrayLike | None = None,
        above_maximum: AboveMaximum = "raise",
    ) -> NDArray[np.float64]:
        """Return the importance-weighted estimate of log p(x), (n,), in nats.

        log of the mean of `samples` importance weights p(x, z) / q(z | x), x being the scaled
        fingerprint. The mean is unbiased for p(x); the logarithm is a lower bound in expectation
        that rises to log p(x) with the number of samples (Burda, Grosse and Salakhutdinov 2016).
        Comparable between models of one likelihood and one scaler only. Deterministic by seed.
        """

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Return architecture, scaler and weights as bytes, without pickle."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a model that decodes and encodes bitwise like the one stored.

        Raises
        ------
        TrainingError
            If the data are damaged, of another model, or of a newer format.
        """
