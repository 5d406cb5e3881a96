"""The record of a training of potentials, and what it minimises."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_positive

Optimizer = Literal["lbfgs", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the squared errors in the loss, which is a mean over configurations.

    Parameters
    ----------
    energy : float
        Of the energy per atom, squared, (eV/atom)².
    force : float
        Of the mean square of the components of the forces, (eV/Å)².
    stress : float
        Of the mean square of the components of the virial per atom, stress times volume over atoms,
        (eV/atom)².
    energy_scale : float
        Configurations of high energy, which a search leaves anyway, count less: by
        1/(1 + (d/energy_scale)²) with d the energy above the lowest one, eV/atom, both without the
        energies of the elements. Infinite for equal weights.

    Raises
    ------
    TrainingError
        For a negative or infinite weight, or if all are zero.
    """

    energy: float = 1.0
    force: float = 0.1
    stress: float = 0.1
    energy_scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive("weights.energy_scale", self.energy_scale, infinite=True)
        for field in fields(self)[:3]:
            value = getattr(self, field.name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not 0.0 <= value < math.inf:
                raise TrainingError(
                    f"weights.{field.name} is {value!r}; give a finite number of at least 0."
                )
        if not self.energy + self.force + self.stress:
            raise TrainingError("weights are all zero; give at least one above 0.")


_CURVES = ("train_loss", "validation_loss", "validation_energy_error", "validation_force_error")


@dataclass(frozen=True, eq=False)
class FitHistory:
    """What happened in one training of K members, epoch by epoch.

    Parameters
    ----------
    train_loss, validation_loss : ndarray, shape (K, epochs)
        The weighted loss (`LossWeights`), after the epoch; in training with batches the mean over
        the epoch's batches, taken while the weights change.
    validation_energy_error : ndarray, shape (K, epochs)
        Root of the mean square, eV/atom.
    validation_force_error : ndarray, shape (K, epochs)
        Root of the mean square of the components, eV/Å; 0 without forces.
    best_epoch : ndarray of int, shape (K,)
        The epoch, from 0, whose weights each member keeps.
    train_indices, validation_indices : list of ndarray of int
        Of each member: places in the configurations given to `fit`, sorted. With configurations
        given for the validation, places in those.
    skipped : dict
        Place and reason of the configurations that were left out.
    skipped_validation : dict
        The same of the configurations given for the validation.
    seed, patience, maximum_epochs : int
    optimizer : str
    batch_size : int or None
    learning_rate : float or None
        None where the optimiser has none.
    weights : LossWeights
    """

    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    validation_energy_error: NDArray[np.float64]
    validation_force_error: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    train_indices: list[NDArray[np.int64]]
    validation_indices: list[NDArray[np.int64]]
    skipped: dict[int, str]
    skipped_validation: dict[int, str]
    seed: int
    optimizer: str
    batch_size: int | None
    learning_rate: float | None
    patience: int
    maximum_epochs: int
    weights: LossWeights

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.train_loss.shape[1]

    @property
    def members(self) -> int:
        """Number of members, K."""
        return len(self.train_loss)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain lists and numbers, for records."""
        data: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in (*_CURVES, "best_epoch"):
            data[name] = data[name].tolist()
        for name in ("train_indices", "validation_indices"):
            data[name] = [rows.tolist() for rows in data[name]]
        for name in ("skipped", "skipped_validation"):
            data[name] = {str(place): reason for place, reason in data[name].items()}
        return {**data, "weights": asdict(self.weights)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a history from `to_dict`; raises TrainingError if a field is missing."""
        missing = [field.name for field in fields(cls) if field.name not in data]
        if missing:
            raise TrainingError(
                f"The stored history lacks {', '.join(missing)}; it was written by another version "
                "or is damaged: train again."
            )
        values = {field.name: data[field.name] for field in fields(cls)}
        values |= {name: np.asarray(data[name], dtype=np.float64) for name in _CURVES}
        values["best_epoch"] = np.asarray(data["best_epoch"], dtype=np.int64)
        for name in ("train_indices", "validation_indices"):
            values[name] = [np.asarray(rows, dtype=np.int64) for rows in data[name]]
        for name in ("skipped", "skipped_validation"):
            values[name] = {int(place): reason for place, reason in data[name].items()}
        return cls(**{**values, "weights": LossWeights(**data["weights"])})
