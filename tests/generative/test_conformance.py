"""The contract on every registered model, and proof that the contract can be broken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from crysearch.generative import available_models
from crysearch.generative.conformance import check_model
from crysearch.generative.scaler import GlobalMaximumScaler
from crysearch.generative.training import TrainingSettings
from crysearch.generative.vae import VariationalAutoencoder


@pytest.mark.parametrize("name", available_models())
def test_contract(name, silicon):
    check_model(name, silicon)


@pytest.mark.parametrize("name", available_models())
@pytest.mark.parametrize(
    "changes",
    [
        {"latent_dimension": 1},
        {"latent_dimension": 3, "hidden_layers": ()},
        {"likelihood": "gaussian"},
        {"likelihood": "continuous-bernoulli", "condition_size": 1},
        {"condition_size": 2, "hidden_layers": ()},
    ],
)
def test_contract_of_other_architectures(name, changes, small):
    check_model(name, small, architecture={"hidden_layers": (9, 5), **changes})


@pytest.mark.parametrize(
    "changes", [{"leapfrog_steps": 0}, {"tempering": "none", "initial_kinetic_term": "drawn"}]
)
def test_contract_of_other_hamiltonian_settings(changes, small):
    check_model("hvae", small, architecture={"hidden_layers": (9, 5), **changes})


def _unseeded_weights(monkeypatch):
    # Other weights each time, yet the same in every run of the tests: a start that happens not to
    # learn would break another promise first.
    seeds = itertools.count(1)
    original = VariationalAutoencoder._initialise
    monkeypatch.setattr(
        VariationalAutoencoder,
        "_initialise",
        lambda self, network, generators: original(
            self, network, [torch.Generator().manual_seed(next(seeds)) for _ in generators]
        ),
    )


def _global_noise(monkeypatch):
    original = VariationalAutoencoder._loss_terms

    def loss_terms(self, *arguments):
        torch.randn(1)
        return original(self, *arguments)

    monkeypatch.setattr(VariationalAutoencoder, "_loss_terms", loss_terms)


def _loss_with_wrong_sign(monkeypatch):
    original = VariationalAutoencoder._loss_terms
    monkeypatch.setattr(
        VariationalAutoencoder,
        "_loss_terms",
        lambda self, *arguments: tuple(-term for term in original(self, *arguments)),
    )


def _nothing_learned(monkeypatch):
    original = VariationalAutoencoder._loss_terms
    monkeypatch.setattr(
        VariationalAutoencoder,
        "_loss_terms",
        lambda self, *arguments: tuple(
            term.detach() + 0.0 * term for term in original(self, *arguments)
        ),
    )


def _replicas_left_scaled(monkeypatch):
    monkeypatch.setattr(GlobalMaximumScaler, "inverse_transform", lambda self, scaled: scaled)


def _scaler_forgotten_in_storage(monkeypatch):
    monkeypatch.setattr(
        GlobalMaximumScaler, "to_dict", lambda self: {"kind": "global-maximum", "maximum": 1.0}
    )


def _silent_clipping(monkeypatch):
    original = GlobalMaximumScaler.transform
    monkeypatch.setattr(
        GlobalMaximumScaler,
        "transform",
        lambda self, fingerprints, **_: original(self, fingerprints, above_maximum="clip"),
    )


def _leaking_split(monkeypatch):
    original = TrainingSettings.split

    def split(self, n, generator):
        training, validation = original(self, n, generator)
        return np.append(training, validation[0]), validation

    monkeypatch.setattr(TrainingSettings, "split", split)


def _threads_left_changed(monkeypatch):
    original = VariationalAutoencoder.fit

    def fit(self, *arguments, **settings):
        history = original(self, *arguments, **settings)
        torch.set_num_threads(torch.get_num_threads() + 1)
        return history

    monkeypatch.setattr(VariationalAutoencoder, "fit", fit)


def _weights_change_before_success(monkeypatch):
    original = VariationalAutoencoder.fit

    def fit(self, *arguments, **settings):
        try:
            return original(self, *arguments, **settings)
        except Exception:
            self._network = self._empty_network(1)
            raise

    monkeypatch.setattr(VariationalAutoencoder, "fit", fit)


@pytest.mark.parametrize(
    ("break_it", "promise"),
    [
        (_unseeded_weights, "same seed gives bitwise the same weights"),
        (_global_noise, "global random state"),
        (_loss_with_wrong_sign, "reconstruction loss is not negative"),
        (_nothing_learned, "nearer to the originals"),
        (_replicas_left_scaled, "original scale"),
        (_scaler_forgotten_in_storage, "same replicas"),
        (_silent_clipping, "above the training maximum"),
        (_leaking_split, "split has every row once"),
        (_threads_left_changed, "global random state, threads"),
        (_weights_change_before_success, "leaves the model as it was"),
    ],
)
def test_broken_models_are_found_out(break_it, promise, small, monkeypatch):
    threads = torch.get_num_threads()
    break_it(monkeypatch)
    try:
        with pytest.raises(Exception, match=promise) as caught:
            check_model("vae", small, architecture={"hidden_layers": (9, 5)})
        assert type(caught.value).__name__ in ("AssertionError", "TrainingError")
    finally:
        torch.set_num_threads(threads)
