"""Pairs of neighbouring atoms, and the sums over them that message passing is made of.

Each pair is there once, and its filter serves both of its atoms. A message m_i = Σ_j W_ij x_j and
the derivative of y·m by the filter, y_i x_j + y_j x_i, are each other's derivatives: with both as
functions for autograd, derivatives of any order are the same two loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from matscipy.neighbours import neighbour_list
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from crysearch.potentials.configuration import Configuration, Failure
from crysearch.potentials.soundness import gather

compiled: Any = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "reassoc"})


class Pairs(NamedTuple):
    """P pairs of atoms, images included: places of both atoms, and how they lie.

    ``first``, ``second`` (P,); ``vectors`` (P, 3) from the first to the second, Å; ``distances``
    (P,), Å.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    vectors: NDArray[np.float64]
    distances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedCrystals:
    """The pairs of several crystals, one crystal after the other.

    Attributes
    ----------
    sound : ndarray of int, shape (S,)
        Which of the crystals given are here.
    failures : dict
        Why the others are not, by their place.
    starts : ndarray of int, shape (S + 1,)
        First atom of each sound crystal.
    species : ndarray of int, shape (A,)
        Place of each atom's element in the elements given.
    pair_starts : ndarray of int, shape (S + 1,)
        First pair of each sound crystal.
    pairs : Pairs
    """

    sound: NDArray[np.int64]
    failures: dict[int, Failure]
    starts: NDArray[np.int64]
    species: NDArray[np.int64]
    pair_starts: NDArray[np.int64]
    pairs: Pairs


def find_pairs(
    configurations: Sequence[Configuration | Failure], elements: Sequence[str], cutoff: float
) -> PairedCrystals:
    """Find all pairs of atoms nearer than the cut-off in all crystals that can be taken.

    See `gather` for those that cannot.
    """
    sound, failures, crystals, _, _ = gather(configurations, elements, cutoff)
    found = [
        _pairs_of(crystals.cells[number], crystals.positions[start:end], int(start), cutoff)
        for number, (start, end) in enumerate(
            zip(crystals.starts[:-1], crystals.starts[1:], strict=True)
        )
    ]
    pair_starts = np.zeros(len(found) + 1, np.int64)
    np.cumsum([len(pairs.first) for pairs in found], out=pair_starts[1:])
    empty = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty(0))
    together = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    return PairedCrystals(
        sound, failures, crystals.starts, crystals.species, pair_starts, Pairs(*together)
    )


def _pairs_of(
    cell: NDArray[np.float64], positions: NDArray[np.float64], start: int, cutoff: float
) -> Pairs:
    first, second, distances, vectors, images = neighbour_list(
        "ijdDS", positions=positions, cell=cell, pbc=np.ones(3, bool), cutoff=cutoff
    )
    # Every pair is found from both sides, and one is kept: of an atom's own images, those whose
    # first step that is not zero is forward.
    forward = np.sign(images) @ np.array([4, 2, 1]) > 0
    kept = (first < second) | ((first == second) & forward)
    return Pairs(
        first[kept].astype(np.int64) + start,
        second[kept].astype(np.int64) + start,
        np.ascontiguousarray(vectors[kept]),
        np.ascontiguousarray(distances[kept]),
    )


@compiled
def _pass(first, second, features, filters, messages):  # pragma: no cover - compiled
    """Add messages (K, A, F) of features (K, A, F) through filters (K, P, F)."""
    for k in range(features.shape[0]):
        for pair in range(len(first)):
            i, j = first[pair], second[pair]
            for f in range(features.shape[2]):
                messages[k, i, f] += features[k, j, f] * filters[k, pair, f]
            for f in range(features.shape[2]):
                messages[k, j, f] += features[k, i, f] * filters[k, pair, f]


@compiled
def _join(first, second, left, right, products):  # pragma: no cover - compiled
    """Write left_i right_j + left_j right_i (K, P, F)."""
    for k in range(left.shape[0]):
        for pair in range(len(first)):
            i, j = first[pair], second[pair]
            for f in range(left.shape[2]):
                products[k, pair, f] = (
                    left[k, i, f] * right[k, j, f] + left[k, j, f] * right[k, i, f]
                )


