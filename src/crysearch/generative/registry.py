"""Generative models by name. A new model is one new file and one line here."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from crysearch.errors import TrainingError
from crysearch.generative.base import GenerativeModel

# Name -> module and class, as text: torch is imported only when a model is asked for.
_MODELS = {
    "vae": ("crysearch.generative.vae", "VariationalAutoencoder"),
    "hvae": ("crysearch.generative.hvae", "HamiltonianVariationalAutoencoder"),
}


def available_models() -> tuple[str, ...]:
    """Return the names that `create_model` and `load_model` take."""
    return tuple(_MODELS)


def model_class(name: str) -> type[GenerativeModel]:
    """Return the class of a model; raises TrainingError for an unknown name."""
    if name not in _MODELS:
        raise TrainingError(
            f"Generative model {name!r} is unknown; choose one of: {', '.join(_MODELS)}."
        )
    module, attribute = _MODELS[name]
    return getattr(import_module(module), attribute)


def create_model(name: str, **architecture: Any) -> GenerativeModel:
    """Make an untrained model.

    Parameters
    ----------
    name : str
        One of `available_models`.
    **architecture
        Arguments of that model's class, such as ``input_size`` and ``latent_dimension``.

    Raises
    ------
    TrainingError
        If the name or an argument is unknown, or an argument's value is not possible.
    """
    chosen = model_class(name)
    known = list(inspect.signature(chosen).parameters)
    unknown = [argument for argument in architecture if argument not in known]
    if unknown:
        raise TrainingError(
            f"Generative model {name!r} takes no {', '.join(unknown)}; it takes: "
            f"{', '.join(known)}."
        )
    return chosen(**architecture)


def load_model(name: str, data: bytes) -> GenerativeModel:
    """Rebuild a model of that name from the bytes its `to_bytes` gave.

    Raises
    ------
    TrainingError
        If the name is unknown, or the data are damaged, of another model or of a newer format.
    """
    return model_class(name).from_bytes(data)
