"""When two relaxed crystals count as the same one.

Three tests, the cheap ones first: Pearson's distance between their radial distribution functions,
energies per atom if known, and pymatgen's StructureMatcher.

The default tolerances come from measurements on silicon. Known cells of up to 12 atoms, distorted
at random and relaxed with one potential to 0.01 eV/Å: crystals that end in the same minimum are
within 0.002 of each other in Pearson's distance, 0.05 meV/atom and 0.006 in displacement. The
nearest crystals that are not the same, but that StructureMatcher's own wide tolerances take for
the same, are BC8 and R8 (Si-III and Si-XII): 0.125, 22 meV/atom, 0.15. The radial distribution
function alone cannot decide, since different clathrates come within 0.025 of each other and cells
of the same crystal from different calculations were 0.138 apart: it only saves the slow test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from crysearch.errors import AnalysisError


@dataclass(frozen=True)
class MatchTolerances:
    """How far apart two crystals may be and still count as the same one.

    Parameters
    ----------
    pearson_distance
        Largest Pearson's distance between fingerprints, in (0, 2].
    energy
        Largest difference of energies per atom in eV/atom; unused where no energies are given.
    length, site, angle
        StructureMatcher's ``ltol`` (relative difference of cell lengths), ``stol`` (largest
        displacement of an atom over the cube root of the volume per atom) and ``angle_tol``
        (degrees). Volumes are made equal before the comparison.

    Raises
    ------
    AnalysisError
        If a tolerance is not greater than 0, or ``pearson_distance`` is above 2.
    """

    pearson_distance: float = 0.15
    energy: float = 0.005
    length: float = 0.1
    site: float = 0.1
    angle: float = 3.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise AnalysisError(f"{name}={value}: a tolerance must be greater than 0")
        if self.pearson_distance > 2:
            raise AnalysisError(
                f"pearson_distance={self.pearson_distance}: Pearson's distance is at most 2"
            )


class CrystalMatcher:
    """StructureMatcher with stated tolerances that reduces each crystal only once."""

    def __init__(self, tolerances: MatchTolerances) -> None:
        self.tolerances = tolerances
        self._matcher = StructureMatcher(
            ltol=tolerances.length, stol=tolerances.site, angle_tol=tolerances.angle
        )
        self._reduced: dict[int, tuple[Structure, Structure]] = {}

    def same(self, first: Structure, second: Structure) -> bool:
        """Whether the two crystals can be laid on one another within the tolerances."""
        if first.composition.reduced_formula != second.composition.reduced_formula:
            return False
        # Both ways: the matcher may find one direction only, and the answer must not depend on
        # which crystal came first.
        return bool(
            self._matcher.fit(
                self._reduce(first),
                self._reduce(second),
                symmetric=True,
                skip_structure_reduction=True,
            )
        )

    def _reduce(self, structure: Structure) -> Structure:
        known = self._reduced.get(id(structure))
        if known is None:
            reduced = structure.get_reduced_structure().get_primitive_structure()
            # The original is kept too, so that its id cannot be given to another structure.
            known = self._reduced[id(structure)] = (structure, reduced)
        return known[1]


def checked_inputs(
    structures: Sequence[Structure],
    fingerprints: np.ndarray,
    energies_per_atom: Sequence[float] | np.ndarray | None,
    what: str = "structures",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fingerprints (n, m) and energies (n,) as arrays, one per structure.

    Raises
    ------
    AnalysisError
        If there are not as many as structures, or an energy is not finite.
    """
    fingerprints = np.asarray(fingerprints, dtype=np.float64)
    if len(fingerprints) != len(structures) or (len(structures) and fingerprints.ndim != 2):
        raise AnalysisError(
            f"{what}: {len(structures)} structures but fingerprints of shape "
            f"{fingerprints.shape}: give one row per structure"
        )
    if energies_per_atom is None:
        return fingerprints, None
    energies = np.asarray(energies_per_atom, dtype=np.float64)
    if energies.shape != (len(structures),):
        raise AnalysisError(
            f"{what}: {len(structures)} structures but energies of shape {energies.shape}: "
            "give one energy per atom (eV/atom) for each"
        )
    if not np.isfinite(energies).all():
        raise AnalysisError(
            f"{what}: the energy of structure {int(np.argmin(np.isfinite(energies)))} is not "
            "finite: leave out relaxations that failed, or give no energies at all"
        )
    return fingerprints, energies
