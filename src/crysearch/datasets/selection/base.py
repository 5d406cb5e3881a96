"""One interface for choosing configurations of a pool: for training, or to be calculated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import DatasetError

#: What a method may need of a pool, in words, and how to have it.
NEEDS = {
    "energies_per_atom": "energies",
    "forces": "forces",
    "atomic_energies": "energies of the atoms",
    "features": "features",
}


@dataclass(frozen=True, eq=False)
class SelectionPool:
    """N configurations of A atoms in all, as arrays; the atoms follow one another.

    Attributes
    ----------
    counts : ndarray of int, shape (N,)
        Atoms of each configuration, at least one.
    numbers : ndarray of int, shape (A,)
        Atomic numbers.
    energies_per_atom : ndarray, shape (N,), optional
        Of each configuration, eV/atom.
    forces : ndarray, shape (A, 3), optional
        eV/Å.
    atomic_energies : ndarray, shape (A,), optional
        Energy of each atom, eV.
    features : ndarray, shape (N, D), optional
        Descriptor of each configuration. Distances between rows are taken as they are: scale
        features that are not comparable.

    Raises
    ------
    DatasetError
        An array has the wrong shape, or a number that is not finite.
    """

    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    energies_per_atom: NDArray[np.float64] | None = None
    forces: NDArray[np.float64] | None = None
    atomic_energies: NDArray[np.float64] | None = None
    features: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("counts", "numbers"):
            values = np.asarray(getattr(self, name))
            if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
                raise DatasetError(
                    f"{name} has shape {values.shape} and type {values.dtype}: give whole numbers, "
                    f"one for each {'configuration' if name == 'counts' else 'atom'}"
                )
            object.__setattr__(self, name, values.astype(np.int64, copy=False))
        if len(self.counts) == 0 or self.counts.min() < 1:
            least = int(self.counts.min()) if len(self.counts) else None
            raise DatasetError(
                f"counts hold {len(self.counts)} configurations, the smallest of {least} atoms: "
                "give at least one configuration, and no empty one"
            )
        size, atoms = len(self.counts), int(self.counts.sum())
        if len(self.numbers) != atoms:
            raise DatasetError(
                f"numbers has {len(self.numbers)} atoms, and counts add up to {atoms}: give one "
                "atomic number for each atom"
            )
        shapes: dict[str, tuple[int, ...]] = {
            "energies_per_atom": (size,),
            "forces": (atoms, 3),
            "atomic_energies": (atoms,),
        }
        if self.features is not None:
            shapes["features"] = (size, *np.shape(self.features)[1:2])
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _finite(name, getattr(self, name), shape))
        if self.features is not None and self.features.ndim != 2:
            raise DatasetError(
                f"features has shape {self.features.shape}: give one row for each configuration"
            )

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The configuration (A,) of each atom."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


class SelectionMethod(ABC):
    """A way to choose configurations.

    A choice depends on pool, count and seed only. All methods choose without repeats and in an
    order such that the first n of a larger choice are the choice of n (same pool and seed).

    Attributes
    ----------
    name : str
        In the registry.
    needs : str or None
        The attribute of `SelectionPool` it works on, beside the number of atoms.
    """

    name: ClassVar[str]
    needs: ClassVar[str | None] = None

    def select(self, pool: SelectionPool, count: int, seed: int) -> NDArray[np.int64]:
        """Choose configurations of a pool.

        Parameters
        ----------
        pool : SelectionPool
        count : int
            How many, from 1 to all.
        seed : int
            Not negative.

        Returns
        -------
        ndarray of int, shape (count,)
            Places in the pool, all different, in the order of choice.

        Raises
        ------
        DatasetError
            The count or the seed is not possible, or the pool lacks what the method needs.
        """
        _check_whole("count", count, 1)
        _check_whole("seed", seed, 0)
        if count > len(pool):
            raise DatasetError(
                f"count is {count:,}, and the pool has {len(pool):,} configurations: choose at "
                "most as many as there are"
            )
        if self.needs is not None and getattr(pool, self.needs) is None:
            from crysearch.datasets.selection.registry import methods_for

            raise DatasetError(
                f"{self.needs} of the pool is missing, and method {self.name!r} chooses by "
                f"{NEEDS[self.needs]}: add it, or choose one of {', '.join(methods_for(pool))}"
            )
        return self._choose(pool, int(count), np.random.default_rng(seed))

    @abstractmethod
    def _choose(
        self, pool: SelectionPool, count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Choose; count and pool are checked."""


def known_properties(pool: SelectionPool) -> set[str]:
    """The attributes that a pool has values of."""
    return {field.name for field in fields(pool) if getattr(pool, field.name) is not None}


def _finite(name: str, values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise DatasetError(
            f"{name} has shape {array.shape} and type {array.dtype}: give real numbers, shape "
            f"{shape}"
        )
    if not np.isfinite(array).all():
        raise DatasetError(
            f"{name} has {int((~np.isfinite(array)).sum())} numbers that are not finite: leave "
            "these configurations out of the pool"
        )
    return array.astype(np.float64, copy=False)


def _check_whole(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise DatasetError(f"{name} is {value!r}: give a whole number of at least {least}")
