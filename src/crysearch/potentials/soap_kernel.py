"""Compiled loops behind the SOAP power spectrum: expansions, their derivatives, and way back.

The density of neighbours of a centre is expanded in radial functions times real spherical
harmonics: c[channel, lm], a channel being an element and a radial function, lm = l² + l + m. The
harmonics are polynomials in the unit vector, made by recurrences that have no poles, and so are
their gradients. The radial parts are cubic splines with shared knots.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

_RULES: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "fastmath": {"contract", "reassoc"},
}
compiled: Any = njit(cache=True, **_RULES)
inner: Any = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_RULES)  # type: ignore[call-overload]


class Basis(NamedTuple):
    """Radial functions N and harmonics up to L.

    ``sizes`` (3,): elements, N, L. ``spline`` (intervals, 4, N, L + 1): coefficients of powers of
    the distance from the knot, the constant last; ``step`` between knots, Å. Within ``smoothing``
    of the ``cutoff`` a cosine takes the radial parts to zero. ``centre`` (N,): what a centre adds
    to its own density. ``norms`` ((L + 1)²,): of the harmonics.
    """

    sizes: np.ndarray
    spline: np.ndarray
    step: float
    cutoff: float
    smoothing: float
    centre: np.ndarray
    norms: np.ndarray


class Neighbours(NamedTuple):
    """Neighbours of each of A centres from ``starts`` (A + 1,), images of one atom together.

    ``others`` (P,), ``vectors`` (P, 3) to them, Å, ``distances`` (P,), ``species`` (A,) and
    ``owners`` (A,), the crystals.
    """

    starts: np.ndarray
    others: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray
    species: np.ndarray
    owners: np.ndarray


@inner
def _radial(basis, distance, values, slopes):  # pragma: no cover - compiled
    """Write the radial parts (N, L + 1) at a distance and their derivatives."""
    place = min(int(distance / basis.step), len(basis.spline) - 1)
    t = distance - place * basis.step
    spline = basis.spline
    # The cosine is no part of the spline: its second derivative jumps.
    inside = max(0.0, (distance - basis.cutoff + basis.smoothing) / basis.smoothing)
    fade = 0.5 + 0.5 * math.cos(math.pi * inside)
    fading = -0.5 * math.pi / basis.smoothing * math.sin(math.pi * inside)
    for n in range(values.shape[0]):
        for degree in range(values.shape[1]):
            a, b = spline[place, 0, n, degree], spline[place, 1, n, degree]
            c, d = spline[place, 2, n, degree], spline[place, 3, n, degree]
            value = ((a * t + b) * t + c) * t + d
            slope = (3.0 * a * t + 2.0 * b) * t + c
            values[n, degree] = value * fade
            slopes[n, degree] = slope * fade + value * fading


@inner
def _harmonics(basis, x, y, z, legendre, values, gradients):  # pragma: no cover - compiled
    """Write real spherical harmonics of a unit vector and their gradients (3, .) along the sphere.

    ``legendre`` (L + 2, L + 2): scratch for P_l^m / sin^m.
    """
    largest = basis.sizes[2]
    legendre[0, 0] = 1.0
    for m in range(1, largest + 1):
        legendre[m, m] = (2 * m - 1) * legendre[m - 1, m - 1]
    for m in range(largest):
        legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
        for degree in range(m + 2, largest + 1):
            legendre[degree, m] = (
                (2 * degree - 1) * z * legendre[degree - 1, m]
                - (degree + m - 1) * legendre[degree - 2, m]
            ) / (degree - m)
    for degree in range(largest + 1):
        middle = degree * degree + degree
        cosine, sine, cosine_before, sine_before = 1.0, 0.0, 0.0, 0.0
        for m in range(degree + 1):
            norm = basis.norms[middle + m]
            here = legendre[degree, m]
            by_z = (degree + m) * legendre[degree - 1, m] if degree > m else 0.0
            by_xy = -legendre[degree - 1, m + 1] if degree > m + 1 else 0.0
            for side in range(2 if m else 1):
                part = sine if side else cosine
                turned_x = sine_before if side else cosine_before
                turned_y = cosine_before if side else -sine_before
                lm = middle - m if side else middle + m
                value = norm * here * part
                gx = norm * (by_xy * x * part + m * here * turned_x)
                gy = norm * (by_xy * y * part + m * here * turned_y)
                gz = norm * by_z * part
                # Homogeneous of its degree: what points outwards is taken away.
                values[lm] = value
                gradients[0, lm] = gx - degree * value * x
                gradients[1, lm] = gy - degree * value * y
                gradients[2, lm] = gz - degree * value * z
            cosine_before, sine_before = cosine, sine
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine


@compiled
def expand(basis, neighbours, density):  # pragma: no cover - compiled
    """Add the expansions (A, channels, (L + 1)²) of the neighbours' densities."""
    functions, degrees = basis.sizes[1], basis.sizes[2] + 1
    values, slopes = np.empty((functions, degrees)), np.empty((functions, degrees))
    legendre = np.zeros((degrees + 1, degrees + 1))
    angular, gradients = np.empty(degrees * degrees), np.empty((3, degrees * degrees))
    for atom in range(len(neighbours.species)):
        own = neighbours.species[atom] * functions
        for n in range(functions):
            density[atom, own + n, 0] += basis.centre[n]
        for pair in range(neighbours.starts[atom], neighbours.starts[atom + 1]):
            distance = neighbours.distances[pair]
            vector = neighbours.vectors[pair]
            x, y, z = vector[0] / distance, vector[1] / distance, vector[2] / distance
            _radial(basis, distance, values, slopes)
            _harmonics(basis, x, y, z, legendre, angular, gradients)
            first = neighbours.species[neighbours.others[pair]] * functions
            for n in range(functions):
                for degree in range(degrees):
                    value = values[n, degree]
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        density[atom, first + n, lm] += value * angular[lm]


