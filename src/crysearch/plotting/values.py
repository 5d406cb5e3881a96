"""Numbers out of documents, with what is missing counted rather than plotted wrongly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crysearch.errors import AnalysisError

Document = Mapping[str, Any]


def number(value: Any) -> float:
    """The value as a float; not-a-number for None and for anything that is not finite."""
    if value is None:
        return math.nan
    value = float(value)
    return value if math.isfinite(value) else math.nan


def numbers(documents: Iterable[Document], field: str) -> np.ndarray:
    """One field of every document, shape (n,), not-a-number where it is missing."""
    return np.array([number(document.get(field)) for document in documents], dtype=np.float64)


def vector(value: Any) -> np.ndarray:
    """A stored vector, shape (n,): what knows how to give itself ``as_vector``, or numbers."""
    unpacked = value.as_vector().data if hasattr(value, "as_vector") else value
    return np.asarray(unpacked, dtype=np.float64)


def latent_points(documents: Sequence[Document], dimension: int | None = None) -> np.ndarray:
    """Latent coordinates, shape (n, d), not-a-number where they are missing.

    Parameters
    ----------
    documents
        With ``latent``, a list of d numbers, or None.
    dimension
        The d that is expected; that of the first point if not given, 2 if there is none.

    Raises
    ------
    AnalysisError
        If points differ in their number of coordinates.
    """
    found = [document.get("latent") for document in documents]
    if dimension is None:
        dimension = next((len(latent) for latent in found if latent is not None), 2)
    points = np.full((len(documents), dimension), np.nan)
    for row, latent in zip(points, found, strict=True):
        if latent is None:
            continue
        if len(latent) != dimension:
            raise AnalysisError(
                f"latent={list(latent)}: other points have {dimension} latent coordinates; draw "
                "what belongs to one model"
            )
        row[:] = [number(value) for value in latent]
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


@dataclass(frozen=True, eq=False)
class LatentPlane:
    """The plane of the latent space that a map shows.

    Attributes
    ----------
    centre
        Latent point at its origin, shape (d,).
    axes
        Its two directions, orthonormal, shape (2, d).
    names
        What its axes are called.
    notes
        What a reader of the map must know.
    """

    centre: np.ndarray
    axes: np.ndarray
    names: tuple[str, str]
    notes: tuple[str, ...] = ()

    def project(self, points: np.ndarray) -> np.ndarray:
        """Places in the plane, shape (n, 2), of latent points, shape (n, d)."""
        return (points - self.centre) @ self.axes.T


def latent_plane(known: np.ndarray) -> LatentPlane:
    """The plane to show, given the known structures' latent points, shape (n, d), d at least 2.

    Of two coordinates it is these; of more, the two principal components of the known structures.
    """
    dimension = known.shape[1]
    if dimension == 2:
        names = ("Latent coordinate 1", "Latent coordinate 2")
        return LatentPlane(np.zeros(2), np.eye(2), names)
    centre = known.mean(axis=0)
    deviations = known - centre
    variances, directions = np.linalg.eigh(deviations.T @ deviations)
    axes = directions[:, [-1, -2]].T
    # Eigenvectors have no sign of their own: the largest entry is made positive.
    largest = axes[[0, 1], np.argmax(np.abs(axes), axis=1)]
    axes = axes * np.where(largest < 0, -1.0, 1.0)[:, None]
    total = variances.sum()
    shares = variances[[-1, -2]] / total if total > 0 else np.zeros(2)
    names = (
        f"Principal component 1 ({max(shares[0], 0.0):.0%} of the variance)",
        f"Principal component 2 ({max(shares[1], 0.0):.0%})",
    )
    note = f"principal components of the known structures' points in {dimension} latent dimensions"
    return LatentPlane(centre, axes, names, (note,))


def group_of(document: Document) -> str | None:
    """``I``, ``II``, ``I and II``, ``III`` or ``IV``; None for a document in no group."""
    groups = set(document.get("groups") or ())
    if {"I", "II"} <= groups:
        return "I and II"
    return next((name for name in ("I", "II", "III", "IV") if name in groups), None)


def counted(count: int, one: str, many: str) -> str:
    """``1 structure`` or ``5 structures``."""
    return f"{count} {one if count == 1 else many}"
