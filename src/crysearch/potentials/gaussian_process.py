"""A sparse Gaussian process on SOAP power spectra, a committee of K.

The energy of an atom is Σ_s α_s (p·p_s)^ζ over sparse points s, normalised power spectra of atoms
of the same element; forces and stress are its derivatives (A. P. Bartók and G. Csányi, Int. J.
Quantum Chem. 115, 1051 (2015)). The weights α are those of the mean of a Gaussian process in the
approximation of the subset of regressors: least squares on energies, forces and stresses, with the
kernel of the sparse points as regularisation. Its strength is chosen on what each member holds out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.packing import Packing
from crysearch.potentials.base import (
    Checkpoint,
    Prediction,
    Progress,
    TrainablePotential,
)
from crysearch.potentials.configuration import Configuration, Crystal, Failure, as_configurations
from crysearch.potentials.data import chunks, energy_scaling
from crysearch.potentials.history import FitHistory, LossWeights
from crysearch.potentials.learnable import check_present, learnable
from crysearch.potentials.network_potential import PACKING
from crysearch.potentials.pairs import PairedCrystals, find_pairs
from crysearch.potentials.soap import SoapFeatures
from crysearch.potentials.sparse import (
    Reduced,
    SparsePoints,
    choose_sparse_points,
    reduce_data,
)
from crysearch.potentials.splits import split

CHECKPOINTS = Packing("crysearch-potential-checkpoint", "checkpoint of a potential")
#: Regularisation of an epoch over that of the one before.
STEP = 10.0**-0.25
#: Epochs after which the regularisation is lost in rounding.
LAST_EPOCH = 72
# Atoms evaluated at once.
_MOST_ATOMS = 500


class GaussianProcessPotential(TrainablePotential):
    """Sparse Gaussian process on SOAP power spectra; see the module.

    Parameters
    ----------
    elements : sequence of str
    cutoff : float
        Å.
    sparse_points : int
        Of each member, at most, shared evenly between the elements.
    width, radial, angular, smoothing, decay
        Of the power spectrum: `crysearch.potentials.soap.SoapFeatures`.
    power : int
        ζ.
    members : int
        Each learns from its own part of the configurations, with a random two thirds of common
        sparse points. Power spectra and kernels are computed once for all.

    Raises
    ------
    TrainingError
        If an argument is not possible.
    """

    name: ClassVar[str] = "gaussian-process"

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = 6.0,
        sparse_points: int = 400,
        width: float = 0.5,
        radial: int = 8,
        angular: int = 6,
        smoothing: float = 1.0,
        decay: float | None = 2.0,
        power: int = 2,
        members: int = 5,
    ) -> None:
        self.soap = SoapFeatures(
            elements,  # type: ignore[arg-type]
            cutoff,
            width,
            radial,
            angular,
            smoothing,
            decay,
        )
        self.elements, self.cutoff = self.soap.elements, self.soap.cutoff
        self.sparse_points = check_count("sparse_points", sparse_points, 1)
        self.power = check_count("power", power, 1)
        self.members = check_count("members", members, 1)
        self._points: SparsePoints | None = None
        self._weights = np.empty((self.members, 0))
        self._references = np.zeros(len(self.elements))

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return {
            **{name: value for name, value in asdict(self.soap).items() if name != "elements"},
            "elements": list(self.elements),
            "sparse_points": self.sparse_points,
            "power": self.power,
            "members": self.members,
        }

    @property
    def parameter_count(self) -> int:
        """Weights of one member, at most: one for each sparse point."""
        return self.sparse_points

    @property
    def is_fitted(self) -> bool:
        """Whether there are weights."""
        return self._points is not None

    def fit(
        self,
        configurations: Sequence[Crystal],
        *,
        validation: float | Sequence[Crystal] = 0.1,
        weights: LossWeights | None = None,
        epochs: int = LAST_EPOCH,
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

        An epoch is the exact least-squares solution for one strength of the regularisation: the
        first damps all, each further one is weaker by 10^(1/4), and each member keeps the one with
        its lowest validation loss. After 72 the regularisation is lost in rounding, and training
        ends. Nearly all of the time passes before the first epoch; a checkpoint holds what that
        came to, so that it is not repeated.

        Sparse points are chosen farthest from one another among the atoms of all configurations
        given, held out or not, and the energy of an atom of each element is taken out by least
        squares over all. There are no batches and there is no learning rate.
        """
        weights = LossWeights() if weights is None else weights
        _check_settings(weights, epochs, patience, checkpoint_every, seed)
        for field, value in (("batch_size", batch_size), ("learning_rate", learning_rate)):
            if value is not None:
                raise TrainingError(
                    f"{field} is {value!r}, but the potential {self.name!r} is fitted by linear "
                    "least squares and takes none; leave it out."
                )
        sound, paired = learnable("configurations", configurations, self._paired)
        check_present(self.elements, paired.species)
        places, failures = paired.sound, paired.failures
        others, other_places, other_failures = sound, places, dict[int, Failure]()
        if isinstance(validation, (int, float)):
            fraction = check_positive("validation", validation, below=1.0)
            rows = split(len(sound), fraction, self.members, seed)
        else:
            others, checking = learnable("validation", validation, self._paired, lowest=1)
            other_places, other_failures = checking.sound, checking.failures
            rows = (
                [np.arange(len(sound))] * self.members,
                [np.arange(len(others))] * self.members,
            )
        training_settings = {
            "name": self.name,
            "architecture": self.architecture,
            "weights": asdict(weights),
            "numbers": [int(number) for number in (epochs, patience, seed)],
            "data": [_digest(sound), "same" if others is sound else _digest(others)],
            "rows": [[part.tolist() for part in parts] for parts in rows],
        }
        tag = hashlib.sha256(json.dumps(training_settings, sort_keys=True).encode()).hexdigest()
        with threadpool_limits(1):
            if resume is not None:
                reduced, curves = _restore(resume, tag)
            else:
                reduced, curves = self._reduce(sound, others, rows, weights, seed), []
            best_epoch = _follow(
                reduced, curves, epochs, patience, tag, progress, checkpoint, checkpoint_every
            )
            found = [
                reduced.weights(member, STEP ** int(epoch))
                for member, epoch in enumerate(best_epoch)
            ]
        self._points, self._references = reduced.points, reduced.references
        self._weights = np.array(found)
        curve = np.array(curves).transpose(2, 1, 0)  # of the epochs, members and curves
        return FitHistory(
            train_loss=curve[0].copy(),
            validation_loss=curve[1].copy(),
            validation_energy_error=curve[2].copy(),
            validation_force_error=curve[3].copy(),
            best_epoch=best_epoch,
            train_indices=[places[part] for part in rows[0]],
            validation_indices=[other_places[part] for part in rows[1]],
            skipped={place: failure.detail for place, failure in failures.items()},
            skipped_validation={place: f.detail for place, f in other_failures.items()},
            seed=int(seed),
            optimizer="least-squares",
            batch_size=None,
            learning_rate=None,
            patience=int(patience),
            maximum_epochs=int(epochs),
            weights=weights,
        )

    def _paired(self, given: Sequence[Configuration | Failure]) -> PairedCrystals:
        return find_pairs(given, self.elements, self.cutoff)

    def _reduce(
        self,
        sound: list[Configuration],
        others: list[Configuration],
        rows: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]],
        weights: LossWeights,
        seed: int,
    ) -> Reduced:
        points = choose_sparse_points(
            self.soap, sound, self.sparse_points, self.power, self.members, seed
        )
        table = {symbol: place for place, symbol in enumerate(self.elements)}
        species = np.array([table[a] for c in sound for a in c.to_atoms().symbols], np.int64)
        references = energy_scaling(sound, species, len(self.elements))["references"]
        return reduce_data(self.soap, points, sound, others, rows, weights, references)

    def evaluate(self, structures: Sequence[Crystal]) -> list[Prediction | Failure]:
        """Return energies, forces and stresses; see `TrainablePotential.evaluate`."""
        if self._points is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        given = as_configurations(structures)
        results: list[Prediction | Failure] = []
        work = [len(c) if isinstance(c, Configuration) else 1 for c in given]
        with threadpool_limits(1):
            for part in chunks(np.array(work, dtype=np.int64), _MOST_ATOMS):
                results += self._evaluate(given[part], self._points)
        return results

    def _evaluate(
        self, given: list[Configuration | Failure], points: SparsePoints
    ) -> list[Prediction | Failure]:
        environments = self.soap.compute(given)
        paired = environments.paired
        results: list[Any] = [paired.failures.get(place) for place in range(len(given))]
        if not len(paired.sound):
            return results
        species, features = paired.species, environments.features
        atomic = np.empty((self.members, len(species)))
        forces = np.empty((self.members, len(species), 3))
        virials = np.empty((self.members, len(paired.sound), 3, 3))
        similar = points.similarities(features, species)
        for member, weights in enumerate(self._weights):
            atomic[member] = self._references[species]
            slopes = np.zeros_like(features)
            for atoms, columns, products in similar:
                own = weights[columns]
                atomic[member, atoms] += products**points.power @ own
                steep = points.power * products ** (points.power - 1) * own
                slopes[atoms] = steep @ points.features[columns]
            forces[member], virials[member] = environments.pull(slopes)
        for number, place in enumerate(paired.sound):
            part = slice(paired.starts[number], paired.starts[number + 1])
            configuration = given[place]
            assert isinstance(configuration, Configuration)
            results[place] = Prediction(
                energies=atomic[:, part].sum(axis=1),
                forces_of_members=forces[:, part].copy(),
                stresses=virials[:, number] / configuration.volume,
                atomic_energies_of_members=atomic[:, part].copy(),
                descriptor=features[part].sum(axis=0),
            )
        return results

    def to_bytes(self) -> bytes:
        """Return architecture, sparse points and weights as bytes; see `crysearch.packing`."""
        if self._points is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        arrays = {
            "features": self._points.features,
            "species": self._points.species,
            "weights": self._weights,
            "references": self._references,
        }
        return PACKING.pack(self.name, {"architecture": self.architecture}, arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a stored potential; see `TrainablePotential.from_bytes`."""
        header, arrays = PACKING.unpack(cls.name, data)
        try:
            potential = cls(**header["architecture"])
            features, species = arrays["features"], arrays["species"]
            weights, references = arrays["weights"], arrays["references"]
        except (KeyError, TypeError) as error:
            raise TrainingError(
                f"The stored potential {cls.name!r} does not fit its own architecture ({error}); "
                "it is damaged: train again."
            ) from error
        potential._points = SparsePoints(
            features, species, np.empty((0, 0), np.bool_), potential.power
        )
        potential._weights, potential._references = weights, references
        return potential


def _check_settings(
    weights: Any, epochs: Any, patience: Any, checkpoint_every: Any, seed: Any
) -> None:
    if not isinstance(weights, LossWeights):
        raise TrainingError(f"weights is {weights!r}; give LossWeights(...).")
    check_count("epochs", epochs, 1)
    check_count("patience", patience, 1)
    check_count("checkpoint_every", checkpoint_every, 1)
    check_count("seed", seed, 0)


def _digest(configurations: Sequence[Configuration]) -> str:
    """A checksum of everything that is learned from."""
    summed = hashlib.sha256()
    for c in configurations:
        energy = None if c.energy is None else np.array(c.energy)
        for array in (c.numbers, c.cell, c.positions, energy, c.forces, c.stress):
            summed.update(b"-" if array is None else array.tobytes())
    return summed.hexdigest()


def _follow(
    reduced: Reduced,
    curves: list[NDArray[np.float64]],
    epochs: int,
    patience: int,
    tag: str,
    progress: Progress | None,
    checkpoint: Checkpoint | None,
    checkpoint_every: int,
) -> NDArray[np.int64]:
    """Weaken the regularisation epoch by epoch, add to the curves, and return the best epochs."""
    while True:
        if curves:
            best = np.argmin(np.array(curves)[:, :, 1], axis=0)
            if len(curves) >= min(epochs, LAST_EPOCH) or len(curves) - 1 - best.max() >= patience:
                return best.astype(np.int64)
        curve = reduced.curves(STEP ** len(curves))
        if not np.isfinite(curve).all():
            raise TrainingError(
                f"The loss is not finite in epoch {len(curves) + 1} of {epochs} (training "
                f"{curve[:, 0].max():g}, validation {curve[:, 1].max():g}); leave out "
                "configurations of extreme energy."
            )
        curves.append(curve)
        if progress is not None:
            progress(1)
        if checkpoint is not None and len(curves) % checkpoint_every == 0:
            arrays = {"curves": np.array(curves), **reduced.arrays()}
            checkpoint(CHECKPOINTS.pack("gaussian-process", {"training": tag}, arrays))


def _restore(data: bytes, tag: str) -> tuple[Reduced, list[NDArray[np.float64]]]:
    header, arrays = CHECKPOINTS.unpack("gaussian-process", data)
    if header["training"] != tag:
        raise TrainingError(
            "resume holds a checkpoint of another training; give the same configurations, "
            "settings and seed, or start anew without resume."
        )
    curves = list(arrays.pop("curves"))
    return Reduced.from_arrays(arrays), curves
