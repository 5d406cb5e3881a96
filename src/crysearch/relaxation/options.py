"""Options that first-principles engines share, checked before work starts."""

from __future__ import annotations

import math

from crysearch.errors import RelaxationError
from crysearch.relaxation.pseudopotentials import Functional

__all__ = ["Functional", "check_functional", "check_positive", "check_threads"]


def check_functional(engine: str, functional: object) -> None:
    """Only LDA and PBE are known.

    Raises
    ------
    RelaxationError
        For any other.
    """
    if functional not in ("lda", "pbe"):
        raise RelaxationError(
            f"engine {engine!r}: functional={functional!r} is unknown; choose 'lda' or 'pbe'"
        )


def check_positive(engine: str, **values: float | None) -> None:
    """Numbers must be finite and greater than 0 (None stands for a default).

    Raises
    ------
    RelaxationError
        Naming the first that is not.
    """
    for name, value in values.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value > 0):
            raise RelaxationError(
                f"engine {engine!r}: {name}={value!r} must be a finite number greater than 0"
            )


def check_threads(engine: str, threads: object) -> None:
    """A whole number of threads, at least one.

    Raises
    ------
    RelaxationError
        For anything else.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise RelaxationError(
            f"engine {engine!r}: threads={threads!r} must be a whole number of at least 1"
        )
