"""The training loop of network potentials: batches, loss, validation, checkpoints."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.generative.training import flattened, one_thread, to_tensor
from crysearch.packing import Packing
from crysearch.potentials.base import Checkpoint, Progress
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.contraction import Selection, Stored
from crysearch.potentials.history import LossWeights
from crysearch.potentials.networks import ElementNetworks, Outputs, element_rows
from crysearch.potentials.symmetry_functions import SymmetryValues

CHECKPOINTS = Packing("crysearch-potential-checkpoint", "checkpoint of a potential")
#: The learning rate falls along a cosine to this part of itself.
FINAL_RATE = 0.01
# Atoms that are evaluated at once where no derivative is asked for.
_CHUNK = 2000


@dataclass(frozen=True)
class FitSettings:
    """How to train; validated on creation (TrainingError). See `TrainablePotential.fit`."""

    weights: LossWeights
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    checkpoint_every: int
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.weights, LossWeights):
            raise TrainingError(f"weights is {self.weights!r}; give LossWeights(...).")
        for field in ("epochs", "batch_size", "patience", "checkpoint_every"):
            check_count(field, getattr(self, field), 1)
        check_count("seed", self.seed, 0)
        check_positive("learning_rate", self.learning_rate)

    def rate(self, epoch: int) -> float:
        """The learning rate in an epoch, counted from 0."""
        fall = 0.5 + 0.5 * math.cos(math.pi * epoch / self.epochs)
        return self.learning_rate * (FINAL_RATE + (1.0 - FINAL_RATE) * fall)


class TrainingData:
    """Crystals with features, derivatives and what the networks are to give.

    Parameters
    ----------
    configurations : sequence of Configuration
        One for each crystal of `values`.
    values : SymmetryValues
        Its features and derivatives are scaled in place.
    shift, factor : ndarray, shape (elements, F)
        Features become (G - shift) factor, by the centre's element.
    references : ndarray, shape (elements,)
        Energy of an atom of each element that the networks need not give, eV.
    """

    def __init__(
        self,
        configurations: Sequence[Configuration],
        values: SymmetryValues,
        shift: NDArray[np.float64],
        factor: NDArray[np.float64],
        references: NDArray[np.float64],
    ) -> None:
        self.starts, self.species = values.starts, values.species
        self.elements = len(references)
        self.counts = np.diff(values.starts)
        self.features = to_tensor((values.values - shift[values.species]) * factor[values.species])
        centres = np.repeat(np.arange(len(values.species)), np.diff(values.block_starts))
        for element in range(self.elements):
            if self.elements == 1:
                values.jacobian[...] *= factor[0]
                values.strain[...] *= factor[0]
            else:
                values.jacobian[values.species[centres] == element] *= factor[element]
                values.strain[values.species == element] *= factor[element]
        self.stored = Stored(
            values.block_starts,
            values.block_atoms,
            values.jacobian.reshape(-1),
            values.strain.reshape(-1),
        )
        atoms, crystals = len(values.species), len(configurations)
        energies = np.array([c.energy for c in configurations], dtype=float).reshape(crystals)
        reference = np.add.reduceat(references[values.species], values.starts[:-1])
        self.energies = to_tensor(energies - reference)
        self.per_atom = (energies - reference) / self.counts
        forces, virials = np.zeros((atoms, 3)), np.zeros((crystals, 6))
        for place, c in enumerate(configurations):
            if c.forces is not None:
                forces[values.starts[place] : values.starts[place + 1]] = c.forces
            if c.stress is not None:
                s = c.stress * c.volume
                virials[place] = s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]
        self.forces, self.virials = to_tensor(forces), to_tensor(virials)
        has_forces = [c.forces is not None for c in configurations]
        has_stress = [c.stress is not None for c in configurations]
        self.has_forces = to_tensor(np.array(has_forces, dtype=float))
        self.has_stress = to_tensor(np.array(has_stress, dtype=float))

    def select(self, crystals: NDArray[np.int64]) -> tuple[Selection, list[Tensor]]:
        """The atoms of some crystals, and those of each element among them."""
        counts = self.counts[crystals]
        ends = np.cumsum(counts)
        shifts = np.repeat(ends - counts - self.starts[crystals], counts)
        atoms = np.arange(counts.sum()) - shifts
        owners = np.repeat(np.arange(len(crystals)), counts)
        return Selection(atoms, shifts, owners), element_rows(self.species[atoms], self.elements)

    def errors(
        self,
        networks: ElementNetworks,
        crystals: NDArray[np.int64],
        scale: float,
        weights: LossWeights,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Squared errors (K, S) of the energy per atom, the forces and the virial per atom.

        Those of forces and virials are means over components; 0 where they are not known.
        """
        selection, of_elements = self.select(crystals)
        rows = torch.from_numpy(crystals)
        virial = weights.stress > 0.0 and bool(self.has_stress[rows].any())
        outputs: Outputs = networks(
            self.features[torch.from_numpy(selection.atoms)],
            of_elements, self.stored, selection, len(crystals), scale, None, virial,
        )  # fmt: skip
        counts = torch.from_numpy(self.counts[crystals]).to(torch.float64)
        energy = ((outputs.energies - self.energies[rows]) / counts).square()
        wanted = self.forces[torch.from_numpy(selection.atoms)]
        each = (outputs.forces - wanted).square().mean(dim=2)
        force = torch.zeros_like(energy).index_add(1, torch.from_numpy(selection.owners), each)
        force = force / counts * self.has_forces[rows]
        if not virial:
            return energy, force, torch.zeros_like(energy)
        away = (outputs.virials - self.virials[rows]) / counts[:, None]
        # Off-diagonal components are there twice.
        twice = torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 2.0], dtype=torch.float64) / 9.0
        return energy, force, (away.square() @ twice) * self.has_stress[rows]

    def importance(self, lowest: float, scale: float) -> Tensor:
        """How much each crystal counts, (S,), by its energy above the lowest; see `LossWeights`."""
        above = np.maximum(self.per_atom - lowest, 0.0)
        with np.errstate(over="ignore"):
            return to_tensor(1.0 / (1.0 + (above / scale) ** 2))

    def digest(self) -> str:
        """A checksum of everything that is learned from."""
        summed = hashlib.sha256()
        for tensor in (self.features, self.energies, self.forces, self.virials, self.has_forces,
                       self.has_stress):  # fmt: skip
            summed.update(tensor.numpy().tobytes())
        return summed.hexdigest()


