"""Leapfrog steps and tempering of the Hamiltonian variational autoencoder.

Source: Caterini, Doucet and Sejdinovic, "Hamiltonian Variational Auto-Encoder", NeurIPS 2018.
Shapes are (models, n, d); nothing here knows a network.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

Tempering = Literal["quadratic", "none"]
TEMPERINGS: tuple[Tempering, ...] = get_args(Tempering)

Extra = TypeVar("Extra")
#: Positions -> gradient of the potential energy U = -log p(x, z) there, and anything that came
#: with it.
Potential = Callable[[Tensor], tuple[Tensor, Extra]]


def inverse_temperature_roots(initial_root: Tensor, steps: int) -> Tensor:
    """Return √β_k for k = 0 … K of the quadratic schedule, shape (K + 1, *initial_root.shape).

    √β_k = 1 / ((1 − 1/√β₀) k²/K² + 1/√β₀), so that β_K = 1.

    Parameters
    ----------
    initial_root : Tensor
        √β₀, in (0, 1].
    steps : int
        K; for 0 there is no tempering, and the one value is 1.
    """
    if steps == 0:
        return torch.ones_like(initial_root).unsqueeze(0)
    shape = (steps + 1, *([1] * initial_root.dim()))
    share = (torch.arange(steps + 1, dtype=initial_root.dtype) / steps).square().reshape(shape)
    return 1.0 / ((1.0 - 1.0 / initial_root) * share + 1.0 / initial_root)


def leapfrog(
    position: Tensor, momentum: Tensor, gradient: Tensor, step: Tensor, potential: Potential[Extra]
) -> tuple[Tensor, Tensor, Tensor, Extra]:
    """Make one leapfrog step: half kick, drift, half kick.

    Reversible (with the momentum turned around) and of volume 1, each up to rounding.

    Parameters
    ----------
    position, momentum : Tensor
    gradient : Tensor
        Of the potential energy at `position`.
    step : Tensor
        Step sizes ε, one for each latent coordinate.
    potential : callable

    Returns
    -------
    tuple
        Position, momentum, gradient at the new position, and what came with it.
    """
    half = momentum - 0.5 * step * gradient
    moved = position + step * half
    gradient, extra = potential(moved)
    return moved, half - 0.5 * step * gradient, gradient, extra


def evolve(
    position: Tensor,
    momentum: Tensor,
    step: Tensor,
    inverse_temperatures: Tensor,
    potential: Potential[Extra],
) -> tuple[Tensor, Tensor, Extra]:
    """Make K leapfrog steps, each followed by tempering ρ ← ρ √(β_{k−1} / β_k).

    Parameters
    ----------
    position, momentum : Tensor
        z₀ and ρ₀.
    step : Tensor
        Step sizes ε.
    inverse_temperatures : Tensor
        √β_k for k = 0 … K, see `inverse_temperature_roots`.
    potential : callable
        Evaluated K + 1 times.

    Returns
    -------
    tuple
        z_K, ρ_K, and what came with the potential at z_K.
    """
    gradient, extra = potential(position)
    for before, after in pairwise(inverse_temperatures):
        position, momentum, gradient, extra = leapfrog(
            position, momentum, gradient, step, potential
        )
        momentum = momentum * (before / after)
    return position, momentum, extra
