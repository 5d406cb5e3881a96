"""What DeePMD-kit's process is given to train with, and what becomes of its news."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.potentials.base import Checkpoint, Progress
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.deepmd_neighbours import NeighbouredCrystals
from crysearch.potentials.deepmd_process import deepmd_process
from crysearch.potentials.deepmd_worker import decode, encode
from crysearch.potentials.training import CHECKPOINTS

Arrays = dict[str, NDArray[Any]]
_CHECKPOINT = "deep-potential"


def energies_above(
    configurations: Sequence[Configuration],
    prepared: NeighbouredCrystals,
    references: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Energies per atom (S,) without those of the elements, eV."""
    energies = np.array([c.energy for c in configurations], dtype=float)
    without = np.add.reduceat(references[prepared.species], prepared.starts[:-1])
    return (energies - without) / np.diff(prepared.starts)


def labelled(
    configurations: Sequence[Configuration],
    prepared: NeighbouredCrystals,
    above: NDArray[np.float64],
    energy_scale: float,
) -> Arrays:
    """Crystals with what is known of them, for `crysearch.potentials.deepmd_worker.Labels`.

    Parameters
    ----------
    above : ndarray, shape (S,)
        Energies above the lowest, eV/atom; see `LossWeights.energy_scale`.
    """
    forces = [np.zeros((len(c), 3)) if c.forces is None else c.forces for c in configurations]
    # Minus the derivative of the energy by strain is DeePMD-kit's virial.
    virials = [
        np.zeros((3, 3)) if c.stress is None else -c.volume * c.stress for c in configurations
    ]
    with np.errstate(over="ignore"):
        importance = 1.0 / (1.0 + (np.maximum(above, 0.0) / energy_scale) ** 2)
    return {
        **prepared.arrays(),
        "energies": np.array([c.energy for c in configurations], dtype=float),
        "forces": np.concatenate(forces),
        "virials": np.array(virials),
        "has_forces": np.array([c.forces is not None for c in configurations], dtype=float),
        "has_virials": np.array([c.stress is not None for c in configurations], dtype=float),
        "importance": importance,
    }


def digest(request: Mapping[str, Any], data: Arrays) -> str:
    """A checksum of everything that decides a training."""
    plain = {key: value for key, value in request.items() if key != "checkpoint_every"}
    checksum = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for key in sorted(data):
        checksum.update(key.encode() + np.ascontiguousarray(data[key]).tobytes())
    return checksum.hexdigest()


def run_training(
    request: dict[str, Any],
    data: Arrays,
    progress: Progress | None,
    checkpoint: Checkpoint | None,
    resume: bytes | None,
) -> dict[str, Any]:
    """Let DeePMD-kit's process train; its result, see `crysearch.potentials.deepmd_worker.fit`.

    Raises
    ------
    TrainingError
        For a checkpoint of another training, without DeePMD-kit, and with its error.
    """
    tag = digest(request, data)
    if resume is not None:
        header, arrays = CHECKPOINTS.unpack(_CHECKPOINT, resume)
        if header["training"] != tag:
            raise TrainingError(
                "resume holds a checkpoint of another training; give the same configurations, "
                "settings and seed, or start anew without resume."
            )
        request = {**request, "resume": encode(arrays)}

    def news(reply: dict[str, Any]) -> None:
        if "epochs" in reply and progress is not None:
            progress(reply["epochs"])
        if "checkpoint" in reply and checkpoint is not None:
            arrays = decode(reply["checkpoint"])
            checkpoint(CHECKPOINTS.pack(_CHECKPOINT, {"training": tag}, arrays))

    with deepmd_process() as process:
        wanted = {**request, "data": encode(data), "checkpoints": checkpoint is not None}
        result = process.ask(wanted, news)
    if "not_finite" in result:
        where = result["not_finite"]
        raise TrainingError(
            f"The loss is not finite in epoch {where['epoch'] + 1} of {request['epochs']} "
            f"(training {where['losses'][0]}, validation {where['losses'][1]}); leave out "
            "configurations of extreme energy, or lower the learning_rate."
        )
    return result
