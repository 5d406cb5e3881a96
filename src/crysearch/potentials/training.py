"""The training loop of network potentials: epochs, validation, patience, checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.generative.training import one_thread, to_tensor
from crysearch.packing import Packing
from crysearch.potentials.base import Checkpoint, Progress
from crysearch.potentials.data import TrainingData, chunks, weighted
from crysearch.potentials.history import OPTIMIZERS, LossWeights, Optimizer
from crysearch.potentials.optimizers import Adam, Lbfgs, Minimiser, Objective

CHECKPOINTS = Packing("crysearch-potential-checkpoint", "checkpoint of a potential")
#: Adam's, where none is given.
BATCH_SIZE, LEARNING_RATE = 32, 5e-3


@dataclass(frozen=True)
class FitSettings:
    """How to train; validated on creation (TrainingError). See `TrainablePotential.fit`.

    ``batch_size`` and ``learning_rate`` are for Adam; limited-memory BFGS takes none.
    """

    weights: LossWeights
    epochs: int
    optimizer: Optimizer
    batch_size: int | None
    learning_rate: float | None
    patience: int
    checkpoint_every: int
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.weights, LossWeights):
            raise TrainingError(f"weights is {self.weights!r}; give LossWeights(...).")
        for field in ("epochs", "patience", "checkpoint_every"):
            check_count(field, getattr(self, field), 1)
        check_count("seed", self.seed, 0)
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(
                f"optimizer is {self.optimizer!r}; choose one of: {', '.join(OPTIMIZERS)}."
            )
        if self.optimizer == "adam":
            if self.batch_size is None:
                object.__setattr__(self, "batch_size", BATCH_SIZE)
            if self.learning_rate is None:
                object.__setattr__(self, "learning_rate", LEARNING_RATE)
            check_count("batch_size", self.batch_size, 1)
            check_positive("learning_rate", self.learning_rate)
        for field in ("batch_size", "learning_rate"):
            if self.optimizer == "lbfgs" and getattr(self, field) is not None:
                raise TrainingError(
                    f"{field} is {getattr(self, field)!r}, but the optimizer 'lbfgs' takes none; "
                    "leave it out, or choose optimizer 'adam'."
                )

    def minimiser(self, objective: Objective) -> Minimiser:
        """Make the one that was chosen."""
        if self.optimizer == "lbfgs":
            return Lbfgs(objective)
        assert self.batch_size is not None and self.learning_rate is not None
        return Adam(objective, self.batch_size, self.learning_rate, self.epochs, self.seed)


@dataclass
class _State:
    """Curves (4, K, epochs so far), best epochs (K,) and the weights (K, P) of these."""

    curves: NDArray[np.float64]
    best_epoch: NDArray[np.int64]
    best: Tensor

    @property
    def epoch(self) -> int:
        return self.curves.shape[2]

    def finished(self, settings: FitSettings) -> bool:
        waited = self.epoch - 1 - int(self.best_epoch.max())
        return self.epoch >= settings.epochs or (self.epoch > 0 and waited >= settings.patience)

    def add(self, curve: NDArray[np.float64], weights: Tensor) -> None:
        better = curve[1] < self.curves[1].min(axis=1, initial=np.inf)
        self.best_epoch[better] = self.epoch
        _keep(self.best, weights, better)
        self.curves = np.concatenate([self.curves, curve[:, :, None]], axis=2)


def _keep(best: Tensor, weights: Tensor, better: NDArray[np.bool_]) -> None:
    """Copy the weights of the members that are better now."""
    best[torch.from_numpy(better)] = weights[torch.from_numpy(better)]


def train(
    networks: nn.Module,
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
    networks : torch.nn.Module
        Parameters have a leading axis of members.
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
    identity = identity | {
        "settings": {**asdict(settings), "checkpoint_every": None},
        "data": [training.digest(), validation.digest()],
        "rows": [[rows.tolist() for rows in part] for part in (train_rows, validation_rows)],
    }
    tag = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    lowest, spread = float(training.per_atom.min()), settings.weights.energy_scale
    held_out = np.unique(np.concatenate(validation_rows))
    seen = to_tensor(np.array([np.isin(held_out, rows) for rows in validation_rows], dtype=float))
    seen = seen * validation.importance(lowest, spread)[torch.from_numpy(held_out)]
    with one_thread(), torch.enable_grad():
        objective = Objective(
            networks,
            training,
            train_rows,
            training.importance(lowest, spread),
            scale,
            settings.weights,
        )
        minimiser = settings.minimiser(objective)
        best = objective.flat.detach()[objective.places]
        state = _State(np.empty((4, members, 0)), np.zeros(members, np.int64), best)
        if resume is not None:
            state = _restore(resume, tag, minimiser)
        while not state.finished(settings):
            epoch = state.epoch
            curve = np.empty((4, members))
            curve[0] = minimiser.epoch(epoch).numpy()
            curve[1:] = _validate(networks, validation, held_out, seen, scale, settings.weights)
            if not np.isfinite(curve).all():
                raise TrainingError(
                    f"The loss is not finite in epoch {epoch + 1} of {settings.epochs} (training "
                    f"{curve[0].max():g}, validation {curve[1].max():g}); leave out configurations "
                    "of extreme energy, or lower the learning_rate of optimizer 'adam'."
                )
            state.add(curve, objective.flat.detach()[objective.places])
            if progress is not None:
                progress(1)
            if checkpoint is not None and (epoch + 1) % settings.checkpoint_every == 0:
                checkpoint(_store(state, tag, minimiser))
        objective.set_weights(state.best)
    return state.curves, state.best_epoch


def _validate(
    networks: nn.Module,
    data: TrainingData,
    rows: NDArray[np.int64],
    seen: Tensor,
    scale: float,
    weights: LossWeights,
) -> NDArray[np.float64]:
    """Loss and roots of the mean squared errors of energies and forces, (3, K)."""
    sums = torch.zeros((4, len(seen)), dtype=torch.float64)
    with torch.no_grad():
        for part in chunks(data.work[rows], data.most_work):
            energy, force, stress = data.errors(networks, rows[part], scale, weights)
            mask = seen[:, part]
            for number, values in enumerate(
                (weighted((energy, force, stress), weights), energy, force)
            ):
                sums[number] += (values * mask).sum(dim=1)
            sums[3] += (mask * data.has_forces[torch.from_numpy(rows[part])]).sum(dim=1)
    every = seen.sum(dim=1)
    errors = (sums[1] / every, sums[2] / sums[3].clamp(min=1.0))
    return torch.stack([sums[0] / every, errors[0].sqrt(), errors[1].sqrt()]).numpy()


def _store(state: _State, tag: str, minimiser: Minimiser) -> bytes:
    return CHECKPOINTS.pack(
        "training",
        {"training": tag},
        {
            "state.curves": state.curves,
            "state.best_epoch": state.best_epoch,
            "state.best": state.best.numpy(),
            **minimiser.arrays(),
        },
    )


def _restore(data: bytes, tag: str, minimiser: Minimiser) -> _State:
    header, arrays = CHECKPOINTS.unpack("training", data)
    if header["training"] != tag:
        raise TrainingError(
            "resume holds a checkpoint of another training; give the same configurations, "
            "settings and seed, or start anew without resume."
        )
    minimiser.restore(arrays)
    best = to_tensor(arrays["state.best"])
    return _State(arrays["state.curves"], arrays["state.best_epoch"], best)
