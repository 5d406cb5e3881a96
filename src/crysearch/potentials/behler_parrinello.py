"""The potential of Behler and Parrinello: symmetry functions, and a small network per element.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007). The energy of a crystal is the sum
of atomic energies, each a network's answer to the symmetry functions of the atom. Forces and stress
follow by the chain rule; the symmetry functions and their derivatives are computed once for a
training, not in every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.generative.training import one_thread, to_tensor, torch_generators
from crysearch.packing import Packing
from crysearch.potentials.base import (
    MINIMUM_CONFIGURATIONS,
    Checkpoint,
    Prediction,
    Progress,
    TrainablePotential,
)
from crysearch.potentials.configuration import (
    Configuration,
    Crystal,
    Failure,
    as_configurations,
)
from crysearch.potentials.contraction import Selection, Stored
from crysearch.potentials.data import TrainingData, chunks
from crysearch.potentials.history import FitHistory, LossWeights, Optimizer
from crysearch.potentials.networks import ACTIVATIONS, Activation, ElementNetworks, element_rows
from crysearch.potentials.splits import split
from crysearch.potentials.symmetry_functions import (
    CutoffFunction,
    SymmetryFunctions,
    SymmetryValues,
)
from crysearch.potentials.training import FitSettings, train

PACKING = Packing("crysearch-potential", "potential")
# Atoms times functions that are derived at once: about 100 MB in a dense crystal.
_CHUNK = 60_000


class BehlerParrinelloPotential(TrainablePotential):
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
        self._scaling: dict[str, NDArray[np.float64]] | None = None

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

    @property
    def parameter_count(self) -> int:
        """Weights and biases of one member."""
        return sum(parameter[0].numel() for parameter in self._networks.parameters())

    @property
    def is_fitted(self) -> bool:
        """Whether there are trained weights."""
        return self._scaling is not None

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
        weights = LossWeights() if weights is None else weights
        settings = FitSettings(
            weights, epochs, optimizer, batch_size, learning_rate, patience, checkpoint_every, seed
        )
        sound, values = self._learnable("configurations", configurations)
        absent = set(range(len(self.elements))) - set(values.species.tolist())
        if absent:
            raise TrainingError(
                f"elements hold {', '.join(self.elements[place] for place in sorted(absent))}, "
                "which none of the configurations has; leave it out, or add configurations."
            )
        if isinstance(validation, (int, float)):
            fraction = check_positive("validation", validation, below=1.0)
            train_rows, validation_rows = split(len(sound), fraction, self.members, seed)
            others, other_values = sound, None
        else:
            others, other_values = self._learnable("validation", validation, lowest=1)
            train_rows = [np.arange(len(sound))] * self.members
            validation_rows = [np.arange(len(others))] * self.members
        scaling = _scaling(sound, values, len(self.elements))
        scales = scaling["shift"], scaling["factor"], scaling["references"]
        training = TrainingData(sound, values, *scales)
        checking = training if other_values is None else TrainingData(others, other_values, *scales)
        networks = self._empty_networks()
        with torch.no_grad():
            networks.initialise(torch_generators(seed, self.members))
        curves, best_epoch = train(
            networks,
            training,
            train_rows,
            checking,
            validation_rows,
            float(scaling["scale"]),
            settings,
            {"name": self.name, "architecture": self.architecture},
            progress,
            checkpoint,
            resume,
        )
        # Copies without the shared memory of training.
        trained = self._empty_networks()
        trained.load_state_dict({k: v.clone() for k, v in networks.state_dict().items()})
        self._networks, self._scaling = trained, scaling
        last = values if other_values is None else other_values
        return FitHistory(
            train_loss=np.ascontiguousarray(curves[0]),
            validation_loss=np.ascontiguousarray(curves[1]),
            validation_energy_error=np.ascontiguousarray(curves[2]),
            validation_force_error=np.ascontiguousarray(curves[3]),
            best_epoch=best_epoch,
            train_indices=[values.sound[rows] for rows in train_rows],
            validation_indices=[last.sound[rows] for rows in validation_rows],
            skipped={place: failure.detail for place, failure in values.failures.items()},
            skipped_validation=(
                {}
                if other_values is None
                else {place: failure.detail for place, failure in other_values.failures.items()}
            ),
            seed=int(seed),
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            patience=int(patience),
            maximum_epochs=int(epochs),
            weights=weights,
        )

    def _learnable(
        self, field: str, crystals: Sequence[Crystal], lowest: int = MINIMUM_CONFIGURATIONS
    ) -> tuple[list[Configuration], SymmetryValues]:
        """The configurations that can be learned from, with their symmetry functions."""
        given = as_configurations(crystals)
        unknown = [
            place
            for place, c in enumerate(given)
            if isinstance(c, Configuration) and c.energy is None
        ]
        if unknown:
            raise TrainingError(
                f"{field}[{unknown[0]}] has no energy ({len(unknown)} of {len(given)} have none); "
                "give only configurations that have been calculated."
            )
        values = self.functions.compute(given)
        if len(values.sound) < lowest:
            first = next(iter(values.failures.items()), None)
            raise TrainingError(
                f"{field} hold {len(values.sound)} configurations that can be learned from, and at "
                f"least {lowest} are needed"
                + (f" (number {first[0]}: {first[1].detail})" if first else "")
                + "; give more."
            )
        return _at(given, values.sound), values

    def evaluate(self, structures: Sequence[Crystal]) -> list[Prediction | Failure]:
        """Return energies, forces and stresses; see `TrainablePotential.evaluate`."""
        if self._scaling is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        given = as_configurations(structures)
        results: list[Prediction | Failure] = []
        counts = [len(c) if isinstance(c, Configuration) else 1 for c in given]
        most = max(1, _CHUNK // self.functions.size)
        for part in chunks(np.array(counts, dtype=np.int64), most):
            results += self._evaluate(given[part])
        return results

    def _evaluate(self, given: list[Configuration | Failure]) -> list[Prediction | Failure]:
        assert self._scaling is not None
        values = self.functions.compute(given)
        results: list[Any] = [values.failures.get(place) for place in range(len(given))]
        if not len(values.sound):
            return results
        shift, factor = self._scaling["shift"], self._scaling["factor"]
        references = self._scaling["references"][values.species]
        crystals, counts = len(values.sound), np.diff(values.starts)
        atoms = np.arange(len(values.species))
        of_elements = element_rows(values.species, len(self.elements))
        features = (values.values - shift[values.species]) * factor[values.species]
        with one_thread(), torch.no_grad():
            outputs = self._networks(
                to_tensor(features),
                of_elements,
                Stored(
                    values.block_starts,
                    values.block_atoms,
                    values.jacobian.reshape(-1),
                    values.strain.reshape(-1),
                ),
                Selection(atoms, np.zeros_like(atoms), np.repeat(np.arange(crystals), counts)),
                crystals,
                float(self._scaling["scale"]),
                [to_tensor(row) for row in factor],
            )
            atomic = outputs.atomic.numpy() + references
            forces, virials = outputs.forces.numpy(), outputs.virials.numpy()
            hidden = [values.numpy() for values in outputs.hidden]
        volumes = [configuration.volume for configuration in _at(given, values.sound)]
        for number, place in enumerate(values.sound):
            part = slice(values.starts[number], values.starts[number + 1])
            stresses = virials[:, number][:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            sums = []
            for rows, features_of_element in zip(of_elements, hidden, strict=True):
                first, last = np.searchsorted(rows.numpy(), [part.start, part.stop])
                sums.append(features_of_element[:, first:last].sum(axis=1))
            results[place] = Prediction(
                energies=atomic[:, part].sum(axis=1),
                forces_of_members=forces[:, part].copy(),
                stresses=stresses / volumes[number],
                atomic_energies_of_members=atomic[:, part].copy(),
                descriptor=np.concatenate(sums, axis=1).ravel(),
            )
        return results

    def to_bytes(self) -> bytes:
        """Return architecture, scaling and weights as bytes; see `crysearch.packing`."""
        if self._scaling is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        weights = {key: value.numpy() for key, value in self._networks.state_dict().items()}
        arrays = {**{f"scaling.{k}": v for k, v in self._scaling.items()}, **weights}
        return PACKING.pack(self.name, {"architecture": self.architecture}, arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a stored potential; see `TrainablePotential.from_bytes`."""
        header, arrays = PACKING.unpack(cls.name, data)
        try:
            potential = cls(**header["architecture"])
            scaling = {
                name: arrays.pop(f"scaling.{name}")
                for name in ("shift", "factor", "references", "scale")
            }
            potential._networks.load_state_dict({k: to_tensor(v) for k, v in arrays.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"The stored potential {cls.name!r} does not fit its own architecture ({error}); "
                "it is damaged: train again."
            ) from error
        potential._scaling = scaling
        return potential


def _at(given: list[Configuration | Failure], places: NDArray[np.int64]) -> list[Configuration]:
    """The configurations at some places, where there are no failures."""
    chosen = (given[place] for place in places)
    return [configuration for configuration in chosen if isinstance(configuration, Configuration)]


def _scaling(
    configurations: list[Configuration], values: SymmetryValues, elements: int
) -> dict[str, NDArray[np.float64]]:
    """Standardisation of the features, energies of the elements, and the scale of what is left."""
    size = values.values.shape[1]
    shift, factor = np.zeros((elements, size)), np.zeros((elements, size))
    for element in range(elements):
        rows = values.values[values.species == element]
        if len(rows):
            shift[element], deviation = rows.mean(axis=0), rows.std(axis=0)
            # What never changes says nothing, and its slightest change elsewhere would say much.
            changing = deviation > 1e-9 * (1.0 + np.abs(shift[element]))
            factor[element, changing] = 1.0 / deviation[changing]
    counts = np.zeros((len(configurations), elements))
    owners = np.repeat(np.arange(len(configurations)), np.diff(values.starts))
    np.add.at(counts, (owners, values.species), 1.0)
    energies = np.array([c.energy for c in configurations], dtype=float)
    # Per atom, so that large cells do not count for more.
    atoms = counts.sum(axis=1)
    references = np.linalg.lstsq(counts / atoms[:, None], energies / atoms, rcond=None)[0]
    left = (energies - counts @ references) / atoms
    with np.errstate(over="ignore"):  # training says what is wrong with such energies
        deviation_of_energies = float(left.std())
    return {
        "shift": shift,
        "factor": factor,
        "references": references,
        "scale": np.array(max(deviation_of_energies, 0.01)),
    }
