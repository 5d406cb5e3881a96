"""Linear least squares of many rows, for every strength of regularisation at once.

Rows come in parts; an orthogonal triangulation keeps what least squares needs of them, so that
neither memory nor precision suffers (normal equations would square the condition number). From the
singular values of the triangle the solution of any regularisation is a product with a vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, svd

Array = NDArray[np.float64]


@dataclass
class Triangle:
    """The triangle of all rows (n, r + 1) so far; the last column is what is wanted.

    The sum of the squared errors of weights w is ``|triangle @ [w, -1]|²``.
    """

    width: int
    values: Array = field(init=False)
    _waiting: list[Array] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.values = np.zeros((0, self.width))

    def add(self, rows: Array) -> None:
        """Take rows (n, r + 1); they are worked off when there are enough."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= 2 * self.width:
            self.close()

    def close(self) -> None:
        """Work off what waits."""
        if not self._waiting:
            return
        together = np.concatenate([self.values, *self._waiting])
        self._waiting.clear()
        if len(together) <= self.width or not np.isfinite(together).all():
            self.values = together  # who uses the errors will see that they are not finite
            return
        (self.values,) = qr(together, mode="r", overwrite_a=True, check_finite=False)
        self.values = self.values[: self.width].copy()

    def error(self, weights: Array) -> float:
        """Sum of the squared errors of weights (r,)."""
        away = self.values[:, :-1] @ weights - self.values[:, -1]
        with np.errstate(over="ignore"):
            return float(away @ away)


@dataclass(frozen=True)
class RidgePath:
    """Solutions of least squares with regularisation λ|w|², for any λ.

    Attributes
    ----------
    singular_values : ndarray, shape (q,)
        Of the rows, descending.
    directions : ndarray, shape (q, r)
        Right singular vectors.
    wanted : ndarray, shape (q,)
        What is wanted along the left ones.
    """

    singular_values: Array
    directions: Array
    wanted: Array

    @classmethod
    def of(cls, triangle: Triangle) -> RidgePath:
        """Decompose a triangle, whose values are finite."""
        left, values, right = svd(triangle.values[:, :-1], full_matrices=False, check_finite=False)
        return cls(values, right, left.T @ triangle.values[:, -1])

    def solve(self, strength: float) -> Array:
        """The weights (r,) for a λ of `strength` times the largest squared singular value."""
        s = self.singular_values
        damped = s * s + strength * float(s[:1].sum()) ** 2
        along = np.divide(s * self.wanted, damped, out=np.zeros_like(s), where=damped > 0.0)
        return along @ self.directions
