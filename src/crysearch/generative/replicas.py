"""Latent points to decode, and the diagnostics of the replicas that come out. Needs no torch.

Source: Lee and Chang, "Crystal structure prediction in a continuous representative space",
Comput. Mater. Sci.: the replica grid and the pairwise Pearson's distances.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from crysearch.errors import TrainingError
from crysearch.fingerprints.distances import is_comparable, standardised
from crysearch.generative.checks import check_count, check_fingerprints, check_positive

MAXIMUM_GRID_POINTS = 1_000_000


def _check_latent(field: str, value: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != dimensions or not array.size or not np.isfinite(array).all():
        shape = "(latent_dimension,)" if dimensions == 1 else "(n, latent_dimension)"
        raise TrainingError(
            f"{field} has shape {array.shape} or holds values that are not finite; give finite "
            f"latent coordinates of shape {shape}."
        )
    return array


def latent_grid(
    latent_dimension: int = 2, points: int = 15, interval: float = 0.90
) -> NDArray[np.float64]:
    """Return the replica grid: equally probable steps of the standard normal distribution.

    In each coordinate, `points` linearly spaced probabilities over the central `interval`, from
    (1 - interval)/2 to (1 + interval)/2, are mapped through the inverse cumulative distribution
    of the standard normal; the grid is the product over the coordinates (Lee and Chang: 15 x 15
    over 90 %).

    Parameters
    ----------
    latent_dimension : int
    points : int
        Points per coordinate; one point means the median, 0.
    interval : float
        Probability between 0 and 1 (neither included).

    Returns
    -------
    ndarray, shape (points**latent_dimension, latent_dimension)
        The last coordinate changes fastest.

    Raises
    ------
    TrainingError
        If an argument is out of range, or the grid would have more than 1,000,000 points.
    """
    latent_dimension = check_count("latent_dimension", latent_dimension, 1)
    points = check_count("points", points, 1)
    interval = check_positive("interval", interval, below=1.0)
    if points**latent_dimension > MAXIMUM_GRID_POINTS:
        raise TrainingError(
            f"A grid of {points} points in {latent_dimension} latent dimensions has "
            f"{points**latent_dimension} points; at most {MAXIMUM_GRID_POINTS} are made: lower "
            "points, or use random_latent_points."
        )
    if points == 1:
        return np.zeros((1, latent_dimension))
    tail = (1.0 - interval) / 2.0
    axis = ndtri(np.linspace(tail, 1.0 - tail, points))
    # The quantiles are symmetric; rounding is not. This makes the centre of odd grids exactly 0.
    axis = (axis - axis[::-1]) / 2.0
    mesh = np.meshgrid(*[axis] * latent_dimension, indexing="ij")
    return np.stack(mesh, axis=-1).reshape(-1, latent_dimension)


def random_latent_points(n: int, latent_dimension: int, seed: int) -> NDArray[np.float64]:
    """Return n points (n, latent_dimension) of the standard normal distribution, by seed.

    Raises
    ------
    TrainingError
        If n or latent_dimension is below 1, or the seed is negative.
    """
    n = check_count("n", n, 1)
    latent_dimension = check_count("latent_dimension", latent_dimension, 1)
    generator = np.random.default_rng(check_count("seed", seed, 0))
    return generator.standard_normal((n, latent_dimension))


def interpolate(start: ArrayLike, end: ArrayLike, points: int = 15) -> NDArray[np.float64]:
    """Return equally spaced points on the line between two latent points, both included.

    Parameters
    ----------
    start, end : array_like, shape (latent_dimension,)
        For example the encoded means of two known structures.
    points : int
        At least 2.

    Returns
    -------
    ndarray, shape (points, latent_dimension)

    Raises
    ------
    TrainingError
        If the ends differ in dimension or are not finite, or there are fewer than 2 points.
    """
    first, last = _check_latent("start", start, 1), _check_latent("end", end, 1)
    if first.shape != last.shape:
        raise TrainingError(
            f"start has {first.size} latent coordinates and end has {last.size}; give two points "
            "of one model."
        )
    return np.linspace(first, last, check_count("points", points, 2))


def latent_arithmetic(points: ArrayLike, coefficients: ArrayLike) -> NDArray[np.float64]:
    """Return the sum of latent points, each multiplied by its coefficient.

    ``latent_arithmetic([a, b, c], [1, -1, 1])`` is a - b + c: what tells a from b, added to c.

    Parameters
    ----------
    points : array_like, shape (n, latent_dimension)
    coefficients : array_like, shape (n,)

    Returns
    -------
    ndarray, shape (latent_dimension,)

    Raises
    ------
    TrainingError
        If shapes do not match or a value is not finite.
    """
    array = _check_latent("points", points, 2)
    factors = np.asarray(coefficients, dtype=np.float64)
    if factors.shape != (len(array),) or not np.isfinite(factors).all():
        raise TrainingError(
            f"coefficients have shape {factors.shape} or are not finite; give one finite number "
            f"for each of the {len(array)} points."
        )
    return factors @ array


@dataclass(frozen=True)
class ReplicaDiagnostics:
    """Mean and standard deviation of the pairwise Pearson's distances, as the paper reports them.

    The published figures for silicon are replicas 0.200 ± 0.152, database 0.344 ± 0.161 and both
    together 0.283 ± 0.156. A replica mean near zero tells of a collapsed model.
    """

    replica_count: int
    database_count: int
    replicas_mean: float
    replicas_std: float
    database_mean: float
    database_std: float
    both_mean: float
    both_std: float

    def to_dict(self) -> dict[str, float | int]:
        """Return the figures as plain data, for records."""
        return asdict(self)


def _unit_vectors(fingerprints: NDArray[np.float64], field: str) -> NDArray[np.float64]:
    flat = np.flatnonzero(~is_comparable(fingerprints))
    if flat.size:
        raise TrainingError(
            f"{field} hold {flat.size} constant rows (first: row {flat[0]}), which have no "
            "Pearson's distance; leave them out."
        )
    return standardised(fingerprints)


def _pairwise_moments(vectors: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of 1 - r over all pairs of centred unit vectors.

    Over all ordered pairs, the sum of r is |sum of the vectors|² and the sum of r² is the squared
    norm of either Gram matrix, so that pairs need not be listed: memory stays at the smaller Gram
    matrix for any number of replicas. Self-pairs (r = 1) are taken off.
    """
    n, m = vectors.shape
    pairs = n * (n - 1)
    gram = vectors @ vectors.T if n <= m else vectors.T @ vectors
    total = vectors.sum(axis=0)
    sum_r = float(total @ total) - n
    sum_r_squared = float(np.vdot(gram, gram)) - n
    mean = 1.0 - sum_r / pairs
    variance = sum_r_squared / pairs - (sum_r / pairs) ** 2
    return mean, float(np.sqrt(max(variance, 0.0)))


def replica_diagnostics(replicas: ArrayLike, database: ArrayLike) -> ReplicaDiagnostics:
    """Return the pairwise Pearson's distances within replicas, within the database, within both.

    Parameters
    ----------
    replicas : array_like, shape (n, m)
        Decoded fingerprints.
    database : array_like, shape (k, m)
        Fingerprints of the known structures.

    Returns
    -------
    ReplicaDiagnostics
        Means and population standard deviations over unordered pairs of different rows; "both" is
        over all pairs of the union (within either set and across).

    Raises
    ------
    TrainingError
        If a set has fewer than two rows, a constant row, or other bad values, or the sets differ
        in length of fingerprint.
    """
    first = check_fingerprints(replicas, field="replicas")
    second = check_fingerprints(database, first.shape[1], field="database")
    for field, array in (("replicas", first), ("database", second)):
        if len(array) < 2:
            raise TrainingError(f"{field} hold {len(array)} rows; pairs need at least 2.")
    units = _unit_vectors(first, "replicas"), _unit_vectors(second, "database")
    return ReplicaDiagnostics(
        len(first),
        len(second),
        *_pairwise_moments(units[0]),
        *_pairwise_moments(units[1]),
        *_pairwise_moments(np.concatenate(units)),
    )
