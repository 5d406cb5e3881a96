"""Which configurations each member of a committee learns from, and which it is validated on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError

Rows = list[NDArray[np.int64]]


def split(count: int, fraction: float, members: int, seed: int) -> tuple[Rows, Rows]:
    """Return sorted training and validation rows of each member; each has its own split.

    Raises
    ------
    TrainingError
        If fewer than two rows were left to train on.
    """
    # The small number takes back rounding: 0.07 * 100 is 7.000000000000001.
    held_out = math.ceil(fraction * count - 1e-9)
    if count - held_out < 2:
        raise TrainingError(
            f"validation {fraction} leaves {count - held_out} of {count} configurations to train "
            "on; lower it so that at least 2 remain."
        )
    training, validation = [], []
    for member in range(members):
        order = np.random.default_rng([seed, 0, member]).permutation(count)
        training.append(np.sort(order[held_out:]))
        validation.append(np.sort(order[:held_out]))
    return training, validation
