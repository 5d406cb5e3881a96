"""What a relaxed crystal is: symmetry, duplicates, novelty, energies, diffraction.

Pure functions on structures and arrays: no database and no workflow.
"""

from __future__ import annotations

from crysearch.analysis.diffraction import DiffractionPattern, Peak, xray_pattern
from crysearch.analysis.duplicates import find_duplicates
from crysearch.analysis.energies import EnergiesAbove, energies_above_ground_state
from crysearch.analysis.matching import CrystalMatcher, MatchTolerances
from crysearch.analysis.novelty import ReferenceMatch, match_references
from crysearch.analysis.symmetry import (
    DEFAULT_TOLERANCES,
    Symmetry,
    WyckoffOrbit,
    analyse_symmetries,
    analyse_symmetry,
    crystal_system,
)

__all__ = [
    "DEFAULT_TOLERANCES",
    "CrystalMatcher",
    "DiffractionPattern",
    "EnergiesAbove",
    "MatchTolerances",
    "Peak",
    "ReferenceMatch",
    "Symmetry",
    "WyckoffOrbit",
    "analyse_symmetries",
    "analyse_symmetry",
    "crystal_system",
    "energies_above_ground_state",
    "find_duplicates",
    "match_references",
    "xray_pattern",
]
