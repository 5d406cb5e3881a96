"""Minimisers of the losses of K members at once: limited-memory BFGS, and Adam with batches.

A member's loss depends on its own weights only. Both minimisers therefore move all members with the
same calls, each by its own gradient, curvature and step length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.generative.training import flattened, to_tensor
from crysearch.potentials.data import TrainingData, chunks, weighted
from crysearch.potentials.history import LossWeights

# Pairs of steps and changes of the gradient that limited-memory BFGS remembers.
_MEMORY = 20
_TRIALS = 12
_DECREASE = 1e-4
#: Adam's learning rate falls along a cosine to this part of itself.
FINAL_RATE = 0.01


class Objective:
    """The losses of all members, as functions of all weights in one tensor.

    Parameters
    ----------
    networks : torch.nn.Module
        Parameters have a leading axis of members.
    data : TrainingData
    rows : sequence of ndarray of int
        What each member learns from.
    importance : Tensor, shape (S,)
        Of each crystal of the data.
    scale : float
        Energy of a network's output 1, eV.
    weights : LossWeights
    """

    def __init__(
        self,
        networks: nn.Module,
        data: TrainingData,
        rows: Sequence[NDArray[np.int64]],
        importance: Tensor,
        scale: float,
        weights: LossWeights,
    ) -> None:
        self.members = len(rows)
        self.union = np.unique(np.concatenate(rows))
        self.flat = flattened(networks)
        self._networks, self._data, self._scale, self._weights = networks, data, scale, weights
        used = to_tensor(np.array([np.isin(self.union, of_member) for of_member in rows], float))
        used = used * importance[torch.from_numpy(self.union)]
        # The loss of a member is a weighted mean over its crystals.
        self._mask = used / used.sum(dim=1, keepdim=True)
        start, places = 0, []
        for parameter in networks.parameters():
            numbers = torch.arange(start, start + parameter.numel())
            places.append(numbers.view(self.members, -1))
            start += parameter.numel()
        # Of each member's weights in the flat tensor, (K, P).
        self.places = torch.cat(places, dim=1)

    @property
    def gradient(self) -> Tensor:
        """Gradients (K, P) as they are now."""
        assert self.flat.grad is not None
        return self.flat.grad[self.places]

    def set_weights(self, weights: Tensor) -> None:
        """Put weights (K, P) into the networks."""
        with torch.no_grad():
            self.flat[self.places] = weights

    def add(self, places: NDArray[np.int64], factor: float = 1.0) -> Tensor:
        """Add gradients of `factor` times the part that some of `union` have in the losses.

        Returns that part of the losses, (K,), without the factor.
        """
        parts = self._data.errors(self._networks, self.union[places], self._scale, self._weights)
        losses = (weighted(parts, self._weights) * self._mask[:, torch.from_numpy(places)]).sum(1)
        (factor * losses.sum()).backward()
        return losses.detach()

    def clear(self) -> None:
        """Set the gradients to zero."""
        assert self.flat.grad is not None
        self.flat.grad.zero_()

    def full(self) -> tuple[Tensor, Tensor]:
        """Losses (K,) and gradients (K, P) of everything."""
        self.clear()
        losses = torch.zeros(self.members, dtype=torch.float64)
        for part in chunks(self._data.work[self.union], self._data.most_work):
            losses += self.add(np.arange(part.start, part.stop))
        return losses, self.gradient


class Minimiser(ABC):
    """Moves the weights of an objective; can be stored between two epochs and go on."""

    @abstractmethod
    def epoch(self, number: int) -> Tensor:
        """Do one epoch, counted from 0; return the losses (K,) in training."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Everything that the next epoch depends on."""

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[np.float64]]) -> None:
        """Go on from what `arrays` gave."""


class Adam(Minimiser):
    """Adam over shuffled batches that all members see together, each leaving out what is not its.

    Parameters
    ----------
    objective : Objective
    batch_size : int
    learning_rate : float
    epochs : int
        Over which the learning rate falls.
    seed : int
        Of the batches.
    """

    def __init__(
        self, objective: Objective, batch_size: int, learning_rate: float, epochs: int, seed: int
    ) -> None:
        self._objective, self._batch_size, self._rate = objective, batch_size, learning_rate
        self._epochs, self._seed = epochs, seed
        self._adam = torch.optim.Adam([objective.flat], lr=learning_rate, fused=True)

    def epoch(self, number: int) -> Tensor:
        """See `Minimiser.epoch`."""
        objective = self._objective
        fall = 0.5 + 0.5 * np.cos(np.pi * number / self._epochs)
        self._adam.param_groups[0]["lr"] = self._rate * (FINAL_RATE + (1.0 - FINAL_RATE) * fall)
        count = len(objective.union)
        order = np.random.default_rng([self._seed, 1, number]).permutation(count)
        losses = torch.zeros(objective.members, dtype=torch.float64)
        for start in range(0, count, self._batch_size):
            batch = order[start : start + self._batch_size]
            objective.clear()
            losses += objective.add(batch, count / len(batch))
            self._adam.step()
        return losses

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """See `Minimiser.arrays`."""
        moments = self._adam.state[self._objective.flat]
        return {
            "weights": self._objective.flat.detach().numpy(),
            **{key: moments[key].numpy() for key in ("step", "exp_avg", "exp_avg_sq")},
        }

    def restore(self, arrays: dict[str, NDArray[np.float64]]) -> None:
        """See `Minimiser.restore`."""
        with torch.no_grad():
            self._objective.flat.copy_(to_tensor(arrays["weights"]))
        self._adam.state[self._objective.flat] = {
            "step": torch.tensor(arrays["step"]),
            "exp_avg": to_tensor(arrays["exp_avg"]),
            "exp_avg_sq": to_tensor(arrays["exp_avg_sq"]),
        }


