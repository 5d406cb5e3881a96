"""Crystals as network potentials learn from them: features, derivatives, and what is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crysearch.generative.training import to_tensor
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.contraction import Selection, Stored
from crysearch.potentials.history import LossWeights
from crysearch.potentials.networks import ElementNetworks, Outputs, element_rows
from crysearch.potentials.symmetry_functions import SymmetryValues

# Atoms that are evaluated at once, so that intermediate results stay small.
_CHUNK = 2000


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


def weighted(parts: tuple[Tensor, Tensor, Tensor], weights: LossWeights) -> Tensor:
    """The loss (K, S) of each crystal."""
    energy, force, stress = parts
    return weights.energy * energy + weights.force * force + weights.stress * stress


def chunks(counts: NDArray[np.int64], most: int = _CHUNK) -> list[slice]:
    """Cut crystals of so many atoms into runs of at most so many atoms, or of one crystal."""
    runs, start, total = [], 0, 0
    for place, count in enumerate(counts):
        if total and total + count > most:
            runs.append(slice(start, place))
            start, total = place, 0
        total += int(count)
    return [*runs, slice(start, len(counts))] if len(counts) else []
