"""Numbers out of documents, with what is missing counted rather than plotted wrongly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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


def latent_points(documents: Sequence[Document]) -> np.ndarray:
    """First two latent coordinates, shape (n, 2), not-a-number where they are missing.

    Raises
    ------
    AnalysisError
        If a document has only one latent coordinate.
    """
    points = np.full((len(documents), 2), np.nan)
    for row, document in zip(points, documents, strict=True):
        latent = document.get("latent")
        if latent is None:
            continue
        if len(latent) < 2:
            raise AnalysisError(
                f"latent={list(latent)}: a map needs two latent coordinates; train a model with "
                "a latent dimension of at least 2"
            )
        row[:] = [number(value) for value in latent[:2]]
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def group_of(document: Document) -> str | None:
    """``I``, ``II``, ``I and II``, ``III`` or ``IV``; None for a document in no group."""
    groups = set(document.get("groups") or ())
    if {"I", "II"} <= groups:
        return "I and II"
    return next((name for name in ("I", "II", "III", "IV") if name in groups), None)


def counted(count: int, one: str, many: str) -> str:
    """``1 structure`` or ``5 structures``."""
    return f"{count} {one if count == 1 else many}"
