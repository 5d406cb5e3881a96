"""The free parameters of symmetric crystals: what a descent may change without leaving the group.

An atom of an orbit is at ``rotations[m] @ u + translations[m]`` (fractions), where the integer
matrices of its Wyckoff position have as many non-zero columns as the position has free
coordinates; only these components of ``u`` are parameters. The first matrix of every position of
the International Tables has an integer left inverse, so that ``u`` is recovered, up to a whole
number, from the first atom even though coordinates are only known modulo 1.

A cell is lower triangular (rows a, b, c) and linear in its parameters, one matrix of
:data:`CELL_BASIS` each: cubic (a), tetragonal and hexagonal (a, c), orthorhombic (a, b, c),
monoclinic (a, b, and c along a and across), triclinic (six components). Every value of the
parameters is therefore a crystal of the group, exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from crysearch.errors import GuidingError
from crysearch.sampling import CrystalBatch
from crysearch.sampling.build_tables import TRANSLATION_UNIT
from crysearch.sampling.wyckoff import wyckoff_tables

#: Last space group of the triclinic, monoclinic, orthorhombic, tetragonal, hexagonal (trigonal
#: included, on hexagonal axes) and cubic groups.
LAST_OF_SYSTEM = np.array([2, 15, 74, 142, 194, 230])
#: Components of the lower-triangular cell that hold the parameters of each crystal system.
_HOLDERS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)),
    ((0, 0), (1, 1), (2, 0), (2, 2)),
    ((0, 0), (1, 1), (2, 2)),
    ((0, 0), (2, 2)),
    ((0, 0), (2, 2)),
    ((0, 0),),
)
# Of a cell or a coordinate that is said to have the symmetry; files write five decimals or so.
_TOLERANCE = 1e-4


def _cell_basis() -> np.ndarray:
    basis = np.zeros((len(_HOLDERS), 6, 3, 3))
    for system, holders in enumerate(_HOLDERS):
        for number, (i, j) in enumerate(holders):
            basis[system, number, i, j] = 1.0
    basis[3, 0, 1, 1] = 1.0
    basis[4, 0, 1, 0], basis[4, 0, 1, 1] = -0.5, 0.5 * np.sqrt(3.0)
    basis[5, 0, 1, 1] = basis[5, 0, 2, 2] = 1.0
    return basis


#: (systems, 6, 3, 3): the cell is the sum of parameter times matrix; zero where a system has fewer.
CELL_BASIS = _cell_basis()
#: (systems,) number of free cell parameters.
CELL_FREEDOM = np.array([len(holders) for holders in _HOLDERS])


@dataclass(frozen=True, eq=False)
class PositionTables:
    """What the free coordinates of Wyckoff positions need, one row per flat position.

    Attributes
    ----------
    columns : (positions, 3) int64
        The components of ``u`` that are parameters, as many as the position has freedom; then -1.
    recovery : (positions, 3, 3) float64
        Integer left inverse of the first rotation on these components.
    rotations : (operations, 3, 3) float64
    translations : (operations, 3) float64
        In fractions.
    """

    columns: np.ndarray
    recovery: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray


@lru_cache(maxsize=1)
def position_tables() -> PositionTables:
    """Free components and their recovery for all Wyckoff positions (once per process)."""
    tables = wyckoff_tables()
    number = len(tables.multiplicity)
    columns = np.full((number, 3), -1, dtype=np.int64)
    recovery = np.zeros((number, 3, 3))
    firsts = tables.rotations[tables.operation_start[:-1]].astype(np.int64)
    rows = {n: np.array(list(itertools.combinations(range(3), n))) for n in range(1, 4)}
    for position, first in enumerate(firsts):
        free = np.flatnonzero(first.any(axis=0))
        columns[position, : len(free)] = free
        if not len(free):
            continue
        for chosen in rows[len(free)]:
            square = first[np.ix_(chosen, free)]
            if abs(round(np.linalg.det(square))) == 1:
                recovery[position][np.ix_(free, chosen)] = np.rint(np.linalg.inv(square))
                break
        else:
            raise AssertionError(f"Wyckoff position {position} has no integer inverse")
    rotations, translations = (
        tables.rotations.astype(np.float64),
        tables.translations / TRANSLATION_UNIT,
    )
    return PositionTables(columns, recovery, rotations, translations)


@dataclass(frozen=True, eq=False)
class CrystalParameters:
    """Free parameters of n crystals of up to w orbits each.

    Attributes
    ----------
    systems : (n,) int64
        Crystal system, 0 (triclinic) to 5 (cubic), hexagonal axes for trigonal groups.
    cells : (n, 6) float64
        Cell parameters, Å; see :data:`CELL_BASIS`.
    orbits : (n,) int64
        Number of orbits.
    positions : (n, w) int64
        Flat Wyckoff position of each orbit, sorted by species; -1 beyond the last.
    species : (n, w) int64
        Index of the species of each orbit.
    starts : (n, w + 1) int64
        Atoms of orbit k are ``starts[k]:starts[k + 1]``.
    coordinates : (n, w, 3) float64
        The vector ``u`` of each orbit; components that are not free are zero.
    atoms : int
        Atoms of each crystal.
    """

    systems: np.ndarray
    cells: np.ndarray
    orbits: np.ndarray
    positions: np.ndarray
    species: np.ndarray
    starts: np.ndarray
    coordinates: np.ndarray
    atoms: int

    @classmethod
    def of(cls, crystals: CrystalBatch) -> CrystalParameters:
        """Recover the parameters of crystals from their sites, cells and coordinates.

        Cells in any orientation are turned to lower triangular ones.

        Raises
        ------
        GuidingError
            Where a crystal's sites do not add up to its atoms, or its cell or coordinates do not
            have the symmetry that its space group and sites say.
        """
        tables, more = wyckoff_tables(), position_tables()
        kinds = len(crystals.species)
        sites = crystals.sites.astype(np.int64)
        # Atoms are sorted by species, within one by the order of the sites; absent sites last.
        code_species = np.where(sites >= 0, sites % kinds, kinds)
        order = np.argsort(code_species, axis=1, kind="stable")
        sites = np.take_along_axis(sites, order, axis=1)
        species = np.where(sites >= 0, sites % kinds, -1)
        first = tables.group_start[crystals.space_groups - 1].astype(np.int64)
        positions = np.where(sites >= 0, first[:, None] + sites // kinds, -1)
        sizes = np.where(sites >= 0, tables.multiplicity[positions], 0).astype(np.int64)
        starts = np.zeros((len(sites), sites.shape[1] + 1), dtype=np.int64)
        np.cumsum(sizes, axis=1, out=starts[:, 1:])
        atoms = crystals.fractional_coordinates.shape[1]
        _refuse(
            starts[:, -1] != atoms,
            f"has sites that do not add up to its {atoms} atoms; give a batch as a sampler made it",
        )
        rows = np.arange(len(sites))[:, None]
        reference = crystals.fractional_coordinates[rows, np.minimum(starts[:, :-1], atoms - 1)]
        some = np.maximum(positions, 0)
        shift = more.translations[tables.operation_start[some]]
        coordinates = np.einsum("nwij,nwj->nwi", more.recovery[some], reference - shift)
        coordinates[sites < 0] = 0.0

        systems = np.searchsorted(LAST_OF_SYSTEM, crystals.space_groups)
        triangular = _lower_triangular(crystals.lattices)
        cells = np.zeros((len(sites), 6))
        for system, holders in enumerate(_HOLDERS):
            members = np.flatnonzero(systems == system)
            for number, (i, j) in enumerate(holders):
                cells[members, number] = triangular[members, i, j]
        orbits = (sites >= 0).sum(axis=1)
        parameters = cls(systems, cells, orbits, positions, species, starts, coordinates, atoms)
        parameters._compare(crystals, triangular)
        return parameters

    def _compare(self, crystals: CrystalBatch, triangular: np.ndarray) -> None:
        lattices, coordinates = self.crystals()
        size = np.abs(triangular).max(axis=(1, 2), initial=0.0)
        wrong = np.abs(lattices - triangular).max(axis=(1, 2), initial=0.0) > _TOLERANCE * size
        _refuse(wrong, "has a cell that its space group does not allow; symmetrise it first")
        difference = coordinates - crystals.fractional_coordinates
        difference -= np.rint(difference)
        _refuse(
            np.abs(difference).max(axis=(1, 2), initial=0.0) > _TOLERANCE,
            "has coordinates that are not the orbits of its sites in the order of the Wyckoff "
            "tables; give a batch as a sampler made it",
        )

    def crystals(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells (n, 3, 3), Å, and fractional coordinates (n, atoms, 3) in [0, 1)."""
        tables, more = wyckoff_tables(), position_tables()
        lattices = np.einsum("np,npij->nij", self.cells, CELL_BASIS[self.systems])
        number = np.arange(self.atoms)
        orbit = (number[None, :, None] >= self.starts[:, None, 1:]).sum(axis=2)
        rows = np.arange(len(self.cells))[:, None]
        within = number[None, :] - self.starts[rows, orbit]
        operation = tables.operation_start[self.positions[rows, orbit]] + within
        u = self.coordinates[rows, orbit]
        coordinates = np.einsum("naij,naj->nai", more.rotations[operation], u)
        coordinates += more.translations[operation]
        return lattices, into_cell(coordinates)

    def apply(self, crystals: CrystalBatch) -> CrystalBatch:
        """The batch with its cells and coordinates replaced by those of these parameters."""
        lattices, coordinates = self.crystals()
        return replace(crystals, lattices=lattices, fractional_coordinates=coordinates)


