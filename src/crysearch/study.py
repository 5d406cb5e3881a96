"""What a study of generative models asks: which are compared, on what, with how many seeds.

A study trains several variants of the generative model on the known structures of one search, each
with the same seeds, and compares what they learn and what their replicas find. Everything that can
change a result is in here and is recorded with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from crysearch.errors import SpecError
from crysearch.spec import SearchSpec, SpecWithSearch
from crysearch.spec_generative import MAXIMUM_GRID, GenerativeSpec
from crysearch.spec_parts import SpecPart

#: Fields of a generative model in which a variant and its baseline must agree: the same encoder and
#: decoder, the same structures held out, and evidences of one scale.
SHARED = (
    "hidden_layers",
    "latent_dimension",
    "initial_weight_scale",
    "likelihood",
    "validation_fraction",
)


@dataclass(frozen=True)
class Measure:
    """One number of a trial.

    Attributes
    ----------
    key : str
        The field in ``measures`` of a trial.
    label : str
        What it is, in words.
    unit : str
        Empty for a pure number.
    """

    key: str
    label: str
    unit: str = ""


#: What is measured of every trial, in the order of tables and figures.
MEASURES = (
    Measure("train_loss", "training loss", "nats"),
    Measure("train_reconstruction", "training reconstruction term", "nats"),
    Measure("train_divergence", "training divergence term", "nats"),
    Measure("validation_reconstruction", "held-out reconstruction term", "nats"),
    Measure("validation_divergence", "held-out divergence term", "nats"),
    Measure("rises", "share of epochs in which the loss rises by more than 1 %"),
    Measure("roughness", "roughness of the loss"),
    Measure("elbo", "held-out evidence lower bound", "nats"),
    Measure("evidence", "held-out log evidence", "nats"),
    Measure("reconstruction_train", "distance of training structures to their reconstructions"),
    Measure("reconstruction_held_out", "distance of held-out structures to their reconstructions"),
    Measure("unused_coordinates", "unused latent coordinates"),
    Measure("replica_distance", "distance between replicas"),
    Measure("replica_correlation", "correlation of replicas with the database"),
    Measure("nearest_correlation", "correlation of replicas with the nearest known structure"),
    Measure("share_near", "share of random crystals near a replica"),
    Measure("energy_mean", "mean energy after relaxation", "eV/atom"),
    Measure("energy_lowest", "lowest energy after relaxation", "eV/atom"),
    Measure("distinct_low", "distinct structures of low energy"),
)


class VariantSpec(SpecPart):
    """One way to train a generative model."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")] = Field(
        description="A name of letters, digits, `-` and `_`."
    )
    generative: GenerativeSpec = Field(
        default_factory=GenerativeSpec, description="The model and its training."
    )
    equal_time: bool = Field(
        False, description="Train for `equal_time_factor` times the epochs of `generative`."
    )
    baselines: tuple[str, ...] = Field(
        (), description="Names of the variants that it is compared with, seed by seed."
    )


def _default_variants() -> tuple[VariantSpec, ...]:
    """The Hamiltonian autoencoder against the plain one."""
    hamiltonian = GenerativeSpec.model_validate("hvae")
    return (
        VariantSpec(name="vae"),
        VariantSpec(name="hvae", generative=hamiltonian, baselines=("vae",)),
    )


