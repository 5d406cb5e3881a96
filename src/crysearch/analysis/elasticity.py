"""Elastic tensor by finite strains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.elasticity import Deformation, ElasticTensor, Strain, Stress
from pymatgen.core import Lattice, Structure

from crysearch.analysis.calculations import relax_ions, symmetrised
from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationSettings, Relaxer

#: Green–Lagrange strains of each of the six independent components.
DEFAULT_STRAINS = (-0.01, -0.005, 0.005, 0.01)

#: Larger strains are outside the linear regime that is fitted.
LARGEST_STRAIN = 0.05

#: Larger root mean square deviations from linearity, relative to the stresses, and larger changes
#: by the symmetrisation, relative to the largest component, mean that ions left their places in a
#: strained cell: the fit is then no elastic tensor. Of 26 silicon crystals with the
#: Stillinger–Weber potential, 23 have at most 0.14 and 0.006; of the other three the first is
#: above 0.6.
LARGEST_NONLINEARITY = 0.2
LARGEST_ASYMMETRY = 0.1

_COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Moduli(PlainResult):
    """Isotropic averages of a polycrystal, GPa.

    The Voigt averages assume equal strain and the Reuss averages equal stress in all grains;
    Hill's are their means (Hill, Proc. Phys. Soc. A 65, 349 (1952)).

    Attributes
    ----------
    bulk_voigt, bulk_reuss, bulk_hill, shear_voigt, shear_reuss, shear_hill
        Bulk and shear moduli, GPa.
    young
        Young's modulus from Hill's averages, GPa.
    poisson
        Poisson's ratio from Hill's averages.
    universal_anisotropy
        ``5 G_V/G_R + K_V/K_R - 6``; 0 for an isotropic crystal (Ranganathan and
        Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008)).
    """

    bulk_voigt: float
    bulk_reuss: float
    bulk_hill: float
    shear_voigt: float
    shear_reuss: float
    shear_hill: float
    young: float
    poisson: float
    universal_anisotropy: float


@dataclass(frozen=True)
class Elasticity(PlainResult):
    """Elastic tensor of a crystal and how good it is.

    Attributes
    ----------
    tensor
        Symmetrised elastic tensor in Voigt notation, (6, 6) in GPa, in the Cartesian axes in
        which :attr:`cell` is given (see :func:`standard_axes`).
    space_group
        Space group number at the symmetry tolerance.
    cell
        Lattice vectors (rows) in Å of the primitive cell that was strained, (3, 3).
    moduli
        Polycrystalline averages; None if the tensor is not positive definite, since the
        averages of an unstable crystal mean nothing.
    asymmetry
        Largest change of a component by the symmetrisation, GPa.
    fit_residual
        Root mean square difference between the stresses and the linear fit, GPa.
    residual_stress
        Largest stress component of the unstrained cell, GPa. The tensor is that of a crystal
        without stress only if this is small.
    strains
        Strains of each component.
    engine
        Name of the engine.
    """

    tensor: tuple[tuple[float, ...], ...]
    space_group: int
    cell: tuple[tuple[float, ...], ...]
    moduli: Moduli | None
    asymmetry: float
    fit_residual: float
    residual_stress: float
    strains: tuple[float, ...]
    engine: str


def calculate_elasticity(
    structure: Structure,
    relaxer: Relaxer,
    strains: Sequence[float] = DEFAULT_STRAINS,
    settings: RelaxationSettings | None = None,
    symmetry_tolerance: float = 0.01,
) -> Elasticity:
    """Elastic tensor from the stresses of strained cells with relaxed ions.

    The primitive cell, idealised to its space group and turned into the axes of the IEEE
    standard on piezoelectricity (176-1987), is strained along each of the six components. Ions
    are relaxed in the strained cells (all in one call of the engine), and the second
    Piola–Kirchhoff stresses are fitted linearly to the Green–Lagrange strains, as by de Jong et
    al., Sci. Data 2, 150009 (2015). The tensor is then averaged over the point group.

    Parameters
    ----------
    structure
        Relaxed crystal.
    relaxer
        Engine.
    strains
        Strains of each component, of both signs; a shear strain is the tensor component, half
        of the engineering strain.
    settings
        For the relaxation of the ions; None for forces below 0.001 eV/Å.
    symmetry_tolerance
        Distance tolerance in Å within which the structure is idealised.

    Raises
    ------
    AnalysisError
        If the strains are unusable, no space group is found, a strained cell fails or does not
        converge, or the stresses are not linear in the strains or break the symmetry.
    """
    amounts = _checked(strains)
    symmetry = symmetrised(structure, symmetry_tolerance)
    assert symmetry.primitive is not None and symmetry.conventional is not None
    assert symmetry.number is not None and symmetry.crystal_system is not None
    rotation = standard_axes(symmetry.conventional.lattice, symmetry.crystal_system)
    primitive = symmetry.primitive
    cell = Structure(
        Lattice(primitive.lattice.matrix @ rotation.T), primitive.species, primitive.frac_coords
    )

    deformations, labels = [], []
    for row, column in _COMPONENTS:
        for amount in amounts:
            strain = np.zeros((3, 3))
            strain[row, column] = strain[column, row] = amount
            deformations.append(Strain(strain).get_deformation_matrix("symmetric"))
            labels.append(f"the cell with strain {'xyz'[row]}{'xyz'[column]}={amount:g}")
    evaluations = relax_ions(
        relaxer,
        [cell, *(deformation.apply_to_structure(cell) for deformation in deformations)],
        ["the unstrained cell", *labels],
        settings,
        "elastic tensor",
    )
    # Single precision leaves stresses that are symmetric to a few digits only.
    symmetric = [Stress((one.stress + one.stress.T) / 2) for one in evaluations]
    rest = symmetric[0]
    stresses = [
        stress.piola_kirchoff_2(Deformation(deformation))
        for stress, deformation in zip(symmetric[1:], deformations, strict=True)
    ]
    greens = [Strain.from_deformation(deformation) for deformation in deformations]
    raw = ElasticTensor.from_independent_strains(greens, stresses, eq_stress=rest, tol=0.0)
    voigt = np.array(raw.voigt)
    halved = ElasticTensor.from_voigt((voigt + voigt.T) / 2)
    tensor = np.array(halved.fit_to_structure(cell, symmetry_tolerance).voigt)
    tensor = (tensor + tensor.T) / 2
    differences = [
        stress.voigt - rest.voigt - voigt.T @ green.voigt
        for stress, green in zip(stresses, greens, strict=True)
    ]
    asymmetry = float(np.abs(tensor - voigt).max())
    residual = float(np.sqrt(np.mean(np.square(differences))))
    size = float(np.sqrt(np.mean([(stress.voigt - rest.voigt) ** 2 for stress in stresses])))
    largest = float(np.abs(tensor).max())
    if residual > LARGEST_NONLINEARITY * size or asymmetry > LARGEST_ASYMMETRY * largest:
        raise AnalysisError(
            f"no elastic tensor of {cell.composition.formula} by {relaxer.name}: the stresses "
            f"(root mean square {size:.3g} GPa) deviate by {residual:.3g} GPa from linearity, and "
            f"the tensor (largest component {largest:.4g} GPa) by {asymmetry:.3g} GPa from the "
            "symmetry of the crystal, since ions leave their places in a strained cell; give "
            "smaller strains, or relax the structure from slightly displaced ions first"
        )
    return Elasticity(
        tensor=_rows(tensor),
        space_group=symmetry.number,
        cell=_rows(cell.lattice.matrix),
        moduli=average_moduli(tensor),
        asymmetry=asymmetry,
        fit_residual=residual,
        residual_stress=evaluations[0].largest_stress,
        strains=amounts,
        engine=relaxer.name,
    )


def average_moduli(tensor: NDArray[np.float64]) -> Moduli | None:
    """Voigt, Reuss and Hill averages of an elastic tensor (6, 6) in GPa.

    None if the tensor is not positive definite.
    """
    if not np.linalg.eigvalsh(tensor)[0] > 0:
        return None
    elastic = ElasticTensor.from_voigt(tensor)
    bulk, shear = float(elastic.k_vrh), float(elastic.g_vrh)
    return Moduli(
        bulk_voigt=float(elastic.k_voigt),
        bulk_reuss=float(elastic.k_reuss),
        bulk_hill=bulk,
        shear_voigt=float(elastic.g_voigt),
        shear_reuss=float(elastic.g_reuss),
        shear_hill=shear,
        young=9 * bulk * shear / (3 * bulk + shear),
        poisson=(3 * bulk - 2 * shear) / (6 * bulk + 2 * shear),
        universal_anisotropy=float(elastic.universal_anisotropy),
    )


def standard_axes(lattice: Lattice, crystal_system: str) -> NDArray[np.float64]:
    """Orthonormal axes of the IEEE standard 176-1987 (rows), for a conventional lattice.

    Cubic: along a, b, c. Tetragonal, trigonal, hexagonal: x along a, z along c. Orthorhombic:
    z, x, y along the lattice vectors in order of length. Monoclinic (unique axis b): y along b,
    z along the shorter of a and c. Triclinic: z along the shortest lattice vector, y normal to
    it and to the second shortest.

    pymatgen's ``get_ieee_rotation`` is not used: it orders the axes of a tetragonal cell by
    length, which puts z off the fourfold axis where c is shorter than a.
    """
    a, b, c = lattice.matrix
    if crystal_system == "monoclinic":
        z = min((c, a), key=lambda vector: round(float(np.linalg.norm(vector)), 6))
        y = b if np.linalg.det(lattice.matrix) > 0 else -b
        x = np.cross(y, z)
    elif crystal_system in ("orthorhombic", "triclinic"):
        z, x, _ = sorted(lattice.matrix, key=lambda vector: float(np.linalg.norm(vector)))
        y = np.cross(z, x)
        x = np.cross(y, z)
    else:
        z, x = c, a
        y = np.cross(z, x)
    axes = np.array([x, y, z]) / np.linalg.norm([x, y, z], axis=1)[:, None]
    # Rounding: the nearest orthogonal matrix.
    left, _, right = np.linalg.svd(axes)
    return np.asarray(left @ right, dtype=np.float64)


def _checked(strains: Sequence[float]) -> tuple[float, ...]:
    amounts = tuple(float(strain) for strain in strains)
    usable = all(math.isfinite(a) and 0 < abs(a) <= LARGEST_STRAIN for a in amounts)
    if not usable or len(set(amounts)) != len(amounts) or not amounts:
        raise AnalysisError(
            f"strains={list(strains)}: give different numbers between -{LARGEST_STRAIN} and "
            f"{LARGEST_STRAIN}, not 0"
        )
    if not min(amounts) < 0 < max(amounts):
        raise AnalysisError(
            f"strains={list(strains)}: give strains of both signs, so that the terms of second "
            "order cancel"
        )
    return amounts


def _rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