def _weighted(parts: tuple[Tensor, Tensor, Tensor], weights: LossWeights) -> Tensor:
    energy, force, stress = parts
    return weights.energy * energy + weights.force * force + weights.stress * stress


@dataclass
class _State:
    """What training goes on from: curves (4, K, epochs so far), best epochs and weights."""

    curves: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    best: Tensor

    @property
    def epoch(self) -> int:
        return self.curves.shape[2]


def train(
    networks: ElementNetworks,
    training: TrainingData,
    train_rows: Sequence[NDArray[np.int64]],
    validation: TrainingData,
    validation_rows: Sequence[NDArray[np.int64]],
    scale: float,
    settings: FitSettings,
    identity: dict[str, Any],
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bytes | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Minimise every member's loss on its own rows, and leave the best weights in the networks.

    Parameters
    ----------
    networks : ElementNetworks
    training, validation : TrainingData
        May be the same.
    train_rows, validation_rows : sequence of ndarray of int
        Of each member.
    scale : float
        Energy of a network's output 1, eV.
    settings : FitSettings
    identity : dict
        Plain data that say which training this is; a checkpoint of another one is refused.
    progress, checkpoint, resume
        See `TrainablePotential.fit`.

    Returns
    -------
    curves : ndarray, shape (4, K, epochs)
        The curves of `FitHistory`, in its order.
    best_epoch : ndarray of int, shape (K,)
    """
    members = len(train_rows)
    flat = flattened(networks)
    assert flat.grad is not None
    optimizer = torch.optim.Adam([flat], lr=settings.learning_rate, fused=True)
    counts = [parameter[0].numel() for parameter in networks.parameters()]
    identity = identity | {
        "settings": {**asdict(settings), "checkpoint_every": None},
        "data": [training.digest(), validation.digest()],
        "rows": [[rows.tolist() for rows in part] for part in (train_rows, validation_rows)],
    }
    tag = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    state = _State(np.empty((4, members, 0)), np.zeros(members, np.int64), flat.clone())
    if resume is not None:
        state = _restore(resume, tag, flat, optimizer)
    union = np.unique(np.concatenate(train_rows))
    held_out = np.unique(np.concatenate(validation_rows))
    lowest, spread = float(training.per_atom.min()), settings.weights.energy_scale
    used = to_tensor(np.array([np.isin(union, rows) for rows in train_rows], dtype=float))
    used = used * training.importance(lowest, spread)[torch.from_numpy(union)]
    seen = to_tensor(np.array([np.isin(held_out, rows) for rows in validation_rows], dtype=float))
    seen = seen * validation.importance(lowest, spread)[torch.from_numpy(held_out)]
    place = np.zeros(int(union.max()) + 1, np.int64)
    place[union] = np.arange(len(union))
    with one_thread(), torch.enable_grad():
        while state.epoch < settings.epochs:
            epoch = state.epoch
            optimizer.param_groups[0]["lr"] = settings.rate(epoch)
            order = np.random.default_rng([settings.seed, 1, epoch]).permutation(union)
            losses = torch.zeros(members, dtype=torch.float64)
            for start in range(0, len(order), settings.batch_size):
                batch = order[start : start + settings.batch_size]
                mask = used[:, torch.from_numpy(place[batch])]
                parts = training.errors(networks, batch, scale, settings.weights)
                summed = (_weighted(parts, settings.weights) * mask).sum(dim=1)
                loss = (summed * (len(order) / len(batch) / used.sum(dim=1))).sum()
                flat.grad.zero_()
                loss.backward()
                optimizer.step()
                losses += summed.detach()
            curve = np.empty((4, members))
            curve[0] = (losses / used.sum(dim=1)).numpy()
            curve[1:] = _validate(networks, validation, held_out, seen, scale, settings.weights)
            if not np.isfinite(curve).all():
                raise TrainingError(
                    f"The loss is not finite in epoch {epoch + 1} of {settings.epochs} (training "
                    f"{curve[0].max():g}, validation {curve[1].max():g}); lower learning_rate "
                    f"({settings.learning_rate:g}), or leave out configurations of extreme energy."
                )
            better = curve[1] < state.curves[1].min(axis=1, initial=np.inf)
            state.curves = np.concatenate([state.curves, curve[:, :, None]], axis=2)
            state.best_epoch[better] = epoch
            _keep(state.best, flat, better, counts)
            if progress is not None:
                progress(1)
            if checkpoint is not None and (epoch + 1) % settings.checkpoint_every == 0:
                checkpoint(_store(state, tag, flat, optimizer))
            if epoch - state.best_epoch.max() >= settings.patience:
                break
    with torch.no_grad():
        flat.copy_(state.best)
    return state.curves, state.best_epoch


def _validate(
    networks: ElementNetworks,
    data: TrainingData,
    rows: NDArray[np.int64],
    seen: Tensor,
    scale: float,
    weights: LossWeights,
) -> NDArray[np.float64]:
    """Loss and roots of the mean squared errors of energies and forces, (3, K)."""
    sums = torch.zeros((4, len(seen)), dtype=torch.float64)
    with torch.no_grad():
        for part in chunks(data.counts[rows]):
            energy, force, stress = data.errors(networks, rows[part], scale, weights)
            mask = seen[:, part]
            for number, values in enumerate(
                (_weighted((energy, force, stress), weights), energy, force)
            ):
                sums[number] += (values * mask).sum(dim=1)
            sums[3] += (mask * data.has_forces[torch.from_numpy(rows[part])]).sum(dim=1)
    every = seen.sum(dim=1)
    errors = (sums[1] / every, sums[2] / sums[3].clamp(min=1.0))
    return torch.stack([sums[0] / every, errors[0].sqrt(), errors[1].sqrt()]).numpy()


def chunks(counts: NDArray[np.int64], most: int = _CHUNK) -> list[slice]:
    """Cut crystals of so many atoms into runs of at most so many atoms, or of one crystal."""
    runs, start, total = [], 0, 0
    for place, count in enumerate(counts):
        if total and total + count > most:
            runs.append(slice(start, place))
            start, total = place, 0
        total += int(count)
    return [*runs, slice(start, len(counts))] if len(counts) else []


def _keep(best: Tensor, flat: Tensor, better: NDArray[np.bool_], counts: Sequence[int]) -> None:
    """Copy the weights of the members that are better now; parameters have members first."""
    chosen = torch.from_numpy(better)
    start = 0
    for count in counts:
        part = slice(start, start + count * len(better))
        old, new = best[part].view(len(better), count), flat[part].view(len(better), count)
        old[chosen] = new[chosen]
        start = part.stop


def _store(state: _State, tag: str, flat: Tensor, optimizer: torch.optim.Adam) -> bytes:
    moments = optimizer.state[flat]
    return CHECKPOINTS.pack(
        "adam",
        {"training": tag},
        {
            "curves": state.curves,
            "best_epoch": state.best_epoch,
            "best": state.best.numpy(),
            "weights": flat.detach().numpy(),
            **{key: moments[key].numpy() for key in ("step", "exp_avg", "exp_avg_sq")},
        },
    )


def _restore(data: bytes, tag: str, flat: Tensor, optimizer: torch.optim.Adam) -> _State:
    header, arrays = CHECKPOINTS.unpack("adam", data)
    if header["training"] != tag:
        raise TrainingError(
            "resume holds a checkpoint of another training; give the same configurations, "
            "settings and seed, or start anew without resume."
        )
    with torch.no_grad():
        flat.copy_(to_tensor(arrays["weights"]))
    optimizer.state[flat] = {
        "step": torch.tensor(arrays["step"]),
        "exp_avg": to_tensor(arrays["exp_avg"]),
        "exp_avg_sq": to_tensor(arrays["exp_avg_sq"]),
    }
    return _State(arrays["curves"], arrays["best_epoch"], to_tensor(arrays["best"]))
