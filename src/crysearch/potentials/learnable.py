"""Which of some configurations a potential can learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.potentials.base import MINIMUM_CONFIGURATIONS
from crysearch.potentials.configuration import Configuration, Crystal, Failure, as_configurations


class Prepared(Protocol):
    """Crystals as a potential takes them; ``sound`` are the places of those it takes."""

    @property
    def sound(self) -> NDArray[np.int64]: ...
    @property
    def failures(self) -> dict[int, Failure]: ...
    @property
    def starts(self) -> NDArray[np.int64]: ...
    @property
    def species(self) -> NDArray[np.int64]: ...


P = TypeVar("P", bound=Prepared)


def learnable(
    field: str,
    crystals: Sequence[Crystal],
    prepare: Callable[[Sequence[Configuration | Failure]], P],
    lowest: int = MINIMUM_CONFIGURATIONS,
) -> tuple[list[Configuration], P]:
    """The configurations that can be learned from, and what `prepare` makes of them.

    Raises
    ------
    TrainingError
        If one has no energy, or fewer than `lowest` can be taken.
    """
    given = as_configurations(crystals)
    unknown = [
        place for place, c in enumerate(given) if isinstance(c, Configuration) and c.energy is None
    ]
    if unknown:
        raise TrainingError(
            f"{field}[{unknown[0]}] has no energy ({len(unknown)} of {len(given)} have none); "
            "give only configurations that have been calculated."
        )
    prepared = prepare(given)
    if len(prepared.sound) < lowest:
        first = next(iter(prepared.failures.items()), None)
        raise TrainingError(
            f"{field} hold {len(prepared.sound)} configurations that can be learned from, and "
            f"at least {lowest} are needed"
            + (f" (number {first[0]}: {first[1].detail})" if first else "")
            + "; give more."
        )
    return configurations_at(given, prepared.sound), prepared


def check_present(elements: Sequence[str], species: NDArray[np.int64]) -> None:
    """Raise TrainingError unless each element is the species of some atom."""
    absent = set(range(len(elements))) - set(species.tolist())
    if absent:
        raise TrainingError(
            f"elements hold {', '.join(elements[place] for place in sorted(absent))}, "
            "which none of the configurations has; leave it out, or add configurations."
        )


def configurations_at(
    given: Sequence[Configuration | Failure], places: NDArray[np.int64]
) -> list[Configuration]:
    """The configurations at some places, where there are no failures."""
    chosen = (given[place] for place in places)
    return [configuration for configuration in chosen if isinstance(configuration, Configuration)]
