"""Documents of assessments of potentials."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from crysearch.records.schema import SharedDocument

AssessedQuantity = Literal["phases", "equation_of_state", "elasticity", "phonons", "cost"]
AssessedStatus = Literal["computed", "failed", "left_out"]


class AssessedPart(TypedDict):
    """One quantity: its values, or the reason why there are none."""

    status: AssessedStatus
    reason: str | None
    values: Any
    settings_id: str
    settings: dict[str, Any]
    seconds: float


class AssessedQuantities(TypedDict):
    """The quantities; null until they were tried.

    ``phases`` are `crysearch.assessment.RelaxedPhase`; ``equation_of_state`` is a list with the
    ``name`` and ``label`` of each phase and `crysearch.analysis.EquationOfState`, or the ``reason``
    why there is none; ``elasticity``, ``phonons`` and ``cost`` are of the first phase.
    """

    phases: AssessedPart | None
    equation_of_state: AssessedPart | None
    elasticity: AssessedPart | None
    phonons: AssessedPart | None
    cost: AssessedPart | None


class AssessmentDocument(SharedDocument):
    """What an engine or a potential trained here says of a material.

    ``material`` identifies phases, disturbance and relaxation settings: assessments with the same
    one can be compared. ``scheme`` labels the engine's energies; ``phases`` are their names, the
    ground state first.
    """

    engine: str
    options: dict[str, Any]
    scheme: str | None
    potential: str | None
    material: str
    elements: list[str]
    chemical_formula_reduced: str
    phases: list[str]
    spec: dict[str, Any]
    quantities: AssessedQuantities