def into_cell(coordinates: np.ndarray) -> np.ndarray:
    """Fractional coordinates in [0, 1); a tiny negative number rounds to 1, which becomes 0."""
    inside = coordinates - np.floor(coordinates)
    inside[inside >= 1.0] = 0.0
    return inside


def _lower_triangular(lattices: np.ndarray) -> np.ndarray:
    """The cells turned so that a is along x and b in the plane of x and y, left hands mirrored."""
    good = np.isfinite(lattices).all(axis=(1, 2))
    good[good] = np.abs(np.linalg.det(lattices[good])) > 1e-6
    _refuse(~good, "has a flat or non-finite cell; drop it")
    above = np.abs(np.triu(lattices, 1)).max(axis=(1, 2), initial=0.0)
    diagonal = np.diagonal(lattices, axis1=1, axis2=2).min(axis=1, initial=np.inf)
    turned = lattices.copy()
    other = (above > 0.0) | (diagonal <= 0.0)
    gram = lattices[other] @ lattices[other].transpose(0, 2, 1)
    turned[other] = np.linalg.cholesky(gram)
    return turned


def _refuse(bad: np.ndarray, text: str) -> None:
    if bad.any():
        raise GuidingError(f"crystal {int(np.argmax(bad))} of the batch {text}")


def without_symmetry(
    crystals: CrystalBatch, displacement: float = 0.0, seed: int | Sequence[int] = 0
) -> CrystalBatch:
    """The same crystals as members of P1: every atom and all of the cell are free.

    A descent of a symmetric crystal still keeps its symmetry, because the gradient does, but only
    up to rounding, which grows; atoms that are displaced a little leave it for good.

    Parameters
    ----------
    crystals : CrystalBatch
    displacement : float
        Standard deviation, Å, of what is added to each Cartesian coordinate.
    seed : int or sequence of int
        Of the displacements.
    """
    n, atoms = crystals.fractional_coordinates.shape[:2]
    coordinates = crystals.fractional_coordinates
    if displacement:
        noise = np.random.default_rng(seed).normal(0.0, displacement, coordinates.shape)
        coordinates = (coordinates + noise @ np.linalg.inv(crystals.lattices)) % 1.0
    return replace(
        crystals,
        fractional_coordinates=coordinates,
        space_groups=np.ones(n, dtype=np.int64),
        sites=np.tile(crystals.species_index.astype(np.int16), (n, 1)).reshape(n, atoms),
    )
