"""The contract of trainable potentials as one function, to run on any registered potential.

A new potential is finished when ``check_potential(name, configurations)`` passes. Every broken
promise raises an AssertionError that names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crysearch.generative.conformance import global_state
from crysearch.potentials.base import TrainablePotential
from crysearch.potentials.calculator import PotentialCalculator
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.conformance_physics import (
    Case,
    check_cutoff,
    check_derivatives,
    check_failures,
    check_invariance,
    close,
    expect,
    expect_refusal,
)
from crysearch.potentials.history import FitHistory, LossWeights
from crysearch.potentials.registry import create_potential, load_potential, potential_class


def check_potential(
    name: str,
    configurations: Sequence[Configuration],
    *,
    architecture: dict[str, Any] | None = None,
    epochs: int = 30,
    seed: int = 7,
) -> None:
    """Run the whole contract of `TrainablePotential` on one registered potential.

    Parameters
    ----------
    name : str
        Its name in the registry.
    configurations : sequence of Configuration
        At least 10, small, without symmetry, with energies, forces and stresses.
    architecture : dict, optional
        Arguments besides ``elements`` and ``members``.
    epochs : int
        Epochs of a training; enough for the loss to fall. There are six trainings or so.
    seed : int

    Raises
    ------
    AssertionError
        Naming the promise that is broken.
    """
    elements = sorted({symbol for c in configurations for symbol in c.elements})
    case = Case(name, {**(architecture or {}), "elements": elements}, list(configurations), epochs)
    _check_untrained(case)
    _check_refusals(case)
    potential, history = _check_training(case, seed)
    _check_reproducible(case, potential, history, seed)
    _check_predictions(case, potential)
    check_invariance(case, potential)
    check_derivatives(case, potential)
    check_cutoff(case, potential)
    check_failures(case, potential)
    _check_calculator(case, potential)
    _check_storage(case, potential)
    _check_validation_set(case)


def _bare(configuration: Configuration) -> Configuration:
    return replace(configuration, energy=None, forces=None, stress=None)


def _check_untrained(case: Case) -> None:
    potential = case.create()
    expect("the class has the name it is registered by", potential.name == case.name)
    expect("elements are kept", sorted(potential.elements) == case.arguments["elements"])
    expect("members are kept", potential.members == 3)
    expect("the cut-off is positive", potential.cutoff > 0.0)
    expect("a new potential is not fitted", not potential.is_fitted)
    again = create_potential(case.name, **json.loads(json.dumps(potential.architecture)))
    expect("architecture rebuilds the potential", again.architecture == potential.architecture)
    expect("parameter_count is a positive int", type(again.parameter_count) is int)
    expect("parameter_count is a positive int", again.parameter_count > 0)
    expect(
        "parameter_count is that of one member",
        case.create(members=1).parameter_count == potential.parameter_count,
    )
    expect_refusal("evaluate before fit", potential.evaluate, case.configurations)
    expect_refusal("to_bytes before fit", potential.to_bytes)
    expect_refusal("a calculator before fit", PotentialCalculator, potential)
    expect_refusal("an unknown argument", create_potential, case.name, no_such_argument=1)
    expect_refusal("no elements", create_potential, case.name)
    bad: dict[str, tuple[Any, ...]] = {
        "elements": ([], ["Xx"], "Si", ["Si", "Si"]),
        "members": (0, -1, 1.5, None),
        "cutoff": (0.0, -1.0, float("nan"), "wide"),
    }
    for field, values in bad.items():
        for value in values:
            changed = {"elements": ["Si"], field: value}
            expect_refusal(f"{field} {value!r}", create_potential, case.name, **changed)


def _check_refusals(case: Case) -> None:
    potential, given = case.create(), case.configurations
    calls: list[int] = []

    def refuse(promise: str, data: Any, **changes: Any) -> None:
        settings: dict[str, Any] = {"epochs": 1, "seed": 0, "progress": calls.append}
        expect_refusal(promise, potential.fit, data, **(settings | changes))

    refuse("no configurations", [])
    refuse("too few configurations", given[:2])
    refuse("a configuration without energy", [_bare(given[0]), *given[1:]])
    refuse("text as configurations", "Si")
    refuse("text among the configurations", ["Si", *given])
    alien = replace(given[0], numbers=np.full(len(given[0]), 118))
    refuse("no configuration that can be learned from", [alien] * 10)
    wider = create_potential(case.name, **{**case.arguments, "elements": ["Xe", "Kr"]})
    expect_refusal("elements in no configuration", wider.fit, given, seed=0, epochs=1)
    settings: dict[str, tuple[Any, ...]] = {
        "epochs": (0, 1.5, None),
        "batch_size": (0, 2.5),
        "learning_rate": (0.0, -1e-3, float("nan"), "fast"),
        "patience": (0, 0.5),
        "checkpoint_every": (0,),
        "validation": (0.0, 1.0, 0.99, -0.1, float("nan"), []),
        "weights": ("equal", 1.0),
        "seed": (-1, 0.5, None),
        "resume": (b"", b"something"),
    }
    for field, values in settings.items():
        for value in values:
            refuse(f"{field} {value!r}", given, **{field: value})
    expect("bad input is refused before training", not calls and not potential.is_fitted)


def _error(case: Case, potential: TrainablePotential) -> float:
    predictions = potential.predict(case.configurations)
    pairs = zip(predictions, case.configurations, strict=True)
    return float(np.mean([((p.energy - (c.energy or 0.0)) / len(c)) ** 2 for p, c in pairs]))


def _check_training(case: Case, seed: int) -> tuple[TrainablePotential, FitHistory]:
    potential, calls = case.create(), []  # type: ignore[var-annotated]
    alien = replace(case.configurations[0], numbers=np.full(len(case.configurations[0]), 118))
    first = case.configurations[0]
    crowded = replace(first, cell=first.cell * 0.2, positions=first.positions * 0.2)
    given = [*case.configurations, alien, crowded]
    originals = [c.positions.tobytes() for c in given]
    before = global_state()
    history = potential.fit(given, epochs=case.epochs, seed=seed, progress=calls.append)
    expect("global random state, threads and defaults are untouched", global_state() == before)
    expect("fit leaves its input alone", [c.positions.tobytes() for c in given] == originals)
    expect("progress is told of every epoch", sum(calls) == history.epochs and min(calls) > 0)
    expect("a trained potential is fitted", potential.is_fitted)
    expect("at most so many epochs", 0 < history.epochs <= case.epochs)
    count = len(case.configurations)
    expect("unusable configurations are skipped", sorted(history.skipped) == [count, count + 1])
    expect("and the reason is kept", all(len(v) > 10 for v in history.skipped.values()))
    shape = (potential.members, history.epochs)
    for curve in ("train_loss", "validation_loss", "validation_energy_error"):
        values = getattr(history, curve)
        expect(f"{curve} has a value of each member and epoch", values.shape == shape)
        expect(
            f"{curve} is finite and not negative", np.isfinite(values).all() and (values >= 0).all()
        )
    expect("the training loss falls", (history.train_loss[:, -1] < history.train_loss[:, 0]).all())
    best = np.argmin(history.validation_loss, axis=1)
    expect(
        "the best epoch is the one of lowest validation loss", (best == history.best_epoch).all()
    )
    for inside, outside in zip(history.train_indices, history.validation_indices, strict=True):
        rows = sorted([*inside.tolist(), *outside.tolist()])
        expect("the split has every row once", rows == list(range(count)))
        expect("a tenth, rounded up, is held out", len(outside) == -(-count // 10))
    barely = case.create()
    barely.fit(case.configurations, epochs=1, seed=seed)
    expect("training lowers the error", _error(case, potential) < _error(case, barely))
    again = FitHistory.from_dict(json.loads(json.dumps(history.to_dict())))
    expect("the history survives records", again.to_dict() == history.to_dict())
    return potential, history


def _check_reproducible(
    case: Case, potential: TrainablePotential, history: FitHistory, seed: int
) -> None:
    stored = potential.to_bytes()
    settings: dict[str, Any] = {"epochs": case.epochs, "checkpoint_every": 2}
    other = case.create()
    other.fit(case.configurations, seed=seed + 1, epochs=case.epochs)
    expect("another seed gives other weights", other.to_bytes() != stored)
    checkpoints: list[bytes] = []

    class Break(Exception):
        pass

    def stop(data: bytes) -> None:
        checkpoints.append(data)
        raise Break

    try:
        other.fit(case.configurations, seed=seed, checkpoint=stop, **settings)
    except Break:
        expect("an interrupted training leaves the potential as it was", other.is_fitted)
    expect("checkpoints are given", len(checkpoints) == 1)
    resumed = other.fit(case.configurations, seed=seed, resume=checkpoints[0], **settings)
    expect("a resumed training gives bitwise the same weights", other.to_bytes() == stored)
    same: dict[str, Any] = {"skipped": {}}
    expect(
        "a resumed training has the same history",
        resumed.to_dict() | same == history.to_dict() | same,
    )
    expect_refusal(
        "a checkpoint of another seed",
        other.fit,
        case.configurations,
        seed=seed + 1,
        resume=checkpoints[0],
        **settings,
    )
    expect_refusal(
        "a damaged checkpoint",
        other.fit,
        case.configurations,
        seed=seed,
        resume=checkpoints[0][:-9],
        **settings,
    )
    straight = case.create()
    straight.fit(case.configurations, seed=seed, epochs=case.epochs)
    expect("the same seed gives bitwise the same weights", straight.to_bytes() == stored)


def _check_predictions(case: Case, potential: TrainablePotential) -> None:
    members = potential.members
    predictions = potential.predict(case.configurations)
    expect("nothing in, nothing out", potential.evaluate([]) == [])
    expect_refusal("a single structure", potential.evaluate, case.configurations[0])
    expect_refusal("something that is no structure", potential.evaluate, ["Si"])
    width = len(predictions[0].descriptor)
    for c, p in zip(case.configurations, predictions, strict=True):
        n = len(c)
        expect("energies are (K,)", p.energies.shape == (members,))
        expect("forces are (K, n, 3)", p.forces_of_members.shape == (members, n, 3))
        expect("stresses are (K, 3, 3)", p.stresses.shape == (members, 3, 3))
        expect("atomic energies are (K, n)", p.atomic_energies_of_members.shape == (members, n))
        expect("descriptors are of one length", p.descriptor.shape == (width,))
        for array in (p.energies, p.forces_of_members, p.stresses, p.descriptor):
            expect("predictions are finite float64", array.dtype == float)
            expect("predictions are finite float64", np.isfinite(array).all())
        total = p.atomic_energies_of_members.sum(axis=1)
        expect("atomic energies add up to the energy", np.allclose(total, p.energies))
        expect("the energy is the members' mean", close(p.energy, p.energies.mean(), 1e-9))
        expect("members differ", p.energy_deviation > 0.0)
        expect("forces are the members' mean", p.forces.shape == (n, 3))
        expect("force deviations are one per atom", p.force_deviations.shape == (n,))
        expect("force deviations are not negative", (p.force_deviations >= 0.0).all())
        expect("stress is symmetric", close(p.stress, p.stress.T, 1e-10))
        expect("forces add up to zero", close(p.forces.sum(axis=0), 0.0, 1e-8))
    one_by_one = [potential.predict([c])[0] for c in case.configurations]
    for together, alone in zip(predictions, one_by_one, strict=True):
        expect("a batch changes nothing", close(together.energies, alone.energies, 1e-8))
        expect("a batch changes nothing", close(together.forces, alone.forces, 1e-8))
    structures: list[Any] = [c.to_structure() for c in case.configurations]
    structures[0] = case.configurations[0].to_atoms()
    for one, other in zip(predictions, potential.predict(structures), strict=True):
        expect("pymatgen and ASE give the same", close(one.energies, other.energies, 1e-7))


def _check_calculator(case: Case, potential: TrainablePotential) -> None:
    calculator = PotentialCalculator(potential)
    for c in case.configurations[:2]:
        (p,) = potential.predict([c])
        atoms = c.to_atoms()
        atoms.calc = calculator
        expect("the calculator has the energy", close(atoms.get_potential_energy(), p.energy, 1e-9))
        expect("the calculator has the forces", close(atoms.get_forces(), p.forces, 1e-9))
        expect(
            "the calculator has the stress", close(atoms.get_stress(voigt=False), p.stress, 1e-9)
        )
        expect("the calculator has the spread", calculator.results["energy_deviation"] > 0.0)


def _check_storage(case: Case, potential: TrainablePotential) -> None:
    name, data = case.name, potential.to_bytes()
    expect(
        "to_bytes is deterministic bytes", isinstance(data, bytes) and data == potential.to_bytes()
    )
    loaded = load_potential(name, data)
    expect("a loaded potential is of its class", type(loaded) is potential_class(name))
    expect("a loaded potential has its architecture", loaded.architecture == potential.architecture)
    pairs = zip(
        potential.predict(case.configurations), loaded.predict(case.configurations), strict=True
    )
    for first, second in pairs:
        for field in ("energies", "forces_of_members", "stresses", "descriptor"):
            a, b = getattr(first, field), getattr(second, field)
            expect("reload gives bitwise the same predictions", a.tobytes() == b.tobytes())
    expect("reload stores the same bytes", loaded.to_bytes() == data)
    for cut in (0, 1, 20, len(data) // 2, len(data) - 1):
        expect_refusal(f"a potential cut to {cut} bytes", load_potential, name, data[:cut])
    for position in np.linspace(0, len(data) - 1, 25).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        expect_refusal(
            f"a potential damaged at byte {position}", load_potential, name, bytes(damaged)
        )
    expect_refusal(
        "a loss that is not finite",
        loaded.fit,
        [replace(c, energy=1e200 * (k + 1)) for k, c in enumerate(case.configurations)],
        epochs=3,
        seed=0,
    )
    expect("a failed training leaves the potential as it was", loaded.to_bytes() == data)


def _check_validation_set(case: Case) -> None:
    potential = case.create(members=1)
    given, held_out = case.configurations[:-3], case.configurations[-3:]
    unforced = [replace(c, forces=None, stress=None) for c in given]
    history = potential.fit(
        unforced,
        validation=held_out,
        weights=LossWeights(force=0.5, energy_scale=math.inf),
        epochs=8,
        seed=1,
    )
    same = history.validation_indices[0].tolist() == [0, 1, 2]
    expect("a set given for validation is used", same)
    rows = history.train_indices[0].tolist()
    expect("all else is trained on", rows == list(range(len(given))))
    predictions = potential.predict(held_out)
    expect("one member has no spread", all(p.energy_deviation == 0.0 for p in predictions))
    pairs = zip(predictions, held_out, strict=True)
    errors = [(p.energy - (c.energy or 0.0)) / len(c) for p, c in pairs]
    recorded = history.validation_energy_error[0, history.best_epoch[0]]
    expect(
        "weights are those of the best epoch, and its error is recorded",
        close(np.sqrt(np.mean(np.square(errors))), recorded, 1e-9),
    )
