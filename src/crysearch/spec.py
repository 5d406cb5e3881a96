"""What a person asks for: the specification of a search.

Everything that can change a result is in here, has the published protocol as its default, and is
recorded with the search. A specification is validated as a whole: all invalid fields are reported
at once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pymatgen.core import Composition, Element

from crysearch.errors import GuidingError, SpecError
from crysearch.fingerprints import RadialDistributionFunction
from crysearch.guiding import GuidingSettings, Policy, VolumeMode
from crysearch.sampling import CrystalRequest
from crysearch.sampling.weights import unhosted
from crysearch.sampling.wyckoff import hosting_groups
from crysearch.validation import describe_errors, without


class SpecPart(BaseModel):
    """Base of the parts: unknown fields are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


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


class GenerativeSpec(SpecPart):
    """Generative model trained on the references' fingerprints."""

    model: str = Field("vae", description="Name of the model.")
    hidden_layers: tuple[PositiveInt, ...] = Field(
        (50, 25, 12), description="Widths of the encoder's hidden layers; the decoder mirrors them."
    )
    latent_dimension: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Latent coordinates."
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the references held out (28/8 of 36 in the paper)."
    )
    epochs: PositiveInt = Field(2000, description="Passes over the training set.")
    batch_size: PositiveInt = Field(32, description="Fingerprints per optimiser step.")
    learning_rate: PositiveFloat = Field(3e-3, description="Adam's step size.")
    initial_weight_scale: PositiveFloat = Field(
        1.4,
        description="Initial weights are normal with this times √(2 / inputs of the layer) as "
        "standard deviation.",
    )


class Interpolation(SpecPart):
    """A straight line in latent space between two references."""

    first: str = Field(description="Reference id where the line starts.")
    last: str = Field(description="Reference id where it ends.")
    points: Annotated[int, Field(ge=2, le=1000)] = Field(
        15, description="Points on the line, both ends included."
    )


class ReplicasSpec(SpecPart):
    """Fingerprints decoded from latent points."""

    grid_points: NonNegativeInt = Field(
        15, description="Points per latent coordinate of the replica grid; 0 for none."
    )
    interval: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.90, description="Central confidence interval of the Gaussian that the grid spans."
    )
    random_points: NonNegativeInt = Field(
        0, description="Further replicas at random points of the latent prior."
    )
    interpolations: tuple[Interpolation, ...] = Field(
        (), description="Further replicas on lines between two references."
    )

    @property
    def wanted(self) -> bool:
        """Whether any replicas are asked for; without them no model is trained."""
        return bool(self.grid_points or self.random_points or self.interpolations)


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


class AnalysisSpec(SpecPart):
    """Verdicts on relaxed structures."""

    symmetry_tolerance: PositiveFloat = Field(
        0.1, description="Distance tolerance of the reported space group, Å."
    )
    strict_symmetry_tolerance: PositiveFloat = Field(
        0.01, description="A second, strict tolerance recorded beside it, Å."
    )


def _formula(value: str) -> str:
    """Refuse what is not a formula of elements in whole numbers."""
    try:
        amounts = Composition(value).get_el_amt_dict()
    except Exception:
        amounts = {}
    if not amounts or any(
        n != int(n) or not Element.is_valid_symbol(symbol) for symbol, n in amounts.items()
    ):
        raise ValueError("give a formula of elements in whole numbers, such as Si or Al2O3")
    return value


def _sorted_pair(pair: str) -> str:
    return "-".join(sorted(pair.split("-")))


def _sorted_pairs(value: Any) -> Any:
    """Write the pairs of elements in one order, so that A-B and B-A are the same key."""
    if not isinstance(value, Mapping):
        return value
    pairs: dict[str, Any] = {}
    for key, distance in value.items():
        name = _sorted_pair(str(key))
        if name in pairs:
            raise ValueError(f"the pair {key} is given twice")
        pairs[name] = distance
    return pairs


