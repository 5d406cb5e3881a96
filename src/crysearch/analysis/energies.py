"""Energies above a ground state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Composition

from crysearch.errors import AnalysisError


@dataclass(frozen=True)
class EnergiesAbove:
    """Energies per atom above two ground states, in eV/atom.

    Attributes
    ----------
    ground_state_found
        Above the lowest of the given energies of the same formula, shape (n,); never negative.
    reference_ground_state
        Above the lowest reference of the same formula, shape (n,): negative for a crystal
        that is more stable than every reference, not-a-number without such a reference.
    """

    ground_state_found: np.ndarray
    reference_ground_state: np.ndarray


def energies_above_ground_state(
    energies_per_atom: Sequence[float] | np.ndarray,
    formulas: Sequence[str],
    reference_energies_per_atom: Sequence[float] | np.ndarray,
    reference_formulas: Sequence[str],
) -> EnergiesAbove:
    """Energies above the ground state found and above that of the references.

    All energies must come from the same engine. Crystals are compared with those of the same
    reduced formula only: this is no convex hull.

    Parameters
    ----------
    energies_per_atom, reference_energies_per_atom
        eV/atom, shapes (n,) and (k,); not-a-number for a crystal without an energy, which stays
        not-a-number.
    formulas, reference_formulas
        Any formula of each, such as ``Si8``; reduced before they are compared.

    Raises
    ------
    AnalysisError
        If energies and formulas differ in number.
    """
    energies, reduced = _checked(energies_per_atom, formulas, "energies_per_atom")
    reference_energies, reference_reduced = _checked(
        reference_energies_per_atom, reference_formulas, "reference_energies_per_atom"
    )
    found = np.full(len(energies), np.nan)
    above_reference = np.full(len(energies), np.nan)
    for formula in np.unique(reduced):
        own = reduced == formula
        for target, pool in (
            (found, energies[own]),
            (above_reference, reference_energies[reference_reduced == formula]),
        ):
            pool = pool[np.isfinite(pool)]
            if len(pool):
                target[own] = energies[own] - pool.min()
    return EnergiesAbove(found, above_reference)


def _checked(
    energies: Sequence[float] | np.ndarray, formulas: Sequence[str], name: str
) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(energies, dtype=np.float64)
    if values.shape != (len(formulas),):
        raise AnalysisError(
            f"{name} has shape {values.shape} for {len(formulas)} formulas: give one for each"
        )
    reduced = {formula: Composition(formula).reduced_formula for formula in set(formulas)}
    return values, np.array([reduced[formula] for formula in formulas], dtype=str)
