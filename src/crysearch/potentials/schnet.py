"""SchNet: atoms that exchange messages through filters of their distance.

K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko and K.-R. Müller, J. Chem. Phys. 148,
241722 (2018). The features x_i of an atom begin as those of its element; in each interaction

    x_i ← x_i + U σ(V Σ_j W(r_ij) ∘ T x_j)

with a filter W(r) = f(r) B σ(A g(r)) of Gaussians g and the cut-off f = (cos(π r/r_c) + 1)/2, where
σ(x) = ln(1 + eˣ) - ln 2. A small network makes the energy of an atom of its last features.

Filters are functions of one number, and would be most of the work. Each is therefore computed, with
its derivative, at knots a sixth of the width of a Gaussian apart, and is the cubic Hermite
interpolation between these: forces and stress are the derivatives of the energy made of that. It
serves both atoms of a pair. Forces need autograd through the atoms only, and training no second
derivatives of filters. All members are done at once.

Measured once, by hand, on one core (32 crystals of silicon, 4,000 pairs, five members of 64
features, a step of training): 0.10 s of CPU; 0.20 s with a filter of its own for each pair; 0.6 s
with the layers of PyTorch Geometric, whether members are looped over or stacked by
`torch.func.vmap`. The tests compare energies and forces with those layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crysearch.generative.checks import check_count, check_positive
from crysearch.generative.layers import DenseLayer
from crysearch.potentials.base import Checkpoint, Progress
from crysearch.potentials.configuration import Configuration, Crystal, Failure, check_elements
from crysearch.potentials.contraction import Selection
from crysearch.potentials.data import TrainingData, energy_scaling
from crysearch.potentials.history import FitHistory, LossWeights, Optimizer
from crysearch.potentials.network_potential import NetworkPotential
from crysearch.potentials.networks import Outputs
from crysearch.potentials.pairs import (
    Message,
    PairedCrystals,
    Pairs,
    Spread,
    Table,
    find_pairs,
    knots_of,
)
from crysearch.potentials.soundness import MOST_NEIGHBOURS
from crysearch.potentials.training import FitSettings

# Pairs that are done at once: arrays of about 10 MB for five members of 64 features.
_PAIRS = 4000
#: Knots of the filters in the width of a Gaussian.
KNOTS = 6
#: Of a training by Adam, where none is given.
BATCH_SIZE, LEARNING_RATE = 10, 2e-3


def shifted_softplus(values: Tensor) -> Tensor:
    """ln(1 + eˣ) - ln 2."""
    return functional.softplus(values) - math.log(2.0)


class Interaction(nn.Module):
    """One exchange of messages, K members; see the module."""

    def __init__(self, members: int, features: int, gaussians: int) -> None:
        super().__init__()
        self.filter_inner = DenseLayer(members, gaussians, features)
        self.filter_outer = DenseLayer(members, features, features)
        weight = torch.empty(members, features, features, dtype=torch.float64)
        self.inputs = nn.Parameter(weight)
        self.inner = DenseLayer(members, features, features)
        self.outer = DenseLayer(members, features, features)

    def filters(
        self, gaussians: tuple[Tensor, Tensor], cut: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Map values and slopes of Gaussians (P, G) and cut-off (P, 1) to filters' (K, P, F)."""
        members = self.inputs.shape[0]
        values, slopes = (given.expand(members, *given.shape) for given in gaussians)
        hidden = self.filter_inner(values)
        bent = hidden.sigmoid() * torch.bmm(slopes, self.filter_inner.weight.transpose(1, 2))
        plain = self.filter_outer(shifted_softplus(hidden))
        steep = torch.bmm(bent, self.filter_outer.weight.transpose(1, 2))
        return plain * cut[0], steep * cut[0] + plain * cut[1]

    def forward(self, features: Tensor, filters: Tensor, pairs: Pairs) -> Tensor:
        """What is added to features (K, A, F)."""
        sent = torch.bmm(features, self.inputs.transpose(1, 2))
        received: Any = Message.apply(sent, filters, pairs)
        return self.outer(shifted_softplus(self.inner(received)))


