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
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pymatgen.core import Composition, Element

from crysearch.errors import GuidingError, SpecError
from crysearch.fingerprints import RadialDistributionFunction
from crysearch.guiding import GuidingSettings
from crysearch.sampling import CrystalRequest
from crysearch.sampling.weights import unhosted
from crysearch.sampling.wyckoff import hosting_groups
from crysearch.spec_generative import GenerativeSpec, ReplicasSpec
from crysearch.spec_parts import (
    AnalysisSpec,
    FingerprintSpec,
    GuidingSpec,
    ReferencesSpec,
    RelaxationSpec,
    SamplingSpec,
    ScreeningSpec,
    WholeSpec,
)
from crysearch.validation import describe_errors, without


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


class SearchSpec(WholeSpec):
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
        problems += self.generative.problems() + replicas.problems(self.generative)
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
                    # What is missing now only because an invalid part of it was taken away.
                    known = tuple(f"{line.split(':')[0]}." for line in lines)
                    found = describe_errors(second, rest, cls)
                    lines += [
                        line
                        for line in found
                        if not any(name.startswith(f"{line.split(':')[0]}.") for name in known)
                    ]
            heading = f"{len(lines)} invalid field{'s' if len(lines) > 1 else ''}:"
            raise SpecError("\n  ".join([heading, *lines])) from None

    def to_yaml(self) -> str:
        """The whole specification as YAML, defaults written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"screening.quotas.I": 12}``."""
        return self.build(
            with_fields_set(self.model_dump(mode="json", exclude_unset=True), changes)
        )


def with_fields_set(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields of a specification's content by dotted names."""
    for name, value in changes.items():
        *parents, last = name.split(".")
        if last == "generative" and isinstance(value, str):
            parents, last = [*parents, last], "model"
        target = content
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise SpecError(f"{name}: {parent} is not a part of the specification")
        if parents[-1:] == ["minimum_distances"]:
            last = _sorted_pair(last)
        target[last] = value
    return content


class SpecWithSearch(WholeSpec):
    """Base of specifications with a search in them; `kind` is what messages call one."""

    kind: ClassVar[str]
    name: str
    search: SearchSpec

    @property
    def identifier(self) -> str:
        """A hash of everything that can change a result."""
        content = self.model_dump(mode="json", exclude={"name": True, "search": {"name"}})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def build(cls, content: Mapping[str, Any]) -> Self:
        """Validate plain data; raises :class:`SpecError` that lists every invalid field."""
        if not isinstance(content, Mapping):
            raise SpecError(f"{cls.kind} is a mapping of fields; got {type(content).__name__}")
        lines: list[str] = []
        rest = dict(content)
        if isinstance(rest.get("search"), Mapping):
            try:
                rest["search"] = SearchSpec.build(rest["search"])
            except SpecError as error:
                # A search says by itself what is wrong with it.
                lines = [f"search.{line.strip()}" for line in str(error).splitlines()[1:]]
                del rest["search"]
        try:
            spec = cls.model_validate(rest)
        except ValidationError as error:
            lines += describe_errors(error, rest, cls)
        if lines:
            raise SpecError("\n  ".join([f"{cls.kind} is not valid:", *lines]))
        return spec

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """A copy with fields set by dotted names, such as ``{"search.seed": 1}``."""
        content = self.model_dump(mode="json", exclude_unset=True)
        # The search that stands there by default is more than the defaults of a search.
        content["search"] = self.search.model_dump(mode="json", exclude_unset=True)
        return self.build(with_fields_set(content, changes))
