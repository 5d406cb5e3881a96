"""The training loop shared by the torch models: split, epochs, losses, failures caught.

Reproducible to the bit: float64, one thread, own random generators. Models of an ensemble train
side by side, each as it would alone. Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.errors import TrainingError
from crysearch.generative.base import MINIMUM_TRAINING, OPTIMIZERS, Optimizer, Progress
from crysearch.generative.checks import check_count, check_positive

# Both with a leading axis of models: (models, n, m) in [0, 1], (models, n, c) or None.
Data = tuple[Tensor, Tensor | None]
# Data and standard normal noise (models, n, width) -> reconstruction and divergence, each
# (models, n), in nats.
LossTerms = Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, then restore the number of threads.

    The order of a sum over several threads is not fixed; with one it is. For the small layers
    here one thread is also the fastest.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; validated on creation (TrainingError).

    Parameters
    ----------
    validation_fraction : float
        Share of structures held out, between 0 and 1; the number is rounded up (8 of 36 at 0.2,
        as published).
    epochs : int
    batch_size : int
        Cut to the number of training structures if larger.
    optimizer : {"adam", "sgd"}
        Adam, or plain gradient descent without momentum.
    learning_rate : float
    annealing_epochs : int
        The weight of the divergence is k / annealing_epochs in epoch k, up to 1.
    """

    validation_fraction: float
    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    annealing_epochs: int

    def __post_init__(self) -> None:
        for field, lowest in (("epochs", 1), ("batch_size", 1), ("annealing_epochs", 0)):
            check_count(field, getattr(self, field), lowest)
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(
                f"optimizer is {self.optimizer!r}; choose one of: {', '.join(OPTIMIZERS)}."
            )
        check_positive("learning_rate", self.learning_rate)
        check_positive("validation_fraction", self.validation_fraction, below=1.0)

    def split(
        self, n: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return sorted, disjoint training and validation rows of n structures."""
        if n < MINIMUM_TRAINING:
            raise TrainingError(
                f"fingerprints hold {n} structures, and training needs at least "
                f"{MINIMUM_TRAINING}; add references, or first generate low-energy structures "
                "by a search without a generative model and train on those."
            )
        # The small number takes back rounding: 0.07 * 100 is 7.000000000000001.
        held_out = math.ceil(self.validation_fraction * n - 1e-9)
        if n - held_out < 2:
            raise TrainingError(
                f"validation_fraction {self.validation_fraction} leaves {n - held_out} of {n} "
                "structures to train on; lower it so that at least 2 remain."
            )
        order = generator.permutation(n)
        return np.sort(order[held_out:]), np.sort(order[:held_out])


def torch_generators(seed: int, count: int) -> list[torch.Generator]:
    """Return independent torch generators derived from one seed."""
    states = np.random.SeedSequence(seed).spawn(count)
    words = [int(state.generate_state(1, np.uint64)[0] >> np.uint64(1)) for state in states]
    return [torch.Generator().manual_seed(word) for word in words]


def to_tensor(array: NDArray[np.float64]) -> Tensor:
    """Copy into torch's own aligned memory: results must not depend on numpy's alignment."""
    return torch.tensor(array, dtype=torch.float64)


def divergence_weight(epoch: int, annealing_epochs: int) -> float:
    """Return the weight of the divergence in the loss of an epoch, counted from 0."""
    return min(1.0, (epoch + 1) / annealing_epochs) if annealing_epochs else 1.0


def _noise(generators: Sequence[torch.Generator], rows: int, width: int) -> Tensor:
    draws = [
        torch.randn((rows, width), dtype=torch.float64, generator=generator)
        for generator in generators
    ]
    return torch.stack(draws)


def _batches(
    training: Data, generators: Sequence[torch.Generator], batch_size: int, width: int
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """Shuffled batches of one epoch with their noise, of each model by its own generator."""
    data, conditions = training
    rows = data.shape[1]
    orders = torch.stack([torch.randperm(rows, generator=g) for g in generators])
    noise = _noise(generators, rows, width)
    models = torch.arange(len(generators)).unsqueeze(1)
    for start in range(0, rows, batch_size):
        chosen = models, orders[:, start : start + batch_size]
        yield (
            data[chosen],
            None if conditions is None else conditions[chosen],
            noise[:, start : start + batch_size],
        )


def flattened(network: nn.Module) -> Tensor:
    """Make all parameters, and their gradients, parts of one tensor for the optimiser.

    One update instead of a loop over parameters saves much of the time of such small layers.
    """
    parameters = list(network.parameters())
    length = sum(parameter.numel() for parameter in parameters)
    flat = torch.empty(length, dtype=torch.float64)
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        part = slice(start, start + parameter.numel())
        flat[part] = parameter.detach().reshape(-1)
        parameter.data = flat[part].view_as(parameter)
        parameter.grad = flat.grad[part].view_as(parameter)
        start = part.stop
    return flat


def train(
    network: nn.Module,
    loss_terms: LossTerms,
    noise_width: int,
    training: Data,
    validation: Data,
    settings: TrainingSettings,
    generators: Sequence[tuple[torch.Generator, torch.Generator]],
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], list[str | None]]:
    """Minimise the mean of both loss terms of every model and record them per epoch.

    The models of a network do not touch one another: each sees its own data, batches and noise,
    and one whose loss is no longer finite leaves the others as they are.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters are changed in place; each has a leading axis of models.
    loss_terms : callable
        Reconstruction and divergence per structure; see `LossTerms`.
    noise_width : int
        Standard normal numbers that `loss_terms` takes for each structure.
    training, validation : tuple of Tensor
        Scaled fingerprints and conditions of each model; see `Data`.
    settings : TrainingSettings
    generators : sequence of tuple of torch.Generator
        Of each model: for batches and noise of the training; for the noise of the validation.
    progress : callable, optional
        Called with 1 after each epoch.

    Returns
    -------
    curves : ndarray, shape (models, 4, epochs)
        Reconstruction and divergence in training, the same in validation.
    failures : list of str or None
        Of each model: where its loss was not finite and what to change. Training ends early when
        all have failed.
    """
    noise_of_training, noise_of_validation = zip(*generators, strict=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.SGD
    optimizer = kind([flattened(network)], lr=settings.learning_rate, fused=True)
    curves = np.full((len(generators), 4, settings.epochs), np.nan)
    failures: list[str | None] = [None] * len(generators)
    rows = training[0].shape[1]
    with one_thread(), torch.enable_grad():
        for epoch in range(settings.epochs):
            sums = torch.zeros((2, len(generators)), dtype=torch.float64)
            weight = divergence_weight(epoch, settings.annealing_epochs)
            for batch in _batches(training, noise_of_training, settings.batch_size, noise_width):
                reconstruction, divergence = loss_terms(*batch)
                optimizer.zero_grad(set_to_none=False)
                (reconstruction + weight * divergence).mean(dim=1).sum().backward()
                optimizer.step()
                sums[0] += reconstruction.detach().sum(dim=1)
                sums[1] += divergence.detach().sum(dim=1)
            with torch.no_grad():
                noise = _noise(noise_of_validation, validation[0].shape[1], noise_width)
                terms = torch.stack(loss_terms(*validation, noise)).mean(dim=2)
            curves[:, :, epoch] = torch.cat((sums / rows, terms)).T.numpy()
            for model in np.flatnonzero(~np.isfinite(curves[:, :, epoch]).all(axis=1)):
                if failures[model] is None:
                    failures[model] = _not_finite(curves[model, :, epoch], epoch, settings)
            if None not in failures:
                break
            if progress is not None:
                progress(1)
    return curves, failures


def _not_finite(losses: NDArray[np.float64], epoch: int, settings: TrainingSettings) -> str:
    return (
        f"The loss is not finite in epoch {epoch + 1} of {settings.epochs} (training "
        f"reconstruction {losses[0]:g}, divergence {losses[1]:g}); lower learning_rate "
        f"({settings.learning_rate:g}), or make the initial weights smaller."
    )