class Lbfgs(Minimiser):
    """Limited-memory BFGS (Nocedal, Math. Comput. 35, 773 (1980)), all members in step.

    In an epoch each member takes one step along its own direction. The whole step is tried first,
    and shortened by interpolation until the loss falls enough; members that have found theirs wait
    for the others.

    Parameters
    ----------
    objective : Objective
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._weights = objective.flat.detach()[objective.places]
        members, count = self._weights.shape
        self._losses, self._gradient = objective.full()
        self._steps = torch.zeros((0, members, count), dtype=torch.float64)
        self._changes = torch.zeros((0, members, count), dtype=torch.float64)
        # One over the product of step and change; zero where a pair says nothing.
        self._inverses = torch.zeros((0, members), dtype=torch.float64)
        self._curvature = 1.0 / self._gradient.abs().sum(dim=1).clamp(min=1.0)

    def _direction(self) -> Tensor:
        """The two-loop recursion, of all members."""
        direction = self._gradient.clone()
        factors = []
        for place in reversed(range(len(self._steps))):
            factor = self._inverses[place] * (self._steps[place] * direction).sum(dim=1)
            direction -= factor[:, None] * self._changes[place]
            factors.append(factor)
        direction *= self._curvature[:, None]
        for place, factor in enumerate(reversed(factors)):
            other = self._inverses[place] * (self._changes[place] * direction).sum(dim=1)
            direction += (factor - other)[:, None] * self._steps[place]
        return -direction

    def epoch(self, number: int) -> Tensor:
        """See `Minimiser.epoch`."""
        objective = self._objective
        with torch.no_grad():
            direction = self._direction()
            slope = (direction * self._gradient).sum(dim=1)
        lengths = torch.ones_like(slope)
        losses, gradient = self._losses.clone(), self._gradient.clone()
        searching = slope < 0.0
        for _ in range(_TRIALS):
            objective.set_weights(self._weights + lengths[:, None] * direction)
            tried, by_weights = objective.full()
            enough = tried <= self._losses + _DECREASE * lengths * slope
            found = searching & enough  # never where a loss is not a number
            losses[found], gradient[found] = tried[found], by_weights[found]
            searching = searching & ~enough
            if not searching.any():
                break
            # The lowest point of the parabola through both losses and the slope.
            curve = 2.0 * (tried - self._losses - lengths * slope)
            best = (-slope * lengths / curve).nan_to_num(0.0, 0.0, 0.0).clamp(0.1, 0.5)
            lengths = torch.where(searching, lengths * best, lengths)
        # Those that found nothing stay, and start anew along the gradient.
        lengths[searching | (slope >= 0.0)] = 0.0
        with torch.no_grad():
            self._remember(lengths[:, None] * direction, gradient - self._gradient)
        self._weights = self._weights + lengths[:, None] * direction
        self._losses, self._gradient = losses, gradient
        objective.set_weights(self._weights)
        return losses

    def _remember(self, step: Tensor, change: Tensor) -> None:
        product, square = (step * change).sum(dim=1), (change * change).sum(dim=1)
        length = (step * step).sum(dim=1)
        useful = product > 1e-10 * (length * square).sqrt()
        inverse = torch.where(useful, 1.0 / product, 0.0)
        self._curvature = torch.where(useful, product / square, self._curvature)
        stuck = length == 0.0
        self._inverses[:, stuck] = 0.0
        start = 1.0 / self._gradient.abs().sum(dim=1).clamp(min=1.0)
        self._curvature = torch.where(stuck, start, self._curvature)
        self._steps = torch.cat((self._steps, step[None]))[-_MEMORY:]
        self._changes = torch.cat((self._changes, change[None]))[-_MEMORY:]
        self._inverses = torch.cat((self._inverses, inverse[None]))[-_MEMORY:]

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """See `Minimiser.arrays`."""
        return {name: getattr(self, f"_{name}").numpy() for name in _REMEMBERED}

    def restore(self, arrays: dict[str, NDArray[np.float64]]) -> None:
        """See `Minimiser.restore`."""
        for name in _REMEMBERED:
            setattr(self, f"_{name}", to_tensor(arrays[name]))
        self._objective.set_weights(self._weights)


_REMEMBERED = ("weights", "losses", "gradient", "steps", "changes", "inverses", "curvature")
