"""Which of the crystals given to a training can be learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError
from crysearch.potentials.configuration import Configuration, Crystal, Failure, as_configurations
from crysearch.potentials.soundness import gather


def learnable(
    field: str, crystals: Sequence[Crystal], elements: Sequence[str], cutoff: float, lowest: int
) -> tuple[list[Configuration], NDArray[np.int64], dict[int, Failure]]:
    """The configurations that can be learned from, their places, and why the others cannot.

    Raises
    ------
    TrainingError
        A configuration has no energy, or fewer than `lowest` are left.
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
    found = gather(given, elements, cutoff)
    if len(found.places) < lowest:
        first = next(iter(found.failures.items()), None)
        raise TrainingError(
            f"{field} hold {len(found.places)} configurations that can be learned from, and at "
            f"least {lowest} are needed"
            + (f" (number {first[0]}: {first[1].detail})" if first else "")
            + "; give more."
        )
    chosen = [c for c in (given[place] for place in found.places) if isinstance(c, Configuration)]
    return chosen, found.places, found.failures


def check_present(elements: Sequence[str], configurations: Sequence[Configuration]) -> None:
    """Raise TrainingError for elements that none of the configurations has."""
    present = {symbol for c in configurations for symbol in c.elements}
    absent = [symbol for symbol in elements if symbol not in present]
    if absent:
        raise TrainingError(
            f"elements hold {', '.join(absent)}, which none of the configurations has; leave it "
            "out, or add configurations."
        )
