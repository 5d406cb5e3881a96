"""Networks of atomic energies: one for each element, K members side by side.

The derivative of the energies by the inputs is written out rather than asked of autograd: forces
are part of the loss, and one backward pass through the networks and their derivative is then all
that training needs, where autograd would walk a graph of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from crysearch.generative.layers import DenseLayer
from crysearch.potentials.contraction import Selection, Stored, contract, contract_backwards

Activation = Literal["tanh", "silu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


class AtomicNetwork(nn.Module):
    """Dense networks from the features of an atom to its energy, for one element.

    Parameters
    ----------
    members : int
    inputs : int
    hidden_layers : sequence of int
        At least one.
    activation : {"tanh", "silu"}
    """

    def __init__(
        self, members: int, inputs: int, hidden_layers: Sequence[int], activation: Activation
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(members, first, second)
            for first, second in pairwise([inputs, *hidden_layers])
        )
        self.last = DenseLayer(members, hidden_layers[-1], 1)
        self.activation = activation

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Draw each member's weights with its own generator."""
        for layer in [*self._hidden, self.last]:
            deviation = layer.weight.shape[2] ** -0.5
            for weight, bias, generator in zip(layer.weight, layer.bias, generators, strict=True):
                weight.normal_(0.0, deviation, generator=generator)
                # Apart from one another also where all inputs are zero.
                bias.normal_(0.0, 0.1, generator=generator)
        self.last.bias.zero_()

    @property
    def _hidden(self) -> list[DenseLayer]:
        return cast(list[DenseLayer], list(self.layers))

    def _activate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slope of the activation."""
        if self.activation == "tanh":
            values = inputs.tanh()
            return values, 1.0 - values * values
        gate = inputs.sigmoid()
        values = inputs * gate
        return values, gate + values * (1.0 - gate)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map features (a, F) to energies (K, a), slopes dE/dG (K, a, F) and hidden values.

        The last are the values (K, a, H) of the last hidden layer.
        """
        members = self.last.weight.shape[0]
        hidden = features.expand(members, *features.shape)
        slopes = []
        for layer in self._hidden:
            hidden, slope = self._activate(layer(hidden))
            slopes.append(slope)
        energies = self.last(hidden).squeeze(2)
        gradient = self.last.weight * slopes[-1]
        for layer, slope in zip(reversed(self._hidden[1:]), reversed(slopes[:-1]), strict=True):
            gradient = layer.backward(gradient) * slope
        return energies, self._hidden[0].backward(gradient), hidden


class Contraction(torch.autograd.Function):
    """`contract` for autograd."""

    @staticmethod
    def forward(
        ctx: Any, slopes: Tensor, stored: Stored, selection: Selection, crystals: int, virial: bool
    ) -> tuple[Tensor, Tensor]:
        """Map slopes (K, a, F) to forces (K, a, 3) and derivatives by the strain (K, S, 6)."""
        members, atoms = slopes.shape[:2]
        forces = torch.zeros((members, atoms, 3), dtype=torch.float64)
        virials = torch.zeros((members, crystals, 6), dtype=torch.float64)
        contract(
            stored, selection, slopes.detach().contiguous().numpy(), forces.numpy(),
            virials.numpy(), virial,
        )  # fmt: skip
        ctx.given = stored, selection, slopes.shape, virial
        return forces, virials

    @staticmethod
    def backward(ctx: Any, by_forces: Tensor, by_virials: Tensor) -> Any:
        """Map derivatives by forces and virials to those by slopes."""
        stored, selection, shape, virial = ctx.given
        by_slopes = torch.zeros(shape, dtype=torch.float64)
        contract_backwards(
            stored, selection, by_forces.contiguous().numpy(), by_virials.contiguous().numpy(),
            by_slopes.numpy(), virial,
        )  # fmt: skip
        return by_slopes, None, None, None, None


class Outputs(NamedTuple):
    """Of a crystals' S, K members: energies (K, S), forces (K, a, 3), virials (K, S, 6) in eV.

    ``atomic`` (K, a) are the atoms' energies, ``hidden`` the last hidden layers of each element.
    """

    energies: Tensor
    forces: Tensor
    virials: Tensor
    atomic: Tensor
    hidden: list[Tensor]


class ElementNetworks(nn.Module):
    """The networks of all elements, and the energies and forces that they make."""

    def __init__(
        self,
        members: int,
        elements: int,
        inputs: int,
        hidden_layers: Sequence[int],
        activation: Activation,
    ) -> None:
        super().__init__()
        self.elements = nn.ModuleList(
            AtomicNetwork(members, inputs, hidden_layers, activation) for _ in range(elements)
        )

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Draw all weights."""
        for network in cast(list[AtomicNetwork], list(self.elements)):
            network.initialise(generators)

    def forward(
        self,
        features: Tensor,
        of_elements: Sequence[Tensor],
        stored: Stored,
        selection: Selection,
        crystals: int,
        scale: float,
        slope_factors: Sequence[Tensor] | None = None,
        virial: bool = True,
    ) -> Outputs:
        """Evaluate atoms with features (a, F).

        Parameters
        ----------
        features : Tensor
        of_elements : sequence of Tensor
            The atoms of each element.
        stored : Stored
            Derivatives by what `slope_factors` (F,) make of the features; None for themselves.
        selection : Selection
        crystals : int
        scale : float
            Energy of a network's output 1, eV.
        virial : bool
            Whether virials are wanted; zero otherwise.
        """
        networks = cast(list[AtomicNetwork], list(self.elements))
        hidden = []
        if len(networks) == 1:
            atomic, slopes, values = networks[0](features)
            hidden.append(values)
            if slope_factors is not None:
                slopes = slopes * slope_factors[0]
        else:
            parts, slope_parts = [], []
            for number, (network, chosen) in enumerate(zip(networks, of_elements, strict=True)):
                energies, slope, values = network(features[chosen])
                hidden.append(values)
                parts.append(energies)
                slope_parts.append(
                    slope if slope_factors is None else slope * slope_factors[number]
                )
            # Back into the order of the atoms.
            back = torch.argsort(torch.cat(list(of_elements)))
            atomic, slopes = torch.cat(parts, 1)[:, back], torch.cat(slope_parts, 1)[:, back]
        atomic = atomic * scale
        forces, virials = Contraction.apply(slopes * scale, stored, selection, crystals, virial)
        owners = torch.as_tensor(selection.owners)
        energies = torch.zeros((atomic.shape[0], crystals), dtype=torch.float64)
        energies = energies.index_add(1, owners, atomic)
        return Outputs(energies, forces, virials, atomic, hidden)


def element_rows(species: np.ndarray, elements: int) -> list[Tensor]:
    """The atoms of each element among the species (a,)."""
    return [torch.from_numpy(np.flatnonzero(species == number)) for number in range(elements)]
