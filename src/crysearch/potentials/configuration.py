"""Crystals with what is known of their energies: what potentials learn from and evaluate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Structure

from crysearch.errors import TrainingError

Reason = Literal["unsupported", "unknown_element", "degenerate_cell", "too_close", "too_dense"]


@dataclass(frozen=True)
class Failure:
    """Why one structure of a batch could not be used.

    Attributes
    ----------
    reason : str
        A machine word; see `Reason`.
    detail : str
        The sentence: what is wrong, with its value.
    """

    reason: Reason
    detail: str


@dataclass(frozen=True, eq=False)
class Configuration:
    """A periodic crystal, and its energy, forces and stress as far as they are known.

    Parameters
    ----------
    numbers : array_like of int, shape (n,)
        Atomic numbers.
    cell : array_like, shape (3, 3)
        Lattice vectors as rows, Å.
    positions : array_like, shape (n, 3)
        Cartesian, Å; they need not lie in the cell.
    energy : float, optional
        Of the whole cell, eV.
    forces : array_like, shape (n, 3), optional
        eV/Å.
    stress : array_like, shape (3, 3), optional
        ``(1/V) dE/dε``, the sign of ASE, eV/Å³; symmetric.

    Raises
    ------
    TrainingError
        For a wrong shape or a number that is not finite.
    """

    numbers: NDArray[np.int64]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    energy: float | None = None
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        numbers = np.asarray(self.numbers)
        if numbers.ndim != 1 or numbers.size == 0 or not np.issubdtype(numbers.dtype, np.integer):
            raise TrainingError(
                f"numbers have shape {numbers.shape} and type {numbers.dtype}; give one atomic "
                "number for each of one or more atoms."
            )
        if numbers.min() < 1 or numbers.max() >= len(chemical_symbols):
            raise TrainingError(
                f"numbers hold {int(numbers.min())} to {int(numbers.max())}; atomic numbers are 1 "
                f"to {len(chemical_symbols) - 1}."
            )
        object.__setattr__(self, "numbers", numbers.astype(np.int64))
        atoms = len(numbers)
        for field, shape in (
            ("cell", (3, 3)),
            ("positions", (atoms, 3)),
            ("forces", (atoms, 3)),
            ("stress", (3, 3)),
        ):
            value = getattr(self, field)
            if value is not None or field in ("cell", "positions"):
                object.__setattr__(self, field, _array(field, value, shape))
        if self.energy is not None:
            object.__setattr__(self, "energy", float(_array("energy", self.energy, ())))
        if self.stress is not None and not np.allclose(self.stress, self.stress.T, atol=1e-8):
            raise TrainingError(
                "stress is not symmetric; give (σ + σᵀ)/2 if the rest is numerical noise."
            )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return abs(float(np.linalg.det(self.cell)))

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements in it, by atomic number."""
        return tuple(chemical_symbols[number] for number in np.unique(self.numbers))

    @classmethod
    def from_structure(
        cls,
        structure: Structure,
        energy: float | None = None,
        forces: ArrayLike | None = None,
        stress: ArrayLike | None = None,
    ) -> Self:
        """Make one from a pymatgen structure; raises TrainingError for a disordered one."""
        if not structure.is_ordered:
            raise TrainingError(
                f"the structure {structure.composition.reduced_formula} is disordered; order its "
                "sites first."
            )
        return cls(
            np.array([site.specie.Z for site in structure], dtype=np.int64),
            structure.lattice.matrix,
            structure.cart_coords,
            energy,
            forces,  # type: ignore[arg-type]
            stress,  # type: ignore[arg-type]
        )

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> Self:
        """Make one from ASE atoms, with the results that their calculator holds.

        Nothing is calculated: what the calculator has not got, or has for other positions, is left
        out. `ase.io.read` leaves what a file holds in such a calculator.

        Raises
        ------
        TrainingError
            If the atoms are not periodic in all directions.
        """
        if not all(atoms.pbc):
            raise TrainingError(
                f"pbc is {atoms.pbc.tolist()}; give a cell that is periodic in all directions: a "
                "molecule or a slab with more room around it than the cut-off."
            )
        results: dict[str, Any] = {}
        if atoms.calc is not None:
            for name in ("energy", "forces", "stress"):
                results[name] = atoms.calc.get_property(name, atoms, allow_calculation=False)
        if results.get("stress") is not None and np.shape(results["stress"]) == (6,):
            xx, yy, zz, yz, xz, xy = results["stress"]
            results["stress"] = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
        return cls(atoms.numbers, atoms.cell.array, atoms.positions, **results)

    def to_atoms(self) -> Atoms:
        """Return ASE atoms, without energy, forces and stress."""
        return Atoms(self.numbers, positions=self.positions, cell=self.cell, pbc=True)

    def to_structure(self) -> Structure:
        """Return a pymatgen structure, without energy, forces and stress."""
        return Structure(
            self.cell,
            [chemical_symbols[number] for number in self.numbers],
            self.positions,
            coords_are_cartesian=True,
        )


Crystal = Configuration | Structure | Atoms


def as_configuration(crystal: Crystal) -> Configuration:
    """Return a configuration of anything that can be made one (TrainingError if it cannot)."""
    if isinstance(crystal, Configuration):
        return crystal
    if isinstance(crystal, Structure):
        return Configuration.from_structure(crystal)
    if isinstance(crystal, Atoms):
        return Configuration.from_atoms(crystal)
    raise TrainingError(
        f"a {type(crystal).__name__} is no structure; give a Configuration, a pymatgen Structure "
        "or ASE Atoms."
    )


def as_configurations(crystals: Sequence[Crystal]) -> list[Configuration | Failure]:
    """Return configurations of a list of structures, or why one cannot be made of a structure.

    Raises
    ------
    TrainingError
        For anything but a list, and for something in it that is no structure.
    """
    if isinstance(crystals, (Configuration, Structure, Atoms, str)):
        raise TrainingError(
            f"structures is a single {type(crystals).__name__}; give a list, also of one."
        )
    found: list[Configuration | Failure] = []
    for crystal in crystals:
        try:
            found.append(as_configuration(crystal))
        except TrainingError as error:
            if not isinstance(crystal, (Structure, Atoms)):
                raise
            found.append(Failure("unsupported", str(error)))
    return found


def check_elements(elements: Sequence[str]) -> tuple[str, ...]:
    """Return different element symbols by atomic number, or raise TrainingError."""
    if isinstance(elements, str) or not isinstance(elements, Sequence) or not elements:
        raise TrainingError(f'elements is {elements!r}; give a list of symbols such as ["Si"].')
    unknown = [symbol for symbol in elements if atomic_numbers.get(symbol, 0) < 1]
    if unknown or len(set(elements)) != len(elements):
        raise TrainingError(
            f"elements are {list(elements)}; each must be an element's symbol, and given once."
        )
    return tuple(sorted(elements, key=atomic_numbers.__getitem__))


def _array(field: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.asarray(value).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"{field} cannot be read as real numbers ({error}); give shape {shape}."
        ) from error
    if array.shape != shape:
        raise TrainingError(f"{field} has shape {array.shape}; give shape {shape}.")
    if not all(map(math.isfinite, array.ravel())):
        raise TrainingError(
            f"{field} holds numbers that are not finite; leave this configuration out."
        )
    return np.array(array, order="C")
