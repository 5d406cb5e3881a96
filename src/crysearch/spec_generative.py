"""The parts of a specification that are about the generative model and its replicas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from crysearch.spec_parts import SpecPart

# Those of crysearch.generative, which takes torch to import.
Likelihood = Literal["bernoulli", "gaussian", "continuous-bernoulli"]
Tempering = Literal["quadratic", "none"]
KineticTerm = Literal["mean", "drawn"]
Optimizer = Literal["adam", "sgd"]
Condition = Literal["none", "energy", "density"]

#: Name of the model that takes the Hamiltonian part.
HAMILTONIAN = "hvae"
#: Condition -> field of a reference's document.
CONDITION_FIELDS = {"energy": "energy_above_ground_state", "density": "density"}
#: Replicas of a grid, at all conditions together.
MAXIMUM_GRID = 100_000


class HamiltonianSpec(SpecPart):
    """Leapfrog steps of the Hamiltonian variational autoencoder, `hvae`."""

    leapfrog_steps: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="Leapfrog steps K from the encoder's draw to the latent point; 0 for none."
    )
    maximum_step_size: PositiveFloat = Field(
        0.2, description="Upper bound of the step sizes ε, in latent units."
    )
    initial_step_size: PositiveFloat = Field(
        0.03, description="Step sizes at the start of the training, below `maximum_step_size`."
    )
    tempering: Tempering = Field(
        "quadratic",
        description="`quadratic`: the momenta are cooled from β₀ to 1 by the quadratic schedule; "
        "`none`: they are not.",
    )
    initial_inverse_temperature: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="β₀ at the start of the training."
    )
    initial_kinetic_term: KineticTerm = Field(
        "mean",
        description="½ β₀ ρ₀² in the recorded loss: by its `mean`, as published, or as `drawn`; "
        "the training is the same.",
    )


class GenerativeSpec(SpecPart):
    """Generative model trained on the references' fingerprints; `generative: hvae` names it only.

    A name in its place is short for the part with that model.
    """

    model: str = Field(
        "vae",
        description="`vae`, a variational autoencoder, or `hvae`, a Hamiltonian one; see "
        "docs/generative.md.",
    )
    hidden_layers: tuple[PositiveInt, ...] = Field(
        (50, 25, 12), description="Widths of the encoder's hidden layers; the decoder mirrors them."
    )
    latent_dimension: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Latent coordinates."
    )
    likelihood: Likelihood = Field(
        "bernoulli",
        description="Of a scaled fingerprint: `bernoulli` (binary cross-entropy, the published "
        "one), `gaussian` or `continuous-bernoulli`.",
    )
    condition: Condition = Field(
        "none",
        description="What the model is told of each structure, beside its fingerprint: `energy` "
        "above the source's ground state (eV/atom), `density` (g/cm³) or `none`.",
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the references held out (28/8 of 36 in the paper)."
    )
    epochs: PositiveInt = Field(2000, description="Passes over the training set.")
    batch_size: PositiveInt = Field(32, description="Fingerprints per optimiser step.")
    optimizer: Optimizer = Field(
        "adam", description="`adam`, or `sgd`, stochastic gradient descent."
    )
    learning_rate: PositiveFloat | None = Field(
        None, description="The optimiser's step size; by default its own with this model."
    )
    annealing_epochs: NonNegativeInt = Field(
        0,
        description="Epochs over which the weight of the divergence in the loss rises to 1; 0 for "
        "none.",
    )
    initial_weight_scale: PositiveFloat = Field(
        1.4,
        description="Initial weights are normal with this times √(2 / inputs of the layer) as "
        "standard deviation.",
    )
    hamiltonian: HamiltonianSpec = Field(
        default_factory=HamiltonianSpec, description="Leapfrog steps of `hvae`."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_only(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    def problems(self) -> list[str]:
        """What in this part does not fit together, one message each."""
        found: list[str] = []
        if self.annealing_epochs > self.epochs:
            found.append(
                f"generative.annealing_epochs: {self.annealing_epochs} — give at most "
                f"generative.epochs, {self.epochs}"
            )
        steps = self.hamiltonian
        if steps.initial_step_size >= steps.maximum_step_size:
            found.append(
                f"generative.hamiltonian.initial_step_size: {steps.initial_step_size:g} — give one "
                f"below maximum_step_size, {steps.maximum_step_size:g}"
            )
        # Otherwise settings without effect would make another search.
        if self.model != HAMILTONIAN and steps != HamiltonianSpec():
            found.append(
                f"generative.hamiltonian: given, but generative.model is {self.model!r} — set it "
                f"to {HAMILTONIAN!r}, or leave the part out"
            )
        return found

    @property
    def condition_field(self) -> str | None:
        """Field of a reference's document that is its condition; None without."""
        return CONDITION_FIELDS.get(self.condition)

    @property
    def condition_unit(self) -> str:
        """Unit of the condition; empty without."""
        return {"energy": "eV/atom", "density": "g/cm³"}.get(self.condition, "")

    def architecture(self, input_size: int) -> dict[str, Any]:
        """Arguments of :func:`crysearch.generative.create_model`, after the name.

        Parameters
        ----------
        input_size : int
            Length of one fingerprint.
        """
        arguments = {
            "input_size": input_size,
            "hidden_layers": self.hidden_layers,
            "latent_dimension": self.latent_dimension,
            "initial_weight_scale": self.initial_weight_scale,
            "likelihood": self.likelihood,
            "condition_size": 0 if self.condition == "none" else 1,
        }
        return arguments | (self.hamiltonian.model_dump() if self.model == HAMILTONIAN else {})

    @property
    def training(self) -> dict[str, Any]:
        """Arguments of a model's ``fit`` that are settings."""
        return {
            "validation_fraction": self.validation_fraction,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "annealing_epochs": self.annealing_epochs,
        }


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
    conditions: tuple[float, ...] = Field(
        (),
        description="Values of `generative.condition` at which all of these are asked for (eV/atom "
        "or g/cm³); needed with a condition.",
    )

    @property
    def wanted(self) -> bool:
        """Whether any replicas are asked for; without them no model is trained."""
        return bool(self.grid_points or self.random_points or self.interpolations)

    def problems(self, generative: GenerativeSpec) -> list[str]:
        """What does not fit together, or not with the model; one message each."""
        found = self._condition_problems(generative)
        lines = [(line.first, line.last) for line in self.interpolations]
        if len(set(lines)) != len(lines):
            found.append(
                "replicas.interpolations: two lines between the same two references — give one"
            )
        dimensions, values = generative.latent_dimension, len(self.conditions)
        if self.grid_points**dimensions * max(1, values) > MAXIMUM_GRID:
            found.append(
                f"replicas.grid_points: {self.grid_points} in {dimensions} latent dimensions"
                + (f" at {values} conditions" if values else "")
                + f" — at most {MAXIMUM_GRID:,} replicas; set it to 0 and replicas.random_points "
                "to the number wanted, such as 225"
            )
        return found

    def _condition_problems(self, generative: GenerativeSpec) -> list[str]:
        condition, unit, values = (
            generative.condition,
            generative.condition_unit,
            list(self.conditions),
        )
        given = f"replicas.conditions: {values} — "
        if condition == "none":
            way_out = "set it to 'energy' or 'density', or leave the values out"
            return [f"{given}generative.condition is 'none'; {way_out}"] if values else []
        if not values and self.wanted:
            example = [0.0, 0.1] if condition == "energy" else [2.3]
            return [
                f"replicas.conditions: empty, but generative.condition is {condition!r} — give the "
                f"values at which replicas are wanted ({unit}), such as {example}"
            ]
        if len(set(values)) != len(values):
            return [f"{given}a value is given twice; give different ones"]
        if condition == "energy" and any(value < 0 for value in values):
            return [
                f"{given}energies above the ground state are not negative; give 0 or more ({unit})"
            ]
        if condition == "density" and any(value <= 0 for value in values):
            return [f"{given}densities are not 0 or below; give values above 0 ({unit})"]
        return []
