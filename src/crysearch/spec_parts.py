"""The parts of a specification: references, fingerprint, sampling, guiding and the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from crysearch.errors import SpecError
from crysearch.guiding import Policy, VolumeMode


class SpecPart(BaseModel):
    """Base of the parts: unknown fields are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class WholeSpec(SpecPart):
    """Base of the specifications that people write as files."""

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        raise NotImplementedError

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a YAML file; raises :class:`SpecError` that lists every invalid field."""
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: is not valid YAML: {error}") from None
        try:
            return cls.build({} if content is None else content)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None


class ReferencesSpec(SpecPart):
    """Known structures: where they come from and which of them are sound."""

    source: Literal["snapshot", "materials_project", "files"] = Field(
        "snapshot",
        description="`snapshot`: the bundled Materials Project entries of the composition; "
        "`materials_project`: one query of the live database; `files`: your own files.",
    )
    files: tuple[str, ...] = Field(
        (), description="Files, folders or globs that pymatgen reads; needed by source `files`."
    )
    exclude: tuple[str, ...] = Field(
        (), description="Reference ids to set aside, whatever the checks say."
    )
    include_amorphous: bool = Field(
        False, description="Keep large cells without symmetry (amorphous models)."
    )


class FingerprintSpec(SpecPart):
    """Radial distribution function used as a fingerprint."""

    quantity: Literal["g", "n"] = Field(
        "g",
        description="`g`, the pair correlation function (the published distances), or `n`, "
        "atoms per Å.",
    )
    cutoff: PositiveFloat = Field(8.0, description="Largest distance, Å.")
    grid_points: Annotated[int, Field(ge=2, le=10_000)] = Field(
        200, description="Points of the grid."
    )
    smearing: PositiveFloat = Field(
        0.060, description="Standard deviation of the Gaussian on each distance, Å."
    )
    species_resolved: bool = Field(
        False, description="One RDF per pair of elements instead of the total one."
    )


def _group_numbers(value: Any) -> Any:
    """Refuse keys that are not numbers of space groups, in words."""
    if isinstance(value, Mapping):
        for key in value:
            number = int(key) if isinstance(key, str) and key.isdecimal() else key
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 230:
                raise ValueError(f"{key!r} is not the number of a space group, 1–230")
    return value


class SamplingSpec(SpecPart):
    """Random symmetric crystals."""

    sampler: Literal["wyckoff", "pyxtal"] = Field(
        "wyckoff", description="`wyckoff`, ours, or `pyxtal`, the slow independent one."
    )
    space_groups: tuple[Annotated[int, Field(ge=1, le=230)], ...] = Field(
        tuple(range(1, 231)), description="Numbers of the space groups to draw from."
    )
    space_group_weights: Annotated[
        dict[int, Annotated[float, Field(ge=0)]], BeforeValidator(_group_numbers)
    ] = Field(
        {},
        description="How often a space group is drawn, compared with the others, such as "
        "`{227: 5}`: 1 for those not named, 0 leaves a group out.",
    )
    attempts_per_group: PositiveInt = Field(
        1000, description="Failed attempts after which a drawn space group is given up."
    )
    attempts_per_orbit: PositiveInt = Field(
        10,
        description="Tries to place one Wyckoff position before the attempt fails; 1 draws all "
        "positions independently.",
    )
    batch_size: PositiveInt = Field(
        2000, description="Crystals sampled and screened at a time; part of the random stream."
    )
    maximum_candidates: PositiveInt = Field(
        5_000_000,
        description="Crystals sampled at most per cell size; quotas not filled by then stay short.",
    )


class Quotas(SpecPart):
    """Crystals to keep per group and cell size."""

    I: NonNegativeInt = Field(350, description="Near a known structure.")  # noqa: E741
    II: NonNegativeInt = Field(350, description="Near a replica.")
    III: NonNegativeInt = Field(350, description="The control: not screened at all.")
    IV: NonNegativeInt = Field(
        0, description="Guided: moved onto a target's RDF; see `guiding`. None by default."
    )


class ScreeningSpec(SpecPart):
    """Which random crystals are kept."""

    threshold: Annotated[float, Field(gt=0, le=2)] = Field(
        0.13, description="Largest Pearson's distance to the nearest reference or replica."
    )
    quotas: Quotas = Field(
        default_factory=Quotas, description="Crystals to keep per group and cell size."
    )


class GuidingSpec(SpecPart):
    """Group IV: random crystals moved downhill onto known structures or replicas."""

    targets: Literal["references", "replicas", "both"] = Field(
        "replicas", description="Onto whose fingerprints."
    )
    choice: Policy = Field(
        "balanced",
        description="`nearest`: each crystal to the target nearest to it; `balanced`: to the one "
        "least used in its batch among those not much farther.",
    )
    tries: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="Targets tried one after the other until a crystal reaches one."
    )
    symmetry: Literal["kept", "dropped"] = Field(
        "kept",
        description="`kept`: crystals move within their space group; `dropped`: atoms are first "
        "displaced by `displacement`, and all are free.",
    )
    displacement: NonNegativeFloat = Field(
        0.03, description="Standard deviation of the displacements where symmetry is dropped, Å."
    )
    stop_distance: Annotated[float, Field(gt=0, lt=2)] = Field(
        0.10,
        description="Pearson's distance to the target at which the descent ends; a crystal is kept "
        "within `screening.threshold`.",
    )
    volume: VolumeMode = Field(
        "target",
        description="`target`: within `volume_tolerance` of the target's volume per atom (of a "
        "replica: of the known structure nearest to it); `free`; `bounded` to the range of the "
        "random crystals; or `fixed` as drawn.",
    )
    smearings: tuple[PositiveFloat, ...] = Field(
        (0.40, 0.15), description="Smearings of the stages before the fingerprint's own, Å."
    )
    steps: tuple[PositiveInt, ...] = Field(
        (50, 50, 100), description="Evaluations at most in each stage, the last one included."
    )
    longest_steps: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.30, 0.20, 0.10), description="Largest displacement in one step of each stage, Å."
    )
    penalty: NonNegativeFloat = Field(
        30.0, description="Weight of distances below the minimum, beside Pearson's distance."
    )
    duplicate_distance: Annotated[float, Field(ge=0, lt=2)] = Field(
        0.01,
        description="A guided crystal at most so far (Pearson's distance) from an earlier one is "
        "dropped as its duplicate.",
    )
    batch_size: PositiveInt = Field(
        200, description="Crystals guided at a time; part of the random stream."
    )
    maximum_crystals: PositiveInt = Field(
        100_000,
        description="Crystals guided at most per cell size; what is missing then stays missing.",
    )


class RelaxationSpec(SpecPart):
    """Relaxation of the references and of the kept crystals."""

    engine: str = Field("sevennet-0", description="Name of the engine; see docs/engines.md.")
    options: dict[str, bool | int | float | str | dict[str, str]] = Field(
        {},
        description="Options of the engine, such as `{functional: pbe}`, or `{potential: ID}` of "
        "`self-trained`.",
    )
    force_tolerance: PositiveFloat = Field(
        0.01, description="Largest force on any atom of a converged structure, eV/Å."
    )
    stress_tolerance: PositiveFloat = Field(
        0.1, description="Largest stress component of a converged structure, GPa."
    )
    max_steps: PositiveInt = Field(500, description="Optimiser steps at most.")
    batch_size: PositiveInt = Field(32, description="Structures relaxed side by side.")
    maximum_reference_atoms: PositiveInt | None = Field(
        None,
        description="References with more atoms in the primitive cell are not relaxed (they still "
        "train the model and screen); none by default.",
    )

    @model_serializer(mode="wrap")
    def _without_no_options(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `options` if there are none: searches keep the ids they had without them."""
        content: dict[str, Any] = write(self)
        if not content.get("options"):
            content.pop("options", None)
        return content


class AnalysisSpec(SpecPart):
    """Verdicts on relaxed structures."""

    symmetry_tolerance: PositiveFloat = Field(
        0.1, description="Distance tolerance of the reported space group, Å."
    )
    strict_symmetry_tolerance: PositiveFloat = Field(
        0.01, description="A second, strict tolerance recorded beside it, Å."
    )
