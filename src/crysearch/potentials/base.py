"""The contract of every trainable interatomic potential.

A potential learns energies, forces and stresses of crystals and gives them for others. Adding one
means one new file with a subclass of `TrainablePotential` and one line in
`crysearch.potentials.registry`; `crysearch.potentials.conformance` checks the whole contract.
Nothing here needs torch. Units: Å, eV, eV/Å; stress in eV/Å³ with the sign of ASE, (1/V) dE/dε.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.potentials.configuration import Crystal, Failure
from crysearch.potentials.history import FitHistory, LossWeights

Progress = Callable[[int], None]
Checkpoint = Callable[[bytes], None]

#: Fewer configurations than this cannot be split into training and validation in earnest.
MINIMUM_CONFIGURATIONS = 5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the K members of a potential say of one crystal of n atoms.

    Attributes
    ----------
    energies : ndarray, shape (K,)
        Of the whole cell, eV.
    forces_of_members : ndarray, shape (K, n, 3)
        eV/Å.
    stresses : ndarray, shape (K, 3, 3)
        eV/Å³.
    atomic_energies_of_members : ndarray, shape (K, n)
        eV; their sum over atoms is the energy.
    descriptor : ndarray, shape (D,)
        The networks' features of the atoms, summed over the atoms.
    """

    energies: NDArray[np.float64]
    forces_of_members: NDArray[np.float64]
    stresses: NDArray[np.float64]
    atomic_energies_of_members: NDArray[np.float64]
    descriptor: NDArray[np.float64]

    @property
    def energy(self) -> float:
        """Mean energy of the members, eV."""
        return float(self.energies.mean())

    @property
    def energy_deviation(self) -> float:
        """Standard deviation of the members' energies (divided by K), eV; 0 for one member."""
        return float(self.energies.std())

    @property
    def forces(self) -> NDArray[np.float64]:
        """Mean forces (n, 3) of the members, eV/Å: the forces of the mean energy."""
        return self.forces_of_members.mean(axis=0)

    @property
    def force_deviations(self) -> NDArray[np.float64]:
        """Spread (n,) of the members' forces, eV/Å: root of the mean of |F_k - F̄|²."""
        away = self.forces_of_members - self.forces
        return np.sqrt(np.square(away).sum(axis=2).mean(axis=0))

    @property
    def stress(self) -> NDArray[np.float64]:
        """Mean stress (3, 3) of the members, eV/Å³."""
        return self.stresses.mean(axis=0)

    @property
    def atomic_energies(self) -> NDArray[np.float64]:
        """Mean energies (n,) of the atoms, eV."""
        return self.atomic_energies_of_members.mean(axis=0)


class TrainablePotential(ABC):
    """A committee of potentials, trained together: the mean is the answer, the spread its doubt.

    Potentials work in float64 on the CPU and are deterministic: the same configurations, settings
    and seed give bitwise the same weights on the same processor and torch build, whatever happened
    before, and no global random state is read or changed. All methods raise
    `crysearch.errors.TrainingError` for bad input.

    Energies do not change under rotation, translation and permutation of like atoms, forces turn
    along; forces and stress are the derivatives of the energy; both are continuous where an atom
    passes the cut-off.

    Attributes
    ----------
    name : str
        The name in the registry.
    elements : tuple of str
        What it is for, by atomic number.
    cutoff : float
        Å; atoms further apart do not see each other.
    members : int
        Potentials side by side, K.
    """

    name: ClassVar[str]
    elements: tuple[str, ...]
    cutoff: float
    members: int

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """The plain arguments that make this potential: ``create_potential(name, **these)``."""

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """Number of trainable numbers of one member: all weights and biases."""

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether it has been trained or loaded, so that it can evaluate."""

    @abstractmethod
    def fit(
        self,
        configurations: Sequence[Crystal],
        *,
        validation: float | Sequence[Crystal] = 0.1,
        weights: LossWeights | None = None,
        epochs: int = ...,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int = ...,
        seed: int,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = ...,
        resume: bytes | None = None,
    ) -> FitHistory:
        """Train all members from scratch; defaults of the settings belong to each potential.

        Each member keeps the weights of the epoch with its lowest validation loss.

        Parameters
        ----------
        configurations : sequence
            With energies; forces and stresses are used where they are known. A crystal that the
            potential cannot take (another element, atoms too close) is left out, with its reason
            in the history.
        validation : float or sequence
            Share of the configurations, between 0 and 1, that each member holds out for itself,
            rounded up; or configurations for all members to be validated on.
        weights : LossWeights, optional
        epochs : int
            At most.
        batch_size : int, optional
            Configurations of one step.
        learning_rate : float, optional
            Both None for the potential's own choice; refused if its optimiser has none.
        patience : int
            Training ends when no member's validation loss has fallen for so many epochs.
        seed : int
            Not negative; decides splits, initial weights and batches.
        progress : callable, optional
            Called with the number of newly finished epochs.
        checkpoint : callable, optional
            Called with bytes from which training can go on, after every `checkpoint_every` epochs.
        resume : bytes, optional
            What `checkpoint` was given, by a call with the same configurations and settings;
            training goes on after it, to bitwise the same weights as without a break.

        Raises
        ------
        TrainingError
            For bad settings, missing energies or too few configurations (before training), a
            checkpoint of another training, and for a loss that is not finite. The potential keeps
            its previous state then.
        """

    @abstractmethod
    def evaluate(self, structures: Sequence[Crystal]) -> list[Prediction | Failure]:
        """Return energies, forces and stresses, in the order of the structures.

        A structure that the potential cannot take gives a `Failure` with the reason, and the
        others their predictions. Results do not depend on what else is in the list, beyond
        rounding.

        Raises
        ------
        TrainingError
            If the potential is not trained or something is no structure.
        """

    def predict(self, structures: Sequence[Crystal]) -> list[Prediction]:
        """Evaluate structures that must all be sound; TrainingError naming the first that is not.

        See `evaluate`.
        """
        results = self.evaluate(structures)
        predictions = [result for result in results if isinstance(result, Prediction)]
        for place, result in enumerate(results):
            if isinstance(result, Failure):
                raise TrainingError(
                    f"structures[{place}] cannot be evaluated by {self.name!r}: {result.detail}."
                )
        return predictions

    def descriptors(self, structures: Sequence[Crystal]) -> NDArray[np.float64]:
        """Return the descriptors (n, D) of sound structures; see `Prediction` and `predict`."""
        rows = [prediction.descriptor for prediction in self.predict(structures)]
        return np.array(rows).reshape(len(rows), -1)

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Return architecture and weights as bytes, without pickle."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a potential that evaluates bitwise like the one stored.

        Raises
        ------
        TrainingError
            If the data are damaged, of another potential, or of a newer format.
        """
