"""Which relaxed crystals are already among the relaxed references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from crysearch.analysis.matching import CrystalMatcher, MatchTolerances, checked_inputs
from crysearch.fingerprints import pearson_distance_matrix


@dataclass(frozen=True)
class ReferenceMatch:
    """The reference that a crystal is, and the one that it is nearest to.

    Attributes
    ----------
    matched
        Index of the reference that it is; None if it is none of them.
    nearest
        Index of the reference with the nearest fingerprint; None if there are no references.
    nearest_distance
        Pearson's distance to that one; None if there are no references.
    """

    matched: int | None
    nearest: int | None
    nearest_distance: float | None

    @property
    def is_new(self) -> bool:
        """Whether the crystal is none of the references."""
        return self.matched is None


def match_references(
    structures: Sequence[Structure],
    fingerprints: np.ndarray,
    references: Sequence[Structure],
    reference_fingerprints: np.ndarray,
    energies_per_atom: Sequence[float] | np.ndarray | None = None,
    reference_energies_per_atom: Sequence[float] | np.ndarray | None = None,
    tolerances: MatchTolerances | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[ReferenceMatch]:
    """Match relaxed crystals against references relaxed with the same engine.

    References within the tolerances of Pearson's distance (and of energy, if both kinds of
    energies are given) are tried nearest first; the first that StructureMatcher accepts is the
    match.

    Parameters
    ----------
    structures, references
        Relaxed crystals, n and k of them.
    fingerprints, reference_fingerprints
        Their radial distribution functions, shapes (n, m) and (k, m), with the same settings.
    energies_per_atom, reference_energies_per_atom
        eV/atom, shapes (n,) and (k,); used only if both are given.
    tolerances
        ``MatchTolerances()`` by default: the same as for duplicates.
    progress
        Called with the number of newly finished crystals.

    Returns
    -------
    list of ReferenceMatch
        One per crystal.

    Raises
    ------
    AnalysisError
        If the inputs differ in length or an energy is not finite.
    FingerprintError
        If a fingerprint is constant or not finite, or the grids differ.
    """
    fingerprints, energies = checked_inputs(structures, fingerprints, energies_per_atom)
    reference_fingerprints, reference_energies = checked_inputs(
        references, reference_fingerprints, reference_energies_per_atom, "references"
    )
    tolerances = tolerances or MatchTolerances()
    if not len(references) or not len(structures):
        return [ReferenceMatch(None, None, None) for _ in structures]
    matcher = CrystalMatcher(tolerances)
    distances = pearson_distance_matrix(fingerprints, reference_fingerprints)
    matches = []
    for index, row in enumerate(distances):
        near = row <= tolerances.pearson_distance
        if energies is not None and reference_energies is not None:
            near &= np.abs(reference_energies - energies[index]) <= tolerances.energy
        candidates = [k for k in np.argsort(row, kind="stable").tolist() if near[k]]
        matched = next(
            (k for k in candidates if matcher.same(references[k], structures[index])), None
        )
        nearest = int(row.argmin())
        matches.append(ReferenceMatch(matched, nearest, float(row[nearest])))
        if progress is not None:
            progress(1)
    return matches
