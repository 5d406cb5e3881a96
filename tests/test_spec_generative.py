"""The generative model and its replicas in a specification: shorthand, conditions, refusals."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from crysearch import spec_generative
from crysearch.errors import SpecError
from crysearch.spec import SearchSpec
from crysearch.spec_generative import GenerativeSpec, HamiltonianSpec

ENERGY = {"generative": {"condition": "energy"}, "replicas": {"conditions": [0.0, 0.1]}}


def test_defaults_are_the_published_model():
    part = SearchSpec().generative
    assert (part.model, part.likelihood, part.optimizer, part.condition) == (
        "vae",
        "bernoulli",
        "adam",
        "none",
    )
    assert part.condition_field is None and part.annealing_epochs == 0
    assert SearchSpec().replicas.conditions == ()


def test_a_name_stands_for_the_model(tmp_path):
    named = SearchSpec.build({"generative": "hvae"})
    assert named == SearchSpec.build({"generative": {"model": "hvae"}})
    assert named == SearchSpec(generative="hvae")  # type: ignore[arg-type]
    file = tmp_path / "spec.yaml"
    file.write_text("generative: hvae\n", encoding="utf-8")
    assert SearchSpec.from_yaml(file) == named
    file.write_text(named.to_yaml(), encoding="utf-8")
    assert SearchSpec.from_yaml(file).search_id == named.search_id
    assert named.search_id != SearchSpec().search_id


def test_a_name_among_changes_leaves_the_rest():
    values = {"generative": "hvae", "generative.epochs": 100}
    file = SearchSpec.build({"generative": {"hidden_layers": [20]}})
    for names in (list(values), list(values)[::-1]):
        part = file.with_changes({name: values[name] for name in names}).generative
        assert (part.model, part.epochs, part.hidden_layers) == ("hvae", 100, (20,))
    assert SearchSpec.build({"generative": "hvae"}).with_changes({"seed": 2}).generative.model == (
        "hvae"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"generative": {"epochs": 10, "annealing_epochs": 11}}, "annealing_epochs: 11 — give at"),
        ({"generative": {"annealing_epochs": -1}}, "generative.annealing_epochs: -1"),
        ({"generative": {"likelihood": "poisson"}}, "likelihood: 'poisson' — input should be 'ber"),
        ({"generative": {"optimizer": "lbfgs"}}, "'adam' or 'sgd'"),
        ({"generative": {"condition": "volume"}}, "'none', 'energy' or 'density'"),
        ({"generative": {"learning_rate": 0}}, "generative.learning_rate: 0"),
        (
            {"generative": {"model": "hvae", "hamiltonian": {"initial_step_size": 0.2}}},
            "hamiltonian.initial_step_size: 0.2 — give one below maximum_step_size, 0.2",
        ),
        (
            {"generative": {"model": "hvae", "hamiltonian": {"initial_inverse_temperature": 1}}},
            "hamiltonian.initial_inverse_temperature: 1 ",
        ),
        ({"generative": {"hamiltonian": {"leapfrog_steps": -1}}}, "leapfrog_steps: -1"),
        ({"generative": {"hamiltonian": {"tempering": "linear"}}}, "'quadratic' or 'none'"),
        (
            {"generative": {"hamiltonian": {"leapfrog_steps": 5}}},
            "generative.hamiltonian: given, but generative.model is 'vae' — set it to 'hvae'",
        ),
        ({"generative": {"condition": "energy"}}, "replicas.conditions: empty, but generative.con"),
        ({"replicas": {"conditions": [0.1]}}, "replicas.conditions: [0.1] — generative.condition"),
        (ENERGY | {"replicas": {"conditions": [0.1, 0.1]}}, "a value is given twice"),
        (ENERGY | {"replicas": {"conditions": [-0.1]}}, "give 0 or more (eV/atom)"),
        (ENERGY | {"replicas": {"conditions": ["low"]}}, "replicas.conditions.0: 'low'"),
        (
            {"generative": {"condition": "density"}, "replicas": {"conditions": [0.0]}},
            "give values above 0 (g/cm³)",
        ),
        (
            {"generative": {"latent_dimension": 8}},
            "15 in 8 latent dimensions — at most 100,000 replicas; set it to 0 and "
            "replicas.random_points",
        ),
        (
            ENERGY | {"replicas": {"grid_points": 300, "conditions": [0.0, 0.1]}},
            "300 in 2 latent dimensions at 2 conditions",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(content: dict[str, Any], expected: str):
    with pytest.raises(SpecError, match="1 invalid field") as caught:
        SearchSpec.build(content)
    assert expected in str(caught.value)


def test_conditions_are_not_needed_where_no_model_is_trained():
    spec = {"replicas": {"grid_points": 0}, "screening": {"quotas": {"II": 0}}}
    assert not SearchSpec.build(spec | {"generative": {"condition": "energy"}}).replicas.wanted


@pytest.mark.parametrize("model", ["vae", "hvae"])
@pytest.mark.parametrize("condition", ["none", "energy"])
def test_models_take_what_the_specification_gives(model: str, condition: str):
    """Real models and a real, short training; what they were told is what they say."""
    import numpy as np

    from crysearch.generative import create_model

    part = GenerativeSpec(
        model=model,
        condition=condition,  # type: ignore[arg-type]
        likelihood="continuous-bernoulli",
        optimizer="sgd",
        annealing_epochs=1,
        epochs=2,
        hidden_layers=(4,),
        latent_dimension=3,
    )
    network = create_model(model, **part.architecture(6))
    told = part.architecture(6) | {"hidden_layers": [4]}
    assert network.architecture == told
    assert ("leapfrog_steps" in told) == (model == "hvae")
    data = np.random.default_rng(0).random((8, 6))
    conditions = data[:, :1] if condition == "energy" else None
    history = network.fit(data, conditions=conditions, seed=1, **part.training)
    assert (history.epochs, history.optimizer, history.annealing_epochs) == (2, "sgd", 1)


def test_defaults_and_choices_are_those_of_the_models():
    import inspect

    from crysearch.generative.base import OPTIMIZERS
    from crysearch.generative.hamiltonian import TEMPERINGS
    from crysearch.generative.hvae import KINETIC_TERMS
    from crysearch.generative.likelihoods import LIKELIHOODS
    from crysearch.generative.registry import available_models, model_class

    assert set(get_args(spec_generative.Likelihood)) == set(LIKELIHOODS)
    assert set(get_args(spec_generative.Tempering)) == set(TEMPERINGS)
    assert set(get_args(spec_generative.KineticTerm)) == set(KINETIC_TERMS)
    assert set(get_args(spec_generative.Optimizer)) == set(OPTIMIZERS)
    assert {"vae", spec_generative.HAMILTONIAN} == set(available_models())
    for model in available_models():
        chosen = model_class(model)
        for values, function in (
            (GenerativeSpec(model=model).architecture(200), chosen),
            (GenerativeSpec(model=model).training, chosen.fit),
        ):
            parameters = inspect.signature(function).parameters
            assert values == {name: parameters[name].default for name in values}, model
    assert set(HamiltonianSpec.model_fields) <= set(inspect.signature(chosen).parameters)
