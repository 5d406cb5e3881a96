"""What a protocol of molecular dynamics asks: stages that each begin where another ended.

Everything that can change a result is in here and is recorded with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from crysearch.dynamics_spec import DynamicsSpec, StartSpec, with_source
from crysearch.errors import SpecError
from crysearch.spec import changed_content
from crysearch.spec_parts import SpecPart, WholeSpec
from crysearch.validation import describe_errors

START = "start"
"""What `after` says of a stage that begins with the protocol's structure."""

_SHARED = (
    *("engine", "options", "timestep", "sample_every", "keep_forces", "frames"),
    *("thermostat_time", "barostat_time", "maximum_temperature", "minimum_distance_ratio"),
    *("maximum_volume_ratio", "maximum_energy_drift"),
)
# Stands for a run that is not known before it is done.
_UNKNOWN = "the stage before"


def _same(name: str) -> Any:
    """The default and the description of a field of `DynamicsSpec`."""
    field = DynamicsSpec.model_fields[name]
    return Field(field.default, description=field.description)


class StageSpec(SpecPart):
    """A stage: one run at one temperature and pressure, or along a ramp."""

    name: str = Field(
        min_length=1, description="Of its own; its random draws derive from it and from `seed`."
    )
    after: str | None = Field(
        None,
        description="The earlier stage that it goes on from, with its velocities, or `start` for "
        "the structure of the protocol; none: the stage before it in the list.",
    )
    ensemble: Literal["nve", "nvt", "npt"] = _same("ensemble")
    temperature: PositiveFloat = Field(300.0, description="Target, K.")
    pressure: float = Field(0.0, description="Target, GPa; `npt` only.")
    final_temperature: PositiveFloat | None = _same("final_temperature")
    steps: PositiveInt = _same("steps")
    equilibration_steps: NonNegativeInt = Field(
        0, description="Time steps before the first frame, in the same ensemble."
    )
    volume: Literal["last", "mean"] = Field(
        "last",
        description="`last` keeps the cell that the stage before ended with, `mean` scales it to "
        "that stage's mean volume.",
    )
    density: PositiveFloat | None = Field(
        None,
        description="The cell is scaled to this, g/cm³; only of a stage that begins from `start`.",
    )


