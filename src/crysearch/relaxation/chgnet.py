"""CHGNet, a charge-informed graph network trained on the Materials Project's relaxations.

Deng et al., Nat. Mach. Intell. 5, 1031 (2023). The weights come with the package ``chgnet``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from pymatgen.core import Lattice, Structure

from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.relaxation.torch_runtime import (
    check_threads,
    checksum,
    quiet,
    resolve_device,
    torch_threads,
    weights_file,
)

with quiet():
    import chgnet
    from chgnet.model import CHGNet

_MODEL = "0.3.0"
_WEIGHTS = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"


class ChgnetRelaxer(LockstepRelaxer):
    """CHGNet 0.3.0: rougher than SevenNet; its ranking of silicon phases is not to be trusted.

    All structures of a batch are one forward pass, in single precision as the model was trained.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    threads
        PyTorch threads during a calculation; None leaves the process's setting. More than one
        pays only with ``OMP_WAIT_POLICY=PASSIVE`` in the environment before PyTorch is imported:
        waiting threads otherwise spin, which on busy cores is far slower than one thread.

    Raises
    ------
    RelaxationError
        If the device or threads are unknown or unavailable, or the weights are missing.
    """

    def __init__(self, *, device: str = "auto", threads: int | None = 1) -> None:
        check_threads(threads)
        self._device = resolve_device(device)
        self._threads = threads
        self._weights = weights_file(str(Path(chgnet.__file__).parent / _WEIGHTS), "chgnet")
        with quiet():
            self._model = CHGNet.load(
                model_name=_MODEL, use_device=str(self._device), verbose=False
            )
        self._model.eval().requires_grad_(False)
        self.default_batch_atoms = 64 if self._device.type == "cpu" else 2048

    @property
    def name(self) -> str:
        """The engine's name."""
        return "chgnet"

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, package and version, model, checksum of the weights, dtype, device."""
        return {
            "engine": self.name,
            "package": "chgnet",
            "package_version": version("chgnet"),
            "torch_version": version("torch"),
            "ase_version": version("ase"),
            "model": f"CHGNet {_MODEL}",
            "fidelity": "PBE",
            "weights_sha256": checksum(self._weights),
            "dtype": "float32",
            "device": str(self._device),
        }

    def session(self) -> AbstractContextManager[object]:
        """Use the requested number of threads."""
        return torch_threads(self._threads)

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """One forward pass over the whole batch."""
        graphs = [
            self._model.graph_converter(
                Structure(
                    Lattice(atoms.cell.array), atoms.numbers, atoms.get_scaled_positions(wrap=True)
                )
            ).to(self._device)
            for atoms in batch
        ]
        with quiet():  # CHGNet makes PyTorch warn about its own way of collecting volumes
            output = self._model(graphs, task="efs")
        evaluations = []
        for index, atoms in enumerate(batch):
            # CHGNet takes the volume as the triple product, negative for a left-handed cell.
            handedness = np.sign(np.linalg.det(atoms.cell.array))
            evaluations.append(
                Evaluation(
                    energy=float(output["e"][index].detach()) * len(atoms),
                    forces=_numpy(output["f"][index]),
                    stress=handedness * _numpy(output["s"][index]),
                )
            )
        return evaluations


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
