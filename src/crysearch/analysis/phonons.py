"""Phonons by finite displacements, with phonopy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from crysearch.analysis.calculations import RESIDUAL_FORCE, evaluate_all, symmetrised
from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError
from crysearch.relaxation import Relaxer

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

#: Frequencies (THz) down to minus this count as zero. A force constant between neighbours that
#: is wrong by 0.001 eV/Å² (an error of 1e-5 eV/Å in the force at a displacement of 0.01 Å, as of
#: single precision) moves the square of the frequency of silicon by (0.1 THz)².
DEFAULT_TOLERANCE = 0.1

#: Wave vectors nearer to Γ than this (reciprocal lattice units) are Γ.
_GAMMA = 1e-8


@dataclass(frozen=True)
class BandSegment(PlainResult):
    """Phonon bands between two special points.

    Attributes
    ----------
    labels
        Names of the two ends; ``G`` is Γ.
    ends
        Reduced coordinates of the two ends in the reciprocal primitive lattice, (2, 3).
    distances
        Along the whole path, (n,) in Å⁻¹ without the factor 2π.
    frequencies
        (n, 3 × atoms of the primitive cell) in THz, imaginary ones negative.
    """

    labels: tuple[str, str]
    ends: tuple[tuple[float, ...], tuple[float, ...]]
    distances: tuple[float, ...]
    frequencies: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ImaginaryMode(PlainResult):
    """A vibration along which the energy falls.

    Attributes
    ----------
    q
        Reduced coordinates in the reciprocal primitive lattice, (3,).
    frequency
        Minus the absolute value of the imaginary frequency, THz.
    """

    q: tuple[float, ...]
    frequency: float


@dataclass(frozen=True)
class Phonons(PlainResult):
    """Phonons of a crystal.

    Attributes
    ----------
    is_stable
        Whether no sampled mode lies below ``-tolerance``.
    is_relaxed
        Whether the largest residual force is below 0.01 eV/Å. If not, the frequencies are not
        those of a crystal at rest, and the verdict is to be taken with doubt.
    residual_force
        Largest force on an atom of the undisplaced supercell, eV/Å.
    minimum_frequency
        Lowest frequency of mesh and bands without the acoustic modes at Γ, THz, negative if
        imaginary; None if there is no other mode.
    imaginary_modes
        Sampled modes below ``-tolerance``, lowest first, at most :data:`LISTED_MODES`.
    imaginary_mode_count
        How many of the modes at the sampled wave vectors (irreducible mesh and bands) these are.
    tolerance
        THz.
    acoustic_residual
        Largest absolute acoustic frequency at Γ before the translational sum rule was imposed
        on the force constants, THz.
    cell
        Lattice vectors (rows) of the primitive cell, (3, 3) in Å.
    supercell_matrix
        Of the conventional cell, (3, 3).
    supercell_atoms
        Atoms of the supercell.
    displaced_cells
        Displaced supercells that were evaluated.
    displacement
        Å.
    mesh
        Γ-centred mesh, (3,).
    bands
        Along the special points of the lattice.
    engine
        Name of the engine.
    """

    is_stable: bool
    is_relaxed: bool
    residual_force: float
    minimum_frequency: float | None
    imaginary_modes: tuple[ImaginaryMode, ...]
    imaginary_mode_count: int
    tolerance: float
    acoustic_residual: float
    cell: tuple[tuple[float, ...], ...]
    supercell_matrix: tuple[tuple[int, ...], ...]
    supercell_atoms: int
    displaced_cells: int
    displacement: float
    mesh: tuple[int, ...]
    bands: tuple[BandSegment, ...]
    engine: str


#: Imaginary modes that a result lists.
LISTED_MODES = 20


def calculate_phonons(
    structure: Structure,
    relaxer: Relaxer,
    minimum_length: float = 10.0,
    supercell_matrix: Sequence[Sequence[int]] | None = None,
    maximum_atoms: int = 500,
    displacement: float = 0.01,
    tolerance: float = DEFAULT_TOLERANCE,
    mesh_length: float = 30.0,
    points: int = 31,
    symmetry_tolerance: float = 0.01,
) -> Phonons:
    """Harmonic phonons from the forces in displaced supercells.

    The crystal is idealised to its space group, atoms of a supercell of the conventional cell
    are displaced one by one (those that symmetry leaves independent), and the forces of all
    cells come from one call of the engine (Parlinski, Li and Kawazoe, Phys. Rev. Lett. 78, 4063
    (1997), as in phonopy: Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)). Forces of the
    undisplaced supercell are subtracted, and the force constants are made symmetric and
    translationally invariant. Splitting of longitudinal and transverse optical modes at Γ by
    the macroscopic field is not included.

    Parameters
    ----------
    structure
        Relaxed crystal.
    relaxer
        Engine.
    minimum_length
        Least distance in Å between opposite faces of the supercell, made of multiples of the
        conventional vectors.
    supercell_matrix
        Supercell of the conventional cell (:func:`crysearch.analysis.analyse_symmetry`), (3, 3)
        integers with rows as the new lattice vectors, instead of ``minimum_length``.
    maximum_atoms
        Most atoms of a supercell.
    displacement
        Å; for an engine in single precision, 0.03 Å reduces the noise.
    tolerance
        Frequencies (THz) down to minus this count as zero.
    mesh_length
        Mesh of about this length divided by each lattice vector, Å, Γ-centred.
    points
        Points of the longest segment of the bands, at least 2.
    symmetry_tolerance
        Distance tolerance in Å within which the structure is idealised.

    Raises
    ------
    AnalysisError
        If an argument is unusable, the supercell would have too many atoms, no space group is
        found or a calculation fails.
    """
    for name, value in (
        ("minimum_length", minimum_length),
        ("displacement", displacement),
        ("tolerance", tolerance),
        ("mesh_length", mesh_length),
    ):
        if not (math.isfinite(value) and value > 0):
            raise AnalysisError(f"{name}={value}: give a number greater than 0")
    if points < 2:
        raise AnalysisError(f"points={points}: give at least 2")
    symmetry = symmetrised(structure, symmetry_tolerance)
    assert symmetry.conventional is not None and symmetry.primitive is not None
    unit, primitive = symmetry.conventional, symmetry.primitive
    matrix = _supercell(unit, minimum_length, supercell_matrix, maximum_atoms)
    phonopy = _phonopy(unit, primitive, matrix)
    phonopy.generate_displacements(distance=displacement)
    displaced = phonopy.supercells_with_displacements or []
    cells = [_structure(cell) for cell in (phonopy.supercell, *displaced)]
    labels = ["the supercell", *(f"displaced supercell {k + 1}" for k in range(len(displaced)))]
    evaluations = evaluate_all(relaxer, cells, labels, "phonons")
    rest = evaluations[0]
    phonopy.forces = np.array([evaluation.forces - rest.forces for evaluation in evaluations[1:]])
    phonopy.produce_force_constants(show_drift=False)
    acoustic = _three_smallest(phonopy.get_frequencies([0, 0, 0]))
    phonopy.symmetrize_force_constants(level=3, show_drift=False)

    bands = _bands(phonopy, points)
    phonopy.run_mesh(mesh_length, is_gamma_center=True)
    sampled: dict[str, Any] = dict(phonopy.get_mesh_dict())
    modes = _modes(sampled["qpoints"], sampled["frequencies"])
    imaginary = [mode for mode in modes if mode.frequency < -tolerance]
    on_mesh = {mode.q for mode in modes}
    for segment in bands:
        share = np.linspace(0, 1, len(segment.distances))[:, None]
        first, last = np.array(segment.ends)
        along = _modes(first + share * (last - first), np.array(segment.frequencies))
        modes += along
        imaginary += [m for m in along if m.frequency < -tolerance and m.q not in on_mesh]
    lowest = sorted(dict.fromkeys(imaginary), key=lambda mode: mode.frequency)
    assert phonopy.mesh_numbers is not None
    return Phonons(
        is_stable=not lowest,
        is_relaxed=rest.largest_force < RESIDUAL_FORCE,
        residual_force=rest.largest_force,
        minimum_frequency=min((mode.frequency for mode in modes), default=None),
        imaginary_modes=tuple(lowest[:LISTED_MODES]),
        imaginary_mode_count=len(lowest),
        tolerance=tolerance,
        acoustic_residual=float(np.abs(acoustic).max()),
        cell=tuple(tuple(row) for row in phonopy.primitive.cell.tolist()),
        supercell_matrix=tuple(tuple(row) for row in matrix.tolist()),
        supercell_atoms=len(phonopy.supercell),
        displaced_cells=len(displaced),
        displacement=displacement,
        mesh=tuple(int(number) for number in phonopy.mesh_numbers),
        bands=bands,
        engine=relaxer.name,
    )


def _supercell(
    unit: Structure,
    minimum_length: float,
    given: Sequence[Sequence[int]] | None,
    maximum_atoms: int,
) -> NDArray[np.int64]:
    """Rows are the lattice vectors of the supercell in those of the conventional cell."""
    if given is None:
        # Distances between the faces, not lengths: an oblique cell is narrower than its edges.
        heights = 1 / np.linalg.norm(np.linalg.inv(unit.lattice.matrix), axis=0)
        matrix = np.diag(np.ceil(minimum_length / heights - 1e-9).astype(np.int64))
    else:
        matrix = np.array(given)
        if (
            matrix.shape != (3, 3)
            or not np.issubdtype(matrix.dtype, np.integer)
            or round(np.linalg.det(matrix)) < 1
        ):
            raise AnalysisError(
                f"supercell_matrix={given!r}: give three rows of three integers with a positive "
                "determinant"
            )
    atoms = len(unit) * round(np.linalg.det(matrix))
    if atoms > maximum_atoms:
        raise AnalysisError(
            f"a supercell {np.diag(matrix).tolist() if given is None else matrix.tolist()} has "
            f"{atoms} atoms, more than maximum_atoms={maximum_atoms}: allow more, or give a "
            "smaller minimum_length or supercell_matrix"
        )
    return matrix


def _phonopy(unit: Structure, primitive: Structure, matrix: NDArray[np.int64]) -> Phonopy:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    # phonopy wants columns: new lattice vectors in terms of the old ones, transposed.
    reduced = (primitive.lattice.matrix @ np.linalg.inv(unit.lattice.matrix)).T
    atoms = PhonopyAtoms(
        symbols=[site.specie.symbol for site in unit],
        cell=unit.lattice.matrix,
        scaled_positions=unit.frac_coords,
    )
    return Phonopy(atoms, supercell_matrix=matrix.T, primitive_matrix=reduced, log_level=0)


def _structure(cell: PhonopyAtoms) -> Structure:
    return Structure(Lattice(cell.cell), cell.symbols, cell.scaled_positions)


def _bands(phonopy: Phonopy, points: int) -> tuple[BandSegment, ...]:
    """Bands along the special points of the lattice (Setyawan and Curtarolo, as ASE has them)."""
    cell = np.array(phonopy.primitive.cell)
    path = Cell(cell).bandpath(npoints=0)
    reciprocal = np.linalg.inv(cell).T
    pairs = [
        (first, last) for part in parse_path_string(path.path) for first, last in pairwise(part)
    ]
    ends = [np.array([path.special_points[name] for name in pair]) for pair in pairs]
    lengths = [float(np.linalg.norm((last - first) @ reciprocal)) for first, last in ends]
    counts = [max(2, math.ceil(points * length / max(lengths))) for length in lengths]
    phonopy.run_band_structure(
        [
            first + np.linspace(0, 1, count)[:, None] * (last - first)
            for (first, last), count in zip(ends, counts, strict=True)
        ]
    )
    frequencies = phonopy.get_band_structure_dict()["frequencies"] or []
    segments, start = [], 0.0
    for pair, end, length, values in zip(pairs, ends, lengths, frequencies, strict=True):
        segments.append(
            BandSegment(
                labels=pair,
                ends=(tuple(end[0].tolist()), tuple(end[1].tolist())),
                distances=tuple((start + np.linspace(0, length, len(values))).tolist()),
                frequencies=tuple(tuple(row) for row in np.round(values, 6).tolist()),
            )
        )
        start += length
    return tuple(segments)


def _modes(qpoints: NDArray[np.float64], values: NDArray[np.float64]) -> list[ImaginaryMode]:
    """Every mode of every wave vector but the acoustic ones at Γ."""
    modes = []
    for q, row in zip(qpoints, values, strict=True):
        if np.linalg.norm(q - np.round(q)) < _GAMMA:
            row = np.delete(row, np.argsort(np.abs(row))[:3])
        name = tuple(np.round(q, 8).tolist())
        modes += [ImaginaryMode(name, round(float(frequency), 6)) for frequency in row]
    return modes


def _three_smallest(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(frequencies[np.argsort(np.abs(frequencies))[:3]])
