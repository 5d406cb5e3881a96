"""The SOAP power spectrum: what surrounds an atom, the same however the crystal is turned.

Every neighbour within the cut-off, and the centre itself, is a Gaussian; their sum, for each
element, is expanded in radial functions and spherical harmonics, and the expansions of two elements
and radial functions are multiplied and summed over m (A. P. Bartók, R. Kondor and G. Csányi, Phys.
Rev. B 87, 184115 (2013), eq. 17 and 36). Radial functions are Gaussian-type orbitals,
orthonormalised.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ive

from crysearch.errors import TrainingError
from crysearch.generative.checks import check_count, check_positive
from crysearch.potentials import soap_kernel as kernel
from crysearch.potentials.configuration import Configuration, Failure, check_elements
from crysearch.potentials.pairs import PairedCrystals, find_pairs

# Knots of the radial parts are at most so far apart, Å and in widths of the Gaussians.
_KNOTS, _KNOTS_OF_WIDTH = 0.05, 0.06
_NODES = 400


@dataclass(frozen=True)
class SoapFeatures:
    """Which power spectrum.

    Parameters
    ----------
    elements : sequence of str
    cutoff : float
        Å.
    width : float
        Standard deviation of the Gaussians, Å.
    radial : int
        Radial functions, N.
    angular : int
        Largest degree of the spherical harmonics, L.
    smoothing : float
        Length before the cut-off over which a neighbour fades out, as a cosine, Å.
    decay : float, optional
        Neighbours at a distance r count 1 / (1 + (r / decay)⁴), Å; None for all alike.

    Raises
    ------
    TrainingError
        If an argument is not possible.
    """

    elements: tuple[str, ...]
    cutoff: float = 6.0
    width: float = 0.5
    radial: int = 8
    angular: int = 6
    smoothing: float = 1.0
    decay: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", check_elements(list(self.elements)))
        for field in ("cutoff", "width", "smoothing"):
            object.__setattr__(self, field, check_positive(field, getattr(self, field)))
        if self.decay is not None:
            object.__setattr__(self, "decay", check_positive("decay", self.decay))
        for field, lowest in (("radial", 1), ("angular", 0)):
            object.__setattr__(self, field, check_count(field, getattr(self, field), lowest))
        if self.smoothing > self.cutoff:
            raise TrainingError(
                f"smoothing is {self.smoothing:g}, more than the cutoff of {self.cutoff:g}; give "
                "at most the cutoff."
            )

    @property
    def size(self) -> int:
        """Number of features, D."""
        channels = len(self.elements) * self.radial
        return channels * (channels + 1) // 2 * (self.angular + 1)

    @property
    def basis(self) -> kernel.Basis:
        """Tables for the compiled loops."""
        return _basis(
            len(self.elements),
            self.cutoff, self.width, self.radial, self.angular, self.smoothing,
            math.inf if self.decay is None else self.decay,
        )  # fmt: skip

    def compute(self, given: Sequence[Configuration | Failure]) -> Environments:
        """Compute the power spectra of all atoms of the crystals that can be taken."""
        paired = find_pairs(given, self.elements, self.cutoff)
        return Environments(self.basis, paired)


class Environments:
    """Power spectra of all atoms of some crystals, and what their derivatives are made of.

    Parameters
    ----------
    basis : Basis
    paired : PairedCrystals

    Attributes
    ----------
    paired : PairedCrystals
        Which crystals, their atoms and failures.
    neighbours : Neighbours
    density : ndarray, shape (A, channels, (L + 1)²)
        Expansions of the neighbours' density.
    features : ndarray, shape (A, D)
        Normalised power spectra.
    norms : ndarray, shape (A,)
        Of the power spectra before.
    """

    def __init__(self, basis: kernel.Basis, paired: PairedCrystals) -> None:
        self.basis, self.paired = basis, paired
        self.neighbours = both_ways(paired)
        elements, functions, largest = (int(size) for size in basis.sizes)
        atoms, channels = len(paired.species), elements * functions
        self.density = np.zeros((atoms, channels, (largest + 1) ** 2))
        kernel.expand(basis, self.neighbours, self.density)
        spectrum = np.empty((atoms, channels * (channels + 1) // 2 * (largest + 1)))
        kernel.power(self.density, largest + 1, spectrum)
        self.norms = np.sqrt(np.einsum("ad,ad->a", spectrum, spectrum))
        self.features = spectrum / self.norms[:, None]

    def derivatives(
        self, begin: int, end: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows (R, D), centres and targets of some atoms; see `soap_kernel.differentiate`."""
        starts = self.neighbours.starts
        most = 3 * int(starts[end] - starts[begin]) + 6 * (end - begin)
        counts = np.diff(self.paired.starts)[self.neighbours.owners[begin:end]]
        most = min(most, int(3 * (counts - 1).sum()) + 6 * (end - begin))
        rows = np.empty((most, self.features.shape[1]))
        centres, targets = np.empty(most, np.int64), np.empty(most, np.int64)
        used = kernel.differentiate(
            self.basis, self.neighbours, self.density, begin, end, rows, centres, targets
        )
        return rows[:used], centres[:used], targets[:used]

    def pull(
        self, by_features: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Forces (A, 3) and strain derivatives (S, 3, 3) of dE/d``features`` (A, D)."""
        inwards = np.einsum("ad,ad->a", by_features, self.features)
        by_spectrum = (by_features - inwards[:, None] * self.features) / self.norms[:, None]
        by_density = np.zeros_like(self.density)
        degrees = int(self.basis.sizes[2]) + 1
        kernel.power_backwards(self.density, degrees, by_spectrum, by_density)
        forces = np.zeros((len(self.features), 3))
        virials = np.zeros((len(self.paired.sound), 3, 3))
        kernel.pull(self.basis, self.neighbours, by_density, forces, virials)
        return forces, (virials + virials.transpose(0, 2, 1)) / 2.0


def both_ways(paired: PairedCrystals) -> kernel.Neighbours:
    """The neighbours of each atom, of pairs that are there once."""
    pairs = paired.pairs
    centres = np.concatenate([pairs.first, pairs.second])
    others = np.concatenate([pairs.second, pairs.first])
    order = np.lexsort((others, centres))
    starts = np.zeros(len(paired.species) + 1, np.int64)
    np.cumsum(np.bincount(centres, minlength=len(paired.species)), out=starts[1:])
    counts = np.diff(paired.starts)
    return kernel.Neighbours(
        starts,
        others[order],
        np.concatenate([pairs.vectors, -pairs.vectors])[order],
        np.concatenate([pairs.distances, pairs.distances])[order],
        paired.species,
        np.repeat(np.arange(len(counts)), counts),
    )


def radial_functions(
    cutoff: float, radial: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal radial functions on the nodes of a quadrature.

    Gaussian-type orbitals rⁿ exp(-r²/2s²) with s = cutoff √max(n, 1) / N for n = 0, ..., N - 1,
    orthonormalised with r² as weight, symmetrically, from zero to where they have vanished.

    Returns
    -------
    nodes, weights : ndarray, shape (Q,)
    functions : ndarray, shape (N, Q)
    """
    powers = np.arange(radial)
    widths = cutoff * np.sqrt(np.maximum(powers, 1)) / radial
    end = max(2.5 * cutoff, 7.0 * float(widths.max()))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = 0.5 * end * (nodes + 1.0), 0.5 * end * weights
    x = nodes / widths[:, None]
    orbitals = x ** powers[:, None] * np.exp(-0.5 * x * x)
    orbitals /= np.sqrt((orbitals**2 * nodes**2) @ weights)[:, None]
    values, vectors = np.linalg.eigh((orbitals * (nodes**2 * weights)) @ orbitals.T)
    return nodes, weights, (vectors / np.sqrt(values)) @ vectors.T @ orbitals


@functools.lru_cache(maxsize=8)
def _basis(
    elements: int,
    cutoff: float,
    width: float,
    radial: int,
    angular: int,
    smoothing: float,
    decay: float,
) -> kernel.Basis:
    nodes, weights, functions = radial_functions(cutoff, radial)
    count = math.ceil(cutoff / min(_KNOTS, _KNOTS_OF_WIDTH * width)) + 1
    knots = np.linspace(0.0, cutoff, count)
    # Of a Gaussian about a point at d, the part of degree l is 4π exp(-(r² + d²)/2s²) i_l(rd/s²)
    # with the modified spherical Bessel function; ive takes exp(rd/s²) out of it.
    x = nodes * knots[:, None] / width**2
    decays = np.exp(-0.5 * ((nodes - knots[:, None]) / width) ** 2)
    parts = np.empty((count, radial, angular + 1))
    for degree in range(angular + 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            bessel = np.sqrt(0.5 * math.pi / x) * ive(degree + 0.5, x)
        bessel = np.where(x > 0.0, bessel, 1.0 if degree == 0 else 0.0)
        parts[:, :, degree] = (decays * bessel * nodes**2 * weights) @ functions.T
    parts *= 4.0 * math.pi
    spline = CubicSpline(knots, parts / (1.0 + (knots / decay) ** 4)[:, None, None])
    norms = np.empty((angular + 1) ** 2)
    for degree in range(angular + 1):
        for m in range(degree + 1):
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            norm = math.sqrt((2 * degree + 1) / (4.0 * math.pi) * ratio * (2.0 if m else 1.0))
            norms[degree * degree + degree + m] = norms[degree * degree + degree - m] = norm
    return kernel.Basis(
        np.array([elements, radial, angular]),
        np.ascontiguousarray(spline.c.transpose(1, 0, 2, 3)),
        float(knots[1]),
        cutoff,
        smoothing,
        parts[0, :, 0] / math.sqrt(4.0 * math.pi),
        norms,
    )