@compiled
def power(density, degrees, spectrum):  # pragma: no cover - compiled
    """Write the power spectra (A, D): l for every pair of channels, the first not after the second.

    Different channels are there once instead of twice, times √2.
    """
    channels = density.shape[1]
    for atom in range(len(density)):
        feature = 0
        for first in range(channels):
            for second in range(first, channels):
                twice = 1.0 if first == second else math.sqrt(2.0)
                for degree in range(degrees):
                    total = 0.0
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        total += density[atom, first, lm] * density[atom, second, lm]
                    spectrum[atom, feature] = twice / math.sqrt(2.0 * degree + 1.0) * total
                    feature += 1


@compiled
def power_backwards(density, degrees, by_spectrum, by_density):  # pragma: no cover - compiled
    """Add derivatives by expansions of derivatives by power spectra (A, D)."""
    channels = density.shape[1]
    for atom in range(len(density)):
        feature = 0
        for first in range(channels):
            for second in range(first, channels):
                twice = 1.0 if first == second else math.sqrt(2.0)
                for degree in range(degrees):
                    by = twice / math.sqrt(2.0 * degree + 1.0) * by_spectrum[atom, feature]
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        by_density[atom, first, lm] += by * density[atom, second, lm]
                        by_density[atom, second, lm] += by * density[atom, first, lm]
                    feature += 1


@compiled
def pull(basis, neighbours, by_density, forces, virials):  # pragma: no cover - compiled
    """Add forces (A, 3) and strain derivatives (S, 3, 3) of derivatives by expansions."""
    functions, degrees = basis.sizes[1], basis.sizes[2] + 1
    values, slopes = np.empty((functions, degrees)), np.empty((functions, degrees))
    legendre = np.zeros((degrees + 1, degrees + 1))
    angular, gradients = np.empty(degrees * degrees), np.empty((3, degrees * degrees))
    across, along = np.empty(degrees * degrees), np.empty(degrees * degrees)
    slope = np.empty(3)
    for atom in range(len(neighbours.species)):
        crystal = neighbours.owners[atom]
        for pair in range(neighbours.starts[atom], neighbours.starts[atom + 1]):
            distance, other = neighbours.distances[pair], neighbours.others[pair]
            vector = neighbours.vectors[pair]
            x, y, z = vector[0] / distance, vector[1] / distance, vector[2] / distance
            _radial(basis, distance, values, slopes)
            _harmonics(basis, x, y, z, legendre, angular, gradients)
            first = neighbours.species[other] * functions
            across[:] = 0.0
            along[:] = 0.0
            for n in range(functions):
                for degree in range(degrees):
                    value, steep = values[n, degree], slopes[n, degree]
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        by = by_density[atom, first + n, lm]
                        across[lm] += by * value
                        along[lm] += by * steep
            outwards = 0.0
            for lm in range(degrees * degrees):
                outwards += along[lm] * angular[lm]
            for axis in range(3):
                total = 0.0
                for lm in range(degrees * degrees):
                    total += across[lm] * gradients[axis, lm]
                slope[axis] = total / distance + outwards * vector[axis] / distance
            for axis in range(3):
                forces[atom, axis] += slope[axis]
                forces[other, axis] -= slope[axis]
                for side in range(3):
                    virials[crystal, axis, side] += slope[axis] * vector[side]


