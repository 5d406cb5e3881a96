"""What a study of selection asks: which configurations a potential should learn from.

Molecular dynamics with a reference method makes a pool of configurations; each method of selection
chooses some, potentials are fitted to them, and are judged by the errors of their forces and by the
liquid that they give. Everything that can change a result is in here and is recorded with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from crysearch.active_learning_spec import PotentialSpec
from crysearch.datasets.selection import available_methods
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import SpecError
from crysearch.potentials import available_potentials
from crysearch.spec import changed_content
from crysearch.spec_parts import SpecPart, WholeSpec
from crysearch.validation import describe_errors

#: The method that others are compared with.
BASELINE = "random"


class FittedPotentialSpec(PotentialSpec):
    """A potential that is fitted; one alone will do."""

    members: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Potentials side by side.")


class ModelSpec(SpecPart):
    """One kind of potential, and how many configurations it learns from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")] = Field(
        description="A name of letters, digits, `-` and `_`."
    )
    potential: FittedPotentialSpec = Field(
        default_factory=FittedPotentialSpec, description="The potential and its training."
    )
    sizes: tuple[PositiveInt, ...] = Field(
        (32, 128, 512), description="Configurations to learn from, in rising order."
    )


def _default_models() -> tuple[ModelSpec, ...]:
    return (ModelSpec(name="network"),)


class SelectionStudySpec(WholeSpec):
    """A comparison of methods of selection over potentials, training sizes and seeds."""

    name: str = Field("selection", description="A name of your choice; changes no result.")
    pool: DynamicsSpec = Field(
        description="The molecular dynamics whose frames are chosen from; its engine is the "
        "reference method."
    )
    test_frames: PositiveInt = Field(
        200,
        description="Frames that errors are measured on, spread evenly over the same molecular "
        "dynamics with the next seed.",
    )
    methods: tuple[str, ...] = Field(
        available_methods(), description="Methods of selection that are compared."
    )
    models: tuple[ModelSpec, ...] = Field(
        default_factory=_default_models, description="Potentials that are fitted."
    )
    seeds: Annotated[int, Field(ge=2, le=1000)] = Field(
        5, description="Choices and fits of each kind, with the seeds 0, 1, 2, …"
    )
    melt: DynamicsSpec | None = Field(
        None,
        description="Molecular dynamics of a liquid with the reference method, and from its end "
        "with the potentials of the largest size; none for no dynamics.",
    )
    melt_seeds: PositiveInt = Field(
        1, description="Of how many of the seeds the potentials run the dynamics."
    )
    rdf_cutoff: PositiveFloat = Field(
        8.0, description="Radial distribution functions of the liquid go this far, Å."
    )
    rdf_bin: PositiveFloat = Field(0.05, description="Width of their bins, Å.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = self._method_problems() + self._model_problems()
        if self.melt is not None:
            if self.melt.engine != self.pool.engine or self.melt.options != self.pool.options:
                problems.append(
                    f"melt.engine: {self.melt.engine!r} with {self.melt.options} — the reference "
                    f"method is that of the pool, {self.pool.engine!r} with {self.pool.options}"
                )
            if len(self.melt.state_points) != 1:
                problems.append(
                    f"melt.temperatures, melt.pressures: {len(self.melt.state_points)} state "
                    "points — give one"
                )
            if self.melt.ensemble == "npt":
                problems.append("melt.ensemble: 'npt' — give 'nvt', at the density of the liquid")
            if self.melt_seeds > self.seeds:
                problems.append(f"melt_seeds: {self.melt_seeds} — give at most seeds, {self.seeds}")
        if self.rdf_bin >= self.rdf_cutoff:
            problems.append(
                f"rdf_bin: {self.rdf_bin:g} — give less than rdf_cutoff, {self.rdf_cutoff:g}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _method_problems(self) -> list[str]:
        problems = []
        if not self.methods or len(set(self.methods)) != len(self.methods):
            problems.append(f"methods: {list(self.methods)} — give one or several different ones")
        problems += [
            f"methods: {method!r} — choose among {', '.join(available_methods())}"
            for method in self.methods
            if method not in available_methods()
        ]
        if BASELINE not in self.methods:
            problems.append(
                f"methods: {list(self.methods)} — {BASELINE!r} must be among them: the others are "
                "compared with it"
            )
        return problems

    def _model_problems(self) -> list[str]:
        names = [model.name for model in self.models]
        problems = []
        if not names or len(set(names)) != len(names):
            problems.append(f"models: {names} — give one or several with different names")
        points = len(self.pool.state_points)
        frames = points * (self.pool.steps // self.pool.sample_every + 1)
        for place, model in enumerate(self.models):
            here, sizes = f"models.{place}", list(model.sizes)
            if model.potential.model not in available_potentials():
                problems.append(
                    f"{here}.potential.model: {model.potential.model!r} — choose one of "
                    f"{', '.join(available_potentials())}"
                )
            if not sizes or sizes != sorted(set(sizes)):
                problems.append(f"{here}.sizes: {sizes} — give different ones in rising order")
            elif sizes[-1] > frames:
                problems.append(
                    f"{here}.sizes: {sizes[-1]} — the pool has at most {frames} frames ({points} "
                    "state points); give fewer, or more pool.steps"
                )
        return problems

    @property
    def identifier(self) -> str:
        """A hash of everything that can change a result."""
        content = self.model_dump(
            mode="json", exclude={"name": True, "pool": {"name"}, "melt": {"name"}}
        )
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def test(self) -> DynamicsSpec:
        """The molecular dynamics whose frames errors are measured on."""
        return self.pool.with_changes({"seed": self.pool.seed + 1, "name": f"{self.name}, test"})

    def model(self, name: str) -> ModelSpec:
        """The model of a name; raises :class:`SpecError` for an unknown one."""
        for model in self.models:
            if model.name == name:
                return model
        raise SpecError(f"model {name!r}: not among {', '.join(m.name for m in self.models)}")

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"a study is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            raise SpecError("\n  ".join(["the study of selection is not valid:", *lines])) from None

    def to_yaml(self) -> str:
        """The whole specification as YAML, defaults written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"pool.steps": 1000}``."""
        return self.build(
            changed_content(self.model_dump(mode="json", exclude_unset=True), changes)
        )
