"""What an assessment of a potential asks: which engine, which phases, which quantities.

Everything that can change a number is in here and is recorded with it. A reference is assessed like
the model, with the same specification but for the engine.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from crysearch.errors import SpecError
from crysearch.records.assessments import QUANTITIES
from crysearch.records.schema_assessments import AssessedQuantity
from crysearch.spec import changed_content
from crysearch.spec_parts import SpecPart, WholeSpec
from crysearch.validation import describe_errors
from crysearch.verification import ElasticitySpec, EquationOfStateSpec, PhononsSpec


class AssessedStructureSpec(SpecPart):
    """A crystal of one's own."""

    name: str = Field(description="What it is called.")
    structure: dict[str, Any] = Field(description="pymatgen's dictionary.")


class AssessedRelaxationSpec(SpecPart):
    """How the phases are disturbed and relaxed."""

    force_tolerance: PositiveFloat = Field(
        0.001, description="Largest force on any atom of a relaxed cell, eV/Å."
    )
    stress_tolerance: PositiveFloat = Field(
        0.02, description="Largest stress component of a relaxed cell, GPa."
    )
    max_steps: PositiveInt = Field(300, description="Optimiser steps at most.")
    displacement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Standard deviation of each coordinate of a disturbed cell, Å."
    )
    strain: Annotated[float, Field(ge=0, le=0.1)] = Field(
        0.03, description="Standard deviation of each component of its strain."
    )
    seed: NonNegativeInt = Field(0, description="Of the disturbance.")


class CostSpec(SpecPart):
    """Time of one evaluation against the number of atoms."""

    smallest: PositiveInt = Field(100, description="Atoms of the smallest cell, about.")
    largest: PositiveInt | None = Field(
        None,
        description="Atoms of the largest cell, about; by default 100,000, and no cost at all of "
        "engines from first principles.",
    )
    per_decade: Annotated[int, Field(ge=1, le=10)] = Field(
        2, description="Sizes from a number of atoms to ten times as many."
    )
    time_limit: PositiveFloat = Field(
        120.0, description="CPU seconds that one evaluation may take; larger cells are left out."
    )
    memory_limit: PositiveFloat | None = Field(
        None, description="GB that the process may take; by default half of what is free."
    )

    def sizes(self, largest: int) -> list[int]:
        """Atoms wanted: from the smallest in equal ratios, and the largest."""
        count = math.ceil(self.per_decade * math.log10(max(1, largest / self.smallest)) - 1e-9)
        sizes = [round(self.smallest * 10 ** (k / self.per_decade)) for k in range(count)]
        return sorted({*(size for size in sizes if size < largest), largest})


class AssessmentSpec(WholeSpec):
    """What is asked of an engine."""

    engine: str = Field(description="An engine of docs/engines.md.")
    options: dict[str, bool | int | float | str | dict[str, str]] = Field(
        {}, description="Options of the engine; of `self-trained` the id of the `potential`."
    )
    composition: str = Field("Si", description="Of the phases of the bundled snapshot.")
    phases: tuple[str, ...] = Field(
        (), description="Ids of the snapshot, the ground state first; none: a choice of them."
    )
    structures: tuple[AssessedStructureSpec, ...] = Field(
        (), description="Crystals of one's own instead, of one composition."
    )
    quantities: Annotated[tuple[AssessedQuantity, ...], Field(min_length=1)] = Field(
        QUANTITIES, description="Which."
    )
    relaxation: AssessedRelaxationSpec = Field(
        default_factory=AssessedRelaxationSpec, description="Relaxation."
    )
    equation_of_state: EquationOfStateSpec = Field(
        default_factory=EquationOfStateSpec, description="Equation of state of each phase."
    )
    elasticity: ElasticitySpec = Field(
        default_factory=ElasticitySpec, description="Elastic constants of the first phase."
    )
    phonons: PhononsSpec = Field(
        default_factory=PhononsSpec, description="Phonons of the first phase."
    )
    cost: CostSpec = Field(default_factory=CostSpec, description="Cost.")

    @property
    def material(self) -> str:
        """A hash of what the relaxed phases depend on, but for the engine."""
        parts = {"composition", "phases", "structures", "relaxation"}
        return _hash(self.model_dump(mode="json", include=parts))

    def settings_of(self, quantity: AssessedQuantity) -> dict[str, Any]:
        """What can change a quantity, besides engine and material."""
        if quantity == "phases":
            return {}
        settings: dict[str, Any] = getattr(self, quantity).model_dump(mode="json")
        return settings

    def settings_id(self, quantity: AssessedQuantity) -> str:
        """A hash of the settings of a quantity: what was computed with the same is known."""
        return _hash(self.settings_of(quantity))

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"cost.largest": 1000}``."""
        return self.build(changed_content(self.model_dump(mode="json"), changes))

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"an assessment is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            raise SpecError("\n  ".join(["the assessment is not valid:", *lines])) from None


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
