"""How good and how fast a potential is: the same quantities by a model and by its reference.

Functions on structures and relaxation engines, and on their results as plain dictionaries: no
database and no workflow.
"""

from __future__ import annotations

from crysearch.assessment.comparison import (
    Comparison,
    Headline,
    PhaseComparison,
    compare,
    headlines,
)
from crysearch.assessment.cost import Cost, CostPoint, fit_scaling, measure_cost, supercell
from crysearch.assessment.measured import Measured, measured_values
from crysearch.assessment.phases import (
    Phase,
    default_phases,
    given_phase,
    named_phases,
)
from crysearch.assessment.relaxations import (
    RelaxedPhase,
    disturbed,
    relax_phases,
)

__all__ = [
    "Comparison",
    "Cost",
    "CostPoint",
    "Headline",
    "Measured",
    "Phase",
    "PhaseComparison",
    "RelaxedPhase",
    "compare",
    "default_phases",
    "disturbed",
    "fit_scaling",
    "given_phase",
    "headlines",
    "measure_cost",
    "measured_values",
    "named_phases",
    "relax_phases",
    "supercell",
]
