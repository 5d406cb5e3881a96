"""Labelled frames of molecular dynamics, all of the same atoms, as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from crysearch.datasets.selection import SelectionPool
from crysearch.errors import DatasetError
from crysearch.packing import Packing
from crysearch.potentials.configuration import Configuration

_PACKING = Packing(
    "crysearch-frames", "set of frames", error=DatasetError, again="calculate the frames again"
)


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """F frames of the same n atoms with what a reference method says of them.

    Attributes
    ----------
    numbers
        (n,) atomic numbers.
    cells, positions
        (F, 3, 3) and (F, n, 3), Å.
    energies
        (F,) of the cells, eV.
    forces
        (F, n, 3), eV/Å.
    stresses
        (F, 3, 3), ``(1/V) dE/dε``, eV/Å³.
    atomic_energies
        (F, n), eV, where the method has energies of atoms; they add up to those of the cells.
    state_points
        (F,) the number of the run that a frame is of.

    Raises
    ------
    DatasetError
        Shapes do not fit together.
    """

    numbers: NDArray[np.int64]
    cells: NDArray[np.float64]
    positions: NDArray[np.float64]
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stresses: NDArray[np.float64]
    state_points: NDArray[np.int64]
    atomic_energies: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        frames, atoms = len(self.energies), len(self.numbers)
        shapes: dict[str, tuple[int, ...]] = {
            "cells": (frames, 3, 3),
            "positions": (frames, atoms, 3),
            "forces": (frames, atoms, 3),
            "stresses": (frames, 3, 3),
            "state_points": (frames,),
        }
        if self.atomic_energies is not None:
            shapes["atomic_energies"] = (frames, atoms)
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise DatasetError(
                    f"{name} has shape {np.shape(getattr(self, name))}: give {shape}, for {frames} "
                    f"frames of {atoms} atoms"
                )

    def __len__(self) -> int:
        return len(self.energies)

    def configurations(self, frames: Iterable[int] | None = None) -> list[Configuration]:
        """Frames, all or those of the given places, to learn from or to compare with."""
        places = range(len(self)) if frames is None else frames
        return [
            Configuration(
                self.numbers,
                self.cells[place],
                self.positions[place],
                float(self.energies[place]),
                self.forces[place],
                0.5 * (self.stresses[place] + self.stresses[place].T),
            )
            for place in places
        ]

    def pool(self, features: NDArray[np.float64] | None = None) -> SelectionPool:
        """The frames as what is selected from, with features (F, D) of one's own."""
        frames, atoms = len(self), len(self.numbers)
        energies = self.atomic_energies
        return SelectionPool(
            counts=np.full(frames, atoms),
            numbers=np.tile(self.numbers, frames),
            energies_per_atom=self.energies / atoms,
            forces=self.forces.reshape(-1, 3),
            atomic_energies=None if energies is None else energies.reshape(-1),
            features=features,
        )

    def to_bytes(self) -> bytes:
        """The frames as bytes, in double precision."""
        names = [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]
        return _PACKING.pack("frames", {}, {name: getattr(self, name) for name in names})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` gave; DatasetError for damaged data or another kind of them."""
        return cls(**_PACKING.unpack("frames", data)[1])
