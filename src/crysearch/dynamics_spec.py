"""What molecular dynamics asks: structure, engine, temperatures and pressures, and settings.

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
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from crysearch.dynamics.base import DynamicsSettings
from crysearch.errors import DynamicsError, SpecError
from crysearch.spec import changed_content
from crysearch.spec_parts import SpecPart, WholeSpec
from crysearch.validation import describe_errors

_SOURCES = ("reference", "file", "formula", "run")


class StartSpec(SpecPart):
    """The structure that the runs begin with: known, a file, a simple crystal, or another run's."""

    reference: str | None = Field(
        None, description="Id of a bundled known structure, such as `mp-149` (silicon)."
    )
    file: str | None = Field(None, description="A file that pymatgen reads (CIF, POSCAR, …).")
    formula: str | None = Field(
        None, description="With `prototype` and `lattice_constant`: a crystal such as `NaCl`."
    )
    prototype: (
        Literal["sc", "fcc", "bcc", "hcp", "diamond", "zincblende", "rocksalt", "cesiumchloride"]
        | None
    ) = Field(None, description="Its structure, as ASE names it.")
    lattice_constant: PositiveFloat | None = Field(None, description="Its lattice constant a, Å.")
    run: str | None = Field(
        None,
        description="Id of a run in the records: goes on from its last frame, with its velocities.",
    )
    conventional: bool = Field(
        True,
        description="Begin with the conventional cell of `reference` or `formula`, not the "
        "primitive one; the cell of a `file` is taken as it is.",
    )
    repetitions: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (1, 1, 1), description="Repetitions of the cell along its vectors."
    )
    density: PositiveFloat | None = Field(
        None, description="The cell is scaled to this, g/cm³, its shape kept; not with `run`."
    )
    volume: Literal["last", "mean"] = Field(
        "last",
        description="With `run`: `last` keeps the cell of its last frame, `mean` scales it to the "
        "mean volume of all its frames.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{', '.join(given) or 'nothing'} given — give one of {', '.join(_SOURCES)}"
            )
        crystal = (self.prototype, self.lattice_constant)
        if self.formula is not None and None in crystal:
            raise ValueError(
                f"formula {self.formula!r} needs prototype and lattice_constant — give both"
            )
        if self.formula is None and crystal != (None, None):
            raise ValueError(
                "prototype and lattice_constant belong to formula — give it, or leave them out"
            )
        if self.run is not None and self.repetitions != (1, 1, 1):
            raise ValueError(
                f"repetitions {list(self.repetitions)} have no velocities in run {self.run!r} — "
                "leave them out"
            )
        if self.run is not None and self.density is not None:
            raise ValueError(
                f"density {self.density:g} would change the volume that run {self.run!r} ended "
                "with — leave it out, or choose its mean volume (volume: mean)"
            )
        if self.run is None and self.volume != "last":
            raise ValueError(
                f"volume {self.volume!r} is that of a run — give run, or set density instead"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `density` and `volume` where not given: studies keep the ids they had."""
        content: dict[str, Any] = write(self)
        for name, default in (("density", None), ("volume", "last")):
            if content.get(name) == default:
                content.pop(name, None)
        return content


class DynamicsSpec(WholeSpec):
    """Molecular dynamics of one structure at several temperatures and pressures."""

    name: str = Field("dynamics", description="A name of your choice; changes no result.")
    structure: StartSpec = Field(
        default_factory=lambda: StartSpec(reference="mp-149", repetitions=(2, 2, 2)),
        description="What the runs begin with.",
    )
    engine: str = Field(
        "sevennet-0",
        description="An engine of docs/engines.md; `ase:` or `lammps:` before it says whose "
        "integrators move the atoms.",
    )
    options: dict[str, bool | int | float | str | dict[str, str]] = Field(
        {}, description="Options of the engine, such as `{potential: ID}` of `self-trained`."
    )
    ensemble: Literal["nve", "nvt", "npt"] = Field(
        "nvt", description="`nve`, `nvt` or `npt` (the cell keeps its shape)."
    )
    temperatures: tuple[PositiveFloat, ...] = Field(
        (300.0,), description="Targets, K; each is a run of its own."
    )
    pressures: tuple[float, ...] = Field(
        (0.0,), description="Targets, GPa, each with each temperature; `npt` only."
    )
    final_temperature: PositiveFloat | None = Field(
        None, description="The target goes linearly to this during the run, K; none: constant."
    )
    steps: PositiveInt = Field(
        10_000, description="Time steps after the equilibration, a multiple of `sample_every`."
    )
    equilibration_steps: NonNegativeInt = Field(
        2_000, description="Time steps before the first frame, in the same ensemble."
    )
    timestep: PositiveFloat = Field(1.0, description="fs.")
    sample_every: PositiveInt = Field(10, description="Steps from one frame to the next.")
    keep_forces: bool = Field(False, description="Keep the forces of each frame.")
    frames: PositiveInt = Field(
        50, description="Frames of each run, spread evenly, that become documents of their own."
    )
    thermostat_time: PositiveFloat = Field(100.0, description="Relaxation time, fs.")
    barostat_time: PositiveFloat = Field(1000.0, description="Relaxation time, fs.")
    maximum_temperature: PositiveFloat | None = Field(
        None,
        description="A hotter run has exploded, K; none: ten times the target, and 1,000 K.",
    )
    minimum_distance_ratio: PositiveFloat = Field(
        0.35,
        description="A run has exploded where atoms are nearer than this times the sum of their "
        "covalent radii.",
    )
    maximum_volume_ratio: Annotated[float, Field(gt=1)] = Field(
        4.0, description="A run has exploded at this volume, relative to the initial one."
    )
    maximum_energy_drift: PositiveFloat = Field(
        1e-4,
        description="`nve`: a run whose total energy drifts faster is marked as not conserving it, "
        "eV per atom and ps.",
    )
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        0, description="Every random draw derives from it."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = []
        for field in ("temperatures", "pressures"):
            values = getattr(self, field)
            if not values or len(set(values)) != len(values):
                problems.append(f"{field}: {list(values)} — give one or several different values")
        if not problems:
            try:
                for temperature, pressure in self.state_points:
                    self.settings(temperature, pressure)
            except DynamicsError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def state_points(self) -> list[tuple[float, float]]:
        """Temperature (K) and pressure (GPa) of each run."""
        return [(t, p) for p in self.pressures for t in self.temperatures]

    def settings(self, temperature: float, pressure: float) -> DynamicsSettings:
        """Settings of the run at a state point.

        Its seed follows from that of the specification and from the state point, whichever others
        are asked for.

        Raises
        ------
        DynamicsError
            They contradict each other.
        """
        text = json.dumps([self.seed, float(temperature), float(pressure)])
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        same = (
            *("ensemble", "final_temperature", "steps", "equilibration_steps", "timestep"),
            *("sample_every", "keep_forces", "thermostat_time", "barostat_time"),
            *("maximum_temperature", "minimum_distance_ratio", "maximum_volume_ratio"),
        )
        return DynamicsSettings(
            temperature=temperature,
            pressure=pressure,
            seed=seed,
            **{name: getattr(self, name) for name in same},
        )

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"a dynamics is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            raise SpecError("\n  ".join(["the dynamics is not valid:", *lines])) from None

    def to_yaml(self) -> str:
        """The whole specification as YAML, defaults written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"structure.file": "a.cif"}``.

        Another source of the structure takes the place of the one before.
        """
        content = self.model_dump(mode="json", exclude_unset=True)
        return self.build(changed_content(with_source(content, self.structure, changes), changes))


def with_source(
    content: dict[str, Any], structure: StartSpec, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Content of a specification, its structure without the source that changes replace."""
    content.setdefault("structure", structure.model_dump(mode="json", exclude_unset=True))
    sources = {name.removeprefix("structure.") for name in changes} & set(_SOURCES)
    if sources:
        run = "run" in sources
        kept = ("conventional", "volume") if run else ("conventional", "repetitions")
        content["structure"] = {k: v for k, v in content["structure"].items() if k in kept}
    return content
