"""Frames of a molecular dynamics run, in memory, as bytes and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from ase.units import fs, kg, m
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from crysearch.errors import DynamicsError
from crysearch.packing import Packing

DynamicsStatus = Literal["finished", "exploded", "failed"]
"""``exploded``: a bound of the settings was passed; ``failed``: the engine raised."""

Failure = Literal[
    "temperature", "contact", "volume", "non_finite", "engine_error", "timeout", "interrupted"
]
"""Why a run ended early (a machine word; ``Trajectory.failure_detail`` is the sentence)."""

_PACKING = Packing(
    "crysearch-trajectory",
    "trajectory",
    error=DynamicsError,
    again="run the molecular dynamics again",
)
_SERIES = ("steps", "times", "temperatures", "pressures", "potential_energies", "total_energies")


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The sampled frames of a run, F of them, of n atoms each.

    Attributes
    ----------
    numbers
        (n,) atomic numbers.
    steps, times
        (F,) steps after the equilibration; ps.
    temperatures
        (F,) of the motion about the centre of mass, K.
    pressures
        (F,) of virial and motion, GPa.
    potential_energies, total_energies
        (F,) of the cell, eV; the total energy has the kinetic one added.
    cells
        (F, 3, 3), rows are the cell vectors, Å.
    positions
        (F, n, 3), Å, not wrapped into the cell if the engine can tell.
    velocities_of_last
        (n, 3) of the last frame, Å/fs.
    forces
        (F, n, 3), eV/Å; None if they were not kept.
    status, failure, failure_detail
        How the run ended; the reason as a machine word and as a sentence, None if it finished.

    Raises
    ------
    DynamicsError
        Shapes do not fit together, or status and failure contradict each other.
    """

    numbers: NDArray[np.int64]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    pressures: NDArray[np.float64]
    potential_energies: NDArray[np.float64]
    total_energies: NDArray[np.float64]
    cells: NDArray[np.float64]
    positions: NDArray[np.float64]
    velocities_of_last: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    status: DynamicsStatus = "finished"
    failure: Failure | None = None
    failure_detail: str | None = None

    def __post_init__(self) -> None:
        count, atoms = len(self.steps), len(self.numbers)
        shapes: dict[str, tuple[int, ...]] = {
            **{name: (count,) for name in _SERIES},
            "cells": (count, 3, 3),
            "positions": (count, atoms, 3),
            "velocities_of_last": (atoms, 3),
        }
        if self.forces is not None:
            shapes["forces"] = (count, atoms, 3)
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise DynamicsError(
                    f"{name}: shape {np.shape(getattr(self, name))} — expected {shape}, for "
                    f"{count} frames of {atoms} atoms"
                )
        if self.status not in get_args(DynamicsStatus):
            raise DynamicsError(
                f"status={self.status!r} is unknown; choose one of "
                f"{', '.join(get_args(DynamicsStatus))}"
            )
        if (self.status == "finished") != (self.failure is None):
            raise DynamicsError(
                f"status={self.status!r} and failure={self.failure!r} contradict each other; a "
                "failure is what every run has that did not finish"
            )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.steps)

    @property
    def volumes(self) -> NDArray[np.float64]:
        """(F,) in Å³."""
        return np.abs(np.linalg.det(self.cells))

    @property
    def densities(self) -> NDArray[np.float64]:
        """(F,) in g/cm³."""
        mass = atomic_masses[self.numbers].sum()
        return np.asarray(mass / self.volumes / (kg / 1000) * (m / 100) ** 3)

    def frame(self, index: int) -> Structure:
        """A frame, its atoms wrapped into the cell."""
        return Structure(
            Lattice(self.cells[index]),
            [chemical_symbols[number] for number in self.numbers],
            self.positions[index],
            coords_are_cartesian=True,
            to_unit_cell=True,
        )

    def atoms(self, index: int) -> Atoms:
        """A frame with its energy (and forces, if kept), positions as they are.

        ``info`` has step, time (ps), temperature (K) and pressure (GPa); the last frame also has
        its velocities.
        """
        from ase.calculators.singlepoint import SinglePointCalculator

        index = range(len(self))[index]
        atoms = Atoms(
            numbers=self.numbers,
            positions=self.positions[index],
            cell=self.cells[index],
            pbc=True,
            info={
                "step": int(self.steps[index]),
                "time": float(self.times[index]),
                "temperature": float(self.temperatures[index]),
                "pressure": float(self.pressures[index]),
            },
        )
        results: dict[str, Any] = {"energy": float(self.potential_energies[index])}
        if self.forces is not None:
            results["forces"] = self.forces[index]
        if index == len(self) - 1:
            atoms.set_velocities(self.velocities_of_last / fs)
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def thinned(self, count: int) -> NDArray[np.int64]:
        """Indices of at most ``count`` frames spread evenly over the run, the last among them."""
        if count < 1 or not len(self):
            return np.zeros(0, dtype=np.int64)
        last = len(self) - 1
        places = np.linspace(0, last, count) if count > 1 else np.array([last])
        return np.unique(np.rint(places).astype(np.int64))

    def write(self, path: Path, frames: Sequence[int] | None = None) -> None:
        """Write frames to a file; its ending says the format (``.extxyz``, ``.traj``, …).

        Raises
        ------
        DynamicsError
            ASE does not know the ending, or the file cannot be written.
        """
        from ase.io import write
        from ase.io.formats import UnknownFileTypeError

        chosen = range(len(self)) if frames is None else frames
        try:
            write(path, [self.atoms(index) for index in chosen])
        except UnknownFileTypeError:
            raise DynamicsError(
                f"{path}: no format has this ending; choose .extxyz or .traj"
            ) from None
        except OSError as error:
            raise DynamicsError(f"{path}: cannot be written ({error.strerror})") from None

    def to_bytes(self) -> bytes:
        """The trajectory as bytes: positions and forces in single precision, the rest in double.

        The last frame is kept in double precision, so that a run can go on from it.
        """
        arrays: dict[str, NDArray[Any]] = {
            "numbers": np.asarray(self.numbers, dtype=np.int64),
            **{name: np.asarray(getattr(self, name)) for name in _SERIES},
            "cells": self.cells,
            "positions": self.positions.astype(np.float32),
            "last_positions": self.positions[-1:],
            "velocities_of_last": self.velocities_of_last,
        }
        if self.forces is not None:
            arrays["forces"] = self.forces.astype(np.float32)
        header = {
            "status": self.status,
            "failure": self.failure,
            "failure_detail": self.failure_detail,
        }
        return _PACKING.pack("trajectory", header, arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` gave.

        Raises
        ------
        DynamicsError
            The data are damaged, of another kind or of a newer format.
        """
        header, arrays = _PACKING.unpack("trajectory", data)
        positions = arrays["positions"].astype(np.float64)
        positions[-1:] = arrays["last_positions"]
        forces = arrays.get("forces")
        return cls(
            **{name: arrays[name] for name in ("numbers", *_SERIES, "cells")},
            positions=positions,
            velocities_of_last=arrays["velocities_of_last"],
            forces=None if forces is None else forces.astype(np.float64),
            status=header["status"],
            failure=header["failure"],
            failure_detail=header["failure_detail"],
        )