@compiled
def _spread(pairs, owners, slopes, forces, virials):  # pragma: no cover - compiled
    """Add forces (K, A, 3) and strain derivatives (K, S, 6) of slopes (K, P) by the distances."""
    for k in range(slopes.shape[0]):
        for pair in range(len(pairs.first)):
            i, j, crystal = pairs.first[pair], pairs.second[pair], owners[pairs.first[pair]]
            pull = slopes[k, pair] / pairs.distances[pair]
            x, y, z = pairs.vectors[pair, 0], pairs.vectors[pair, 1], pairs.vectors[pair, 2]
            for axis in range(3):
                forces[k, i, axis] += pull * pairs.vectors[pair, axis]
                forces[k, j, axis] -= pull * pairs.vectors[pair, axis]
            virials[k, crystal, 0] += pull * x * x
            virials[k, crystal, 1] += pull * y * y
            virials[k, crystal, 2] += pull * z * z
            virials[k, crystal, 3] += pull * y * z
            virials[k, crystal, 4] += pull * x * z
            virials[k, crystal, 5] += pull * x * y


@compiled
def _spread_backwards(pairs, owners, by_forces, by_virials, slopes):  # pragma: no cover - compiled
    """Write what `_spread` does to slopes, turned round: (K, P)."""
    for k in range(slopes.shape[0]):
        for pair in range(len(pairs.first)):
            i, j, crystal = pairs.first[pair], pairs.second[pair], owners[pairs.first[pair]]
            x, y, z = pairs.vectors[pair, 0], pairs.vectors[pair, 1], pairs.vectors[pair, 2]
            total = 0.0
            for axis in range(3):
                away = by_forces[k, i, axis] - by_forces[k, j, axis]
                total += away * pairs.vectors[pair, axis]
            by = by_virials[k, crystal]
            total += by[0] * x * x + by[1] * y * y + by[2] * z * z
            total += by[3] * y * z + by[4] * x * z + by[5] * x * y
            slopes[k, pair] = total / pairs.distances[pair]


