"""What is asked of a crystal sampler and what it gives back."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from crysearch.errors import SamplingError
from crysearch.sampling.effort import group_ranges
from crysearch.sampling.weights import checked_weights
from crysearch.sampling.wyckoff import hosting_groups, wyckoff_tables

if TYPE_CHECKING:
    from pymatgen.core import Structure

ALL_SPACE_GROUPS = tuple(range(1, 231))
DENSEST_PACKING = math.pi / math.sqrt(18.0)
"""Largest fraction of space that equal spheres can fill, 0.7405 (Hales 2005)."""


@dataclass(frozen=True)
class CrystalRequest:
    """Random crystals of one composition in one size of cell.

    Parameters
    ----------
    species : tuple of str
        Chemical symbols, each once.
    counts : tuple of int
        Atoms of each species in the conventional cell.
    volume : float
        Volume of the conventional cell, Å^3.
    minimum_distances : mapping of (str, str) to float
        Å, one value for every unordered pair of species, like pairs included.
    volume_tolerance : float
        Volumes lie in ``volume * (1 ± volume_tolerance)``.
    space_groups : tuple of int
        International numbers; groups that cannot host the composition are passed over.
    attempts_per_group : int
        After this many failed attempts a chosen space group is given up and another one chosen.
    attempts_per_orbit : int
        How often the free parameters of one orbit are drawn before the attempt is given up.
    space_group_weights : mapping of int to float
        A space group is drawn with a probability proportional to its weight: 1 for those that are
        not named, 0 for those to be left out.

    Raises
    ------
    SamplingError
        Where a field is invalid or the request cannot be met; the message names the field, the
        value and the way out.
    """

    species: tuple[str, ...]
    counts: tuple[int, ...]
    volume: float
    minimum_distances: Mapping[tuple[str, str], float]
    volume_tolerance: float = 0.10
    space_groups: tuple[int, ...] = ALL_SPACE_GROUPS
    attempts_per_group: int = 1000
    attempts_per_orbit: int = 10
    space_group_weights: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "species", tuple(self.species))
        set_field(self, "counts", _integers("counts", self.counts))
        set_field(self, "space_groups", _integers("space_groups", self.space_groups))
        self._check_composition()
        self._check_numbers()
        set_field(self, "minimum_distances", self._checked_distances())
        self._check_groups()
        weights = checked_weights(
            self.space_group_weights, self.space_groups, self.counts, self.formula
        )
        set_field(self, "space_group_weights", weights)
        self._check_hosts()
        self._check_volume()

    @property
    def number_of_atoms(self) -> int:
        """Atoms in the conventional cell."""
        return sum(self.counts)

    @property
    def formula(self) -> str:
        """Species and counts, such as ``"Sn8Se8"``."""
        return "".join(
            f"{name}{count if count > 1 else ''}"
            for name, count in zip(self.species, self.counts, strict=True)
        )

    @property
    def volume_range(self) -> tuple[float, float]:
        """Smallest and largest volume of the conventional cell, Å^3."""
        return (
            self.volume * (1.0 - self.volume_tolerance),
            self.volume * (1.0 + self.volume_tolerance),
        )

    @property
    def distance_matrix(self) -> np.ndarray:
        """(species, species) minimum distances, Å."""
        return np.array(
            [[self.minimum_distances[(a, b)] for b in self.species] for a in self.species]
        )

    @property
    def hosting_groups(self) -> tuple[int, ...]:
        """The space groups to draw from: requested, not of weight 0, and with Wyckoff positions
        for the composition.
        """
        return hosting_groups(self.counts, self.drawn_groups)

    @property
    def drawn_groups(self) -> tuple[int, ...]:
        """The requested space groups whose weight is not 0."""
        weights = self.space_group_weights
        return tuple(group for group in self.space_groups if weights.get(group, 1.0) > 0.0)

    @property
    def cumulative_weights(self) -> np.ndarray:
        """Running sum of the weights of ``hosting_groups``."""
        weights = self.space_group_weights
        return np.cumsum([weights.get(group, 1.0) for group in self.hosting_groups])

    def _check_composition(self) -> None:
        from ase.data import chemical_symbols

        if not self.species:
            raise SamplingError('species: empty; give chemical symbols such as ("Si",)')
        for name in self.species:
            if name not in chemical_symbols[1:]:
                raise SamplingError(f"species: {name!r} is not a chemical symbol such as 'Si'")
        if len(set(self.species)) != len(self.species):
            raise SamplingError(
                f"species: {self.species} names one twice; give each once and add up its counts"
            )
        if len(self.counts) != len(self.species):
            raise SamplingError(
                f"counts: {self.counts} has {len(self.counts)} entries for "
                f"{len(self.species)} species; give one count for each of {self.species}"
            )
        for name, count in zip(self.species, self.counts, strict=True):
            if count < 1:
                raise SamplingError(
                    f"counts: {count} atoms of {name}; give at least 1 or leave {name} out"
                )

    def _check_numbers(self) -> None:
        if not (_is_number(self.volume) and self.volume > 0.0):
            raise SamplingError(
                f"volume: {self.volume!r} is not a positive number; "
                "give Å^3 of the conventional cell"
            )
        if not (_is_number(self.volume_tolerance) and 0.0 <= self.volume_tolerance < 1.0):
            raise SamplingError(
                f"volume_tolerance: {self.volume_tolerance!r} is not a number from 0 to below 1; "
                "0.1 stands for ±10 %"
            )
        for name in ("attempts_per_group", "attempts_per_orbit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SamplingError(f"{name}: {value!r} is not a positive whole number")

    def _checked_distances(self) -> dict[tuple[str, str], float]:
        if not isinstance(self.minimum_distances, Mapping):
            raise SamplingError(
                f"minimum_distances: {self.minimum_distances!r} is not a mapping of pairs to Å, "
                'such as {("Si", "Si"): 2.1}'
            )
        distances: dict[tuple[str, str], float] = {}
        for key, value in self.minimum_distances.items():
            if isinstance(key, str) or len(key) != 2 or not set(key) <= set(self.species):
                raise SamplingError(
                    f"minimum_distances: {key!r} is not a pair of the species {self.species}"
                )
            if not (_is_number(value) and value > 0.0):
                raise SamplingError(
                    f"minimum_distances: {value!r} for {key[0]}-{key[1]} is not a positive "
                    "number; give Å"
                )
            if distances.setdefault((key[1], key[0]), float(value)) != float(value):
                raise SamplingError(
                    f"minimum_distances: {key[0]}-{key[1]} is given twice with different "
                    "values; give each pair once"
                )
            distances[(key[0], key[1])] = float(value)
        for a, b in combinations_with_replacement(self.species, 2):
            if (a, b) not in distances:
                raise SamplingError(f"minimum_distances: no value for {a}-{b}; give one in Å")
        return distances

    def _check_groups(self) -> None:
        if not self.space_groups:
            raise SamplingError("space_groups: empty; give numbers from 1 to 230")
        for group in self.space_groups:
            if not 1 <= group <= 230:
                raise SamplingError(f"space_groups: {group} is not a number from 1 to 230")
        if len(set(self.space_groups)) != len(self.space_groups):
            twice = next(g for g in self.space_groups if self.space_groups.count(g) > 1)
            raise SamplingError(f"space_groups: {twice} is given twice; give each group once")

    def _check_hosts(self) -> None:
        if self.hosting_groups:
            return
        tables = wyckoff_tables()
        drawn = self.drawn_groups
        shown = drawn[:4]
        positions = "; ".join(
            f"{group} offers {', '.join(tables.label(group, i) for i in _rows(group)[-6:])}"
            for group in shown
        )
        more = "" if len(shown) == len(drawn) else "; ..."
        left_out = len(self.space_groups) - len(drawn)
        without = f" ({left_out} others have the weight 0)" if left_out else ""
        possible = hosting_groups(self.counts)
        raise SamplingError(
            f"counts: {self.formula} in one conventional cell fits the Wyckoff positions of none "
            f"of the {len(drawn)} requested space_groups{without} (smallest positions: "
            f"{positions}{more}); change counts, or choose from the {len(possible)} groups that "
            f"can host it: {group_ranges(possible)}"
        )

    def _check_volume(self) -> None:
        """Compare with the densest packing of equal spheres, for every subset of the species.

        The atoms of a subset are centres of non-overlapping spheres whose diameter is the
        subset's smallest distance, and equal spheres fill at most 0.7405 of space.
        """
        largest = self.volume_range[1]
        number = dict(zip(self.species, self.counts, strict=True))
        for size in range(1, len(self.species) + 1):
            for subset in combinations(self.species, size):
                pairs = list(combinations_with_replacement(subset, 2))
                distance = min(self.minimum_distances[pair] for pair in pairs)
                atoms = sum(number[name] for name in subset)
                needed = atoms * math.pi / 6.0 * distance**3 / DENSEST_PACKING
                if needed > largest:
                    raise SamplingError(
                        f"volume: {self.volume:g} Å^3 (at most {largest:g} with the tolerance) is "
                        f"too small for {atoms} atoms of {', '.join(subset)} at least "
                        f"{distance:g} Å apart, which need {needed:.1f} Å^3 even in the densest "
                        "packing; enlarge volume or shorten minimum_distances"
                    )


@dataclass(frozen=True, eq=False)
class CrystalBatch:
    """Crystals of equal composition as arrays (n crystals, each of the same atoms).

    Attributes
    ----------
    species : tuple of str
    species_index : (atoms,) int64
        Index into ``species`` of every atom; atoms are sorted by species.
    lattices : (n, 3, 3) float64
        Rows are the cell vectors, Å.
    fractional_coordinates : (n, atoms, 3) float64
        In [0, 1).
    space_groups : (n,) int64
        The international number of the group that each crystal was made in.
    sites : (n, orbits) int16
        One entry per occupied Wyckoff position, -1 where there are fewer:
        ``index * len(species) + species``, with the index of the position in its group's list
        (0 is the general one); see :meth:`wyckoff`.
    attempts : int
        Attempts made for the whole sample (a later :meth:`select` does not change it).
    rejections : dict of str to int
        Rejected attempts by reason, and ``group_exhausted``: how often a space group was given up.
    group_counts : dict of int to dict of str to int
        Per space group: ``chosen``, ``exhausted``, ``attempts``, ``accepted``; see
        :attr:`group_record`.
    """

    species: tuple[str, ...]
    species_index: np.ndarray
    lattices: np.ndarray
    fractional_coordinates: np.ndarray
    space_groups: np.ndarray
    sites: np.ndarray
    attempts: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    group_counts: dict[int, dict[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lattices)

    @property
    def volumes(self) -> np.ndarray:
        """(n,) volumes of the conventional cells, Å^3."""
        return np.abs(np.linalg.det(self.lattices))

    @property
    def group_record(self) -> dict[str, list[int]]:
        """``group_counts`` for a document: ``{"227": [attempts, accepted, exhausted], ...}``.

        Only groups that were drawn. ``chosen`` is accepted + exhausted.
        """
        return {
            str(group): [count["attempts"], count["accepted"], count["exhausted"]]
            for group, count in self.group_counts.items()
            if count["chosen"]
        }

    def select(self, indices: Sequence[int] | np.ndarray | slice) -> CrystalBatch:
        """The crystals at ``indices`` (integers, a mask or a slice), counts unchanged."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            if indices.size == 0:
                indices = indices.astype(np.int64)
        return replace(
            self,
            lattices=self.lattices[indices],
            fractional_coordinates=self.fractional_coordinates[indices],
            space_groups=self.space_groups[indices],
            sites=self.sites[indices],
        )

    def wyckoff(self, i: int) -> dict[str, list[str]]:
        """Occupied Wyckoff positions of crystal ``i``, such as ``{"Si": ["4a", "4b"]}``."""
        tables = wyckoff_tables()
        group = int(self.space_groups[i])
        labels: dict[str, list[str]] = defaultdict(list)
        for code in sorted(int(code) for code in self.sites[i] if code >= 0)[::-1]:
            index, species = divmod(code, len(self.species))
            labels[self.species[species]].append(tables.label(group, index))
        return {name: labels[name] for name in self.species}

    def structure(self, i: int) -> Structure:
        """Crystal ``i`` as a pymatgen structure."""
        # Imported here: pymatgen takes a second to import and the hot path does without it.
        from pymatgen.core import Structure

        return Structure(
            self.lattices[i],
            [self.species[s] for s in self.species_index],
            self.fractional_coordinates[i],
        )


@runtime_checkable
class CrystalSampler(Protocol):
    """A source of random crystals for one request."""

    name: str
    request: CrystalRequest

    def sample(self, n: int, seed: int | Sequence[int]) -> CrystalBatch:
        """Exactly ``n`` accepted crystals.

        Parameters
        ----------
        n : int
            How many.
        seed : int or sequence of int
            Entropy of a ``numpy.random.SeedSequence``; the same seed gives the same crystals in
            any process.

        Raises
        ------
        SamplingError
            For an invalid ``n`` or seed, and when a bounded effort does not suffice.
        """
        ...


def _rows(group: int) -> range:
    return range(len(wyckoff_tables().positions(group)))


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _integers(name: str, values: Iterable[int]) -> tuple[int, ...]:
    try:
        entries = tuple(values)
    except TypeError:
        raise SamplingError(f"{name}: {values!r} is not a sequence of whole numbers") from None
    for value in entries:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise SamplingError(f"{name}: {value!r} is not a whole number")
    return tuple(int(value) for value in entries)
