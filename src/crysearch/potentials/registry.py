"""Trainable potentials by name. A new one is one new file and one line here."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from crysearch.errors import TrainingError
from crysearch.potentials.base import TrainablePotential

# Name -> module and class, as text: torch is imported only when a potential is asked for.
_POTENTIALS = {
    "behler-parrinello": ("crysearch.potentials.behler_parrinello", "BehlerParrinelloPotential"),
    "gaussian-process": ("crysearch.potentials.gaussian_process", "GaussianProcessPotential"),
    "deep-potential": ("crysearch.potentials.deep_potential", "DeepPotential"),
    "schnet": ("crysearch.potentials.schnet", "SchNetPotential"),
}


def available_potentials() -> tuple[str, ...]:
    """Return the names that `create_potential` and `load_potential` take."""
    return tuple(_POTENTIALS)


def potential_class(name: str) -> type[TrainablePotential]:
    """Return the class of a potential; raises TrainingError for an unknown name."""
    if name not in _POTENTIALS:
        raise TrainingError(
            f"Potential {name!r} is unknown; choose one of: {', '.join(_POTENTIALS)}."
        )
    module, attribute = _POTENTIALS[name]
    return getattr(import_module(module), attribute)


def create_potential(name: str, **architecture: Any) -> TrainablePotential:
    """Make an untrained potential.

    Parameters
    ----------
    name : str
        One of `available_potentials`.
    **architecture
        Arguments of that potential's class, such as ``elements``, ``cutoff`` and ``members``.

    Raises
    ------
    TrainingError
        If the name or an argument is unknown or missing, or an argument's value is not possible.
    """
    chosen = potential_class(name)
    known = inspect.signature(chosen).parameters
    unknown = [argument for argument in architecture if argument not in known]
    missing = [
        argument
        for argument, parameter in known.items()
        if parameter.default is parameter.empty and argument not in architecture
    ]
    if unknown or missing:
        raise TrainingError(
            f"Potential {name!r} takes no {', '.join(unknown)}; it takes: {', '.join(known)}."
            if unknown
            else f"Potential {name!r} needs {', '.join(missing)}."
        )
    return chosen(**architecture)


def load_potential(name: str, data: bytes) -> TrainablePotential:
    """Rebuild a potential of that name from the bytes its `to_bytes` gave.

    Raises
    ------
    TrainingError
        If the name is unknown, or the data are damaged, of another potential or a newer format.
    """
    return potential_class(name).from_bytes(data)
