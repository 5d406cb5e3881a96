"""The potential of Behler and Parrinello: symmetry functions, and a small network per element.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007). The energy of a crystal is the sum
of atomic energies, each a network's answer to the symmetry functions of the atom. Forces and stress
follow by the chain rule; the symmetry functions and their derivatives are computed once for a
training, not in every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count
from crysearch.generative.training import to_tensor
from crysearch.potentials.base import Checkpoint, Progress
from crysearch.potentials.configuration import Configuration, Crystal, Failure
from crysearch.potentials.contraction import Selection, Stored
from crysearch.potentials.data import SymmetryData, TrainingData, energy_scaling
from crysearch.potentials.history import FitHistory, LossWeights, Optimizer
from crysearch.potentials.network_potential import NetworkPotential
from crysearch.potentials.networks import (
    ACTIVATIONS,
    Activation,
    ElementNetworks,
    Outputs,
    element_rows,
)
from crysearch.potentials.symmetry_functions import (
    CutoffFunction,
    SymmetryFunctions,
    SymmetryValues,
)
from crysearch.potentials.training import FitSettings

# Atoms times functions that are derived at once: about 100 MB in a dense crystal.
_CHUNK = 60_000


class BehlerParrinelloPotential(NetworkPotential[SymmetryValues]):
    """Symmetry functions of all pairs and triplets of elements, dense networks, K members.

    Parameters
    ----------
    elements : sequence of str
    cutoff : float
        Å.
    radial, angular : int
        Sizes of the set of symmetry functions; see `SymmetryFunctions.standard`.
    cutoff_function : {"polynomial", "cosine"}
    functions : dict, optional
        A set of one's own instead, as `SymmetryFunctions.to_dict` gives it.
    hidden_layers : sequence of int
    activation : {"silu", "tanh"}
    members : int
        Networks of each element that are trained side by side, from other initial weights and on
        other splits. The symmetry functions are most of the work and computed once for all, so
        that five cost little more than one.

    Raises
    ------
    TrainingError
        If an argument is not possible.
    """

    name: ClassVar[str] = "behler-parrinello"
    _scaling_names: ClassVar[tuple[str, ...]] = ("shift", "factor", "references", "scale")
    _most_work: ClassVar[int] = _CHUNK

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = 6.0,
        radial: int = 12,
        angular: int = 3,
        cutoff_function: CutoffFunction = "polynomial",
        functions: dict[str, Any] | None = None,
        hidden_layers: Sequence[int] = (30, 30),
        activation: Activation = "silu",
        members: int = 5,
    ) -> None:
        if functions is None:
            self.functions = SymmetryFunctions.standard(
                elements,
                cutoff=cutoff,
                radial=radial,
                angular=angular,
                cutoff_function=cutoff_function,
            )
        else:
            own = SymmetryFunctions.from_dict(functions)
            self.functions = replace(own, elements=tuple(elements))
        if isinstance(hidden_layers, str) or not isinstance(hidden_layers, Sequence):
            raise TrainingError(f"hidden_layers is {hidden_layers!r}; give sizes such as [30, 30].")
        if not hidden_layers:
            raise TrainingError("hidden_layers is empty; give at least one size.")
        if activation not in ACTIVATIONS:
            raise TrainingError(
                f"activation is {activation!r}; choose one of: {', '.join(ACTIVATIONS)}."
            )
        self.elements = self.functions.elements
        self.cutoff = self.functions.cutoff
        self.hidden_layers = tuple(
            check_count(f"hidden_layers[{place}]", size, 1)
            for place, size in enumerate(hidden_layers)
        )
        self.activation: Activation = activation
        self.members = check_count("members", members, 1)
        self._networks = self._empty_networks()
        self._scaling = None

    def _empty_networks(self) -> ElementNetworks:
        return ElementNetworks(
            self.members,
            len(self.elements),
            self.functions.size,
            self.hidden_layers,
            self.activation,
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data; the symmetry functions are written out."""
        return {
            "elements": list(self.elements),
            "functions": self.functions.to_dict(),
            "hidden_layers": list(self.hidden_layers),
            "activation": self.activation,
            "members": self.members,
        }

    def fit(
        self,
        configurations: Sequence[Crystal],
        *,
        validation: float | Sequence[Crystal] = 0.1,
        weights: LossWeights | None = None,
        epochs: int = 300,
        optimizer: Optimizer = "lbfgs",
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int = 50,
        seed: int,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = 50,
        resume: bytes | None = None,
    ) -> FitHistory:
        """Train all members; see `TrainablePotential.fit`.

        With ``optimizer`` "lbfgs" an epoch is one step of limited-memory BFGS on everything; "adam"
        takes batches (of 32, learning rate 5e-3, unless given).

        Symmetry functions are standardised and the energy of an atom of each element is taken out,
        by the means, deviations and least squares of all configurations given, held out or not.
        Their derivatives are kept: 24 bytes for each atom, distinct neighbouring atom and function.
        """
        settings = FitSettings(
            LossWeights() if weights is None else weights,
            epochs, optimizer, batch_size, learning_rate, patience, checkpoint_every, seed,
        )  # fmt: skip
        return self._train(configurations, validation, settings, progress, checkpoint, resume)

    def _prepare(self, given: Sequence[Configuration | Failure]) -> SymmetryValues:
        return self.functions.compute(given)

    def _scale(
        self, configurations: list[Configuration], prepared: SymmetryValues
    ) -> dict[str, NDArray[np.float64]]:
        elements, size = len(self.elements), prepared.values.shape[1]
        shift, factor = np.zeros((elements, size)), np.zeros((elements, size))
        for element in range(elements):
            rows = prepared.values[prepared.species == element]
            if len(rows):
                shift[element], deviation = rows.mean(axis=0), rows.std(axis=0)
                # What never changes says nothing, and its slightest change elsewhere much.
                changing = deviation > 1e-9 * (1.0 + np.abs(shift[element]))
                factor[element, changing] = 1.0 / deviation[changing]
        energies = energy_scaling(configurations, prepared.species, elements)
        return {"shift": shift, "factor": factor, **energies}

    def _data(
        self,
        configurations: list[Configuration],
        prepared: SymmetryValues,
        scaling: dict[str, NDArray[np.float64]],
    ) -> TrainingData:
        scales = scaling["shift"], scaling["factor"], scaling["references"]
        return SymmetryData(configurations, prepared, *scales)

    def _work(self, configuration: Configuration) -> float:
        return len(configuration) * self.functions.size

    def _outputs(
        self, prepared: SymmetryValues, scaling: dict[str, NDArray[np.float64]]
    ) -> tuple[Outputs, list[Tensor]]:
        shift, factor = scaling["shift"], scaling["factor"]
        crystals, counts = len(prepared.sound), np.diff(prepared.starts)
        atoms = np.arange(len(prepared.species))
        of_elements = element_rows(prepared.species, len(self.elements))
        features = (prepared.values - shift[prepared.species]) * factor[prepared.species]
        outputs = self._networks(
            to_tensor(features),
            of_elements,
            Stored(
                prepared.block_starts,
                prepared.block_atoms,
                prepared.jacobian.reshape(-1),
                prepared.strain.reshape(-1),
            ),
            Selection(atoms, np.zeros_like(atoms), np.repeat(np.arange(crystals), counts)),
            crystals,
            float(scaling["scale"]),
            [to_tensor(row) for row in factor],
        )
        return outputs, of_elements
