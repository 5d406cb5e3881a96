"""Crystals as network potentials learn from them: inputs of the networks, and what is wanted."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crysearch.generative.training import to_tensor
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.contraction import Selection, Stored
from crysearch.potentials.history import LossWeights
from crysearch.potentials.networks import Outputs, element_rows
from crysearch.potentials.symmetry_functions import SymmetryValues

# Atoms that are evaluated at once, so that intermediate results stay small.
_CHUNK = 2000


class TrainingData(ABC):
    """Crystals and what the networks are to give; each potential adds the inputs of its networks.

    Parameters
    ----------
    configurations : sequence of Configuration
    starts : ndarray of int, shape (S + 1,)
        First atom of each.
    species : ndarray of int, shape (A,)
        Place of each atom's element.
    references : ndarray, shape (elements,)
        Energy of an atom of each element that the networks need not give, eV.
    """

    #: At most so much `work` is done at once, so that intermediate results stay small.
    most_work: int = _CHUNK

    def __init__(
        self,
        configurations: Sequence[Configuration],
        starts: NDArray[np.int64],
        species: NDArray[np.int64],
        references: NDArray[np.float64],
    ) -> None:
        self.starts, self.species = starts, species
        self.elements = len(references)
        self.counts = np.diff(starts)
        atoms, crystals = len(species), len(configurations)
        energies = np.array([c.energy for c in configurations], dtype=float).reshape(crystals)
        reference = np.add.reduceat(references[species], starts[:-1])
        self.energies = to_tensor(energies - reference)
        self.per_atom = (energies - reference) / self.counts
        forces, virials = np.zeros((atoms, 3)), np.zeros((crystals, 6))
        for place, c in enumerate(configurations):
            if c.forces is not None:
                forces[starts[place] : starts[place + 1]] = c.forces
            if c.stress is not None:
                s = c.stress * c.volume
                virials[place] = s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]
        self.forces, self.virials = to_tensor(forces), to_tensor(virials)
        has_forces = [c.forces is not None for c in configurations]
        has_stress = [c.stress is not None for c in configurations]
        self.has_forces = to_tensor(np.array(has_forces, dtype=float))
        self.has_stress = to_tensor(np.array(has_stress, dtype=float))

    @property
    def work(self) -> NDArray[np.int64]:
        """What each crystal (S,) costs to evaluate, in units of one's own: here its atoms."""
        return self.counts

    @abstractmethod
    def inputs(self) -> Iterable[NDArray[np.generic]]:
        """All that the networks see of the crystals."""

    @abstractmethod
    def outputs(
        self,
        networks: nn.Module,
        crystals: NDArray[np.int64],
        selection: Selection,
        scale: float,
        virial: bool,
    ) -> Outputs:
        """Evaluate some crystals, whose atoms are in the selection."""

    def select(self, crystals: NDArray[np.int64]) -> Selection:
        """The atoms of some crystals."""
        counts = self.counts[crystals]
        ends = np.cumsum(counts)
        shifts = np.repeat(ends - counts - self.starts[crystals], counts)
        atoms = np.arange(counts.sum()) - shifts
        return Selection(atoms, shifts, np.repeat(np.arange(len(crystals)), counts))

    def errors(
        self,
        networks: nn.Module,
        crystals: NDArray[np.int64],
        scale: float,
        weights: LossWeights,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Squared errors (K, S) of the energy per atom, the forces and the virial per atom.

        Those of forces and virials are means over components; 0 where they are not known.
        """
        selection = self.select(crystals)
        rows = torch.from_numpy(crystals)
        virial = weights.stress > 0.0 and bool(self.has_stress[rows].any())
        outputs = self.outputs(networks, crystals, selection, scale, virial)
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
        for array in self.inputs():
            summed.update(array.tobytes())
        for tensor in (
            self.energies, self.forces, self.virials, self.has_forces, self.has_stress
        ):  # fmt: skip
            summed.update(tensor.numpy().tobytes())
        return summed.hexdigest()


class SymmetryData(TrainingData):
    """Symmetry functions and their derivatives as inputs, for `ElementNetworks`.

    Parameters
    ----------
    configurations : sequence of Configuration
        One for each crystal of `values`.
    values : SymmetryValues
        Its features and derivatives are scaled in place.
    shift, factor : ndarray, shape (elements, F)
        Features become (G - shift) factor, by the centre's element.
    references : ndarray, shape (elements,)
        See `TrainingData`.
    """

    def __init__(
        self,
        configurations: Sequence[Configuration],
        values: SymmetryValues,
        shift: NDArray[np.float64],
        factor: NDArray[np.float64],
        references: NDArray[np.float64],
    ) -> None:
        super().__init__(configurations, values.starts, values.species, references)
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

    def inputs(self) -> Iterable[NDArray[np.generic]]:
        """See `TrainingData.inputs`; the derivatives follow from what is scaled."""
        return (self.features.numpy(),)

    def outputs(
        self,
        networks: nn.Module,
        crystals: NDArray[np.int64],
        selection: Selection,
        scale: float,
        virial: bool,
    ) -> Outputs:
        """See `TrainingData.outputs`."""
        return networks(
            self.features[torch.from_numpy(selection.atoms)],
            element_rows(self.species[selection.atoms], self.elements),
            self.stored, selection, len(crystals), scale, None, virial,
        )  # fmt: skip


def energy_scaling(
    configurations: Sequence[Configuration], species: NDArray[np.int64], elements: int
) -> dict[str, NDArray[np.float64]]:
    """Energies of the elements, and the scale of what is left of the energies.

    Returns
    -------
    dict
        ``references`` (elements,), eV, by least squares on energies per atom, so that large cells
        do not count for more; ``scale`` (), eV, the standard deviation of the rest.
    """
    counts = np.zeros((len(configurations), elements))
    owners = np.repeat(np.arange(len(configurations)), [len(c) for c in configurations])
    np.add.at(counts, (owners, species), 1.0)
    energies = np.array([c.energy for c in configurations], dtype=float)
    atoms = counts.sum(axis=1)
    references = np.linalg.lstsq(counts / atoms[:, None], energies / atoms, rcond=None)[0]
    left = (energies - counts @ references) / atoms
    with np.errstate(over="ignore"):  # training says what is wrong with such energies
        deviation = float(left.std())
    return {"references": references, "scale": np.array(max(deviation, 0.01))}


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
