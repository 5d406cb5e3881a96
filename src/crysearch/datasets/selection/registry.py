"""Methods of selection by name. A new one is a subclass of `SelectionMethod` and one line here."""

from __future__ import annotations

from crysearch.datasets.selection.base import SelectionMethod, SelectionPool, known_properties
from crysearch.datasets.selection.features import CurSelection, FarthestPointSelection
from crysearch.datasets.selection.properties import (
    AtomicEnergySelection,
    ForceSelection,
    GlobalEnergySelection,
    RandomSelection,
)
from crysearch.errors import DatasetError

_METHODS: dict[str, type[SelectionMethod]] = {
    method.name: method
    for method in (
        RandomSelection,
        GlobalEnergySelection,
        ForceSelection,
        AtomicEnergySelection,
        FarthestPointSelection,
        CurSelection,
    )
}


def available_methods() -> tuple[str, ...]:
    """Return the names that `create_method` takes."""
    return tuple(_METHODS)


def create_method(name: str) -> SelectionMethod:
    """Make a method of selection; raises DatasetError for an unknown name."""
    if name not in _METHODS:
        raise DatasetError(f"method is {name!r}: choose one of {', '.join(_METHODS)}")
    return _METHODS[name]()


def methods_for(pool: SelectionPool) -> tuple[str, ...]:
    """Return the names of the methods that have what they need in a pool."""
    known = known_properties(pool)
    return tuple(
        name for name, method in _METHODS.items() if method.needs is None or method.needs in known
    )
