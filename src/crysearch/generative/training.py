"""The training loop shared by the torch models: split, epochs, losses, divergence caught.

Reproducible to the bit: float64, one thread, own random generators. Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.errors import TrainingError
from crysearch.generative.base import MINIMUM_TRAINING, Progress, TrainingHistory
from crysearch.generative.checks import check_count, check_positive

# (batch (n, m) in [0, 1], generator) -> reconstruction (n,) and divergence (n,), in nats.
LossTerms = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


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
    learning_rate : float
    seed : int
        Not negative.
    """

    validation_fraction: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int

    def __post_init__(self) -> None:
        for field, lowest in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            check_count(field, getattr(self, field), lowest)
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


def train(
    network: nn.Module,
    loss_terms: LossTerms,
    scaled: NDArray[np.float64],
    settings: TrainingSettings,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    generators: tuple[torch.Generator, torch.Generator],
    progress: Progress | None = None,
) -> TrainingHistory:
    """Minimise the mean of both loss terms with Adam and record them per epoch.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters are changed in place.
    loss_terms : callable
        Reconstruction and divergence per structure; see `LossTerms`.
    scaled : ndarray, shape (n, m)
        Fingerprints in [0, 1].
    settings : TrainingSettings
    rows : tuple of ndarray
        Training and validation rows.
    generators : tuple of torch.Generator
        For batches and noise of the training; for the noise of the validation.
    progress : callable, optional
        Called with 1 after each epoch.

    Returns
    -------
    TrainingHistory

    Raises
    ------
    TrainingError
        When a loss is not finite, with the epoch and what to change.
    """
    training, validation = to_tensor(scaled[rows[0]]), to_tensor(scaled[rows[1]])
    training_noise, validation_noise = generators
    # One fused update instead of a loop over parameters: most of the time of such small layers.
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    curves = np.empty((settings.epochs, 4))
    with one_thread(), torch.enable_grad():
        for epoch in range(settings.epochs):
            sums = np.zeros(2)
            order = torch.randperm(len(training), generator=training_noise)
            for batch in order.split(settings.batch_size):
                reconstruction, divergence = loss_terms(training[batch], training_noise)
                optimizer.zero_grad()
                (reconstruction + divergence).mean().backward()
                optimizer.step()
                sums += float(reconstruction.detach().sum()), float(divergence.detach().sum())
            with torch.no_grad():
                terms = loss_terms(validation, validation_noise)
            curves[epoch, :2] = sums / len(training)
            curves[epoch, 2:] = [float(term.mean()) for term in terms]
            if not np.isfinite(curves[epoch]).all():
                raise TrainingError(
                    f"The loss is not finite in epoch {epoch + 1} of {settings.epochs} (training "
                    f"reconstruction {curves[epoch, 0]:g}, divergence {curves[epoch, 1]:g}); "
                    f"lower learning_rate ({settings.learning_rate:g}), or make the initial "
                    "weights smaller."
                )
            if progress is not None:
                progress(1)
    train_reconstruction, train_divergence, validation_reconstruction, validation_divergence = (
        np.ascontiguousarray(curve) for curve in curves.T
    )
    return TrainingHistory(
        train_reconstruction=train_reconstruction,
        train_divergence=train_divergence,
        validation_reconstruction=validation_reconstruction,
        validation_divergence=validation_divergence,
        train_indices=rows[0],
        validation_indices=rows[1],
        seed=int(settings.seed),
        batch_size=int(settings.batch_size),
        learning_rate=float(settings.learning_rate),
    )
