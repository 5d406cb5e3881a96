"""A crystal with the energy, forces and stress that a reference method gave it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import DatasetError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# What ASE writes of positions (Å) and forces (eV/Å): a file gives back what was written.
DECIMALS = 8
_SMALLEST_VOLUME = 1e-3


@dataclass(frozen=True, eq=False)
class LabelledStructure:
    """A crystal and its labels.

    Positions and forces are rounded to eight decimals, the precision of ASE's extended XYZ files,
    so that writing and reading change nothing. An energy that is not finite becomes None; forces
    and stresses that are not finite are kept, to be flagged.

    Attributes
    ----------
    numbers : numpy.ndarray
        Atomic numbers, shape (n,).
    cell : numpy.ndarray
        Rows are the lattice vectors, Å, shape (3, 3).
    positions : numpy.ndarray
        Cartesian, Å, shape (n, 3).
    energy : float or None
        Of the cell, eV.
    forces : numpy.ndarray or None
        eV/Å, shape (n, 3).
    stress : numpy.ndarray or None
        eV/Å³, in ASE's sign (positive under tension) and order xx, yy, zz, yz, xz, xy,
        shape (6,).
    pbc : tuple of bool
        Whether each lattice vector is a period.
    metadata : mapping
        What else is known of the whole: numbers, texts, lists.
    site_metadata : mapping
        What else is known of each atom: a list of n for each name.

    Raises
    ------
    DatasetError
        An array has the wrong shape, a position or the cell is not finite, or the cell has no
        volume.
    """

    numbers: NDArray[np.int32]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    site_metadata: Mapping[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = np.asarray(self.numbers, dtype=np.int32)
        if numbers.ndim != 1 or len(numbers) == 0:
            raise DatasetError(f"numbers have shape {numbers.shape}: give one for each atom")
        if not ((numbers > 0) & (numbers < 119)).all():
            raise DatasetError(
                f"numbers hold {int(numbers.min())} to {int(numbers.max())}: atomic numbers are 1 "
                "to 118; leave placeholders out"
            )
        n = len(numbers)
        cell = _array("cell", self.cell, (3, 3))
        positions = _array("positions", self.positions, (n, 3))
        for name, values in (("cell", cell), ("positions", positions)):
            if not np.isfinite(values).all():
                raise DatasetError(f"{name} has numbers that are not finite: give finite numbers")
        if abs(np.linalg.det(cell)) < _SMALLEST_VOLUME:
            raise DatasetError(
                f"cell has a volume of {abs(np.linalg.det(cell)):.2g} Å³: give three lattice "
                "vectors (Lattice), with vacuum for a molecule or a slab"
            )
        energy = None if self.energy is None else float(self.energy)
        forces = None if self.forces is None else _array("forces", self.forces, (n, 3))
        stress = None if self.stress is None else _array("stress", self.stress, (6,))
        new = {
            "numbers": numbers,
            "cell": cell + 0.0,
            "positions": np.round(positions, DECIMALS) + 0.0,
            "energy": energy if energy is not None and math.isfinite(energy) else None,
            "forces": None if forces is None else np.round(forces, DECIMALS) + 0.0,
            "stress": stress,
            "pbc": tuple(bool(p) for p in self.pbc),
        }
        for name, value in new.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def stress_tensor(self) -> NDArray[np.float64] | None:
        """The stress as a symmetric tensor, eV/Å³, shape (3, 3)."""
        return None if self.stress is None else self.stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]

    @property
    def key(self) -> str:
        """A hash of geometry and labels, equal for equal calculations: 32 hexadecimal characters.

        Order of the atoms and choice of the cell count; metadata do not. Lengths, energies and
        forces count to 1e-8 of their units.
        """
        digest = hashlib.sha256(self.numbers.astype("<i4").tobytes())
        digest.update(bytes(self.pbc))
        energy = None if self.energy is None else np.array([self.energy])
        for values in (self.cell, self.positions, energy, self.forces, self.stress):
            digest.update(b"-" if values is None else _digits(values))
        return digest.hexdigest()[:32]

    def to_structure(self) -> Structure:
        """The crystal as pymatgen's structure, without labels."""
        from ase.data import chemical_symbols
        from pymatgen.core import Lattice, Structure

        return Structure(
            Lattice(self.cell, pbc=self.pbc),
            [chemical_symbols[number] for number in self.numbers],
            self.positions,
            coords_are_cartesian=True,
        )

    @classmethod
    def from_structure(cls, structure: Structure, **labels: Any) -> LabelledStructure:
        """Label pymatgen's structure; ``labels`` are the other attributes.

        Raises
        ------
        DatasetError
            A site is shared by several elements.
        """
        if not structure.is_ordered:
            raise DatasetError("structure has sites shared by elements: give an ordered structure")
        return cls(
            numbers=np.array(structure.atomic_numbers, dtype=np.int32),
            cell=np.array(structure.lattice.matrix),
            positions=np.array(structure.cart_coords),
            pbc=structure.lattice.pbc,
            **labels,
        )

    def to_atoms(self) -> Atoms:
        """The crystal as ASE's atoms, with the labels as results of a calculator."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        labels = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        known = {name: value for name, value in labels.items() if value is not None}
        if known:
            atoms.calc = SinglePointCalculator(atoms, **known)
        return atoms


def _array(name: str, values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name} has values that are no numbers ({error})") from error
    if array.shape != shape:
        raise DatasetError(f"{name} has shape {array.shape}: give {shape}")
    return array


def _digits(values: NDArray[np.float64]) -> bytes:
    """The numbers in units of 1e-8; what is not finite as one number that no other has."""
    scaled = np.round(values * 10.0**DECIMALS)
    none = np.iinfo(np.int64).min
    safe = np.clip(np.nan_to_num(scaled), -9e18, 9e18).astype("<i8")
    return np.where(np.isfinite(values), safe, none).astype("<i8").tobytes()
