"""Which of many relaxed crystals are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pymatgen.core import Structure

from crysearch.analysis.matching import CrystalMatcher, MatchTolerances, checked_inputs
from crysearch.fingerprints import pearson_distance_matrix

#: Rows of the distance matrix held at a time: memory grows with n, not with n².
_BLOCK = 256


def find_duplicates(
    structures: Sequence[Structure],
    fingerprints: np.ndarray,
    energies_per_atom: Sequence[float] | np.ndarray | None = None,
    tolerances: MatchTolerances | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[int | None]:
    """The crystal that each crystal repeats.

    Crystals are taken in order of energy (then of position in the list). Each is compared with
    the representatives found so far, nearest fingerprint first, and either joins the first that
    it matches or becomes a representative itself. So every duplicate directly matches its
    representative, which is the lowest in energy of its group: no chains of small steps.

    Parameters
    ----------
    structures
        Relaxed crystals, n of them.
    fingerprints
        Their radial distribution functions, shape (n, m), all with the same settings.
    energies_per_atom
        eV/atom, shape (n,); None to compare without energies, in list order.
    tolerances
        ``MatchTolerances()`` by default.
    progress
        Called with the number of newly finished crystals.

    Returns
    -------
    list of int or None
        For each crystal the index of its representative; None for a representative.

    Raises
    ------
    AnalysisError
        If the inputs differ in length or an energy is not finite.
    FingerprintError
        If a fingerprint is constant or not finite.
    """
    fingerprints, energies = checked_inputs(structures, fingerprints, energies_per_atom)
    tolerances = tolerances or MatchTolerances()
    matcher = CrystalMatcher(tolerances)
    count = len(structures)
    keys = np.zeros(count) if energies is None else energies
    order = np.argsort(keys, kind="stable")
    duplicate_of: list[int | None] = [None] * count
    representatives: list[int] = []
    for start in range(0, count, _BLOCK):
        block = order[start : start + _BLOCK]
        distances = pearson_distance_matrix(fingerprints[block], fingerprints)
        for row, index in zip(distances, block.tolist(), strict=True):
            known = np.array(representatives, dtype=int)
            near = known[
                (row[known] <= tolerances.pearson_distance)
                & (np.abs(keys[known] - keys[index]) <= tolerances.energy)
            ]
            for candidate in near[np.argsort(row[near], kind="stable")].tolist():
                if matcher.same(structures[candidate], structures[index]):
                    duplicate_of[index] = candidate
                    break
            else:
                representatives.append(index)
            if progress is not None:
                progress(1)
    return duplicate_of
