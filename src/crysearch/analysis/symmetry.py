"""Space group, Wyckoff positions and standard cells of a crystal.

spglib finds the symmetry. Its Wyckoff letters depend on which of several equivalent origins and
axes it happens to choose, so the same crystal can come out as ``4i 4l 8m`` or ``4j 4k 8m``
(Cmmm). Here the description is made unique: of all descriptions that the normaliser of the space
group allows (the "Wyckoff sets" of the Bilbao Crystallographic Server, tabulated in PyXtal), the
one with the alphabetically first letters is taken, and cell and coordinates are moved with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import spglib
from pymatgen.core import Element, Lattice, Structure
from pymatgen.core.operations import SymmOp
from pyxtal.symmetry import Group, Hall

from crysearch.errors import AnalysisError

#: Distance tolerances (Å): loose enough for a relaxed cell, and tight to see what it hides.
DEFAULT_TOLERANCES = (0.1, 0.01)

#: Last space group number of each crystal system.
_CRYSTAL_SYSTEMS = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)

#: Primitive vectors (rows) in terms of the conventional ones, by the centring of the standard
#: setting; R in hexagonal axes, obverse.
_PRIMITIVE_BASES = {
    "A": np.array([[2, 0, 0], [0, 1, 1], [0, -1, 1]]) / 2,
    "C": np.array([[1, -1, 0], [1, 1, 0], [0, 0, 2]]) / 2,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


def crystal_system(space_group: int) -> str:
    """Crystal system of a space group number.

    Raises
    ------
    AnalysisError
        If the number is not between 1 and 230.
    """
    if not 1 <= space_group <= 230:
        raise AnalysisError(f"space_group={space_group}: give a number from 1 to 230")
    return next(name for last, name in _CRYSTAL_SYSTEMS if space_group <= last)


@dataclass(frozen=True)
class WyckoffOrbit:
    """One occupied Wyckoff position of the conventional cell.

    Attributes
    ----------
    element
        Chemical symbol.
    letter
        Wyckoff letter in the standard setting of International Tables A.
    multiplicity
        Atoms of the orbit in the conventional cell.
    coordinates
        Fractional coordinates of one atom of the orbit in :attr:`Symmetry.conventional`.
    """

    element: str
    letter: str
    multiplicity: int
    coordinates: tuple[float, float, float]

    @property
    def label(self) -> str:
        """Multiplicity and letter, such as ``8m``."""
        return f"{self.multiplicity}{self.letter}"


@dataclass(frozen=True)
class Symmetry:
    """Symmetry of a crystal at one tolerance, or the reason why there is none.

    Attributes
    ----------
    tolerance
        Distance tolerance in Å.
    number, symbol
        Space group, such as 227 and ``Fd-3m``; None if it could not be found.
    wyckoff
        Occupied Wyckoff positions, by element (least electronegative first), then by letter.
    conventional
        Symmetrised conventional cell in the standard setting (unique axis b, hexagonal axes,
        origin choice 2), to which the Wyckoff letters and coordinates refer.
    primitive
        Symmetrised primitive cell.
    failure
        Why the symmetry could not be found; None if it was.
    """

    tolerance: float
    number: int | None = None
    symbol: str | None = None
    wyckoff: tuple[WyckoffOrbit, ...] = ()
    conventional: Structure | None = None
    primitive: Structure | None = None
    failure: str | None = None

    @property
    def crystal_system(self) -> str | None:
        """Crystal system; None if the symmetry could not be found."""
        return None if self.number is None else crystal_system(self.number)

    @property
    def wyckoff_label(self) -> str | None:
        """Wyckoff positions per element, such as ``Sn: 4c; Se: 4c``; None without symmetry."""
        if self.number is None:
            return None
        letters: dict[str, list[str]] = {}
        for orbit in self.wyckoff:
            letters.setdefault(orbit.element, []).append(orbit.label)
        return "; ".join(f"{element}: {' '.join(labels)}" for element, labels in letters.items())


@lru_cache(maxsize=230)
def _standard_hall_number(space_group: int) -> int:
    return int(Hall(space_group).hall_default)


@lru_cache(maxsize=230)
def _redescriptions(space_group: int) -> tuple[tuple[np.ndarray, np.ndarray, dict[str, str]], ...]:
    """Changes of origin and axes that leave the space group as it is.

    Each is a proper rotation W and a shift w with x → W x + w, and the letter that every letter
    turns into.
    """
    # Group.get_alternatives reads its table from a file at each call: hence the cache.
    group = Group(space_group)
    table = group.get_alternatives()
    improper = [own for own in group[0].ops if np.linalg.det(own.rotation_matrix) < 0]
    letters = table["Transformed WP"][0].split()
    found = []
    rows = zip(table["Coset Representative"], table["Transformed WP"], strict=True)
    for representative, transformed in rows:
        # The table lists the letters for x → T⁻¹ x.
        change = SymmOp.from_xyz_str(representative).inverse
        if np.linalg.det(change.rotation_matrix) < 0:
            # The right-handed form of the same change; a chiral group has none, and there the
            # change would swap the two hands of the crystal.
            if not improper:
                continue
            change = improper[0] * change
        renamed = dict(zip(letters, transformed.split(), strict=True))
        found.append((change.rotation_matrix, change.translation_vector, renamed))
    return tuple(found)


def analyse_symmetry(
    structure: Structure, tolerance: float = 0.1, angle_tolerance: float = 5.0
) -> Symmetry:
    """Space group, Wyckoff positions and standard cells of one crystal.

    Parameters
    ----------
    structure
        Ordered crystal.
    tolerance
        Distance tolerance in Å, greater than 0.
    angle_tolerance
        Angle tolerance in degrees, as in pymatgen and the Materials Project; negative for
        spglib's own rule, which derives it from the distance tolerance.

    Returns
    -------
    Symmetry
        With ``failure`` set, and nothing else, for a structure that spglib cannot handle, so
        that one bad structure does not stop a batch.

    Raises
    ------
    AnalysisError
        If the tolerance is not greater than 0.
    """
    if not tolerance > 0:
        raise AnalysisError(f"tolerance={tolerance}: give a distance in Å greater than 0")
    failure = _unsuitable(structure)
    if failure is not None:
        return Symmetry(tolerance, failure=failure)
    elements = sorted({site.specie.symbol for site in structure}, key=_element_order)
    numbers = [elements.index(site.specie.symbol) + 1 for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    try:
        dataset = spglib.get_symmetry_dataset(cell, tolerance, angle_tolerance)
        if dataset is not None:
            dataset = spglib.get_symmetry_dataset(
                cell, tolerance, angle_tolerance, _standard_hall_number(dataset.number)
            )
    except spglib.SpglibError:
        # Instead of None once phonopy has worked in this process; the reason is the same.
        dataset = None
    if dataset is None:
        return Symmetry(
            tolerance,
            failure=f"spglib finds no space group within {tolerance} Å "
            "(are two atoms closer than that to each other?)",
        )
    orbits, conventional, primitive = _standard_description(dataset, elements)
    return Symmetry(
        tolerance, dataset.number, dataset.international, orbits, conventional, primitive
    )


def analyse_symmetries(
    structure: Structure,
    tolerances: Iterable[float] = DEFAULT_TOLERANCES,
    angle_tolerance: float = 5.0,
) -> dict[float, Symmetry]:
    """:func:`analyse_symmetry` at each of several tolerances (Å), by tolerance."""
    return {
        tolerance: analyse_symmetry(structure, tolerance, angle_tolerance)
        for tolerance in tolerances
    }


def _element_order(symbol: str) -> tuple[float, str]:
    return (Element(symbol).X, symbol)


def _unsuitable(structure: Structure) -> str | None:
    """Why spglib must not see the structure: not-a-number makes it crash the process."""
    if len(structure) == 0:
        return "the structure has no atoms"
    if not structure.is_ordered:
        return "the structure has partly occupied sites"
    if not (
        np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()
    ):
        return "the cell or a coordinate is not finite"
    if not structure.volume > 0:
        return "the cell has no volume"
    return None


def _standard_description(
    dataset: spglib.SpglibDataset, elements: list[str]
) -> tuple[tuple[WyckoffOrbit, ...], Structure, Structure]:
    """Orbits, conventional and primitive cell in the alphabetically first description."""
    atom_of_primitive = {int(p): atom for atom, p in enumerate(dataset.mapping_to_primitive)}
    atoms = [atom_of_primitive[int(p)] for p in dataset.std_mapping_to_primitive]
    orbit_ids = [int(dataset.crystallographic_orbits[atom]) for atom in atoms]
    letters = [dataset.wyckoffs[atom] for atom in atoms]
    kinds = [int(kind) - 1 for kind in dataset.std_types]

    def key(change: tuple[np.ndarray, np.ndarray, dict[str, str]]) -> list[tuple[int, str]]:
        return sorted((kind, change[2][x]) for kind, x in zip(kinds, letters, strict=True))

    # min takes the first of equals, and the identity comes first.
    rotation, shift, renamed = min(_redescriptions(dataset.number), key=key)
    lattice = np.linalg.inv(rotation).T @ dataset.std_lattice
    positions = (dataset.std_positions @ rotation.T + shift) % 1.0

    def cell(rows: np.ndarray, coordinates: np.ndarray, atoms: Iterable[int]) -> Structure:
        ordered = sorted(atoms, key=lambda k: kinds[k])
        return Structure(
            Lattice(rows), [elements[kinds[k]] for k in ordered], coordinates[ordered] % 1.0
        )

    conventional = cell(lattice, positions, range(len(kinds)))
    basis = _PRIMITIVE_BASES.get(dataset.international[0], np.eye(3))
    _, one_of_each = np.unique(dataset.std_mapping_to_primitive, return_index=True)
    primitive = cell(basis @ lattice, positions @ np.linalg.inv(basis), one_of_each.tolist())

    orbits = []
    for orbit_id in dict.fromkeys(orbit_ids):
        members = [k for k, other in enumerate(orbit_ids) if other == orbit_id]
        # Rounded twice, so that 0.9999999 counts as 0 and equal crystals list equal atoms.
        listed = min(tuple((np.round(positions[k], 6) % 1.0).round(6).tolist()) for k in members)
        element = elements[kinds[members[0]]]
        orbits.append(WyckoffOrbit(element, renamed[letters[members[0]]], len(members), listed))
    orbits.sort(key=lambda orbit: (elements.index(orbit.element), orbit.letter, orbit.coordinates))
    return tuple(orbits), conventional, primitive