class SchNetNetworks(nn.Module):
    """K SchNets side by side.

    Parameters
    ----------
    members, elements : int
    cutoff : float
        Å.
    features, interactions, gaussians : int
    """

    def __init__(
        self,
        members: int,
        elements: int,
        cutoff: float,
        features: int,
        interactions: int,
        gaussians: int,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self._centres = torch.linspace(0.0, cutoff, gaussians, dtype=torch.float64)
        knots = (gaussians - 1) * KNOTS + 1
        self._knots = torch.linspace(0.0, cutoff, knots, dtype=torch.float64)
        self.embedding = nn.Parameter(torch.empty(members, elements, features, dtype=torch.float64))
        self.interactions = nn.ModuleList(
            Interaction(members, features, gaussians) for _ in range(interactions)
        )
        self.inner = DenseLayer(members, features, max(1, features // 2))
        self.last = DenseLayer(members, max(1, features // 2), 1)

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Draw each member's weights with its own generator: Glorot's, biases zero."""
        for name, parameter in self.named_parameters():
            for values, generator in zip(parameter, generators, strict=True):
                if name == "embedding":
                    values.normal_(generator=generator)
                elif values.dim() == 2:
                    nn.init.xavier_uniform_(values, generator=generator)
                else:
                    values.zero_()

    def _radial(self, distances: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Values and slopes of the Gaussians (P, G), and of the cut-off (P, 1)."""
        width = self.cutoff / (len(self._centres) - 1)
        away = (distances[:, None] - self._centres) / width
        values = torch.exp(-0.5 * away * away)
        angle = math.pi / self.cutoff
        phase = angle * distances[:, None]
        cut = 0.5 * (torch.cos(phase) + 1.0), -0.5 * angle * torch.sin(phase)
        return (values, -away * values / width), cut

    def forward(
        self,
        species: Tensor,
        pairs: Pairs,
        owners: NDArray[np.int64],
        crystals: int,
        scale: float,
    ) -> Outputs:
        """Evaluate atoms of species (A,).

        Parameters
        ----------
        species : Tensor
        pairs : Pairs
        owners : ndarray of int, shape (A,)
            The crystal of each atom.
        crystals : int
        scale : float
            Energy of a network's output 1, eV.
        """
        training = torch.is_grad_enabled()
        blocks = cast(list[Interaction], list(self.interactions))
        radial = self._radial(self._knots)
        looked_up = knots_of(pairs.distances, self.cutoff, len(self._knots))
        tables = (block.filters(*radial) for block in blocks)
        filters, slopes = zip(
            *(cast(Any, Table.apply(*table, *looked_up)) for table in tables), strict=True
        )
        with torch.enable_grad():
            if not training:
                filters = tuple(values.detach().requires_grad_() for values in filters)
            features = self.embedding[:, species]
            for block, values in zip(blocks, filters, strict=True):
                features = features + block(features, values, pairs)
            atomic = self.last(shifted_softplus(self.inner(features))).squeeze(2)
            by_filters = torch.autograd.grad(atomic.sum(), filters, create_graph=training)
        if not training:
            atomic, features = atomic.detach(), features.detach()
        parts = zip(by_filters, slopes, strict=True)
        by_distances = scale * sum((by_filter * slope).sum(dim=2) for by_filter, slope in parts)
        forces, virials = cast(Any, Spread.apply(by_distances, pairs, owners, crystals))
        atomic = scale * atomic
        energies = torch.zeros((atomic.shape[0], crystals), dtype=torch.float64)
        energies = energies.index_add(1, torch.from_numpy(owners), atomic)
        return Outputs(energies, forces, virials, atomic, [features])


class PairData(TrainingData):
    """Pairs of atoms as inputs, for `SchNetNetworks`.

    Parameters
    ----------
    configurations : sequence of Configuration
        One for each crystal of `paired`.
    paired : PairedCrystals
    references : ndarray, shape (elements,)
        See `TrainingData`.
    """

    most_work = _PAIRS

    def __init__(
        self,
        configurations: Sequence[Configuration],
        paired: PairedCrystals,
        references: NDArray[np.float64],
    ) -> None:
        super().__init__(configurations, paired.starts, paired.species, references)
        self._paired = paired

    @property
    def work(self) -> NDArray[np.int64]:
        """Pairs and atoms of each crystal."""
        return np.diff(self._paired.pair_starts) + self.counts

    def inputs(self) -> Iterable[NDArray[np.generic]]:
        """See `TrainingData.inputs`."""
        return (self.species, *self._paired.pairs)

    def outputs(
        self,
        networks: nn.Module,
        crystals: NDArray[np.int64],
        selection: Selection,
        scale: float,
        virial: bool,
    ) -> Outputs:
        """See `TrainingData.outputs`; virials cost nothing here."""
        paired = self._paired
        starts, ends = paired.pair_starts[crystals], paired.pair_starts[crystals + 1]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        whole = paired.pairs
        moves = np.zeros(len(paired.species), np.int64)
        moves[selection.atoms] = selection.shifts
        first, second = whole.first[rows], whole.second[rows]
        pairs = Pairs(
            first + moves[first], second + moves[second], whole.vectors[rows], whole.distances[rows]
        )
        species = torch.from_numpy(self.species[selection.atoms])
        return networks(species, pairs, selection.owners, len(crystals), scale)


class SchNetPotential(NetworkPotential[PairedCrystals]):
    """SchNet, K members.

    A crystal is evaluated at once, which takes memory: by default, and with 70 neighbours within
    the cut-off, about 0.6 MB for each of its atoms.

    Parameters
    ----------
    elements : sequence of str
    cutoff : float
        Å; messages go no further, but an atom hears of further ones through its neighbours.
    features : int
        Of each atom; also the width of the filters.
    interactions : int
    gaussians : int
        Of the distance, evenly spread from zero to the cut-off, as wide as they are apart.
    members : int
        Networks that are trained side by side, from other initial weights and on other splits.

    Raises
    ------
    TrainingError
        If an argument is not possible.
    """

    name: ClassVar[str] = "schnet"
    _scaling_names: ClassVar[tuple[str, ...]] = ("references", "scale")
    _most_work: ClassVar[int] = _PAIRS

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = 7.0,
        features: int = 64,
        interactions: int = 2,
        gaussians: int = 25,
        members: int = 5,
    ) -> None:
        self.elements = check_elements(elements)
        self.cutoff = check_positive("cutoff", cutoff)
        self.features = check_count("features", features, 1)
        self.interactions = check_count("interactions", interactions, 1)
        self.gaussians = check_count("gaussians", gaussians, 2)
        self.members = check_count("members", members, 1)
        self._networks = self._empty_networks()
        self._scaling = None

    def _empty_networks(self) -> SchNetNetworks:
        return SchNetNetworks(
            self.members,
            len(self.elements),
            self.cutoff,
            self.features,
            self.interactions,
            self.gaussians,
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "features": self.features,
            "interactions": self.interactions,
            "gaussians": self.gaussians,
            "members": self.members,
        }

    def fit(
        self,
        configurations: Sequence[Crystal],
        *,
        validation: float | Sequence[Crystal] = 0.1,
        weights: LossWeights | None = None,
        epochs: int = 100,
        optimizer: Optimizer = "adam",
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int = 50,
        seed: int,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = 10,
        resume: bytes | None = None,
    ) -> FitHistory:
        """Train all members; see `TrainablePotential.fit`.

        Adam takes batches (of 10, learning rate 2e-3, unless given); with ``optimizer`` "lbfgs" an
        epoch is one step of limited-memory BFGS on everything. The energy of an atom of each
        element is taken out, by least squares over all configurations given.
        """
        if optimizer == "adam":
            batch_size = BATCH_SIZE if batch_size is None else batch_size
            learning_rate = LEARNING_RATE if learning_rate is None else learning_rate
        settings = FitSettings(
            LossWeights() if weights is None else weights,
            epochs,
            optimizer,
            batch_size,
            learning_rate,
            patience,
            checkpoint_every,
            seed,
        )
        return self._train(configurations, validation, settings, progress, checkpoint, resume)

    def _prepare(self, given: Sequence[Configuration | Failure]) -> PairedCrystals:
        return find_pairs(given, self.elements, self.cutoff)

    def _scale(
        self, configurations: list[Configuration], prepared: PairedCrystals
    ) -> dict[str, NDArray[np.float64]]:
        return energy_scaling(configurations, prepared.species, len(self.elements))

    def _data(
        self,
        configurations: list[Configuration],
        prepared: PairedCrystals,
        scaling: dict[str, NDArray[np.float64]],
    ) -> TrainingData:
        return PairData(configurations, prepared, scaling["references"])

    def _work(self, configuration: Configuration) -> float:
        atoms = len(configuration)
        sphere = 4.0 / 3.0 * math.pi * self.cutoff**3
        # Neighbours of an atom by the mean density; a collapsed cell is refused later.
        neighbours = atoms * sphere / max(configuration.volume, 1e-3)
        return atoms * (1.0 + 0.5 * min(neighbours, float(MOST_NEIGHBOURS)))

    def _outputs(
        self, prepared: PairedCrystals, scaling: dict[str, NDArray[np.float64]]
    ) -> tuple[Outputs, list[Tensor]]:
        counts = np.diff(prepared.starts)
        outputs = self._networks(
            torch.from_numpy(prepared.species),
            prepared.pairs,
            np.repeat(np.arange(len(counts)), counts),
            len(counts),
            float(scaling["scale"]),
        )
        return outputs, [torch.arange(len(prepared.species))]
