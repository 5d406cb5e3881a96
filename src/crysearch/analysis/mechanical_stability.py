"""Born's criteria: is a crystal stable against every small homogeneous strain?

A crystal without stress is elastically stable if and only if its elastic tensor is positive
definite (Born, Math. Proc. Camb. Philos. Soc. 36, 160 (1940)). For each Laue class this is
equivalent to a few inequalities between elastic constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.analysis.plain import PlainResult
from crysearch.analysis.symmetry import crystal_system
from crysearch.errors import AnalysisError

LAUE_CLASSES = (
    "cubic",
    "hexagonal",
    "tetragonal I",
    "tetragonal II",
    "rhombohedral I",
    "rhombohedral II",
    "orthorhombic",
    "monoclinic",
    "triclinic",
)

#: Deviations from the form of the class, relative to the largest component, that are rounding.
FORM_TOLERANCE = 1e-3

#: From Voigt notation to the orthonormal basis of symmetric tensors (Mandel).
_MANDEL = np.sqrt(np.outer([1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2]))

#: Elastic constants by their usual indices (1 to 6).
_Constants = dict[tuple[int, int], float]

#: Expression, power of GPa, value.
_Side = tuple[str, int, float]


@dataclass(frozen=True)
class Condition(PlainResult):
    """One inequality, ``value > 0``.

    Attributes
    ----------
    expression
        The left-hand side in elastic constants.
    value
        Its value, in GPa to the power :attr:`power`.
    power
        Power of GPa.
    holds
        Whether the value is positive.
    """

    expression: str
    value: float
    power: int
    holds: bool


@dataclass(frozen=True)
class StrainPattern(PlainResult):
    """A strain against which the crystal does not resist.

    Attributes
    ----------
    modulus
        Kelvin modulus of the strain, GPa.
    strain
        Normalised strain tensor, (3, 3), in the axes of the elastic tensor.
    """

    modulus: float
    strain: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class MechanicalStability(PlainResult):
    """Whether an elastic tensor is positive definite, and what fails if not.

    Attributes
    ----------
    is_stable
        Whether every Kelvin modulus is greater than the tolerance.
    laue_class
        One of :data:`LAUE_CLASSES`.
    eigenvalues
        Kelvin moduli in GPa, ascending: eigenvalues of the tensor in Mandel notation, which,
        unlike those of the Voigt matrix, do not depend on the axes (their signs agree).
    failing
        Strain patterns of the eigenvalues that are not greater than the tolerance.
    conditions
        The inequalities of the class; empty for triclinic crystals, which have no shorter form.
    tolerance
        GPa.
    """

    is_stable: bool
    laue_class: str
    eigenvalues: tuple[float, ...]
    failing: tuple[StrainPattern, ...]
    conditions: tuple[Condition, ...]
    tolerance: float


def laue_class(space_group: int) -> str:
    """Laue class, one of :data:`LAUE_CLASSES`, of a space group number.

    Raises
    ------
    AnalysisError
        If the number is not between 1 and 230.
    """
    system = crystal_system(space_group)
    if system == "tetragonal":
        return "tetragonal II" if space_group <= 88 else "tetragonal I"
    if system == "trigonal":
        return "rhombohedral II" if space_group <= 148 else "rhombohedral I"
    return system


def analyse_mechanical_stability(
    tensor: ArrayLike, space_group: int, tolerance: float = 0.0
) -> MechanicalStability:
    """Born's criteria in the general form and in that of the Laue class.

    The conditions of Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014), for cubic to
    orthorhombic crystals, and the twelve of Wu et al., Phys. Rev. B 76, 054115 (2007), for
    monoclinic ones (unique axis b). All sets are necessary and sufficient. For the twelve this
    follows from Sylvester's criterion: C55, C33C55-C35², and the last two conditions are the
    trailing principal minors of the block (1, 2, 3, 5), and C44, C44C66-C46² those of (4, 6);
    the others are positive in a positive definite tensor. Of rhombohedral classes, C14²+C15²
    stands for C14² also in class I, so that both choices of the horizontal axes (such as P321
    and P312) are covered.

    The verdict is for a crystal without stress and says nothing of phonons with a finite wave
    vector.

    Parameters
    ----------
    tensor
        Elastic tensor in Voigt notation, (6, 6) in GPa, in the axes of
        :func:`crysearch.analysis.elasticity.standard_axes`.
    space_group
        Number from 1 to 230.
    tolerance
        Least Kelvin modulus of a stable crystal, GPa.

    Raises
    ------
    AnalysisError
        If the tensor is not a symmetric finite matrix or does not have the form of the class.
    """
    name = laue_class(space_group)
    matrix = _checked(tensor, name)
    values, vectors = np.linalg.eigh(matrix * _MANDEL)
    failing = tuple(
        StrainPattern(float(value), _strain(vector))
        for value, vector in zip(values, vectors.T, strict=True)
        if not value > tolerance
    )
    return MechanicalStability(
        is_stable=not failing,
        laue_class=name,
        eigenvalues=tuple(float(value) for value in values),
        failing=failing,
        conditions=born_conditions(matrix, name),
        tolerance=float(tolerance),
    )


def born_conditions(tensor: ArrayLike, name: str) -> tuple[Condition, ...]:
    """The inequalities of a Laue class (see :func:`analyse_mechanical_stability`).

    Raises
    ------
    AnalysisError
        If the tensor is not a symmetric finite matrix or does not have the form of the class.
    """
    matrix = _checked(tensor, name)
    constants = {(i + 1, j + 1): float(matrix[i, j]) for i in range(6) for j in range(6)}
    return tuple(
        Condition(expression, value, power, value > 0)
        for expression, power, value in _CONDITIONS[name](constants)
    )


def standard_form(tensor: ArrayLike, name: str) -> NDArray[np.float64]:
    """The tensor that a Laue class makes of the constants that it leaves independent, (6, 6)."""
    matrix = np.array(tensor, dtype=np.float64)
    if name == "triclinic":
        return matrix
    form = np.zeros((6, 6))
    kept = [(i, j) for i in range(3) for j in range(3)] + [(3, 3), (4, 4), (5, 5)]
    if name == "monoclinic":
        kept += [(0, 4), (1, 4), (2, 4), (4, 0), (4, 1), (4, 2), (3, 5), (5, 3)]
    for place in kept:
        form[place] = matrix[place]
    if name in ("monoclinic", "orthorhombic"):
        return form
    form[1, 1], form[4, 4] = form[0, 0], form[3, 3]
    form[1, 2] = form[2, 1] = form[2, 0] = form[0, 2]
    if name == "cubic":
        form[2, 2], form[5, 5] = form[0, 0], form[3, 3]
        for row, column in ((0, 1), (0, 2), (1, 2)):
            form[row, column] = form[column, row] = matrix[0, 1]
    if name == "hexagonal" or name.startswith("rhombohedral"):
        form[5, 5] = (form[0, 0] - form[0, 1]) / 2
    if name == "tetragonal II":
        form[0, 5] = form[5, 0] = matrix[0, 5]
        form[1, 5] = form[5, 1] = -matrix[0, 5]
    if name.startswith("rhombohedral"):
        c14, c15 = matrix[0, 3], matrix[0, 4]
        for (row, column), value in {
            (0, 3): c14,
            (1, 3): -c14,
            (4, 5): c14,
            (0, 4): c15,
            (1, 4): -c15,
            (3, 5): -c15,
        }.items():
            form[row, column] = form[column, row] = value
    return form


def _axial(c: _Constants) -> list[_Side]:
    return [
        ("C11 - C12", 1, c[1, 1] - c[1, 2]),
        ("C11 + C12", 1, c[1, 1] + c[1, 2]),
        ("C33 (C11 + C12) - 2 C13^2", 2, c[3, 3] * (c[1, 1] + c[1, 2]) - 2 * c[1, 3] ** 2),
        ("C44", 1, c[4, 4]),
    ]


def _cubic(c: _Constants) -> list[_Side]:
    return [
        ("C11 - C12", 1, c[1, 1] - c[1, 2]),
        ("C11 + 2 C12", 1, c[1, 1] + 2 * c[1, 2]),
        ("C44", 1, c[4, 4]),
    ]


def _tetragonal_1(c: _Constants) -> list[_Side]:
    return [*_axial(c), ("C66", 1, c[6, 6])]


def _tetragonal_2(c: _Constants) -> list[_Side]:
    coupled = c[6, 6] * (c[1, 1] - c[1, 2]) - 2 * c[1, 6] ** 2
    return [*_axial(c), ("C66 (C11 - C12) - 2 C16^2", 2, coupled)]


def _rhombohedral(c: _Constants) -> list[_Side]:
    coupled = c[4, 4] * (c[1, 1] - c[1, 2]) - 2 * (c[1, 4] ** 2 + c[1, 5] ** 2)
    return [*_axial(c), ("C44 (C11 - C12) - 2 (C14^2 + C15^2)", 2, coupled)]


def _orthorhombic(c: _Constants) -> list[_Side]:
    return [
        ("C11", 1, c[1, 1]),
        ("C11 C22 - C12^2", 2, c[1, 1] * c[2, 2] - c[1, 2] ** 2),
        (_NORMAL, 3, _normal(c)),
        ("C44", 1, c[4, 4]),
        ("C55", 1, c[5, 5]),
        ("C66", 1, c[6, 6]),
    ]


def _monoclinic(c: _Constants) -> list[_Side]:
    c12, c13, c23, c15, c25, c35 = c[1, 2], c[1, 3], c[2, 3], c[1, 5], c[2, 5], c[3, 5]
    c11, c22, c33, c55 = c[1, 1], c[2, 2], c[3, 3], c[5, 5]
    return [
        *[(f"C{k}{k}", 1, c[k, k]) for k in range(1, 7)],
        ("C11 + C22 + C33 + 2 (C12 + C13 + C23)", 1, c11 + c22 + c33 + 2 * (c12 + c13 + c23)),
        ("C33 C55 - C35^2", 2, c33 * c55 - c35**2),
        ("C44 C66 - C46^2", 2, c[4, 4] * c[6, 6] - c[4, 6] ** 2),
        ("C22 + C33 - 2 C23", 1, c22 + c33 - 2 * c23),
        (
            "C22 (C33 C55 - C35^2) + 2 C23 C25 C35 - C23^2 C55 - C25^2 C33",
            3,
            c22 * (c33 * c55 - c35**2) + 2 * c23 * c25 * c35 - c23**2 * c55 - c25**2 * c33,
        ),
        (
            "2 [C15 C25 (C33 C12 - C13 C23) + C15 C35 (C22 C13 - C12 C23)"
            " + C25 C35 (C11 C23 - C12 C13)] - [C15^2 (C22 C33 - C23^2)"
            f" + C25^2 (C11 C33 - C13^2) + C35^2 (C11 C22 - C12^2)] + C55 ({_NORMAL})",
            4,
            2
            * (
                c15 * c25 * (c33 * c12 - c13 * c23)
                + c15 * c35 * (c22 * c13 - c12 * c23)
                + c25 * c35 * (c11 * c23 - c12 * c13)
            )
            - c15**2 * (c22 * c33 - c23**2)
            - c25**2 * (c11 * c33 - c13**2)
            - c35**2 * (c11 * c22 - c12**2)
            + c55 * _normal(c),
        ),
    ]


#: Determinant of the block of normal strains.
_NORMAL = "C11 C22 C33 + 2 C12 C13 C23 - C11 C23^2 - C22 C13^2 - C33 C12^2"


def _normal(c: _Constants) -> float:
    return (
        c[1, 1] * c[2, 2] * c[3, 3]
        + 2 * c[1, 2] * c[1, 3] * c[2, 3]
        - c[1, 1] * c[2, 3] ** 2
        - c[2, 2] * c[1, 3] ** 2
        - c[3, 3] * c[1, 2] ** 2
    )


def _none(c: _Constants) -> list[_Side]:
    return []


#: Left-hand sides that must be positive, by Laue class.
_CONDITIONS: dict[str, Callable[[_Constants], list[_Side]]] = {
    "cubic": _cubic,
    "hexagonal": _axial,
    "tetragonal I": _tetragonal_1,
    "tetragonal II": _tetragonal_2,
    "rhombohedral I": _rhombohedral,
    "rhombohedral II": _rhombohedral,
    "orthorhombic": _orthorhombic,
    "monoclinic": _monoclinic,
    "triclinic": _none,
}


def _strain(vector: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """Strain tensor of a normalised vector in Mandel notation."""
    xx, yy, zz = (float(value) for value in vector[:3])
    yz, xz, xy = (float(value) / math.sqrt(2) for value in vector[3:])
    return ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))


def _checked(tensor: ArrayLike, name: str) -> NDArray[np.float64]:
    matrix = np.array(tensor, dtype=np.float64)
    if name not in LAUE_CLASSES:
        raise AnalysisError(
            f"laue_class={name!r} is unknown: give one of {', '.join(LAUE_CLASSES)}"
        )
    if matrix.shape != (6, 6) or not np.isfinite(matrix).all():
        raise AnalysisError(
            f"tensor of shape {matrix.shape}: give the elastic tensor in Voigt notation, a "
            "(6, 6) matrix of finite numbers in GPa"
        )
    largest = float(np.abs(matrix).max())
    slant = float(np.abs(matrix - matrix.T).max())
    if slant > FORM_TOLERANCE * largest:
        raise AnalysisError(f"tensor is not symmetric (by {slant:.3g} GPa): symmetrise it first")
    matrix = (matrix + matrix.T) / 2
    form = standard_form(matrix, name)
    difference = float(np.abs(matrix - form).max())
    if difference > FORM_TOLERANCE * largest:
        raise AnalysisError(
            f"tensor does not have the form of a {name} crystal (a component differs by "
            f"{difference:.3g} GPa): average it over the point group and give it in the standard "
            "axes, as calculate_elasticity does"
        )
    return form
