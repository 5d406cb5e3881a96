"""What is asked of a relaxed structure: with which engine, and which properties.

A verification is separate from the specification of the search, because one search may be verified
with several engines. Everything that can change a number is in here and is recorded with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from crysearch.errors import SpecError
from crysearch.records.schema import PropertyKind as Property
from crysearch.spec_parts import SpecPart, WholeSpec
from crysearch.validation import describe_errors

PROPERTIES: tuple[Property, ...] = get_args(Property)
Protocol = Literal["lda", "lda-64", "mp-pbe", "mp-r2scan"]
#: The engine that relaxes by workflows of its own, not through `crysearch.relaxation`.
VASP = "vasp"


class LevelSpec(SpecPart):
    """The engine that relaxes the chosen structures once more, and how."""

    engine: str | None = Field(
        None,
        description="`espresso`, `gpaw`, `vasp` or another engine of docs/engines.md; none: only "
        "what the search has is judged.",
    )
    protocol: Protocol = Field(
        "lda",
        description="Of VASP: `lda`, the published one (`lda-64` with newer potentials), or "
        "atomate2's `mp-pbe` or `mp-r2scan`.",
    )
    options: dict[str, bool | int | float | str | dict[str, str]] = Field(
        {},
        description="Options of the engine, such as `{functional: lda}`; of VASP: INCAR tags that "
        "replace those of the protocol.",
    )
    force_tolerance: PositiveFloat = Field(
        0.01, description="Largest force on any atom of a converged structure, eV/Å."
    )
    stress_tolerance: PositiveFloat = Field(
        0.1, description="Largest stress component of a converged structure, GPa."
    )
    max_steps: PositiveInt = Field(100, description="Optimiser steps at most.")
    electronic: bool = Field(
        True, description="Ask for the band gap, where the engine knows electrons."
    )

    allow_stand_in: bool = Field(
        False,
        description="Accept runs of the stand-in for VASP, for demonstrations; they are failures "
        "otherwise.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.engine is None and self.options:
            raise ValueError(f"options: {self.options!r} — name the engine that they are for")
        if self.engine != VASP and (self.protocol != "lda" or self.allow_stand_in):
            raise ValueError("protocol, allow_stand_in: only for the engine 'vasp'")
        return self

    @property
    def identifier(self) -> str:
        """A hash of all fields: calculations of the same level are not repeated."""
        return _hash(self.model_dump(mode="json"))


class ElasticitySpec(SpecPart):
    """Elastic tensor from finite strains."""

    strains: tuple[Annotated[float, Field(gt=-0.1, lt=0.1)], ...] = Field(
        (-0.01, -0.005, 0.005, 0.01), description="Strains of each of the six components."
    )


class PhononsSpec(SpecPart):
    """Phonons from finite displacements."""

    minimum_length: PositiveFloat = Field(
        10.0, description="Length of the supercell in each direction at least, Å."
    )
    maximum_atoms: PositiveInt = Field(
        500, description="Supercells with more atoms are not calculated."
    )
    displacement: PositiveFloat = Field(
        0.03,
        description="Displacement of an atom, Å; 0.01 is usual with engines in double precision.",
    )
    imaginary_tolerance: PositiveFloat = Field(
        0.1, description="Imaginary frequencies up to so much count as none, THz."
    )


class EquationOfStateSpec(SpecPart):
    """Birch–Murnaghan equation of state of third order."""

    points: Annotated[int, Field(ge=5, le=51)] = Field(7, description="Volumes.")
    volume_range: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.06, description="Largest change of the volume, as a fraction."
    )


class PropertiesSpec(SpecPart):
    """What is calculated of a relaxed structure, and with which engine."""

    wanted: tuple[Property, ...] = Field(PROPERTIES, description="Which.")
    engine: Literal["search", "level"] = Field(
        "search",
        description="`search`: the engine of the search, on its relaxed structure; `level`: that "
        "of `level.engine` (not VASP), on the structure relaxed with it.",
    )
    elasticity: ElasticitySpec = Field(default_factory=ElasticitySpec, description="Elasticity.")
    phonons: PhononsSpec = Field(default_factory=PhononsSpec, description="Phonons.")
    equation_of_state: EquationOfStateSpec = Field(
        default_factory=EquationOfStateSpec, description="Equation of state."
    )


class VerificationSpec(WholeSpec):
    """What is asked of chosen structures of a search."""

    level: LevelSpec = Field(default_factory=LevelSpec, description="A further engine.")
    properties: PropertiesSpec = Field(default_factory=PropertiesSpec, description="Properties.")
    references: tuple[str, ...] = Field(
        (),
        description="Known structures relaxed at the same level besides the known ground state, "
        "such as `mp-1079297`.",
    )

    competing: tuple[str, ...] = Field(
        (),
        description="Files, folders or globs of structures of other phases, such as the elements "
        "of a compound: relaxed at the same level, they complete the convex hull.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.competing and self.level.engine is None:
            raise ValueError("competing: given, but level.engine is not, which would relax them")
        if self.properties.engine == "level" and self.properties.wanted:
            if self.level.engine is None:
                raise ValueError("properties.engine: 'level', but level.engine is not given")
            if self.level.engine == VASP:
                raise ValueError(
                    "properties.engine: 'level' — properties are not calculated with VASP; use "
                    "'search' or another level.engine"
                )
        return self

    @property
    def identifier(self) -> str:
        """Identifier of the verification: a hash of all fields."""
        return _hash(self.model_dump(mode="json"))

    def property_identifier(self, name: Property) -> str:
        """A hash of what can change one property: the same in verifications that agree in it."""
        part = self.properties
        level = self.level.identifier if part.engine == "level" else None
        return _hash([name, level, getattr(part, name).model_dump(mode="json")])

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"a verification is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            raise SpecError("\n  ".join(["the verification is not valid:", *lines])) from None


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