class ProtocolSpec(WholeSpec):
    """A protocol of molecular dynamics: stages of one structure with one engine."""

    name: str = Field("protocol", description="A name of your choice; changes no result.")
    structure: StartSpec = Field(
        default_factory=lambda: StartSpec(reference="mp-149", repetitions=(2, 2, 2)),
        description="What the first stage begins with.",
    )
    engine: str = _same("engine")
    options: dict[str, bool | int | float | str | dict[str, str]] = _same("options")
    timestep: PositiveFloat = _same("timestep")
    sample_every: PositiveInt = _same("sample_every")
    keep_forces: bool = _same("keep_forces")
    frames: PositiveInt = _same("frames")
    thermostat_time: PositiveFloat = _same("thermostat_time")
    barostat_time: PositiveFloat = _same("barostat_time")
    maximum_temperature: PositiveFloat | None = _same("maximum_temperature")
    minimum_distance_ratio: PositiveFloat = _same("minimum_distance_ratio")
    maximum_volume_ratio: Annotated[float, Field(gt=1)] = _same("maximum_volume_ratio")
    maximum_energy_drift: PositiveFloat = _same("maximum_energy_drift")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = _same("seed")
    compare_with: str | None = Field(
        None,
        description="A stage with whose energy and density those of the others are compared in "
        "tables; changes no result.",
    )
    stages: tuple[StageSpec, ...] = Field(
        (
            StageSpec(name="density", ensemble="npt", equilibration_steps=2_000),
            StageSpec(name="sampling", ensemble="nvt", equilibration_steps=2_000, volume="mean"),
        ),
        description="The runs in their order; the last one is the result.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = self._order_problems()
        if not problems:
            problems = self._stage_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _order_problems(self) -> list[str]:
        """What is wrong with names, with what is after what, and with the cells of stages."""
        if not self.stages:
            return ["stages: [] — give at least one"]
        problems: list[str] = []
        earlier: list[str] = []
        for stage in self.stages:
            name = stage.name
            if name == START or "/" in name or name != name.strip():
                problems.append(
                    f"stages: name {name!r} — choose another, without a slash and outer spaces, "
                    f"and not {START!r}"
                )
            elif name in earlier:
                problems.append(f"stages: name {name!r} — given twice; give each its own")
            elif stage.after not in (None, START, *earlier):
                options = ", ".join([START, *earlier])
                problems.append(
                    f"stages.{name}.after: {stage.after!r} — no earlier stage; choose one of "
                    f"{options}"
                )
            begins = not earlier if stage.after is None else stage.after == START
            earlier.append(name)
            if begins and stage.volume != "last":
                problems.append(
                    f"stages.{name}.volume: {stage.volume!r} — no stage is before it; set density, "
                    "or after"
                )
            if not begins and stage.density is not None:
                problems.append(
                    f"stages.{name}.density: {stage.density:g} — it goes on from a stage; set "
                    f"after: {START}, or volume: mean"
                )
        if self.compare_with is not None and self.compare_with not in earlier:
            problems.append(
                f"compare_with: {self.compare_with!r} — choose one of {', '.join(earlier)}"
            )
        return problems

    def _stage_problems(self) -> list[str]:
        """What is wrong with the dynamics of stages; what is wrong with all is said once."""
        found: dict[str, list[str]] = {}
        for stage in self.stages:
            content = self._content_of(stage, _UNKNOWN)
            try:
                DynamicsSpec.model_validate(content)
            except ValidationError as error:
                for line in describe_errors(error, content, DynamicsSpec):
                    found.setdefault(line, []).append(stage.name)
        return [f"stages.{', '.join(names)}: {line}" for line, names in found.items()]

    def stage(self, name: str) -> StageSpec:
        """The stage of a name; raises :class:`SpecError` for an unknown one."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SpecError(
            f"stages: no stage {name!r} — choose one of {', '.join(s.name for s in self.stages)}"
        )

    def before(self, name: str) -> str | None:
        """The stage that a stage goes on from; None for the structure of the protocol."""
        stage = self.stage(name)
        if stage.after is not None:
            return None if stage.after == START else stage.after
        place = self.stages.index(stage)
        return self.stages[place - 1].name if place else None

    def dynamics(self, name: str, run: str | None = None) -> DynamicsSpec:
        """The molecular dynamics of a stage.

        Its seed follows from that of the protocol and from the stage's name.

        Parameters
        ----------
        name
            Of the stage.
        run
            Id of the run of the stage before; None for a stage that begins from `start`.

        Raises
        ------
        SpecError
            There is no such stage.
        """
        return DynamicsSpec.build(self._content_of(self.stage(name), run))

    def _content_of(self, stage: StageSpec, run: str | None) -> dict[str, Any]:
        structure: dict[str, Any]
        if self.before(stage.name) is None:
            structure = self.structure.model_dump(mode="json", exclude_unset=True)
            if stage.density is not None:
                structure["density"] = stage.density
        else:
            structure = {"run": run, "volume": stage.volume}
        text = json.dumps([self.seed, stage.name])
        own = ("ensemble", "final_temperature", "steps", "equilibration_steps")
        return {
            "name": f"{self.name}: {stage.name}",
            "structure": structure,
            "temperatures": [stage.temperature],
            "pressures": [stage.pressure],
            "seed": int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big"),
            **{field: getattr(self, field) for field in _SHARED},
            **{field: getattr(stage, field) for field in own},
        }

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"a protocol is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            raise SpecError("\n  ".join(["the protocol is not valid:", *lines])) from None

    def to_yaml(self) -> str:
        """The whole specification as YAML, defaults written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"stages.melting.steps": 1000}``.

        Another source of the structure takes the place of the one before.

        Raises
        ------
        SpecError
            There is no such stage, or the result is not valid.
        """
        content = self.model_dump(mode="json", exclude_unset=True)
        stages = [stage.model_dump(mode="json", exclude_unset=True) for stage in self.stages]
        names = [stage.name for stage in self.stages]
        rest: dict[str, Any] = {}
        for place, value in changes.items():
            if not place.startswith("stages."):
                rest[place] = value
                continue
            name, _, field = place.removeprefix("stages.").rpartition(".")
            if name not in names:
                raise SpecError(
                    f"{place}: write stages.NAME.FIELD with one of {', '.join(names)} as NAME"
                )
            stages[names.index(name)][field] = value
        content["stages"] = stages
        return self.build(changed_content(with_source(content, self.structure, rest), rest))
