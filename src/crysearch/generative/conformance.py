"""The contract of generative models as one function, to run on any registered model.

A new model is finished when ``check_model(name, fingerprints)`` passes. Every broken promise
raises an AssertionError that names it.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
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
    _check_untrained(name, arguments, fingerprints)
    _check_refusals(name, arguments, fingerprints)
    model, history = _check_training(name, arguments, fingerprints, epochs, seed)
    _check_reproducible(name, arguments, fingerprints, model, history)
    _check_coding(model, fingerprints)
    _check_storage(name, model, fingerprints)
    _check_divergence(model, fingerprints)


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


def _global_state() -> tuple[Any, ...]:
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


def _reconstruction_error(model: GenerativeModel, fingerprints: NDArray[np.float64]) -> float:
    decoded = model.decode(model.encode(fingerprints)[0])
    return float(np.square(decoded - fingerprints).mean())


def _check_untrained(
    name: str, arguments: dict[str, Any], fingerprints: NDArray[np.float64]
) -> None:
    model = create_model(name, **arguments)
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
    _expect_refusal("encode before fit", model.encode, fingerprints)
    _expect_refusal("decode before fit", model.decode, latent)
    _expect_refusal("to_bytes before fit", model.to_bytes)
    _expect_refusal("an unknown argument", create_model, name, no_such_argument=1)
    for bad in (0, -3, 2.5, "8", None, True):
        _expect_refusal(f"input_size {bad!r}", create_model, name, input_size=bad)
        _expect_refusal(f"latent_dimension {bad!r}", create_model, name, latent_dimension=bad)


def _check_refusals(
    name: str, arguments: dict[str, Any], fingerprints: NDArray[np.float64]
) -> None:
    model = create_model(name, **arguments)
    calls: list[int] = []

    def refuse(promise: str, data: Any, **changes: Any) -> None:
        settings: dict[str, Any] = {"epochs": 1, "seed": 0, "progress": calls.append, **changes}
        _expect_refusal(promise, model.fit, data, **settings)

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
        "validation_fraction": (0.0, 1.0, 0.99, -0.1, np.nan),
        "seed": (-1, 0.5, None),
    }
    for field, values in bad_settings.items():
        for value in values:
            refuse(f"{field} {value!r}", fingerprints, **{field: value})
    _expect("bad input is refused before training", not calls and not model.is_fitted)


def _check_training(
    name: str, arguments: dict[str, Any], fingerprints: NDArray[np.float64], epochs: int, seed: int
) -> tuple[GenerativeModel, TrainingHistory]:
    model = create_model(name, **arguments)
    before, original, calls = _global_state(), fingerprints.copy(), []  # type: ignore[var-annotated]
    history = model.fit(fingerprints, epochs=epochs, seed=seed, progress=calls.append)
    _expect("global random state, threads and defaults are untouched", _global_state() == before)
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
        _expect(f"{side} reconstruction loss is not negative", (reconstruction >= 0.0).all())
        _expect(f"{side} total is the sum", np.allclose(total, reconstruction + divergence))
    rows = np.concatenate([history.train_indices, history.validation_indices])
    _expect("the split has every row once", sorted(rows.tolist()) == list(range(len(fingerprints))))
    held_out = -(-len(fingerprints) // 5)
    _expect("a fifth, rounded up, is held out", len(history.validation_indices) == held_out)
    barely = create_model(name, **arguments)
    barely.fit(fingerprints, epochs=1, seed=seed)
    _expect(
        "training brings decoded fingerprints nearer to the originals",
        _reconstruction_error(model, fingerprints) < _reconstruction_error(barely, fingerprints),
    )
    _expect("the training loss falls", history.train_total[-1] < history.train_total[0])
    again = TrainingHistory.from_dict(json.loads(json.dumps(history.to_dict())))
    _expect("the history survives records", again.to_dict() == history.to_dict())
    return model, history


def _check_reproducible(
    name: str,
    arguments: dict[str, Any],
    fingerprints: NDArray[np.float64],
    model: GenerativeModel,
    history: TrainingHistory,
) -> None:
    stored = model.to_bytes()
    # In one model after the other, so that earlier trainings and another memory layout are seen.
    other = create_model(name, **arguments)
    other.fit(fingerprints, epochs=history.epochs, seed=history.seed + 1)
    _expect("another seed gives other weights", other.to_bytes() != stored)
    padded = np.empty((len(fingerprints), fingerprints.shape[1] + 1))
    padded[:, 1:] = fingerprints
    repeated = other.fit(padded[:, 1:], epochs=history.epochs, seed=history.seed)
    _expect("the same seed gives bitwise the same weights", other.to_bytes() == stored)
    _expect("the same seed gives the same losses", repeated.to_dict() == history.to_dict())


def _check_coding(model: GenerativeModel, fingerprints: NDArray[np.float64]) -> None:
    shape = (len(fingerprints), model.latent_dimension)
    means, log_variances = model.encode(fingerprints)
    for array in (means, log_variances):
        _expect("encode gives float64 of (n, d)", array.shape == shape and array.dtype == float)
        _expect("encode is finite", np.isfinite(array).all())
    _expect("encode is deterministic", _same(means, model.encode(fingerprints)[0]))
    _expect("nothing encodes to nothing", model.encode(fingerprints[:0])[0].shape[0] == 0)
    grid = latent_grid(model.latent_dimension, 3)
    replicas = model.decode(grid)
    _expect("decode gives float64 of (n, m)", replicas.shape == (len(grid), model.input_size))
    _expect("decode gives float64 of (n, m)", replicas.dtype == float)
    _expect("replicas are finite and not negative", np.isfinite(replicas).all())
    _expect("replicas are finite and not negative", (replicas >= 0.0).all())
    _expect("replicas are in the original scale", replicas.max() <= fingerprints.max())
    _expect("replicas are in the original scale", replicas.max() > fingerprints.mean())
    _expect("replicas are a copy", not np.shares_memory(replicas, model.decode(grid)))
    far = model.decode(np.full((1, model.latent_dimension), 50.0))
    _expect("far latent points decode to finite values", np.isfinite(far).all())
    above = fingerprints * 1.5
    _expect_refusal("encode above the training maximum", model.encode, above)
    clipped = model.encode(above, above_maximum="clip")[0]
    cut = np.minimum(above, fingerprints.max())
    _expect("clipping cuts at the maximum", np.allclose(clipped, model.encode(cut)[0]))
    _expect_refusal(
        "an unknown above_maximum",
        model.encode,
        fingerprints,
        above_maximum="x",
    )
    _expect_refusal("encode of another length", model.encode, fingerprints[:, 1:])
    _expect_refusal("encode of negative values", model.encode, -fingerprints)
    for bad in (np.zeros((1, model.latent_dimension + 1)), np.zeros(model.latent_dimension)):
        _expect_refusal(f"latent shape {bad.shape}", model.decode, bad)
    _expect_refusal("NaN in latent", model.decode, grid * np.nan)


def _check_storage(name: str, model: GenerativeModel, fingerprints: NDArray[np.float64]) -> None:
    data = model.to_bytes()
    _expect("to_bytes is deterministic bytes", isinstance(data, bytes) and data == model.to_bytes())
    loaded = load_model(name, data)
    grid = latent_grid(model.latent_dimension, 5)
    _expect("a loaded model is of its class", type(loaded) is model_class(name))
    _expect("a loaded model has its architecture", loaded.architecture == model.architecture)
    _expect("reload gives the same replicas", _same(loaded.decode(grid), model.decode(grid)))
    for first, second in zip(loaded.encode(fingerprints), model.encode(fingerprints), strict=True):
        _expect("reload gives the same latent points", _same(first, second))
    _expect("reload stores the same bytes", loaded.to_bytes() == data)
    for cut in (0, 1, 20, len(data) // 2, len(data) - 1):
        _expect_refusal(f"a model cut to {cut} bytes", load_model, name, data[:cut])
    for position in np.linspace(0, len(data) - 1, 25).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        _expect_refusal(f"a model damaged at byte {position}", load_model, name, bytes(damaged))
    _expect_refusal("data that are no model", load_model, name, b"\x80\x04K\x01.")


def _check_divergence(model: GenerativeModel, fingerprints: NDArray[np.float64]) -> None:
    data = model.to_bytes()
    _expect_refusal(
        "a loss that is not finite",
        model.fit,
        fingerprints,
        epochs=50,
        seed=0,
        learning_rate=1e12,
    )
    _expect("a failed training leaves the model as it was", model.to_bytes() == data)
