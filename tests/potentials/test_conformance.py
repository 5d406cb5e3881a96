"""The contract on every registered potential, and proof that the contract can be broken."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from crysearch.potentials import (
    available_potentials,
    network_potential,
    optimizers,
    symmetry_functions,
    training,
)
from crysearch.potentials.behler_parrinello import BehlerParrinelloPotential
from crysearch.potentials.configuration import Failure
from crysearch.potentials.conformance import check_potential
from crysearch.potentials.networks import ElementNetworks

SMALL = {
    "behler-parrinello": {"cutoff": 4.5, "radial": 5, "angular": 1, "hidden_layers": (8, 8)},
    "gaussian-process": {"cutoff": 4.5, "sparse_points": 40, "radial": 4, "angular": 3},
    "schnet": {"cutoff": 4.5, "features": 8, "gaussians": 8},
}


#: The contract of the Deep Potential, which needs DeePMD-kit, is in `test_deep_potential`.
HERE = [name for name in available_potentials() if name != "deep-potential"]


@pytest.mark.parametrize("name", HERE)
def test_contract(name, silicon):
    check_potential(name, silicon, architecture=SMALL[name])


@pytest.mark.parametrize("name", HERE)
def test_contract_with_two_elements(name, compound):
    check_potential(name, compound, architecture=SMALL[name])


@pytest.mark.parametrize(
    "changes",
    [{"activation": "tanh", "cutoff_function": "cosine"}, {"hidden_layers": (9,), "angular": 0}],
)
def test_contract_of_other_behler_parrinello_potentials(changes, silicon):
    check_potential(
        "behler-parrinello", silicon, architecture={**SMALL["behler-parrinello"], **changes}
    )


def _change_outputs(change):
    def break_it(monkeypatch):
        original = ElementNetworks.forward
        monkeypatch.setattr(
            ElementNetworks, "forward", lambda self, *given: change(original(self, *given))
        )

    return break_it


def _change_predictions(change):
    def break_it(monkeypatch):
        original = BehlerParrinelloPotential.evaluate

        def evaluate(self, structures):
            return [
                result if isinstance(result, Failure) else change(result)
                for result in original(self, structures)
            ]

        monkeypatch.setattr(BehlerParrinelloPotential, "evaluate", evaluate)

    return break_it


def _unseeded_weights(monkeypatch):
    seeds = itertools.count(1)
    original = ElementNetworks.initialise
    monkeypatch.setattr(
        ElementNetworks,
        "initialise",
        lambda self, generators: original(
            self, [torch.Generator().manual_seed(next(seeds)) for _ in generators]
        ),
    )


def _global_noise(monkeypatch):
    original = ElementNetworks.forward

    def forward(self, *given):
        torch.randn(1)
        return original(self, *given)

    monkeypatch.setattr(ElementNetworks, "forward", forward)


def _members_alike(monkeypatch):
    original = BehlerParrinelloPotential.evaluate

    def evaluate(self, structures):
        return [
            result
            if isinstance(result, Failure)
            else replace(result, energies=np.full_like(result.energies, result.energy))
            for result in original(self, structures)
        ]

    monkeypatch.setattr(BehlerParrinelloPotential, "evaluate", evaluate)


def _sudden_cutoff(monkeypatch):
    """Every function is cut off at two thirds of where it becomes zero."""
    original = symmetry_functions.kernel.evaluate

    def evaluate(functions, *given):
        original(functions._replace(cutoff=1.5 * functions.cutoff), *given)

    plain = symmetry_functions.gather

    def gather(configurations, elements, cutoff):
        return plain(configurations, elements, 1.5 * cutoff)

    monkeypatch.setattr(symmetry_functions, "gather", gather)
    monkeypatch.setattr(symmetry_functions.kernel, "evaluate", evaluate)


def _forgotten_steps(monkeypatch):
    original = optimizers.Lbfgs.restore

    def restore(self, arrays):
        original(self, arrays)
        self._steps, self._changes = self._steps[1:], self._changes[1:]
        self._inverses = self._inverses[1:]

    monkeypatch.setattr(optimizers.Lbfgs, "restore", restore)


def _any_checkpoint(monkeypatch):
    original = training._restore

    def restore(data, tag, minimiser):
        header, _ = training.CHECKPOINTS.unpack("training", data)
        return original(data, header["training"], minimiser)

    monkeypatch.setattr(training, "_restore", restore)


def _leaking_split(monkeypatch):
    original = network_potential.split

    def split(*given):
        inside, outside = original(*given)
        return [np.union1d(a, b[:1]) for a, b in zip(inside, outside, strict=True)], outside

    monkeypatch.setattr(network_potential, "split", split)


def _weights_not_kept(monkeypatch):
    monkeypatch.setattr(training, "_keep", lambda best, weights, better: None)


def _wrong_best_epoch(monkeypatch):
    original = training.train

    def train(*given):
        curves, best = original(*given)
        return curves, np.zeros_like(best)

    monkeypatch.setattr(network_potential, "train", train)


def _failure_ends_all(monkeypatch):
    original = BehlerParrinelloPotential.evaluate

    def evaluate(self, structures):
        results = original(self, structures)
        failed = [result for result in results if isinstance(result, Failure)]
        return failed * len(results) if failed else results

    monkeypatch.setattr(BehlerParrinelloPotential, "evaluate", evaluate)


def _state_lost(monkeypatch):
    original = BehlerParrinelloPotential.fit

    def fit(self, *given, **settings):
        try:
            return original(self, *given, **settings)
        except Exception:
            self._scaling = None
            raise

    monkeypatch.setattr(BehlerParrinelloPotential, "fit", fit)


@pytest.mark.parametrize(
    ("break_it", "promise"),
    [
        (_unseeded_weights, "resumed training gives bitwise the same weights"),
        (_global_noise, "global random state"),
        (_members_alike, "atomic energies add up|the members' mean|members differ"),
        (_forgotten_steps, "resumed training gives bitwise the same weights"),
        (_any_checkpoint, "checkpoint of another seed"),
        (_leaking_split, "split has every row once"),
        (_weights_not_kept, "lowers the error|weights are those of the best epoch"),
        (_wrong_best_epoch, "best epoch is the one of lowest"),
        (_failure_ends_all, "failure stops no others|failure of its own|named"),
        (_state_lost, "leaves the potential as it was|not trained"),
        (_sudden_cutoff, "beyond the cut-off"),
        (_change_outputs(lambda o: o._replace(forces=1.01 * o.forces)), "forces are minus"),
        (_change_outputs(lambda o: o._replace(virials=-o.virials)), "stress is the derivative"),
        (
            _change_outputs(lambda o: o._replace(forces=o.forces.flip(2))),
            "rotation turns forces",
        ),
        (
            _change_predictions(lambda p: replace(p, energies=p.energies * 1.1)),
            "add up to the energy",
        ),
        (
            _change_predictions(
                lambda p: replace(p, descriptor=p.descriptor / len(p.atomic_energies))
            ),
            "six times the descriptor",
        ),
        (
            _change_predictions(lambda p: replace(p, stresses=p.stresses * len(p.atomic_energies))),
            "supercell has the same stress",
        ),
    ],
)
def test_broken_potentials_are_found_out(break_it, promise, silicon, monkeypatch):
    break_it(monkeypatch)
    with pytest.raises(Exception, match=promise) as caught:
        check_potential("behler-parrinello", silicon, architecture=SMALL["behler-parrinello"])
    assert type(caught.value).__name__ in ("AssertionError", "TrainingError")
