"""Atom-centred symmetry functions: the neighbourhood of an atom as a list of numbers.

J. Behler, J. Chem. Phys. 134, 074106 (2011). For a centre i and neighbours j, k within the cut-off,

    G2 = Σ_j exp(-η (r_ij - r_s)²) f(r_ij)
    G4 = 2^(1-ζ) Σ_{j<k} (1 + λ cos θ_jik)^ζ exp(-η (r_ij² + r_ik² + r_jk²)) f(r_ij) f(r_ik) f(r_jk)

with f = (cos(π r/r_c) + 1)/2, or the polynomial 1 - 10 x³ + 15 x⁴ - 6 x⁵ of x = r/r_c, whose second
derivative is continuous too. There is a G2 for each element of j and a G4 for each pair of elements
of j and k. They do not change under translation, rotation and permutation of like atoms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.potentials import kernel
from crysearch.potentials.configuration import Configuration, Failure, check_elements
from crysearch.potentials.soundness import gather

CutoffFunction = Literal["cosine", "polynomial"]
CUTOFF_FUNCTIONS: tuple[CutoffFunction, ...] = get_args(CutoffFunction)


@dataclass(frozen=True, eq=False)
class SymmetryValues:
    """Symmetry functions of the atoms of several crystals, one crystal after the other.

    Attributes
    ----------
    sound : ndarray of int, shape (S,)
        Which of the crystals given have values.
    failures : dict
        Why the others have none, by their place.
    starts : ndarray of int, shape (S + 1,)
        First atom of each sound crystal.
    species : ndarray of int, shape (A,)
        Place of each atom's element in `SymmetryFunctions.elements`.
    values : ndarray, shape (A, F)
    block_starts : ndarray of int, shape (A + 1,)
        First block of each atom i; a block is a distinct neighbouring atom j ≠ i.
    block_atoms : ndarray of int, shape (B,)
        The atom j of each block.
    jacobian : ndarray, shape (B, 3, F)
        dG_i/dr_j, Å⁻¹, summed over the images of j. dG_i/dr_i is minus the sum of i's blocks.
    strain : ndarray, shape (A, 6, F)
        dG_i/dε for a symmetric strain of cell and atoms: xx, yy, zz, yz, xz, xy.
    """

    sound: NDArray[np.int64]
    failures: dict[int, Failure]
    starts: NDArray[np.int64]
    species: NDArray[np.int64]
    values: NDArray[np.float64]
    block_starts: NDArray[np.int64]
    block_atoms: NDArray[np.int64]
    jacobian: NDArray[np.float64]
    strain: NDArray[np.float64]


@dataclass(frozen=True)
class SymmetryFunctions:
    """A set of symmetry functions, the same around atoms of every element.

    Parameters
    ----------
    elements : sequence of str
        Put in the order of their atomic numbers.
    radial : sequence of (float, float)
        η in Å⁻² (not negative) and r_s in Å of each G2.
    exponents : sequence of float
        η of the G4, Å⁻², not negative; sorted.
    powers : sequence of int
        ζ of the G4, 1 to 128; sorted.
    signs : sequence of int
        λ of the G4: -1, 1 or both. Every exponent, power and sign is combined with every other.
    cutoff : float
        r_c, Å.
    cutoff_function : {"polynomial", "cosine"}

    Raises
    ------
    TrainingError
        For a value that is not possible.
    """

    elements: tuple[str, ...]
    radial: tuple[tuple[float, float], ...]
    exponents: tuple[float, ...]
    powers: tuple[int, ...] = (1, 2, 4, 8)
    signs: tuple[int, ...] = (-1, 1)
    cutoff: float = 6.0
    cutoff_function: CutoffFunction = "polynomial"

    def __post_init__(self) -> None:
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        put("elements", check_elements(self.elements))
        put("cutoff", check_positive("cutoff", self.cutoff))
        if self.cutoff_function not in CUTOFF_FUNCTIONS:
            raise TrainingError(
                f"cutoff_function is {self.cutoff_function!r}; choose one of: "
                f"{', '.join(CUTOFF_FUNCTIONS)}."
            )
        put("radial", tuple((_number("radial", eta), _number("radial", centre))
                            for eta, centre in _pairs(self.radial)))  # fmt: skip
        put("exponents", tuple(sorted(_number("exponents", eta) for eta in self.exponents)))
        put("powers", tuple(sorted(check_count("powers", zeta, 1) for zeta in self.powers)))
        put("signs", tuple(sorted(self.signs)))
        largest = 2**kernel.POWER_BITS
        if self.powers and self.powers[-1] > largest:
            raise TrainingError(f"powers hold {self.powers[-1]}; the largest is {largest}.")
        if any(sign not in (-1, 1) for sign in self.signs):
            raise TrainingError(f"signs are {list(self.signs)}; give -1, 1 or both.")
        for field in ("exponents", "powers", "signs", "radial"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise TrainingError(f"{field} are {list(values)}; give each once.")
        if not self.size:
            raise TrainingError("radial and exponents are empty; give at least one function.")
        # The compiled loop pads to eight functions for each exponent.
        padded = len(self.exponents) * (-(-len(self.signs) * len(self.powers) // 8) * 8)
        if padded > kernel.LANES:
            raise TrainingError(
                f"exponents, powers and signs make {padded} functions of a pair of elements "
                f"(rounded up to eights for each exponent); at most {kernel.LANES} are possible."
            )

    @classmethod
    def standard(
        cls,
        elements: Sequence[str],
        *,
        cutoff: float = 6.0,
        radial: int = 12,
        angular: int = 3,
        cutoff_function: CutoffFunction = "polynomial",
    ) -> Self:
        """Make an even set that covers the distances up to the cut-off.

        Parameters
        ----------
        elements : sequence of str
        cutoff : float
            Å.
        radial : int
            Number of G2 for each element: Gaussians as wide as they are apart, evenly spread from a
            sixth of the cut-off to the cut-off.
        angular : int
            Number of exponents of the G4, from 0.18/r_c² on, each four times the one before; with
            four powers and two signs there are eight times as many G4 for each pair of elements.
        cutoff_function : {"polynomial", "cosine"}
        """
        cutoff = check_positive("cutoff", cutoff)
        radial, angular = check_count("radial", radial, 2), check_count("angular", angular, 0)
        centres = np.linspace(cutoff / 6.0, cutoff, radial)
        eta = 0.5 / float(centres[1] - centres[0]) ** 2
        return cls(
            tuple(elements),
            tuple((eta, float(centre)) for centre in centres),
            tuple(0.18 / cutoff**2 * 4.0**step for step in range(angular)),
            cutoff=cutoff,
            cutoff_function=cutoff_function,
        )

    @property
    def size(self) -> int:
        """Number of functions F of each atom."""
        elements = len(self.elements)
        pairs = elements * (elements + 1) // 2
        angular = len(self.exponents) * len(self.powers) * len(self.signs)
        return elements * len(self.radial) + pairs * angular

    def labels(self) -> list[dict[str, Any]]:
        """Say what each function is: kind, neighbouring elements, eta, and the other numbers."""
        labels: list[dict[str, Any]] = [
            {"kind": "G2", "neighbours": [element], "eta": eta, "centre": centre}
            for element in self.elements
            for eta, centre in self.radial
        ]
        return labels + [
            {"kind": "G4", "neighbours": list(pair), "eta": eta, "zeta": zeta, "lambda": sign}
            for pair in combinations_with_replacement(self.elements, 2)
            for eta in self.exponents
            for sign in self.signs
            for zeta in self.powers
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {
            key: list(value) if isinstance(value, tuple) else value for key, value in data.items()
        }
        return {**plain, "radial": [list(pair) for pair in self.radial]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a set from `to_dict`."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        try:
            return cls(**plain)
        except TypeError as error:
            raise TrainingError(f"symmetry functions: {error}.") from error

    def compute(
        self, configurations: Sequence[Configuration | Failure], *, derivatives: bool = True
    ) -> SymmetryValues:
        """Compute the functions of all atoms of all crystals that they can be computed for.

        Parameters
        ----------
        configurations : sequence of Configuration or Failure
            What has failed already stays so.
        derivatives : bool
            Without, `jacobian` and `strain` are empty.

        Returns
        -------
        SymmetryValues
            Crystals with other elements, degenerate cells or atoms too close are failures.
        """
        places, failures, crystals, neighbours, blocks = gather(
            configurations, self.elements, self.cutoff
        )
        atoms, size = len(crystals.positions), self.size
        block_starts = np.zeros(atoms + 1, np.int64)
        if derivatives:
            block_starts[1:] = np.cumsum(blocks)
        values = np.zeros((atoms, size))
        block_atoms = np.zeros(block_starts[-1], np.int64)
        jacobian = np.zeros(block_starts[-1] * 3 * size)
        strain = np.zeros(atoms * 6 * size if derivatives else 0)
        kernel.evaluate(
            self._functions,
            crystals,
            int(neighbours.max(initial=1)),
            block_starts,
            bool(derivatives),
            values,
            block_atoms,
            jacobian,
            strain,
        )
        return SymmetryValues(
            sound=places,
            failures=failures,
            starts=crystals.starts,
            species=crystals.species,
            values=values,
            block_starts=block_starts,
            block_atoms=block_atoms,
            jacobian=jacobian.reshape(-1, 3, size),
            strain=strain.reshape(-1, 6, size),
        )

    @cached_property
    def _functions(self) -> kernel.Functions:
        elements = len(self.elements)
        grid = len(self.exponents) * len(self.powers) * len(self.signs)
        offsets = np.zeros((elements, elements), np.int64)
        pairs = combinations_with_replacement(range(elements), 2)
        for number, (first, second) in enumerate(pairs):
            offsets[first, second] = elements * len(self.radial) + number * grid
            offsets[second, first] = offsets[first, second]
        # An exponent that is another one doubled so many times needs no exponential of its own.
        doublings = np.zeros(len(self.exponents), np.int64)
        for place in range(1, len(self.exponents)):
            if self.exponents[place - 1] > 0.0:
                ratio = math.log2(self.exponents[place] / self.exponents[place - 1])
                if abs(ratio - round(ratio)) < 1e-12 and round(ratio) <= 6:
                    doublings[place] = round(ratio)
        return kernel.Functions(
            cutoff=self.cutoff,
            sizes=np.array([CUTOFF_FUNCTIONS.index(self.cutoff_function), self.size]),
            radial=np.array(self.radial, dtype=float).reshape(-1, 2).T.copy(),
            exponents=np.array(self.exponents, dtype=float),
            doublings=doublings,
            signs=np.array(self.signs, dtype=float),
            powers=np.array(self.powers, dtype=np.int64),
            radial_offsets=np.arange(elements) * len(self.radial),
            angular_offsets=offsets,
        )


def _number(field: str, value: Any) -> float:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not 0.0 <= value < math.inf:
        raise TrainingError(f"{field} holds {value!r}; give finite numbers of at least 0.")
    return float(value)


def _pairs(radial: Any) -> list[tuple[Any, Any]]:
    try:
        return [(eta, centre) for eta, centre in radial]
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"radial is {radial!r}; give pairs of an exponent and a centre."
        ) from error