class StudySpec(SpecWithSearch):
    """A comparison of generative models over seeds."""

    kind: ClassVar[str] = "the study"

    name: str = Field("study", description="A name of your choice; changes no result.")
    search: SearchSpec = Field(
        default_factory=lambda: SearchSpec(formula_units=(8,)),
        description="The search whose known structures, fingerprint, replicas, random crystals, "
        "threshold and relaxation are used.",
    )
    variants: tuple[VariantSpec, ...] = Field(
        default_factory=_default_variants, description="What is compared."
    )
    seeds: Annotated[int, Field(ge=2, le=1000)] = Field(
        10, description="Trainings of each variant, with the seeds 0, 1, 2, …"
    )
    equal_time_factor: PositiveFloat = Field(
        3.0,
        description="Times the epochs of variants with `equal_time`: set it so that they take as "
        "long as what they are compared with.",
    )
    crystals: PositiveInt = Field(
        100_000, description="Random crystals to screen, of each cell size of the search."
    )
    relaxations: NonNegativeInt = Field(
        3,
        description="Crystals relaxed of each trial: the first that its replicas let through.",
    )
    evidence_samples: PositiveInt = Field(
        1000, description="Importance samples of the log evidence, for each structure."
    )
    low_energy: PositiveFloat = Field(
        0.2,
        description="Structures below count as low in energy, eV/atom above the lowest known one.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = self._variant_problems()
        replicas = self.search.replicas
        if not (replicas.grid_points or replicas.random_points):
            problems.append(
                "search.replicas: neither a grid nor random points — give grid_points or "
                "random_points, which every variant decodes"
            )
        if self.search.generative.condition != "none":
            problems.append(
                f"search.generative.condition: {self.search.generative.condition!r} — a study "
                "compares models without conditions; leave it out"
            )
        if replicas.interpolations:
            problems.append(
                f"search.replicas.interpolations: {len(replicas.interpolations)} given — a study "
                "compares replicas of the grid and at random points; leave lines out"
            )
        for variant in self.variants:
            dimension = variant.generative.latent_dimension
            if replicas.grid_points**dimension > MAXIMUM_GRID:
                problems.append(
                    f"search.replicas.grid_points: {replicas.grid_points} in {dimension} latent "
                    f"dimensions of {variant.name} — at most {MAXIMUM_GRID:,} replicas; use "
                    "random_points"
                )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _variant_problems(self) -> list[str]:
        names = [variant.name for variant in self.variants]
        problems = []
        if not names or len(set(names)) != len(names):
            problems.append(f"variants: {names} — give one or several with different names")
        by_name = {variant.name: variant for variant in self.variants}
        for place, variant in enumerate(self.variants):
            here = f"variants.{place}"
            problems += [f"{here}.{problem}" for problem in variant.generative.problems()]
            if variant.generative.condition != "none":
                problems.append(
                    f"{here}.generative.condition: {variant.generative.condition!r} — a study "
                    "compares models without conditions; leave it out"
                )
            for baseline in variant.baselines:
                other = by_name.get(baseline)
                if other is None or other is variant:
                    others = [name for name in names if name != variant.name]
                    problems.append(
                        f"{here}.baselines: {baseline!r} — choose among {', '.join(others)}"
                    )
                    continue
                for field in SHARED:
                    mine, its = (getattr(v.generative, field) for v in (variant, other))
                    if mine != its:
                        problems.append(
                            f"{here}.generative.{field}: {mine!r} — its baseline {baseline} has "
                            f"{its!r}; give both the same"
                        )
        return problems

    @property
    def known(self) -> SearchSpec:
        """The search that the documents of the study belong to.

        It is `search` without quotas: the study draws and relaxes its own crystals, which must not
        mix with those of a search that a person runs.
        """
        changes: dict[str, Any] = {
            f"screening.quotas.{group}": 0 for group in ("I", "II", "III", "IV")
        }
        changes |= {"sampling.maximum_candidates": self.crystals, "name": self.name}
        return self.search.with_changes(changes)

    def variant(self, name: str) -> VariantSpec:
        """The variant of a name; raises :class:`SpecError` for an unknown one."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise SpecError(f"variant {name!r}: not among {', '.join(v.name for v in self.variants)}")

    def generative_of(self, name: str) -> GenerativeSpec:
        """The model and training of a variant, with the epochs that it is trained for."""
        variant = self.variant(name)
        part = variant.generative
        if not variant.equal_time:
            return part
        epochs = max(1, round(self.equal_time_factor * part.epochs))
        return part.model_copy(update={"epochs": epochs})