@inner
def _turn(density, atom, derivatives, low, high, degrees, row):  # pragma: no cover - compiled
    """Write the derivative of a power spectrum (D,) of that of channels low to high of c."""
    channels = density.shape[1]
    feature = 0
    for first in range(channels):
        for second in range(first, channels):
            inside, within = low <= first < high, low <= second < high
            if not (inside or within):
                for degree in range(degrees):
                    row[feature + degree] = 0.0
                feature += degrees
                continue
            twice = 1.0 if first == second else math.sqrt(2.0)
            for degree in range(degrees):
                total = 0.0
                if inside:
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        total += derivatives[first - low, lm] * density[atom, second, lm]
                if within:
                    for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                        total += derivatives[second - low, lm] * density[atom, first, lm]
                row[feature] = twice / math.sqrt(2.0 * degree + 1.0) * total
                feature += 1


@compiled
def differentiate(basis, neighbours, density, begin, end, rows, centres, targets):
    # pragma: no cover - compiled
    """Write derivatives of the power spectra of atoms begin to end, and return their number.

    For each such atom a row of the derivative by x, y, z of every other atom near it and by the six
    strains xx, yy, zz, yz, xz, xy: ``rows`` (R, D); ``centres`` (R,) is the atom, ``targets`` (R,)
    3 times the other atom plus the axis, or minus one minus the strain.
    """
    functions, degrees = basis.sizes[1], basis.sizes[2] + 1
    channels, size = density.shape[1], degrees * degrees
    values, slopes = np.empty((functions, degrees)), np.empty((functions, degrees))
    legendre = np.zeros((degrees + 1, degrees + 1))
    angular, gradients = np.empty(size), np.empty((3, size))
    strained = np.empty((6, channels, size))
    moved = np.zeros((3, functions, size))
    firsts, seconds = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    used = 0
    for atom in range(begin, end):
        strained[:] = 0.0
        start, stop = neighbours.starts[atom], neighbours.starts[atom + 1]
        # Images of one atom move together: their pairs follow one another.
        for pair in range(start, stop):
            other, distance = neighbours.others[pair], neighbours.distances[pair]
            vector = neighbours.vectors[pair]
            x, y, z = vector[0] / distance, vector[1] / distance, vector[2] / distance
            _radial(basis, distance, values, slopes)
            _harmonics(basis, x, y, z, legendre, angular, gradients)
            low = neighbours.species[other] * functions
            for axis in range(3):
                unit = vector[axis] / distance
                for n in range(functions):
                    for degree in range(degrees):
                        value = values[n, degree] / distance
                        steep = slopes[n, degree] * unit
                        for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                            slope = value * gradients[axis, lm] + steep * angular[lm]
                            moved[axis, n, lm] += slope
                            for strain in range(6):
                                if firsts[strain] == axis:
                                    strained[strain, low + n, lm] += slope * vector[seconds[strain]]
            last = pair + 1 == stop or neighbours.others[pair + 1] != other
            if last and other != atom:
                for axis in range(3):
                    _turn(density, atom, moved[axis], low, low + functions, degrees, rows[used])
                    centres[used], targets[used] = atom, 3 * other + axis
                    used += 1
            if last:
                moved[:] = 0.0
        for strain in range(6):
            _turn(density, atom, strained[strain], 0, channels, degrees, rows[used])
            centres[used], targets[used] = atom, -1 - strain
            used += 1
    return used


@compiled
def gather_design(products, along, centres, targets, similar, slopes, forces, virials):
    # pragma: no cover - compiled
    """Add forces (n * 3, M) and strain derivatives (6, M) of kernels with M sparse points.

    ``products`` (R, M) and ``along`` (R,) are the rows of `differentiate` times the sparse points
    and times the centre's own normalised features; ``similar`` (n, M) are normalised features
    times sparse points, ``slopes`` (n, M) the derivative of the kernel over the norm.
    """
    for row in range(len(centres)):
        atom, target = centres[row], targets[row]
        if target >= 0:
            axis = target % 3
            for s in range(products.shape[1]):
                value = slopes[atom, s] * (products[row, s] - similar[atom, s] * along[row])
                forces[target, s] -= value
                forces[3 * atom + axis, s] += value
        else:
            for s in range(products.shape[1]):
                value = slopes[atom, s] * (products[row, s] - similar[atom, s] * along[row])
                virials[-1 - target, s] += value
