"""SevenNet, an equivariant graph network trained on the Materials Project's relaxations.

Park et al., J. Chem. Theory Comput. 20, 4857 (2024); the multi-fidelity model: Kim et al.,
J. Am. Chem. Soc. 147, 1042 (2025). The weights come with the package ``sevenn``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import GPa
from matscipy.neighbours import neighbour_list

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer, require_elements
from crysearch.relaxation.torch_runtime import (
    check_threads,
    checksum,
    quiet,
    resolve_device,
    torch_threads,
    weights_file,
)

with quiet():
    import sevenn._const as constants
    import sevenn._keys as keys
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.checkpoint import SevenNetCheckpoint

# name -> (file shipped with sevenn, fidelity or None for a single-fidelity model)
_MODELS: dict[str, tuple[str, str | None]] = {
    "sevennet-0": (constants.SEVENNET_0_11Jul2024, None),
    "sevennet-mf-0": (constants.SEVENNET_MF_0, "PBE"),
}


class SevenNetRelaxer(LockstepRelaxer):
    """SevenNet-0 (``"sevennet-0"``) or SevenNet-MF-0 at PBE level (``"sevennet-mf-0"``).

    All structures of a batch are one disconnected graph and one forward pass, in single
    precision as the model was trained.

    Parameters
    ----------
    model
        ``"sevennet-0"`` or ``"sevennet-mf-0"``.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    threads
        PyTorch threads during a calculation; None leaves the process's setting. More than one
        pays only with ``OMP_WAIT_POLICY=PASSIVE`` in the environment before PyTorch is imported:
        waiting threads otherwise spin, which on busy cores is far slower than one thread.

    Raises
    ------
    RelaxationError
        If the model, device or threads are unknown or unavailable, or the weights are missing.
    """

    def __init__(
        self, model: str = "sevennet-0", *, device: str = "auto", threads: int | None = 1
    ) -> None:
        if model not in _MODELS:
            raise RelaxationError(f"model={model!r} is unknown; choose one of {', '.join(_MODELS)}")
        check_threads(threads)
        self._name = model
        self._device = resolve_device(device)
        self._threads = threads
        path, self._fidelity = _MODELS[model]
        self._weights = weights_file(path, "sevenn")
        with quiet():
            self._model = SevenNetCheckpoint(self._weights).build_model()
        self._model.set_is_batch_data(True)
        self._model.eval().requires_grad_(False).to(self._device)
        self._elements = frozenset(chemical_symbols[z] for z in self._model.type_map or ())
        self.default_batch_atoms = 64 if self._device.type == "cpu" else 4096

    @property
    def name(self) -> str:
        """The engine's name, which is also the model's."""
        return self._name

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, package and version, model, fidelity, checksum of the weights, dtype, device."""
        return {
            "engine": self._name,
            "package": "sevenn",
            "package_version": version("sevenn"),
            "torch_version": version("torch"),
            "ase_version": version("ase"),
            "model": self._weights.parent.name,
            "fidelity": self._fidelity or "PBE",
            "weights_sha256": checksum(self._weights),
            "dtype": "float32",
            "device": str(self._device),
        }

    def session(self) -> AbstractContextManager[object]:
        """Use the requested number of threads."""
        return torch_threads(self._threads)

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """One forward pass over the whole batch.

        Raises
        ------
        RelaxationError
            If a structure has an element that the model does not know.
        """
        for atoms in batch:
            require_elements(self._name, atoms, self._elements)
        output = self._model(self._graph(batch))
        energies = output[keys.PRED_TOTAL_ENERGY].detach().cpu().double().numpy()
        forces = output[keys.PRED_FORCE].detach().cpu().double().numpy()
        # SevenNet gives -(1/V) dE/dε in eV/Å^3 in the order xx yy zz xy yz zx.
        voigt = -output[keys.PRED_STRESS].detach().cpu().double().numpy() / GPa
        stress = voigt[:, [[0, 3, 5], [3, 1, 4], [5, 4, 2]]]
        ends = np.cumsum([len(atoms) for atoms in batch])
        return [
            Evaluation(float(energy), force, tensor)
            for energy, force, tensor in zip(
                energies, np.split(forces, ends[:-1]), stress, strict=True
            )
        ]

    def _graph(self, batch: Sequence[Atoms]) -> AtomGraphData:
        """The batch as one graph of SevenNet's own kind."""
        sizes = np.array([len(atoms) for atoms in batch])
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        edges, vectors = [], []
        for atoms, offset in zip(batch, offsets, strict=True):
            first, second, vector = neighbour_list("ijD", atoms, self._model.cutoff)
            edges.append(np.stack([first, second]) + offset)
            vectors.append(vector)
        numbers = self._tensor(np.concatenate([atoms.numbers for atoms in batch]), torch.int64)
        graph = AtomGraphData(
            x=numbers,
            edge_index=self._tensor(np.concatenate(edges, axis=1), torch.int64),
            pos=self._tensor(np.concatenate([atoms.positions for atoms in batch]), torch.float32),
        )
        graph[keys.ATOMIC_NUMBERS] = numbers
        graph[keys.EDGE_VEC] = self._tensor(np.concatenate(vectors), torch.float32)
        graph[keys.CELL_VOLUME] = self._tensor(
            np.array([atoms.get_volume() for atoms in batch]), torch.float32
        )
        graph[keys.NUM_ATOMS] = self._tensor(sizes, torch.int64)
        graph[keys.BATCH] = self._tensor(np.repeat(np.arange(len(batch)), sizes), torch.int64)
        if self._fidelity is not None:
            graph[keys.DATA_MODALITY] = [self._fidelity] * len(batch)
        return graph

    def _tensor(self, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(values, dtype=dtype, device=self._device)
