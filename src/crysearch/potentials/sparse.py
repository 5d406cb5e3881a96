"""Sparse points of a Gaussian process, and the least-squares problems of its members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.linalg import eigh

from crysearch.datasets.selection.features import farthest_points
from crysearch.errors import TrainingError
from crysearch.potentials import soap_kernel as kernel
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.data import chunks
from crysearch.potentials.history import LossWeights
from crysearch.potentials.ridge import RidgePath, Triangle
from crysearch.potentials.soap import Environments, SoapFeatures

Array = NDArray[np.float64]
Rows = Sequence[NDArray[np.int64]]

#: Common sparse points for each of a member's.
COMMON = 1.5
#: Atoms of an element among which sparse points are looked for, at most.
CANDIDATES = 20_000
# Power spectra nearer than this are the same.
_SAME = 1e-7
# Directions of the sparse points' kernel below this part of its largest eigenvalue are rounding.
_RANK = 1e-12
# Atoms whose features are computed at once, and numbers in a part of their derivatives.
_ATOMS, _NUMBERS = 1000, 4_000_000
# Off-diagonal components of a virial are there twice.
_TWICE = np.sqrt(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]) / 9.0)


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """Power spectra that others are compared with.

    Attributes
    ----------
    features : ndarray, shape (P, D)
    species : ndarray of int, shape (P,)
    members : ndarray of bool, shape (K, P)
        Which each member uses.
    power : int
        ζ.
    """

    features: Array
    species: NDArray[np.int64]
    members: NDArray[np.bool_]
    power: int

    def similarities(
        self, features: Array, species: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
        """For each element its atoms, its sparse points, and the products of their features."""
        found = []
        for element in np.unique(self.species):
            atoms = np.flatnonzero(species == element)
            columns = np.flatnonzero(self.species == element)
            found.append((atoms, columns, features[atoms] @ self.features[columns].T))
        return found

    def kernel(self, columns: NDArray[np.int64]) -> Array:
        """The kernel between some of the points."""
        own = self.features[columns]
        same = self.species[columns][:, None] == self.species[columns]
        return np.where(same, (own @ own.T) ** self.power, 0.0)


def choose_sparse_points(
    soap: SoapFeatures,
    configurations: Sequence[Configuration],
    count: int,
    power: int,
    members: int,
    seed: int,
) -> SparsePoints:
    """Choose common sparse points by farthest points, and each member's at random from these.

    Parameters
    ----------
    soap : SoapFeatures
    configurations : sequence of Configuration
        Sound ones.
    count : int
        Of each member, at most.
    power, members, seed : int
    """
    rng = np.random.default_rng([seed, 1])
    numbers = np.concatenate([c.numbers for c in configurations])
    starts = np.concatenate([[0], np.cumsum([len(c) for c in configurations])])
    wanted = np.zeros(len(numbers), np.bool_)
    for number in np.unique(numbers):
        atoms = np.flatnonzero(numbers == number)
        wanted[rng.permutation(atoms)[:CANDIDATES]] = True
    kept, species = [], []
    for part in chunks(np.diff(starts), _ATOMS):
        environments = soap.compute(configurations[part])
        here = wanted[starts[part.start] : starts[part.stop]]
        kept.append(environments.features[here])
        species.append(environments.paired.species[here])
    features, of = np.concatenate(kept), np.concatenate(species)
    share = max(1, round(COMMON * count / len(soap.elements)))
    chosen = []
    for element in range(len(soap.elements)):
        atoms = np.flatnonzero(of == element)
        first = int(rng.integers(len(atoms)))
        places, distances = farthest_points(features[atoms], min(share, len(atoms)), first)
        chosen.append(atoms[places[distances > _SAME]])
    points = np.concatenate(chosen)
    uses = np.zeros((members, len(points)), np.bool_)
    for member in range(members):
        own = np.random.default_rng([seed, 2, member])
        begin = 0
        for places in chosen:
            number = max(1, min(round(len(places) / COMMON), count))
            uses[member, begin + own.permutation(len(places))[:number]] = True
            begin += len(places)
    return SparsePoints(features[points], of[points], uses, power)


@dataclass(frozen=True, eq=False)
class Design:
    """What the kernels of P sparse points are for one crystal of n atoms, and what is wanted.

    ``energy`` (1, P + 1) per atom, ``forces`` (3n, P + 1) over √3n and ``stress`` (6, P + 1) per
    atom: the squares of the errors of each add up to their part of the loss (`LossWeights`). The
    last column is what is wanted; forces and stress have no rows where they are not known.
    """

    energy: Array
    forces: Array
    stress: Array


def designs(
    soap: SoapFeatures,
    points: SparsePoints,
    configurations: Sequence[Configuration],
    references: Array,
    stress: bool,
) -> Iterator[Design]:
    """Compute crystal after crystal; `stress` says whether that is of interest."""
    for c in configurations:
        environments = soap.compute([c])
        atoms, size = len(c), len(points.features)
        energy, forces = np.zeros(size), np.zeros((3 * atoms, size))
        virials = np.zeros((6, size))
        similar, slopes = np.zeros((atoms, size)), np.zeros((atoms, size))
        for places, columns, products in points.similarities(
            environments.features, environments.paired.species
        ):
            block = np.ix_(places, columns)
            similar[block] = products
            steep = points.power * products ** (points.power - 1)
            slopes[block] = steep / environments.norms[places, None]
            energy[columns] = (products**points.power).sum(axis=0)
        if c.forces is not None or (stress and c.stress is not None):
            _differentiate(environments, points, similar, slopes, forces, virials)
        level = float(references[environments.paired.species].sum())
        volume = c.volume / atoms
        wanted_energy = np.array([((c.energy or 0.0) - level) / atoms])
        wanted_forces = np.empty(0) if c.forces is None else c.forces.ravel()
        wanted_stress = np.empty(0)
        if stress and c.stress is not None:
            wanted_stress = c.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * volume * _TWICE
        size_of_forces = np.sqrt(3.0 * atoms)
        yield Design(
            _beside(energy[None] / atoms, wanted_energy),
            _beside(forces[: len(wanted_forces)], wanted_forces) / size_of_forces,
            _beside((virials * _TWICE[:, None] / atoms)[: len(wanted_stress)], wanted_stress),
        )


def _beside(rows: Array, wanted: Array) -> Array:
    return np.concatenate([rows, wanted[:, None]], axis=1)


def _differentiate(
    environments: Environments,
    points: SparsePoints,
    similar: Array,
    slopes: Array,
    forces: Array,
    virials: Array,
) -> None:
    """Add the derivatives of the kernels, some atoms at a time."""
    atoms, width = environments.features.shape
    neighbours = np.diff(environments.neighbours.starts)
    rows_of = 3 * np.minimum(neighbours, atoms - 1) + 6
    for part in chunks(rows_of, max(1, _NUMBERS // width)):
        rows, centres, targets = environments.derivatives(part.start, part.stop)
        along = np.einsum("rd,rd->r", rows, environments.features[centres])
        products = np.empty((len(rows), len(points.features)))
        species = environments.paired.species[centres]
        for element in np.unique(points.species):
            columns = np.flatnonzero(points.species == element)
            here = species == element
            products[np.ix_(here, columns)] = rows[here] @ points.features[columns].T
            # Slopes are zero where the elements differ.
            products[np.ix_(~here, columns)] = 0.0
        kernel.gather_design(products, along, centres, targets, similar, slopes, forces, virials)


@dataclass(frozen=True, eq=False)
class Reduced:
    """All that a training needs of its data: for each member a small least-squares problem.

    Attributes
    ----------
    points : SparsePoints
    references : ndarray, shape (elements,)
        Energy of an atom of each element that is not learned, eV.
    directions : list of ndarray, shape (P, r)
        Of each member: weights of the sparse points whose kernel is the unit matrix.
    paths : list of RidgePath
    training, validation, energy, force : list of Triangle
        Errors: the loss of both sets, and energies (eV/atom) and forces (eV/Å) of the second.
    """

    points: SparsePoints
    references: Array
    directions: list[Array]
    paths: list[RidgePath]
    training: list[Triangle]
    validation: list[Triangle]
    energy: list[Triangle]
    force: list[Triangle]

    def curves(self, strength: float) -> Array:
        """Losses of both sets, and errors of energies and forces, of each member: (K, 4)."""
        found = np.empty((len(self.paths), 4))
        for member, path in enumerate(self.paths):
            weights = path.solve(strength)
            sets = self.training, self.validation, self.energy, self.force
            found[member] = [triangles[member].error(weights) for triangles in sets]
        found[:, 2:] = np.sqrt(found[:, 2:])
        return found

    def weights(self, member: int, strength: float) -> Array:
        """Weights (P,) of the sparse points of one member."""
        return self.directions[member] @ self.paths[member].solve(strength)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as named arrays."""
        found: dict[str, NDArray[np.generic]] = {
            "points.features": self.points.features,
            "points.species": self.points.species,
            "points.members": self.points.members,
            "points.power": np.array(self.points.power),
            "references": self.references,
        }
        for member, path in enumerate(self.paths):
            found[f"directions.{member}"] = self.directions[member]
            found[f"path.{member}.values"] = path.singular_values
            found[f"path.{member}.directions"] = path.directions
            found[f"path.{member}.wanted"] = path.wanted
            for name in _TRIANGLES:
                found[f"{name}.{member}"] = getattr(self, name)[member].values
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Rebuild what `arrays` gave."""
        given: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
        points = SparsePoints(
            given["points.features"],
            given["points.species"],
            given["points.members"],
            int(given["points.power"]),
        )
        members = range(len(points.members))
        triangles: dict[str, list[Triangle]] = {name: [] for name in _TRIANGLES}
        for name, kept in triangles.items():
            for member in members:
                values = given[f"{name}.{member}"]
                kept.append(Triangle(values.shape[1]))
                kept[-1].values = values
        return cls(
            points,
            given["references"],
            [given[f"directions.{member}"] for member in members],
            [RidgePath(*(given[f"path.{member}.{name}"] for name in _PATH)) for member in members],
            **triangles,
        )


_TRIANGLES = ("training", "validation", "energy", "force")
_PATH = ("values", "directions", "wanted")


def reduce_data(
    soap: SoapFeatures,
    points: SparsePoints,
    configurations: Sequence[Configuration],
    others: Sequence[Configuration],
    rows: tuple[Rows, Rows],
    weights: LossWeights,
    references: Array,
) -> Reduced:
    """Reduce the configurations to what least squares needs of them.

    Parameters
    ----------
    soap : SoapFeatures
    points : SparsePoints
    configurations, others : sequence of Configuration
        To learn from and to be validated on; the same object where members hold out a part.
    rows : (list of ndarray of int, list of ndarray of int)
        What each member learns from, and is validated on.
    weights : LossWeights
    references : ndarray, shape (elements,)
    """
    whitening = [_whiten(points, np.flatnonzero(uses)) for uses in points.members]
    training, validation, energy, force = (
        [Triangle(directions.shape[1] + 1) for directions in whitening] for _ in range(4)
    )
    parts = np.sqrt([weights.energy, weights.force, weights.stress])
    lowest = float(_levels(soap, configurations, references).min())
    learned: list[tuple[Sequence[Configuration], Rows | None, Rows | None]]
    if others is configurations:
        learned = [(configurations, *rows)]
    else:
        learned = [(configurations, rows[0], None), (others, None, rows[1])]
    for crystals, train_rows, held_out in learned:
        above = _levels(soap, crystals, references) - lowest
        with np.errstate(over="ignore"):
            counts = 1.0 / (1.0 + (np.maximum(above, 0.0) / weights.energy_scale) ** 2)
        forced = counts * [c.forces is not None for c in crystals]
        stress = weights.stress > 0.0
        for place, design in enumerate(designs(soap, points, crystals, references, stress)):
            for member, directions in enumerate(whitening):
                reduced = _project(design, directions)
                if train_rows is not None and place in train_rows[member]:
                    share = _root_share(counts, train_rows[member], place)
                    training[member].add(_loss_rows(reduced, share * parts))
                if held_out is not None and place in held_out[member]:
                    share = _root_share(counts, held_out[member], place)
                    validation[member].add(_loss_rows(reduced, share * parts))
                    energy[member].add(share * reduced.energy)
                    every = max(1.0, float(forced[held_out[member]].sum()))
                    force[member].add(np.sqrt(counts[place] / every) * reduced.forces)
    for triangle in (*training, *validation, *energy, *force):
        triangle.close()
        if not np.isfinite(triangle.values).all():
            raise TrainingError(
                "The loss is not finite: energies, forces or stresses are too large; leave out "
                "configurations of extreme energy."
            )
    paths = [RidgePath.of(triangle) for triangle in training]
    return Reduced(points, references, whitening, paths, training, validation, energy, force)


def _root_share(counts: Array, rows: NDArray[np.int64], place: int) -> float:
    """Root of the share of one configuration; not finite where energies overflow."""
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(counts[place] / counts[rows].sum()))


def _levels(
    soap: SoapFeatures, configurations: Sequence[Configuration], references: Array
) -> Array:
    """Energies per atom (N,) without those of the elements."""
    of = {atomic_numbers[symbol]: e for symbol, e in zip(soap.elements, references, strict=True)}
    found = [(c.energy or 0.0) - sum(of[number] for number in c.numbers) for c in configurations]
    return np.array(found) / [len(c) for c in configurations]


def _whiten(points: SparsePoints, columns: NDArray[np.int64]) -> Array:
    """Weights (P, r) of the sparse points whose kernel is the unit matrix."""
    values, vectors = eigh(points.kernel(columns))
    kept = values > _RANK * values[-1]
    found = np.zeros((len(points.features), int(kept.sum())))
    found[columns] = vectors[:, kept] / np.sqrt(values[kept])
    return found


def _project(design: Design, directions: Array) -> Design:
    return Design(
        *(
            np.concatenate([rows[:, :-1] @ directions, rows[:, -1:]], axis=1)
            for rows in (design.energy, design.forces, design.stress)
        )
    )


def _loss_rows(design: Design, parts: Array) -> Array:
    every = zip(parts, (design.energy, design.forces, design.stress), strict=True)
    return np.concatenate([part * rows for part, rows in every])
