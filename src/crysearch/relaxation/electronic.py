"""Electronic band gaps from the eigenvalues of a first-principles engine.

Kohn–Sham gaps: LDA and PBE underestimate measured ones, as a rule by a third to a half. Neither
engine polarises spins, so magnetic crystals are treated as non-magnetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crysearch.errors import RelaxationError

DIRECT_TOLERANCE = 1e-3
"""A gap is direct if some k-point alone has a gap at most this much larger, eV."""

PATH_DENSITY = 3.0
"""How many times denser k-points are along the high-symmetry path than in the mesh."""

_SYMMETRY_PRECISION = 0.01


@dataclass(frozen=True)
class ElectronicStructure:
    """Band gap of a crystal.

    Attributes
    ----------
    band_gap
        Smallest difference between an empty and an occupied state, eV; 0 for a metal.
    is_metal
        Whether bands overlap, or hold an odd number of electrons.
    is_direct
        Whether both edges of the gap are at the same k-point; None for a metal.
    valence_band_maximum, conduction_band_minimum
        The edges in the engine's own zero of energy, eV; None for a metal.
    fermi_energy
        Of the self-consistent calculation, in the same zero, eV. In the gap of an insulator its
        place has no meaning.
    k_points
        k-points with eigenvalues: mesh and path together.
    settings
        How it was calculated: functional, cut-off, meshes, path.
    """

    band_gap: float
    is_metal: bool
    is_direct: bool | None
    valence_band_maximum: float | None
    conduction_band_minimum: float | None
    fermi_energy: float
    k_points: int
    settings: dict[str, str] = field(default_factory=dict)


class ElectronicEngine(Protocol):
    """An engine that calculates band gaps."""

    def electronic_structure(self, structure: Structure) -> ElectronicStructure:
        """Band gap of a structure as it is.

        Raises
        ------
        RelaxationError
            If the calculation fails, with the program's reason: the gap is then unknown.
        """


@dataclass(frozen=True)
class BandPoints:
    """Where eigenvalues are calculated.

    Attributes
    ----------
    structure
        The primitive cell (spglib, symmetry precision 0.01 Å).
    points
        k-points (n, 3) in units of its reciprocal lattice vectors.
    settings
        The mesh and the path, in words.
    """

    structure: Structure
    points: NDArray[np.float64]
    settings: dict[str, str]


def k_mesh(atoms: Atoms, k_spacing: float) -> tuple[int, int, int]:
    """Divisions of a Γ-centred mesh whose points are at most ``k_spacing`` (Å⁻¹, with 2π) apart."""
    lengths = 2 * math.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    # A cell that is doubled has exactly half the divisions, whatever the rounding.
    first, second, third = (max(1, math.ceil(length / k_spacing - 1e-6)) for length in lengths)
    return first, second, third


def band_points(structure: Structure, k_spacing: float) -> BandPoints:
    """k-points that find a gap: a mesh of the irreducible zone and the high-symmetry path.

    The cell is reduced to the primitive one first: in a supercell bands are folded, and an
    indirect gap looks direct. The path is the one of Setyawan and Curtarolo, Comput. Mater. Sci.
    49, 299 (2010), as ASE has it.

    Parameters
    ----------
    structure
        Any cell of the crystal.
    k_spacing
        Distance of the points of the mesh, Å⁻¹ (with 2π); those of the path are three times
        denser.

    Raises
    ------
    RelaxationError
        If the cell has no symmetry or path that can be found.
    """
    try:
        primitive = SpacegroupAnalyzer(structure, symprec=_SYMMETRY_PRECISION).find_primitive()
        if primitive is None:
            raise ValueError("spglib finds no primitive cell")
        atoms = Atoms(numbers=primitive.atomic_numbers, cell=primitive.lattice.matrix, pbc=True)
        mesh = k_mesh(atoms, k_spacing)
        analyzer = SpacegroupAnalyzer(primitive, symprec=_SYMMETRY_PRECISION)
        irreducible = np.array([point for point, _ in analyzer.get_ir_reciprocal_mesh(mesh)])
        path = high_symmetry_path(atoms.cell, k_spacing / PATH_DENSITY)
    except Exception as error:
        raise RelaxationError(
            f"no k-points for {structure.composition.reduced_formula}: {error}"
        ) from error
    names, points = path
    return BandPoints(
        primitive,
        np.concatenate([irreducible.reshape(-1, 3), points]),
        {
            "atoms": str(len(primitive)),
            "band_mesh": "x".join(map(str, mesh)) + f", {len(irreducible)} irreducible",
            "path": f"{names}, {len(points)} points",
        },
    )


def high_symmetry_path(cell: Cell, k_spacing: float) -> tuple[str, NDArray[np.float64]]:
    """Name and k-points (n, 3; reciprocal lattice vectors) of a cell's high-symmetry path."""
    path = cell.bandpath(npoints=0)
    points: list[NDArray[np.float64]] = []
    for line in parse_path_string(path.path):
        corners = [path.special_points[name] for name in line]
        for first, second in itertools.pairwise(corners):
            length = 2 * math.pi * np.linalg.norm((second - first) @ cell.reciprocal().array)
            count = max(1, math.ceil(length / k_spacing))
            points += [first + (second - first) * step / count for step in range(count)]
        points.append(corners[-1])
    return path.path, np.array(points)


def structure_of_bands(
    eigenvalues: NDArray[np.float64],
    electrons: float,
    fermi_energy: float,
    settings: Mapping[str, str] | None = None,
) -> ElectronicStructure:
    """The gap in eigenvalues of a crystal without spin polarisation.

    Each band holds two electrons. The crystal is a metal if their number is odd, or if the highest
    state of the last filled band is not below the lowest state of the next one, wherever in the
    zone they are; this does not depend on where smearing puts the Fermi energy.

    Parameters
    ----------
    eigenvalues
        (k-points, bands), eV, in rising order at each k-point.
    electrons
        Valence electrons of the cell.
    fermi_energy
        eV.
    settings
        What to record.

    Raises
    ------
    RelaxationError
        If there are not enough bands, or numbers are not finite.
    """
    if not np.isfinite(eigenvalues).all() or not math.isfinite(electrons):
        raise RelaxationError("eigenvalues are not finite")
    filled, rest = divmod(round(electrons), 2)
    recorded = dict(settings or {})
    points, bands = eigenvalues.shape
    if abs(electrons - round(electrons)) > 1e-3:
        raise RelaxationError(f"{electrons} electrons in the cell: not a whole number")
    if filled < 1 or bands <= filled:
        raise RelaxationError(
            f"{bands} bands for {electrons:g} electrons; a gap needs at least one filled and one "
            "empty band"
        )
    valence, conduction = eigenvalues[:, filled - 1], eigenvalues[:, filled]
    gap = float(conduction.min() - valence.max())
    if rest or gap <= 0:
        return ElectronicStructure(0.0, True, None, None, None, fermi_energy, points, recorded)
    return ElectronicStructure(
        band_gap=gap,
        is_metal=False,
        is_direct=bool((conduction - valence).min() - gap < DIRECT_TOLERANCE),
        valence_band_maximum=float(valence.max()),
        conduction_band_minimum=float(conduction.min()),
        fermi_energy=fermi_energy,
        k_points=points,
        settings=recorded,
    )


def band_count(electrons: float) -> int:
    """Bands to calculate for a gap: the filled ones and some empty ones."""
    filled = math.ceil(electrons / 2)
    return filled + max(4, math.ceil(0.2 * filled))
