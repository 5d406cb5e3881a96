"""Radial distribution functions of crystals, in batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from crysearch.errors import FingerprintError
from crysearch.fingerprints.kernel import smeared_pair_counts

if TYPE_CHECKING:
    from pymatgen.core import Structure

Quantity = Literal["g", "n"]


@dataclass(frozen=True)
class RadialDistributionFunction:
    """Radial distribution function (RDF) of a crystal on an even grid, as a fingerprint.

    The mean number of atoms in a shell dr at distance r from an atom is
    n(r) dr = g(r)·ρ·4πr² dr, with ρ the number density (Lee and Chang, "Crystal structure
    prediction in a continuous representative space", Comput. Mater. Sci.). Every distance is
    smeared by a Gaussian; pairs beyond the cut-off that leak in through the smearing count.

    Species-resolved, the fingerprint is one RDF after another for each unordered pair of
    ``species`` in order (A–A, A–B, …, B–B, …):
    g_AB(r) = V/(N_A N_B) Σ_{i∈A, j∈B} δ(r − r_ij)/(4πr²), so that g = Σ_AB c_A c_B g_AB over
    ordered pairs; n_AB counts both orders per atom of the crystal, so that n = Σ n_AB over
    unordered pairs. A pair with an absent species gives zeros.

    Parameters
    ----------
    cutoff
        Largest distance, Å.
    grid_points
        Number of points; point k lies at (k + ½)·cutoff/grid_points.
    smearing
        Standard deviation of the Gaussian, Å.
    quantity
        ``"g"``, the pair correlation function (the published distances come from it), or
        ``"n"``, the number of atoms per Å.
    species
        Element symbols for a species-resolved RDF; ``None`` for the total one.

    Raises
    ------
    FingerprintError
        If a setting is out of range.
    """

    cutoff: float = 8.0
    grid_points: int = 200
    smearing: float = 0.060
    quantity: Quantity = "g"
    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("cutoff", "smearing"):
            value = getattr(self, field)
            if not (np.isfinite(value) and value > 0):
                raise FingerprintError(f"{field} = {value}: give a positive length in Å")
        if self.grid_points < 2:
            raise FingerprintError(f"grid_points = {self.grid_points}: give at least 2")
        if self.quantity not in ("g", "n"):
            raise FingerprintError(f"quantity = {self.quantity!r}: give 'g' or 'n'")
        if self.species is not None and (
            not self.species or len(set(self.species)) != len(self.species)
        ):
            raise FingerprintError(
                f"species = {self.species}: give each element symbol once, or None for the total"
            )

    @property
    def grid(self) -> np.ndarray:
        """Distances of the grid points, shape (grid_points,), Å."""
        return (np.arange(self.grid_points) + 0.5) * (self.cutoff / self.grid_points)

    @property
    def pairs(self) -> list[tuple[str, str]] | None:
        """Unordered species pairs in the order of the fingerprint; ``None`` for the total."""
        if self.species is None:
            return None
        return list(itertools.combinations_with_replacement(self.species, 2))

    @property
    def size(self) -> int:
        """Length of one fingerprint."""
        return self.grid_points * (1 if self.pairs is None else len(self.pairs))

    def compute(
        self,
        lattices: np.ndarray,
        fractional_coordinates: np.ndarray,
        species: Sequence[str] | None = None,
    ) -> np.ndarray:
        """RDFs of crystals with the same atoms.

        Parameters
        ----------
        lattices
            Lattice vectors as rows, shape (n, 3, 3), Å.
        fractional_coordinates
            Shape (n, atoms, 3).
        species
            Element symbol of each atom, length atoms; needed when species-resolved.

        Returns
        -------
        numpy.ndarray
            Shape (n, size). Dimensionless for ``g``, 1/Å for ``n``.

        Raises
        ------
        FingerprintError
            On wrong shapes, non-finite values, a flat cell or an unexpected species.
        """
        lattices = np.ascontiguousarray(lattices, dtype=np.float64)
        coordinates = np.ascontiguousarray(fractional_coordinates, dtype=np.float64)
        if lattices.ndim != 3 or lattices.shape[1:] != (3, 3):
            raise FingerprintError(f"lattices of shape {lattices.shape}: give (n, 3, 3)")
        if (
            coordinates.ndim != 3
            or coordinates.shape[0] != len(lattices)
            or coordinates.shape[1] == 0
            or coordinates.shape[2] != 3
        ):
            raise FingerprintError(
                f"fractional_coordinates of shape {coordinates.shape}: give "
                f"({len(lattices)}, atoms, 3) with at least one atom"
            )
        volumes = np.abs(np.linalg.det(lattices))
        bad = ~(np.isfinite(volumes) & (volumes > 1e-6) & np.isfinite(coordinates).all((1, 2)))
        if bad.any():
            raise FingerprintError(
                f"crystal {int(np.argmax(bad))} of the batch has a flat cell or non-finite "
                "coordinates: drop it before computing its RDF"
            )
        atoms = coordinates.shape[1]
        channels, populations = self._channels(atoms, species)
        counts = smeared_pair_counts(
            lattices,
            coordinates,
            channels,
            len(populations),
            float(self.cutoff),
            int(self.grid_points),
            float(self.smearing),
        )
        if self.quantity == "n":
            counts /= atoms
        else:
            # populations = N_A N_B for g_AB; both orders of an unlike pair were counted.
            shell = 4.0 * np.pi * self.grid**2
            norm = np.where(populations > 0, populations, 1.0)
            counts *= volumes[:, None, None] / (norm[None, :, None] * shell[None, None, :])
        return counts.reshape(len(lattices), self.size)

    def _channels(self, atoms: int, species: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """Channel of each pair of atoms, and the number of ordered pairs that normalises it."""
        if self.species is None or self.pairs is None:
            return np.zeros((atoms, atoms), dtype=np.int64), np.array([float(atoms * atoms)])
        if species is None or len(species) != atoms:
            raise FingerprintError(
                f"a species-resolved RDF needs the element of each of the {atoms} atoms; "
                f"{'none' if species is None else len(species)} given"
            )
        unknown = sorted(set(species) - set(self.species))
        if unknown:
            raise FingerprintError(
                f"species {', '.join(unknown)} not among the RDF's {', '.join(self.species)}: "
                "add them to `species` or use the total RDF (species = None)"
            )
        channel_of = {frozenset(pair): index for index, pair in enumerate(self.pairs)}
        channels = np.array(
            [[channel_of[frozenset((a, b))] for b in species] for a in species], dtype=np.int64
        )
        count = {symbol: sum(s == symbol for s in species) for symbol in self.species}
        populations = np.array(
            [float(count[a] * count[b] * (1 if a == b else 2)) for a, b in self.pairs]
        )
        return channels, populations

    def from_structures(self, structures: Sequence[Structure]) -> np.ndarray:
        """RDFs of pymatgen structures of any sizes, shape (n, size); see :meth:`compute`."""
        fingerprints = np.empty((len(structures), self.size))
        for index, structure in enumerate(structures):
            symbols = None
            if self.species is not None:
                if not structure.is_ordered:
                    raise FingerprintError(
                        f"structure {index} ({structure.formula}) is disordered: a "
                        "species-resolved RDF needs one element per site"
                    )
                symbols = [site.specie.symbol for site in structure]
            fingerprints[index] = self.compute(
                structure.lattice.matrix[None], structure.frac_coords[None], symbols
            )[0]
        return fingerprints
