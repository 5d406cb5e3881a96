"""What a search by active learning asks: pool, reference method, potential, and when it ends.

Everything that can change a result is in here and is recorded with it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from crysearch.spec import SearchSpec, SpecWithSearch
from crysearch.spec_parts import RelaxationSpec, SpecPart


class ReferenceMethodSpec(SpecPart):
    """The method that the potential learns from: an engine of docs/engines.md, and its options."""

    engine: str = Field(
        "sevennet-0",
        description="`espresso` or `gpaw` from first principles; a pretrained potential in their "
        "place costs little, and what is found is then that potential's.",
    )
    options: dict[str, bool | int | float | str | dict[str, str]] = Field(
        {}, description="Options of the engine, such as `{functional: lda}`."
    )


class LossSpec(SpecPart):
    """Weights of the squared errors in the loss of the potential."""

    energy: NonNegativeFloat = Field(1.0, description="Of the energy per atom.")
    force: NonNegativeFloat = Field(0.1, description="Of the components of the forces.")
    stress: NonNegativeFloat = Field(0.1, description="Of the virial per atom.")
    energy_scale: PositiveFloat = Field(
        1.0, description="Energy above the lowest at which a configuration counts half, eV/atom."
    )


class PotentialSpec(SpecPart):
    """The ensemble of potentials, trained anew in every cycle."""

    model: str = Field("behler-parrinello", description="Name of the potential.")
    members: Annotated[int, Field(ge=2, le=100)] = Field(5, description="Potentials side by side.")
    cutoff: PositiveFloat = Field(6.0, description="Atoms further apart do not see each other, Å.")
    architecture: dict[str, Any] = Field(
        {}, description="Further arguments of the potential, such as `{hidden_layers: [30, 30]}`."
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of the configurations that each member holds out."
    )
    epochs: PositiveInt = Field(300, description="Passes over the configurations, at most.")
    batch_size: PositiveInt | None = Field(
        None, description="Configurations of one step; by default the potential's own choice."
    )
    learning_rate: PositiveFloat | None = Field(
        None, description="The optimiser's step size, if it has one; by default its own."
    )
    patience: PositiveInt = Field(
        50, description="Epochs without a better validation after which training ends."
    )
    loss: LossSpec = Field(default_factory=LossSpec, description="Weights in the loss.")

    @field_validator("architecture")
    @classmethod
    def _nothing_twice(cls, given: dict[str, Any]) -> dict[str, Any]:
        taken = sorted({"elements", "cutoff", "members"} & set(given))
        if taken:
            raise ValueError(f"{', '.join(taken)}: give it beside `architecture`, not in it")
        return given


class PoolSpec(SpecPart):
    """The random crystals that are searched, and their relaxation with the ensemble."""

    size: PositiveInt = Field(1000, description="Random crystals.")
    force_tolerance: PositiveFloat = Field(
        0.05, description="Largest mean force on any atom of a converged structure, eV/Å."
    )
    stress_tolerance: PositiveFloat = Field(
        0.5, description="Largest mean stress component of a converged structure, GPa."
    )
    max_steps: PositiveInt = Field(200, description="Optimiser steps at most.")
    disagreement_limit: PositiveFloat | None = Field(
        0.5,
        description="A relaxation stops where the standard deviation over the members of the force "
        "on an atom exceeds this, eV/Å; none for no limit.",
    )
    relative_disagreement: NonNegativeFloat = Field(
        0.3,
        description="And where it also exceeds this times the largest mean force: steep random "
        "crystals pass; 0 for `disagreement_limit` alone.",
    )
    batch_size: PositiveInt = Field(100, description="Crystals relaxed side by side.")


class ActiveLearningSpec(SpecWithSearch):
    """A search for the structures of lowest energy with few reference calculations."""

    kind: ClassVar[str] = "the active learning"

    name: str = Field("active learning", description="A name of your choice; changes no result.")
    search: SearchSpec = Field(
        default_factory=lambda: SearchSpec.build(
            {"formula_units": [16], "minimum_distances": {"Si-Si": 1.6}}
        ),
        description="Composition, cell size, sampling, known structures, seed, and the tolerances "
        "of the final relaxations (`relaxation`, whose engine is that of `reference`).",
    )
    reference: ReferenceMethodSpec = Field(
        default_factory=ReferenceMethodSpec, description="The reference method."
    )
    potential: PotentialSpec = Field(default_factory=PotentialSpec, description="The ensemble.")
    pool: PoolSpec = Field(default_factory=PoolSpec, description="The pool.")
    first_batch: PositiveInt = Field(
        100, description="Reference calculations of the first batch: crystals as they were drawn."
    )
    batch: PositiveInt = Field(100, description="Reference calculations of each further batch.")
    maximum_cycles: PositiveInt = Field(15, description="Cycles at most, the first batch included.")
    force_weight: NonNegativeFloat = Field(
        0.5, description="ω_F of the look-ahead score, Ē − ω_F · max‖F̄‖₂, Å."
    )
    cluster_radius: PositiveFloat = Field(
        0.1,
        description="Structures nearer than this are similar: root mean square difference of their "
        "standardised features.",
    )
    cluster_neighbours: Annotated[int, Field(ge=2)] = Field(
        2, description="Similar structures, itself included, at the core of a cluster."
    )
    known_distance: NonNegativeFloat = Field(
        0.02, description="Nearer to a structure with a reference calculation none is calculated."
    )
    top: PositiveInt = Field(10, description="Best clusters that must not change for the end.")
    energy_tolerance: PositiveFloat = Field(
        0.01, description="Largest change of their energies, eV/atom."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = []
        sizes = self.search.formula_units
        if len(sizes) != 1:
            problems.append(
                f"search.formula_units: {list(sizes)} — give one cell size: the features of "
                "different ones cannot be compared"
            )
        if self.first_batch > self.pool.size:
            problems.append(
                f"first_batch: {self.first_batch} — give at most pool.size, {self.pool.size}"
            )
        loss = self.potential.loss
        if not loss.energy + loss.force + loss.stress:
            problems.append("potential.loss: all weights are 0 — give at least one above 0")
        # The default stands in every specification that has been written out.
        default = RelaxationSpec.model_fields["engine"].default
        if self.search.relaxation.engine not in (default, self.reference.engine):
            problems.append(
                f"search.relaxation.engine: {self.search.relaxation.engine!r} — reference.engine "
                f"is {self.reference.engine!r}, and relaxes the best; leave it out"
            )
        if self.search.relaxation.options:
            problems.append(
                f"search.relaxation.options: {self.search.relaxation.options!r} — give them as "
                "reference.options, of the method that relaxes the best"
            )
        if self.reference.engine == "self-trained":
            problems.append(
                "reference.engine: 'self-trained' — what was learned here is no reference method; "
                "choose another engine of docs/engines.md"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def dataset(self) -> str:
        """Name of the data set of the reference calculations."""
        return f"active-learning-{self.identifier}"

    @property
    def known(self) -> SearchSpec:
        """The search that the documents belong to.

        It is `search` with the pool as its control group, unscreened, without replicas, and with
        the reference method as its engine.
        """
        changes: dict[str, Any] = {f"screening.quotas.{group}": 0 for group in ("I", "II", "IV")}
        changes |= {
            "screening.quotas.III": self.pool.size,
            "replicas": {"grid_points": 0},
            "relaxation.engine": self.reference.engine,
            "name": self.name,
        }
        return self.search.with_changes(changes)

    @property
    def formula_units(self) -> int:
        """Formula units in the cell."""
        return self.search.formula_units[0]

    @property
    def method(self) -> str:
        """The reference method in one line, the same for equal methods."""
        if not self.reference.options:
            return self.reference.engine
        return f"{self.reference.engine} {json.dumps(self.reference.options, sort_keys=True)}"
