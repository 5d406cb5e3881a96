"""What a relaxed crystal is: symmetry, duplicates, novelty, stability, elasticity, phonons.

Functions on structures, arrays and relaxation engines: no database and no workflow.
"""

from __future__ import annotations

from crysearch.analysis.coordination import (
    BondLengths,
    Coordination,
    analyse_coordination,
)
from crysearch.analysis.diffraction import (
    DiffractionPattern,
    Peak,
    xray_pattern,
)
from crysearch.analysis.duplicates import (
    find_duplicates,
)
from crysearch.analysis.elasticity import (
    Elasticity,
    Moduli,
    average_moduli,
    calculate_elasticity,
)
from crysearch.analysis.energies import (
    EnergiesAbove,
    energies_above_ground_state,
)
from crysearch.analysis.equation_of_state import (
    EquationOfState,
    calculate_equation_of_state,
    fit_equation_of_state,
)
from crysearch.analysis.intervals import (
    MeanInterval,
    mean_interval,
    paired_difference,
)
from crysearch.analysis.matching import (
    CrystalMatcher,
    MatchTolerances,
)
from crysearch.analysis.mechanical_stability import (
    Condition,
    MechanicalStability,
    StrainPattern,
    analyse_mechanical_stability,
    born_conditions,
    laue_class,
)
from crysearch.analysis.novelty import (
    ReferenceMatch,
    match_references,
)
from crysearch.analysis.phonons import (
    BandSegment,
    ImaginaryMode,
    Phonons,
    calculate_phonons,
)
from crysearch.analysis.prototypes import (
    Prototype,
    PrototypeMatch,
    match_prototypes,
)
from crysearch.analysis.stability import (
    EnergyEntry,
    Product,
    Stability,
    stabilities,
)
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
    "BandSegment",
    "BondLengths",
    "Condition",
    "Coordination",
    "CrystalMatcher",
    "DiffractionPattern",
    "Elasticity",
    "EnergiesAbove",
    "EnergyEntry",
    "EquationOfState",
    "ImaginaryMode",
    "MatchTolerances",
    "MeanInterval",
    "MechanicalStability",
    "Moduli",
    "Peak",
    "Phonons",
    "Product",
    "Prototype",
    "PrototypeMatch",
    "ReferenceMatch",
    "Stability",
    "StrainPattern",
    "Symmetry",
    "WyckoffOrbit",
    "analyse_coordination",
    "analyse_mechanical_stability",
    "analyse_symmetries",
    "analyse_symmetry",
    "average_moduli",
    "born_conditions",
    "calculate_elasticity",
    "calculate_equation_of_state",
    "calculate_phonons",
    "crystal_system",
    "energies_above_ground_state",
    "find_duplicates",
    "fit_equation_of_state",
    "laue_class",
    "match_prototypes",
    "match_references",
    "mean_interval",
    "paired_difference",
    "stabilities",
    "xray_pattern",
]
