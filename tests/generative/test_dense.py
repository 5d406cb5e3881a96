"""What all dense autoencoders share: evidence, ensembles, conditions, annealing, stored models."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.optim.optimizer import register_optimizer_step_post_hook

from crysearch.errors import TrainingError
from crysearch.generative import available_models, create_model, load_model, storage
from crysearch.generative.hvae import HamiltonianVariationalAutoencoder
from crysearch.generative.registry import model_class
from crysearch.generative.training import divergence_weight, torch_generators
from crysearch.generative.vae import VariationalAutoencoder

DENSE = {"input_size": 16, "hidden_layers": (9, 5)}


def log_joint(model, row, points):
    """log p(x, z) on latent points (n, 1) from the decoder and the prior alone."""
    outputs = model._network.decode(torch.tensor(points)[None], None)
    targets = torch.tensor(model.scaler.transform(row[None])).expand(1, len(points), -1)
    likelihood = -model._network.likelihood.negative_log(outputs, targets)[0]
    return likelihood.detach().numpy() - 0.5 * points[:, 0] ** 2 - 0.5 * np.log(2.0 * np.pi)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous-bernoulli", "gaussian"])
@pytest.mark.parametrize("name", available_models())
def test_evidence_against_quadrature(name, likelihood, small):
    """With one latent coordinate, p(x) is an integral that needs no sampling."""
    model = create_model(name, **DENSE, latent_dimension=1, likelihood=likelihood)
    model.fit(small, seed=0, epochs=60)
    grid = np.linspace(-8.0, 8.0, 20_001)[:, None]
    exact = [
        np.log(integrate.simpson(np.exp(log_joint(model, row, grid)), x=grid[:, 0]))
        for row in small
    ]
    found = model.log_evidence(small, samples=20_000, seed=1)
    np.testing.assert_allclose(found, exact, atol=0.06)


def test_evidence_does_not_depend_on_how_it_is_cut_into_pieces(small, monkeypatch):
    model = create_model("vae", **DENSE)
    model.fit(small, seed=0, epochs=5)
    whole = model.log_evidence(small, samples=100)
    monkeypatch.setattr("crysearch.generative.dense._CHUNK", 2 * small.size)
    np.testing.assert_allclose(model.log_evidence(small, samples=100), whole, rtol=1e-9)


@pytest.mark.parametrize("name", available_models())
def test_a_failing_member_leaves_the_others_as_they_are(name, small, monkeypatch):
    cls = model_class(name)
    sound = cls.fit_ensemble(DENSE, small, seeds=[0, 1, 2], epochs=30)
    original = cls._initialise

    def initialise(self, network, generators):
        original(self, network, generators)
        network.decoder["0"].weight[1] *= 1e308

    monkeypatch.setattr(cls, "_initialise", initialise)
    found = cls.fit_ensemble(DENSE, small, seeds=[0, 1, 2], epochs=30)
    assert found[1].model is None and found[1].history is None
    assert "not finite in epoch" in found[1].failure
    for index in (0, 2):
        assert found[index].failure is None
        assert found[index].model.to_bytes() == sound[index].model.to_bytes()


def test_an_ensemble_of_failures_ends_early(small):
    calls = []
    found = VariationalAutoencoder.fit_ensemble(
        DENSE, small, seeds=[0, 1], epochs=1000, learning_rate=1e12, progress=calls.append
    )
    assert all(member.failure and member.model is None for member in found)
    assert len(calls) < 100


def test_training_an_ensemble_is_cheaper_than_its_models_one_by_one(silicon):
    """Counted in calls of the optimiser: one for all models."""
    steps = []
    handle = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    try:
        VariationalAutoencoder.fit_ensemble({}, silicon, seeds=range(10), epochs=7)
    finally:
        handle.remove()
    assert len(steps) == 7


@pytest.mark.parametrize("name", available_models())
def test_a_conditional_model_makes_what_it_is_asked_for(name):
    """Two kinds of fingerprints told apart by the condition alone."""
    random = np.random.default_rng(0)
    kinds = np.repeat([0.0, 1.0], 20)
    shapes = np.stack([np.linspace(1.0, 0.1, 16), np.linspace(0.1, 1.0, 16)])
    fingerprints = shapes[kinds.astype(int)] + 0.05 * random.random((40, 16))
    model = create_model(name, **DENSE, condition_size=1)
    model.fit(fingerprints, conditions=kinds[:, None], seed=0, epochs=400)
    points = random.normal(size=(50, 2))
    for kind, shape, other in ((0.0, *shapes), (1.0, *shapes[::-1])):
        made = model.decode(points, conditions=[kind])
        nearer = np.abs(made - shape).mean(axis=1) < np.abs(made - other).mean(axis=1)
        assert nearer.mean() > 0.8


def test_divergence_weight_rises_to_one():
    assert [divergence_weight(epoch, 4) for epoch in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert divergence_weight(0, 0) == 1.0


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_both_optimisers_against_torch_on_single_parameters(optimizer, small):
    """One step from known weights equals torch's unfused optimiser on the parameters one by one."""
    (member,) = VariationalAutoencoder.fit_ensemble(
        DENSE, small, seeds=[3], epochs=1, optimizer=optimizer, learning_rate=1e-3
    )
    model = VariationalAutoencoder(**DENSE)
    weights, noise_generator, _ = torch_generators(3, 3)
    network = model._empty_network(1)
    with torch.no_grad():
        model._initialise(network, [weights])
    scaled = torch.tensor(small[member.history.train_indices] / small.max())[None]
    order = torch.randperm(scaled.shape[1], generator=noise_generator)
    noise = torch.randn((scaled.shape[1], 2), dtype=torch.float64, generator=noise_generator)
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    plain = kind(network.parameters(), lr=1e-3, foreach=False, fused=False)
    sum(model._loss_terms(network, scaled[:, order], None, noise[None])).mean().backward()
    plain.step()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(member.model._network.state_dict()[key], value)


def test_models_stored_before_there_were_likelihoods_still_load(small):
    model = create_model("vae", **DENSE)
    model.fit(small, seed=0, epochs=5)
    header, arrays = storage.unpack("vae", model.to_bytes())
    for newer in ("likelihood", "condition_size"):
        del header["architecture"][newer]
    del header["name"]
    loaded = load_model("vae", storage.pack("vae", header, arrays))
    points = np.zeros((1, 2))
    assert loaded.decode(points).tobytes() == model.decode(points).tobytes()
    assert arrays["encoder.2.weight"].shape == (5, 9)


def test_stored_models_hold_their_condition_scaler(small):
    model = create_model("hvae", **DENSE, condition_size=1)
    model.fit(small, conditions=np.arange(12.0)[:, None], seed=0, epochs=3)
    text = io.BytesIO(model.to_bytes()).readlines()[1]
    assert json.loads(text)["condition_scaler"]["means"] == [5.5]
    assert isinstance(load_model("hvae", model.to_bytes()), HamiltonianVariationalAutoencoder)


def test_conditions_that_are_all_alike_are_refused(small):
    model = create_model("vae", **DENSE, condition_size=2)
    conditions = np.column_stack([np.arange(12.0), np.full(12, 0.25)])
    with pytest.raises(TrainingError, match=r"column 1 is 0\.25 for all 12 structures"):
        model.fit(small, conditions=conditions, seed=0, epochs=1)