class SearchSpec(SpecPart):
    """A search for new crystal structures of one composition."""

    name: str = Field("search", description="A name of your choice; changes no result.")
    composition: Annotated[str, AfterValidator(_formula)] = Field(
        "Si", description="One formula unit, such as `Si` or `Al2O3`."
    )
    formula_units: tuple[PositiveInt, ...] = Field(
        (8, 16), description="Formula units in the conventional cell, one or several sizes."
    )
    volume_per_formula_unit: PositiveFloat = Field(
        23.0, description="Mean volume of the random crystals, Å³ (184 Å³ per 8 Si atoms)."
    )
    volume_tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.10, description="Half-width of the uniform distribution of volumes, as a fraction."
    )
    minimum_distances: Annotated[
        dict[str, Annotated[float, Field(gt=0, lt=20)]], BeforeValidator(_sorted_pairs)
    ] = Field({"Si-Si": 2.1}, description="Shortest distance in a random crystal per pair, Å.")
    references: ReferencesSpec = Field(
        default_factory=ReferencesSpec, description="Known structures."
    )
    fingerprint: FingerprintSpec = Field(
        default_factory=FingerprintSpec, description="Fingerprint."
    )
    generative: GenerativeSpec = Field(
        default_factory=GenerativeSpec, description="Generative model."
    )
    replicas: ReplicasSpec = Field(default_factory=ReplicasSpec, description="Replicas.")
    sampling: SamplingSpec = Field(default_factory=SamplingSpec, description="Random crystals.")
    screening: ScreeningSpec = Field(default_factory=ScreeningSpec, description="Screening.")
    guiding: GuidingSpec = Field(default_factory=GuidingSpec, description="Guided crystals.")
    relaxation: RelaxationSpec = Field(default_factory=RelaxationSpec, description="Relaxation.")
    analysis: AnalysisSpec = Field(default_factory=AnalysisSpec, description="Analysis.")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        0, description="Every random draw derives from it."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Checks that involve more than one field; all problems in one message each."""
        problems: list[str] = []
        wanted = {
            "-".join(sorted(pair))
            for pair in itertools.combinations_with_replacement(self.species, 2)
        }
        missing, extra = wanted - set(self.minimum_distances), set(self.minimum_distances) - wanted
        if missing or extra:
            problems.append(
                f"minimum_distances: {dict(self.minimum_distances)!r} — {self.composition} needs "
                f"exactly the pairs {', '.join(sorted(wanted))} (Å)"
            )
        if self.composition != "Si" and "volume_per_formula_unit" not in self.model_fields_set:
            problems.append(
                f"volume_per_formula_unit: missing — give it in Å³ for {self.composition}; the "
                "default is silicon's"
            )
        if not self.formula_units or len(set(self.formula_units)) != len(self.formula_units):
            problems.append(
                f"formula_units: {list(self.formula_units)} — give one or several different sizes"
            )
        groups = self.sampling.space_groups
        if not groups or len(set(groups)) != len(groups):
            problems.append("sampling.space_groups: give one or several different numbers 1–230")
        weights = self.sampling.space_group_weights
        foreign = [group for group in sorted(weights) if weights[group] and group not in groups]
        if foreign:
            problems.append(
                f"sampling.space_group_weights: {', '.join(map(str, foreign))} not in "
                "sampling.space_groups — add them there or take their weights away"
            )
        if groups and all(weights.get(group) == 0 for group in groups):
            problems.append(
                "sampling.space_group_weights: 0 for all of sampling.space_groups — give at least "
                "one a positive weight"
            )
        sizes = [tuple(n * units for n in self.counts) for units in self.formula_units]
        wanted_groups = {group: weights[group] for group in sorted(weights) if group in groups}
        unused = unhosted(wanted_groups, sizes, f"{self.composition} × {list(self.formula_units)}")
        if unused is not None:
            problems.append(f"sampling.space_group_weights: {unused}")
        if self.references.source == "files" and not self.references.files:
            problems.append("references.files: empty — give files, folders or globs")
        if self.references.source != "files" and self.references.files:
            problems.append(
                f"references.files: given, but references.source is "
                f"{self.references.source!r} — set references.source to 'files'"
            )
        replicas = self.replicas
        if self.screening.quotas.II and not replicas.wanted:
            problems.append(
                "replicas: none asked for, but screening.quotas.II is "
                f"{self.screening.quotas.II} — set a grid, random points or interpolations, or "
                "the quota to 0"
            )
        problems += self._guiding_problems()
        lines = [(line.first, line.last) for line in replicas.interpolations]
        if len(set(lines)) != len(lines):
            problems.append(
                "replicas.interpolations: two lines between the same two references — give one"
            )
        if replicas.grid_points**self.generative.latent_dimension > 100_000:
            problems.append(
                f"replicas.grid_points: {replicas.grid_points} in "
                f"{self.generative.latent_dimension} latent dimensions — at most 100,000 replicas; "
                "use random_points"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _guiding_problems(self) -> list[str]:
        """What is wrong with the guided crystals, if any are asked for."""
        if not self.screening.quotas.IV:
            return []
        problems = []
        if self.guiding.targets == "replicas" and not self.replicas.wanted:
            problems.append(
                "guiding.targets: 'replicas', but none are asked for — set a grid, random points "
                "or interpolations in replicas, or guiding.targets to 'references'"
            )
        try:
            _ = self.guiding_settings
        except GuidingError as error:
            problems.append(f"guiding.{error} (wanted_distance is screening.threshold)")
        return problems

    @property
    def species(self) -> tuple[str, ...]:
        """Element symbols in the order of the composition."""
        return tuple(Composition(self.composition).get_el_amt_dict())

    @property
    def counts(self) -> tuple[int, ...]:
        """Atoms of each species in one formula unit."""
        return tuple(int(n) for n in Composition(self.composition).get_el_amt_dict().values())

    def crystal_request(self, formula_units: int) -> CrystalRequest:
        """The request for random crystals of one cell size.

        Raises
        ------
        SamplingError
            Where no such crystal is possible.
        """
        counts = tuple(formula_units * count for count in self.counts)
        part = self.sampling
        # A group may host one cell size and not another: its weight holds where it can.
        hosts = hosting_groups(counts, tuple(sorted(part.space_group_weights)))
        weights = part.space_group_weights.items()
        return CrystalRequest(
            species=self.species,
            counts=counts,
            volume=formula_units * self.volume_per_formula_unit,
            volume_tolerance=self.volume_tolerance,
            minimum_distances={
                (pair.split("-")[0], pair.split("-")[1]): distance
                for pair, distance in self.minimum_distances.items()
            },
            space_groups=part.space_groups,
            attempts_per_group=part.attempts_per_group,
            attempts_per_orbit=part.attempts_per_orbit,
            space_group_weights={g: w for g, w in weights if g in hosts or w == 0.0},
        )

    @property
    def guiding_settings(self) -> GuidingSettings:
        """How random crystals are moved onto a target.

        Raises
        ------
        GuidingError
            Where the settings do not fit together.
        """
        part = self.guiding
        return GuidingSettings(
            wanted_distance=self.screening.threshold,
            stop_distance=part.stop_distance,
            smearings=part.smearings,
            steps=part.steps,
            longest_steps=part.longest_steps,
            penalty=part.penalty,
            volume=part.volume,
        )

    @property
    def radial_distribution_function(self) -> RadialDistributionFunction:
        """The fingerprint, ready to be computed."""
        part = self.fingerprint
        return RadialDistributionFunction(
            cutoff=part.cutoff,
            grid_points=part.grid_points,
            smearing=part.smearing,
            quantity=part.quantity,
            species=self.species if part.species_resolved else None,
        )

    @property
    def search_id(self) -> str:
        """Identifier of the search: a hash of everything that can change a result."""
        content = self.model_dump(mode="json", exclude={"name"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"a specification is a mapping of fields; got {type(content).__name__}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = describe_errors(error, content, cls)
            # Checks across fields run only when every field is valid by itself: run them on
            # what is left, so that a person sees everything at once.
            if not any(item["loc"][:1] == ("composition",) for item in error.errors()):
                rest = without(content, [item["loc"] for item in error.errors()])
                try:
                    cls.model_validate(rest)
                except ValidationError as second:
                    known = {line.split(":")[0] for line in lines}
                    found = describe_errors(second, rest, cls)
                    lines += [line for line in found if line.split(":")[0] not in known]
            heading = f"{len(lines)} invalid field{'s' if len(lines) > 1 else ''}:"
            raise SpecError("\n  ".join([heading, *lines])) from None

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

    def to_yaml(self) -> str:
        """The whole specification as YAML, defaults written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"screening.quotas.I": 12}``."""
        content = self.model_dump(mode="json", exclude_unset=True)
        for name, value in changes.items():
            *parents, last = name.split(".")
            target = content
            for parent in parents:
                target = target.setdefault(parent, {})
                if not isinstance(target, dict):
                    raise SpecError(f"{name}: {parent} is not a part of the specification")
            if parents == ["minimum_distances"]:
                last = _sorted_pair(last)
            target[last] = value
        return self.build(content)