def _plain(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().contiguous().numpy()


@compiled
def _look_up(places, weights, values, slopes, filters, steep):  # pragma: no cover - compiled
    """Write filters and their derivatives (K, P, F), from those at the knots (K, N, F)."""
    for k in range(values.shape[0]):
        for pair in range(len(places)):
            n, w = places[pair], weights[pair]
            for f in range(values.shape[2]):
                a, b = values[k, n, f], values[k, n + 1, f]
                c, d = slopes[k, n, f], slopes[k, n + 1, f]
                filters[k, pair, f] = w[0] * a + w[1] * b + w[2] * c + w[3] * d
                steep[k, pair, f] = w[4] * a + w[5] * b + w[6] * c + w[7] * d


@compiled
def _look_up_backwards(places, weights, by_filters, by_steep, by_values, by_slopes):
    # pragma: no cover - compiled
    """Add what `_look_up` does, turned round."""
    for k in range(by_values.shape[0]):
        for pair in range(len(places)):
            n, w = places[pair], weights[pair]
            for f in range(by_values.shape[2]):
                x, y = by_filters[k, pair, f], by_steep[k, pair, f]
                by_values[k, n, f] += w[0] * x + w[4] * y
                by_values[k, n + 1, f] += w[1] * x + w[5] * y
                by_slopes[k, n, f] += w[2] * x + w[6] * y
                by_slopes[k, n + 1, f] += w[3] * x + w[7] * y


class Table(torch.autograd.Function):
    """Cubic Hermite interpolation of values and slopes at knots (K, N, F) to pairs (K, P, F).

    Gives the interpolated function and its derivative. `knots_of` gives the places and weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        slopes: Tensor,
        places: NDArray[np.int64],
        weights: NDArray[np.float64],
    ) -> tuple[Tensor, Tensor]:
        """Interpolate."""
        ctx.given = places, weights, values.shape
        shape = values.shape[0], len(places), values.shape[2]
        filters = torch.empty(shape, dtype=torch.float64)
        steep = torch.empty(shape, dtype=torch.float64)
        _look_up(places, weights, _plain(values), _plain(slopes), filters.numpy(), steep.numpy())
        return filters, steep

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Turned round; of first order only."""
        places, weights, shape = ctx.given
        by_values = torch.zeros(shape, dtype=torch.float64)
        by_slopes = torch.zeros(shape, dtype=torch.float64)
        by_filters, by_steep = (_plain(gradient) for gradient in gradients)
        _look_up_backwards(
            places, weights, by_filters, by_steep, by_values.numpy(), by_slopes.numpy()
        )
        return by_values, by_slopes, None, None


def knots_of(
    distances: NDArray[np.float64], cutoff: float, knots: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Knot (P,) at or below each distance, and the weights (P, 8) for `Table`.

    The knots are evenly spread from zero to the cut-off. The weights are those of both values and
    both slopes in the function, and the same in its derivative.
    """
    step = cutoff / (knots - 1)
    places = np.minimum((distances / step).astype(np.int64), knots - 2)
    t = distances / step - places
    up, bend = t * t * (3.0 - 2.0 * t), 6.0 * t * (1.0 - t) / step
    weights = [
        1.0 - up, up, step * t * (1.0 - t) ** 2, step * t * t * (t - 1.0),
        -bend, bend, (1.0 - t) * (1.0 - 3.0 * t), t * (3.0 * t - 2.0),
    ]  # fmt: skip
    return places, np.stack(weights, axis=1)


class Message(torch.autograd.Function):
    """Σ_j W_ij x_j of features x (K, A, F) and filters W (K, P, F): (K, A, F)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, filters: Tensor, pairs: Pairs) -> Tensor:
        """Sum over the neighbours of each atom."""
        ctx.save_for_backward(features, filters)
        ctx.pairs = pairs
        messages = torch.zeros(features.shape, dtype=torch.float64)
        _pass(pairs.first, pairs.second, _plain(features), _plain(filters), messages.numpy())
        return messages

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Pass the derivatives back: the sums are symmetric in both atoms of a pair."""
        (by_messages,) = gradients
        features, filters = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            Message.apply(by_messages, filters, ctx.pairs) if wanted[0] else None,
            Joint.apply(by_messages, features, ctx.pairs) if wanted[1] else None,
            None,
        )


class Joint(torch.autograd.Function):
    """y_i x_j + y_j x_i of the atoms' y and x (K, A, F), for each pair: (K, P, F)."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pairs: Pairs) -> Tensor:
        """Multiply across each pair."""
        ctx.save_for_backward(left, right)
        ctx.pairs = pairs
        shape = left.shape[0], len(pairs.first), left.shape[2]
        products = torch.empty(shape, dtype=torch.float64)
        _join(pairs.first, pairs.second, _plain(left), _plain(right), products.numpy())
        return products

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Each is the message of the other."""
        (by_products,) = gradients
        left, right = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            Message.apply(right, by_products, ctx.pairs) if wanted[0] else None,
            Message.apply(left, by_products, ctx.pairs) if wanted[1] else None,
            None,
        )


class Spread(torch.autograd.Function):
    """Slopes dE/dd (K, P) to forces (K, A, 3) and derivatives by the strain (K, S, 6)."""

    @staticmethod
    def forward(
        ctx: Any, slopes: Tensor, pairs: Pairs, owners: NDArray[np.int64], crystals: int
    ) -> tuple[Tensor, Tensor]:
        """Pull both atoms of each pair; strains are xx, yy, zz, yz, xz, xy."""
        members = slopes.shape[0]
        forces = torch.zeros((members, len(owners), 3), dtype=torch.float64)
        virials = torch.zeros((members, crystals, 6), dtype=torch.float64)
        _spread(pairs, owners, _plain(slopes), forces.numpy(), virials.numpy())
        ctx.given = pairs, owners
        return forces, virials

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Turned round; of first order only."""
        by_forces, by_virials = gradients
        pairs, owners = ctx.given
        slopes = torch.empty((by_forces.shape[0], len(pairs.first)), dtype=torch.float64)
        _spread_backwards(pairs, owners, _plain(by_forces), _plain(by_virials), slopes.numpy())
        return slopes, None, None, None
