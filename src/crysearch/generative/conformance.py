"""The contract of generative models as one function, to run on any registered model.

A new model is finished when ``check_model(name, fingerprints)`` passes. Every broken promise
raises an AssertionError that names it.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.generative.base import GenerativeModel, TrainingHistory
from crysearch.generative.registry import create_model, load_model, model_class
from crysearch.generative.replicas import latent_grid


def check_model(
    name: str,
    fingerprints: NDArray[np.float64],
    *,
    epochs: int = 40,
    seed: int = 7,
    architecture: dict[str, Any] | None = None,
) -> None:
    """Run the whole contract of `GenerativeModel` on one registered model.

    Parameters
    ----------
    name : str
        Its name in the registry.
    fingerprints : ndarray, shape (n, m)
        At least 10 sound fingerprints to train on, not all alike.
    epochs : int
        Epochs of each training; enough for the loss to fall. There are four trainings.
    seed : int
    architecture : dict, optional
        Arguments of the model besides ``input_size``.

    Raises
    ------
    AssertionError
        Naming the promise that is broken.
    """
    arguments = {"input_size": fingerprints.shape[1], **(architecture or {})}
    size = arguments.get("condition_size", 0)
    conditions = np.random.default_rng(0).normal(3.0, 2.0, (len(fingerprints), size))
    case = Case(name, arguments, fingerprints, {"conditions": conditions} if size else {})
    _check_untrained(case)
    _check_refusals(case)
    model, history = _check_training(case, epochs, seed)
    _check_reproducible(case, model, history)
    _check_coding(case, model)
    _check_conditions(case, model)
    _check_evidence(case, model)
    _check_storage(case, model)
    _check_divergence(case, model)
    _check_settings(case)
    _check_ensemble(case)


@dataclass(frozen=True)
class Case:
    """A model and what it is trained on; `given` are the conditions as keyword arguments."""

    name: str
    arguments: dict[str, Any]
    fingerprints: NDArray[np.float64]
    given: dict[str, Any]

    def create(self) -> GenerativeModel:
        """Make the untrained model."""
        return create_model(self.name, **self.arguments)

    @property
    def point(self) -> dict[str, Any]:
        """The conditions of latent points to decode."""
        return {key: values[0] for key, values in self.given.items()}


def _expect(promise: str, kept: Any) -> None:
    if not kept:
        raise AssertionError(f"broken promise: {promise}")


def _expect_refusal(promise: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    try:
        call(*arguments, **named)
    except TrainingError as error:
        _expect(f"{promise}: the error must say something", len(str(error)) > 20)
        return
    raise AssertionError(f"broken promise: {promise} must raise TrainingError")


def _same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    return first.shape == second.shape and first.tobytes() == second.tobytes()


def global_state() -> tuple[Any, ...]:
    """All that a model must leave alone: random states, threads and defaults."""
    # The legacy state is read to see that it was not drawn from.
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    words = numpy_state["state"]
    state: tuple[Any, ...] = (random.getstate(), words["key"].tobytes(), words["pos"])
    if torch := sys.modules.get("torch"):
        state += (
            torch.get_rng_state().numpy().tobytes(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )
    return state


def _reconstruction_error(case: Case, model: GenerativeModel) -> float:
    decoded = model.decode(model.locate(case.fingerprints, **case.given), **case.given)
    return float(np.square(decoded - case.fingerprints).mean())


def _check_untrained(case: Case) -> None:
    name, fingerprints = case.name, case.fingerprints
    model = case.create()
    _expect("the class has the name it is registered by", model.name == name)
    _expect("input_size is kept", model.input_size == fingerprints.shape[1])
    _expect("parameter_count is a positive int", type(model.parameter_count) is int)
    _expect("parameter_count is a positive int", model.parameter_count > 0)
    _expect("a new model is not fitted", not model.is_fitted)
    plain = json.loads(json.dumps(model.architecture))
    again = create_model(name, **plain)
    _expect("architecture rebuilds the model", again.architecture == model.architecture)
    _expect("architecture fixes parameter_count", again.parameter_count == model.parameter_count)
    latent = np.zeros((1, model.latent_dimension))
    _expect_refusal("encode before fit", model.encode, fingerprints, **case.given)
    _expect_refusal("locate before fit", model.locate, fingerprints, **case.given)
    _expect_refusal("log_evidence before fit", model.log_evidence, fingerprints, **case.given)
    _expect_refusal("decode before fit", model.decode, latent, **case.point)
    _expect_refusal("to_bytes before fit", model.to_bytes)
    _expect_refusal("an unknown argument", create_model, name, no_such_argument=1)
    _expect_refusal("an unknown likelihood", create_model, name, likelihood="normal")
    _expect_refusal("condition_size -1", create_model, name, condition_size=-1)
    for bad in (0, -3, 2.5, "8", None, True):
        _expect_refusal(f"input_size {bad!r}", create_model, name, input_size=bad)
        _expect_refusal(f"latent_dimension {bad!r}", create_model, name, latent_dimension=bad)


def _check_refusals(case: Case) -> None:
    model, fingerprints = case.create(), case.fingerprints
    calls: list[int] = []

    def refuse(promise: str, data: Any, **changes: Any) -> None:
        settings: dict[str, Any] = {"epochs": 1, "seed": 0, "progress": calls.append, **case.given}
        _expect_refusal(promise, model.fit, data, **(settings | changes))

    not_a_number, negative = fingerprints.copy(), fingerprints.copy()
    not_a_number[1, 2], negative[2, 1] = np.nan, -0.1
    refuse("NaN in fingerprints", not_a_number)
    refuse("infinity in fingerprints", np.nan_to_num(not_a_number, nan=np.inf))
    refuse("negative fingerprints", negative)
    refuse("fingerprints of another length", fingerprints[:, :-1])
    refuse("a single row", fingerprints[0])
    refuse("text as fingerprints", [["a"]])
    refuse("no fingerprints", fingerprints[:0])
    refuse("too few fingerprints", fingerprints[:2])
    refuse("fingerprints that are all zero", np.zeros_like(fingerprints))
    bad_settings: dict[str, tuple[Any, ...]] = {
        "epochs": (0, 1.5, None),
        "batch_size": (0, -1, 2.5),
        "learning_rate": (0.0, -1e-3, np.nan, np.inf, "fast"),
        "optimizer": ("newton", None),
        "annealing_epochs": (-1, 0.5),
        "validation_fraction": (0.0, 1.0, 0.99, -0.1, np.nan),
        "seed": (-1, 0.5, None),
    }
    for field, values in bad_settings.items():
        for value in values:
            refuse(f"{field} {value!r}", fingerprints, **{field: value})
    _expect("bad input is refused before training", not calls and not model.is_fitted)


def _check_training(case: Case, epochs: int, seed: int) -> tuple[GenerativeModel, TrainingHistory]:
    model, fingerprints = case.create(), case.fingerprints
    before, original, calls = global_state(), fingerprints.copy(), []  # type: ignore[var-annotated]
    history = model.fit(fingerprints, epochs=epochs, seed=seed, progress=calls.append, **case.given)
    _expect("global random state, threads and defaults are untouched", global_state() == before)
    _expect("fit leaves its input alone", _same(fingerprints, original))
    _expect("progress is told of every epoch", sum(calls) == epochs and min(calls) > 0)
    _expect("a trained model is fitted", model.is_fitted)
    _expect(
        "the history has the seed and the epochs", (history.seed, history.epochs) == (seed, epochs)
    )
    for side in ("train", "validation"):
        reconstruction = getattr(history, f"{side}_reconstruction")
        divergence = getattr(history, f"{side}_divergence")
        total = getattr(history, f"{side}_total")
        _expect(f"{side} losses have one value per epoch", total.shape == (epochs,))
        _expect(f"{side} losses are finite", np.isfinite(total).all())
        # A density may be above 1; cross-entropy is never negative.
        if case.arguments.get("likelihood", "bernoulli") == "bernoulli":
            _expect(f"{side} reconstruction loss is not negative", (reconstruction >= 0.0).all())
        _expect(f"{side} total is the sum", np.allclose(total, reconstruction + divergence))
    rows = np.concatenate([history.train_indices, history.validation_indices])
    _expect("the split has every row once", sorted(rows.tolist()) == list(range(len(fingerprints))))
    held_out = -(-len(fingerprints) // 5)
    _expect("a fifth, rounded up, is held out", len(history.validation_indices) == held_out)
    barely = case.create()
    barely.fit(fingerprints, epochs=1, seed=seed, **case.given)
    _expect(
        "training brings decoded fingerprints nearer to the originals",
        _reconstruction_error(case, model) < _reconstruction_error(case, barely),
    )
    _expect("the training loss falls", history.train_total[-1] < history.train_total[0])
    again = TrainingHistory.from_dict(json.loads(json.dumps(history.to_dict())))
    _expect("the history survives records", again.to_dict() == history.to_dict())
    return model, history


def _check_reproducible(case: Case, model: GenerativeModel, history: TrainingHistory) -> None:
    fingerprints, settings = case.fingerprints, {"epochs": history.epochs, **case.given}
    stored = model.to_bytes()
    # In one model after the other, so that earlier trainings and another memory layout are seen.
    other = case.create()
    other.fit(fingerprints, seed=history.seed + 1, **settings)
    _expect("another seed gives other weights", other.to_bytes() != stored)
    padded = np.empty((len(fingerprints), fingerprints.shape[1] + 1))
    padded[:, 1:] = fingerprints
    repeated = other.fit(padded[:, 1:], seed=history.seed, **settings)
    _expect("the same seed gives bitwise the same weights", other.to_bytes() == stored)
    _expect("the same seed gives the same losses", repeated.to_dict() == history.to_dict())


def _check_coding(case: Case, model: GenerativeModel) -> None:
    fingerprints, given, point = case.fingerprints, case.given, case.point
    shape = (len(fingerprints), model.latent_dimension)
    means, log_variances = model.encode(fingerprints, **given)
    points = model.locate(fingerprints, **given)
    for array in (means, log_variances, points):
        _expect("encode gives float64 of (n, d)", array.shape == shape and array.dtype == float)
        _expect("encode is finite", np.isfinite(array).all())
    _expect("encode is deterministic", _same(means, model.encode(fingerprints, **given)[0]))
    _expect("locate is deterministic", _same(points, model.locate(fingerprints, **given)))
    none = {key: values[:0] for key, values in given.items()}
    _expect("nothing encodes to nothing", len(model.encode(fingerprints[:0], **none)[0]) == 0)
    grid = latent_grid(model.latent_dimension, 3)
    replicas = model.decode(grid, **point)
    _expect("decode gives float64 of (n, m)", replicas.shape == (len(grid), model.input_size))
    _expect("decode gives float64 of (n, m)", replicas.dtype == float)
    _expect("replicas are finite and not negative", np.isfinite(replicas).all())
    _expect("replicas are finite and not negative", (replicas >= 0.0).all())
    _expect("replicas are in the original scale", replicas.max() <= fingerprints.max())
    _expect("replicas are in the original scale", replicas.max() > fingerprints.mean())
    _expect("replicas are a copy", not np.shares_memory(replicas, model.decode(grid, **point)))
    far = model.decode(np.full((1, model.latent_dimension), 50.0), **point)
    _expect("far latent points decode to finite values", np.isfinite(far).all())
    above = fingerprints * 1.5
    cut = np.minimum(above, fingerprints.max())
    for call in (lambda x, **k: model.encode(x, **k)[0], model.locate, model.log_evidence):
        _expect_refusal("encode above the training maximum", call, above, **given)
        clipped = call(above, above_maximum="clip", **given)
        _expect("clipping cuts at the maximum", np.allclose(clipped, call(cut, **given)))
        _expect_refusal("an unknown above_maximum", call, fingerprints, above_maximum="x", **given)
        _expect_refusal("encode of another length", call, fingerprints[:, 1:], **given)
        _expect_refusal("encode of negative values", call, -fingerprints, **given)
    for bad in (np.zeros((1, model.latent_dimension + 1)), np.zeros(model.latent_dimension)):
        _expect_refusal(f"latent shape {bad.shape}", model.decode, bad, **point)
    _expect_refusal("NaN in latent", model.decode, grid * np.nan, **point)


def _check_conditions(case: Case, model: GenerativeModel) -> None:
    fingerprints, size = case.fingerprints, model.condition_size
    grid = latent_grid(model.latent_dimension, 3)
    calls = (
        ("fit", lambda k: model.fit(fingerprints, epochs=1, seed=0, **k), fingerprints),
        ("encode", lambda k: model.encode(fingerprints, **k), fingerprints),
        ("locate", lambda k: model.locate(fingerprints, **k), fingerprints),
        ("log_evidence", lambda k: model.log_evidence(fingerprints, **k), fingerprints),
        ("decode", lambda k: model.decode(grid, **k), grid),
    )
    stored = model.to_bytes()
    for name, call, rows in calls:
        wrong: list[dict[str, Any]] = [{"conditions": np.ones((len(rows), size + 1))}]
        if size:
            wrong += [
                {},
                {"conditions": None},
                {"conditions": np.ones((len(rows) + 1, size))},
                {"conditions": np.full((len(rows), size), np.nan)},
                {"conditions": [["low"] * size] * len(rows)},
            ]
        for bad in wrong:
            _expect_refusal(f"{name} with conditions {bad}", call, bad)
    _expect("a refusal of conditions leaves the model as it was", model.to_bytes() == stored)
    if size:
        constant = np.ones((len(fingerprints), size))
        _expect_refusal("conditions that are all alike", calls[0][1], {"conditions": constant})
        (values,) = case.given.values()
        low, high = (model.decode(grid, conditions=end(values, axis=0)) for end in (np.min, np.max))
        _expect("the condition changes the replicas", not np.allclose(low, high))


def _check_evidence(case: Case, model: GenerativeModel) -> None:
    def evidence(samples: int, seed: int) -> NDArray[np.float64]:
        return model.log_evidence(case.fingerprints, samples=samples, seed=seed, **case.given)

    one = evidence(50, 3)
    _expect("log_evidence gives float64 of (n,)", one.shape == (len(case.fingerprints),))
    _expect("log_evidence is finite", one.dtype == float and np.isfinite(one).all())
    _expect("log_evidence is deterministic by seed", _same(one, evidence(50, 3)))
    _expect("log_evidence depends on the seed", not np.array_equal(one, evidence(50, 4)))
    single = np.mean([evidence(1, seed) for seed in range(20)])
    _expect("more samples raise the evidence", evidence(400, 0).mean() >= single)
    for bad in ({"samples": 0}, {"samples": 1.5}, {"seed": -1}):
        _expect_refusal(f"{bad}", model.log_evidence, case.fingerprints, **bad, **case.given)


def _check_storage(case: Case, model: GenerativeModel) -> None:
    name, fingerprints, given = case.name, case.fingerprints, case.given
    data = model.to_bytes()
    _expect("to_bytes is deterministic bytes", isinstance(data, bytes) and data == model.to_bytes())
    loaded = load_model(name, data)
    grid = latent_grid(model.latent_dimension, 5)
    _expect("a loaded model is of its class", type(loaded) is model_class(name))
    _expect("a loaded model has its architecture", loaded.architecture == model.architecture)
    replicas = model.decode(grid, **case.point)
    _expect("reload gives the same replicas", _same(loaded.decode(grid, **case.point), replicas))
    for first, second in zip(
        (*loaded.encode(fingerprints, **given), loaded.locate(fingerprints, **given)),
        (*model.encode(fingerprints, **given), model.locate(fingerprints, **given)),
        strict=True,
    ):
        _expect("reload gives the same latent points", _same(first, second))
    _expect("reload stores the same bytes", loaded.to_bytes() == data)
    for cut in (0, 1, 20, len(data) // 2, len(data) - 1):
        _expect_refusal(f"a model cut to {cut} bytes", load_model, name, data[:cut])
    for position in np.linspace(0, len(data) - 1, 25).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        _expect_refusal(f"a model damaged at byte {position}", load_model, name, bytes(damaged))
    _expect_refusal("data that are no model", load_model, name, b"\x80\x04K\x01.")


def _check_divergence(case: Case, model: GenerativeModel) -> None:
    data = model.to_bytes()
    _expect_refusal(
        "a loss that is not finite",
        model.fit,
        case.fingerprints,
        epochs=50,
        seed=0,
        learning_rate=1e12,
        **case.given,
    )
    _expect("a failed training leaves the model as it was", model.to_bytes() == data)


def _check_settings(case: Case) -> None:
    def trained(**settings: Any) -> tuple[bytes, TrainingHistory]:
        model = case.create()
        history = model.fit(case.fingerprints, **{"epochs": 4, "seed": 1, **case.given, **settings})
        return model.to_bytes(), history

    plain, history = trained()
    _expect("the default learning rate is recorded", history.learning_rate > 0.0)
    _expect("Adam is the default and recorded", history.optimizer == "adam")
    descended, history = trained(optimizer="sgd", learning_rate=1e-6)
    _expect("the optimiser is recorded", history.optimizer == "sgd")
    _expect("the learning rate is recorded", history.learning_rate == 1e-6)
    annealed, history = trained(annealing_epochs=4)
    _expect("annealing is recorded", history.annealing_epochs == 4)
    _expect("optimiser and annealing change the weights", len({plain, descended, annealed}) == 3)
    # In its first and only epoch the weight of the divergence is 1.
    _expect("annealing over one epoch is none", trained(annealing_epochs=1)[0] == plain)


def _check_ensemble(case: Case) -> None:
    cls, seeds, calls = model_class(case.name), [5, 2, 9], []  # type: ignore[var-annotated]
    before = global_state()
    ensemble = cls.fit_ensemble(
        case.arguments,
        case.fingerprints,
        seeds=seeds,
        epochs=10,
        progress=calls.append,
        **case.given,
    )
    _expect("an ensemble leaves the global state alone", global_state() == before)
    _expect("progress is told of every epoch of an ensemble once", sum(calls) == 10)
    _expect("an ensemble has its seeds in order", [member.seed for member in ensemble] == seeds)
    for member in ensemble:
        alone = case.create()
        history = alone.fit(case.fingerprints, epochs=10, seed=member.seed, **case.given)
        assert member.model is not None and member.history is not None, member.failure
        for field in ("train_total", "validation_total"):
            close = np.allclose(getattr(member.history, field), getattr(history, field), rtol=1e-6)
            _expect("a member of an ensemble is the model trained alone", close)
        _expect(
            "a member of an ensemble has the split of its seed",
            np.array_equal(member.history.train_indices, history.train_indices),
        )
        grid = latent_grid(alone.latent_dimension, 3)
        first, second = (model.decode(grid, **case.point) for model in (alone, member.model))
        _expect("a member of an ensemble decodes like it", np.allclose(first, second, rtol=1e-5))
    for bad in ([], [1, 1], [-1], [0.5]):
        _expect_refusal(
            f"seeds {bad}", cls.fit_ensemble, case.arguments, case.fingerprints, seeds=bad
        )
    _expect_refusal(
        "an unknown argument of an ensemble",
        cls.fit_ensemble,
        {**case.arguments, "no_such_argument": 1},
        case.fingerprints,
        seeds=[0],
    )
