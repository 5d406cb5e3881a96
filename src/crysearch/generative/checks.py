"""Checks of arguments shared by this package; each error names field, value and way out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crysearch.errors import TrainingError


def check_count(field: str, value: Any, lowest: int) -> int:
    """Return a whole number of at least `lowest`, or raise TrainingError."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < lowest:
        raise TrainingError(f"{field} is {value!r}; give a whole number of at least {lowest}.")
    return int(value)


def check_positive(
    field: str, value: Any, below: float = math.inf, *, infinite: bool = False
) -> float:
    """Return a number above 0 and below a limit, finite or so allowed, or raise TrainingError."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not (0.0 < value < below or (infinite and value == math.inf)):
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise TrainingError(f"{field} is {value!r}; give a number above 0 and {limit}.")
    return float(value)


def check_fingerprints(
    fingerprints: ArrayLike, input_size: int | None = None, *, field: str = "fingerprints"
) -> NDArray[np.float64]:
    """Return fingerprints as a C-contiguous float64 array, or say what is wrong with them.

    Parameters
    ----------
    fingerprints : array_like, shape (n, m)
        Radial distribution functions: finite and not negative.
    input_size : int, optional
        The length m that is expected; any length if not given.
    field : str
        The name used in error messages.

    Returns
    -------
    ndarray, shape (n, m), float64

    Raises
    ------
    TrainingError
        For anything but a two-dimensional array of finite, non-negative numbers of that length.
    """
    try:
        # Same-kind casting: complex numbers and text are refused, integers are not.
        array = np.asarray(fingerprints)
        array = np.ascontiguousarray(array.astype(np.float64, casting="same_kind", copy=False))
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"{field} cannot be read as an array of real numbers ({error}); give one row of equal "
            "length per structure."
        ) from error
    if array.ndim != 2:
        raise TrainingError(
            f"{field} have shape {array.shape}; give a two-dimensional array of shape "
            "(structures, grid points), also for a single structure."
        )
    if array.shape[1] == 0 or (input_size is not None and array.shape[1] != input_size):
        raise TrainingError(
            f"{field} have {array.shape[1]} grid points each, but the model takes "
            f"{'at least one' if input_size is None else input_size}; compute them with the "
            "fingerprint settings that the model was made for, or set input_size."
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise TrainingError(
            f"{field} hold NaN or infinite values in {rows.size} of {len(array)} rows (first: row "
            f"{rows[0]}); leave these structures out."
        )
    if array.size and array.min() < 0.0:
        row = int(np.argmin(array.min(axis=1)))
        raise TrainingError(
            f"{field} hold negative values (lowest: {array.min():g} in row {row}); a radial "
            "distribution function is never negative, so give it unscaled and not centred."
        )
    return array


def check_conditions(conditions: ArrayLike | None, rows: int, size: int) -> NDArray[np.float64]:
    """Return conditions as an array (rows, size), or say what is wrong with them.

    Parameters
    ----------
    conditions : array_like, shape (rows, size) or (size,), or None
        One row for all is repeated.
    rows, size : int
        Structures or latent points, and the conditions of each; for size 0 none may be given.

    Raises
    ------
    TrainingError
    """
    if size == 0:
        if conditions is not None:
            raise TrainingError(
                "conditions are given, but the model takes none; leave them out, or make it with "
                "condition_size."
            )
        return np.empty((rows, 0))
    if conditions is None:
        raise TrainingError(
            f"conditions are missing; the model takes {size} for each structure or latent point."
        )
    try:
        array = np.asarray(conditions).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"conditions cannot be read as real numbers ({error}); give shape ({rows}, {size})."
        ) from error
    if array.shape == (size,):
        array = np.repeat(array[None], rows, axis=0)
    if array.shape != (rows, size) or not np.isfinite(array).all():
        raise TrainingError(
            f"conditions have shape {array.shape} or are not finite; give finite numbers of shape "
            f"({rows}, {size})."
        )
    return np.ascontiguousarray(array)
