"""What all potentials of networks share: data, training, evaluation in parts, storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_positive
from crysearch.generative.training import one_thread, to_tensor, torch_generators
from crysearch.packing import Packing
from crysearch.potentials.base import Checkpoint, Prediction, Progress, TrainablePotential
from crysearch.potentials.configuration import Configuration, Crystal, Failure, as_configurations
from crysearch.potentials.data import TrainingData, chunks
from crysearch.potentials.history import FitHistory
from crysearch.potentials.learnable import P, check_present, configurations_at, learnable
from crysearch.potentials.networks import Outputs
from crysearch.potentials.splits import split
from crysearch.potentials.training import FitSettings, train

PACKING = Packing("crysearch-potential", "potential")


class NetworkPotential(TrainablePotential, Generic[P]):
    """A potential whose members are networks with a leading axis of members in all parameters.

    A subclass says how crystals become inputs, and which networks take them.
    """

    #: What `_scale` returns.
    _scaling_names: ClassVar[tuple[str, ...]]
    #: Work of the crystals that are evaluated at once, at most; see `_work`.
    _most_work: ClassVar[int]
    _networks: nn.Module
    _scaling: dict[str, NDArray[np.float64]] | None

    @abstractmethod
    def _empty_networks(self) -> nn.Module:
        """Networks without weights; their ``initialise`` takes a generator of each member."""

    @abstractmethod
    def _prepare(self, given: Sequence[Configuration | Failure]) -> P:
        """Make the inputs of the crystals that can be taken."""

    @abstractmethod
    def _scale(
        self, configurations: list[Configuration], prepared: P
    ) -> dict[str, NDArray[np.float64]]:
        """Scales and shifts of inputs and energies; with ``references`` and ``scale``."""

    @abstractmethod
    def _data(
        self,
        configurations: list[Configuration],
        prepared: P,
        scaling: dict[str, NDArray[np.float64]],
    ) -> TrainingData: ...

    @abstractmethod
    def _work(self, configuration: Configuration) -> float:
        """What a crystal costs to evaluate, in the units of `_most_work`."""

    @abstractmethod
    def _outputs(
        self, prepared: P, scaling: dict[str, NDArray[np.float64]]
    ) -> tuple[Outputs, list[Tensor]]:
        """Evaluate all sound crystals; and the atoms that each of ``Outputs.hidden`` is of."""

    @property
    def parameter_count(self) -> int:
        """Weights and biases of one member."""
        return sum(parameter[0].numel() for parameter in self._networks.parameters())

    @property
    def is_fitted(self) -> bool:
        """Whether there are trained weights."""
        return self._scaling is not None

    def _train(
        self,
        configurations: Sequence[Crystal],
        validation: float | Sequence[Crystal],
        settings: FitSettings,
        progress: Progress | None,
        checkpoint: Checkpoint | None,
        resume: bytes | None,
    ) -> FitHistory:
        """See `TrainablePotential.fit`."""
        seed = settings.seed
        sound, prepared = learnable("configurations", configurations, self._prepare)
        check_present(self.elements, prepared.species)
        if isinstance(validation, (int, float)):
            fraction = check_positive("validation", validation, below=1.0)
            train_rows, validation_rows = split(len(sound), fraction, self.members, seed)
            others, other_prepared = sound, None
        else:
            others, other_prepared = learnable("validation", validation, self._prepare, lowest=1)
            train_rows = [np.arange(len(sound))] * self.members
            validation_rows = [np.arange(len(others))] * self.members
        scaling = self._scale(sound, prepared)
        training = self._data(sound, prepared, scaling)
        checking = (
            training if other_prepared is None else self._data(others, other_prepared, scaling)
        )
        networks: Any = self._empty_networks()
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
        last = prepared if other_prepared is None else other_prepared
        return FitHistory(
            train_loss=np.ascontiguousarray(curves[0]),
            validation_loss=np.ascontiguousarray(curves[1]),
            validation_energy_error=np.ascontiguousarray(curves[2]),
            validation_force_error=np.ascontiguousarray(curves[3]),
            best_epoch=best_epoch,
            train_indices=[prepared.sound[rows] for rows in train_rows],
            validation_indices=[last.sound[rows] for rows in validation_rows],
            skipped={place: failure.detail for place, failure in prepared.failures.items()},
            skipped_validation=(
                {}
                if other_prepared is None
                else {place: f.detail for place, f in other_prepared.failures.items()}
            ),
            seed=int(seed),
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            patience=int(settings.patience),
            maximum_epochs=int(settings.epochs),
            weights=settings.weights,
        )

    def evaluate(self, structures: Sequence[Crystal]) -> list[Prediction | Failure]:
        """Return energies, forces and stresses; see `TrainablePotential.evaluate`."""
        if self._scaling is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        given = as_configurations(structures)
        results: list[Prediction | Failure] = []
        work = [self._work(c) if isinstance(c, Configuration) else 1 for c in given]
        for part in chunks(np.array(work, dtype=np.int64), self._most_work):
            results += self._evaluate(given[part], self._scaling)
        return results

    def _evaluate(
        self, given: list[Configuration | Failure], scaling: dict[str, NDArray[np.float64]]
    ) -> list[Prediction | Failure]:
        prepared = self._prepare(given)
        results: list[Any] = [prepared.failures.get(place) for place in range(len(given))]
        if not len(prepared.sound):
            return results
        with one_thread(), torch.no_grad():
            outputs, groups = self._outputs(prepared, scaling)
            atomic = outputs.atomic.numpy() + scaling["references"][prepared.species]
            forces, virials = outputs.forces.numpy(), outputs.virials.numpy()
            hidden = [values.numpy() for values in outputs.hidden]
        volumes = [
            configuration.volume for configuration in configurations_at(given, prepared.sound)
        ]
        for number, place in enumerate(prepared.sound):
            part = slice(prepared.starts[number], prepared.starts[number + 1])
            stresses = virials[:, number][:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            sums = []
            for rows, features in zip(groups, hidden, strict=True):
                first, last = np.searchsorted(rows.numpy(), [part.start, part.stop])
                sums.append(features[:, first:last].sum(axis=1))
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
            scaling = {name: arrays.pop(f"scaling.{name}") for name in cls._scaling_names}
            potential._networks.load_state_dict({k: to_tensor(v) for k, v in arrays.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"The stored potential {cls.name!r} does not fit its own architecture ({error}); "
                "it is damaged: train again."
            ) from error
        potential._scaling = scaling
        return potential
