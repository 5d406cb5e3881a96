"""Weights of space groups: how often each is drawn, compared with the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crysearch.errors import SamplingError
from crysearch.sampling.effort import group_ranges
from crysearch.sampling.wyckoff import hosting_groups, wyckoff_tables

FIELD = "space_group_weights"


def checked_weights(
    weights: Mapping[int, float], space_groups: Sequence[int], counts: tuple[int, ...], formula: str
) -> dict[int, float]:
    """Check the weights of a request and sort them by group.

    Groups that are not named weigh 1; a weight of 0 leaves a group out.

    Raises
    ------
    SamplingError
        Where a weight is invalid or cannot have an effect; the message says why and the way out.
    """
    if not isinstance(weights, Mapping):
        raise SamplingError(
            f"{FIELD}: {weights!r} is not a mapping of group numbers to weights, such as {{227: 5}}"
        )
    requested = set(space_groups)
    for group, weight in weights.items():
        if isinstance(group, bool) or not isinstance(group, int | np.integer):
            raise SamplingError(f"{FIELD}: {group!r} is not a whole number from 1 to 230")
        if not 1 <= group <= 230:
            raise SamplingError(f"{FIELD}: {group} is not a number from 1 to 230")
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight >= 0.0):
            raise SamplingError(
                f"{FIELD}: {weight!r} for space group {group} is not a finite number, 0 or more; "
                "1 is every group's own, 0 leaves the group out"
            )
        if weight > 0.0 and group not in requested:
            raise SamplingError(
                f"{FIELD}: space group {group} has the weight {weight:g} but is not in "
                "space_groups; add it there or take its weight away"
            )
    result = {int(group): float(weights[group]) for group in sorted(weights)}
    left = [group for group in space_groups if result.get(group, 1.0) > 0.0]
    if not left:
        raise SamplingError(
            f"{FIELD}: 0 for all {len(space_groups)} requested space_groups leaves none to draw "
            "from; give at least one a positive weight"
        )
    problem = unhosted(result, [counts], formula)
    if problem is not None:
        raise SamplingError(f"{FIELD}: {problem}")
    return result


def unhosted(
    weights: Mapping[int, float], sizes: Sequence[tuple[int, ...]], formula: str
) -> str | None:
    """Why a positive weight has no effect with any of several cell sizes; None if all have one.

    Parameters
    ----------
    weights : mapping of int to float
    sizes : sequence of tuple of int
        Atoms of each species in the conventional cell, one entry per size of cell.
    formula : str
        What the composition is called.
    """
    for group, weight in weights.items():
        if weight > 0.0 and not any(hosting_groups(counts, (group,)) for counts in sizes):
            tables = wyckoff_tables()
            positions = range(len(tables.positions(group)))
            smallest = ", ".join(tables.label(group, index) for index in positions[-6:])
            possible = sorted({host for counts in sizes for host in hosting_groups(counts)})
            return (
                f"space group {group} has the weight {weight:g}, but its Wyckoff positions "
                f"(smallest: {smallest}) cannot hold {formula} in one conventional cell, so it "
                "would never be drawn; take its weight away, or choose from the groups that can "
                f"host it: {group_ranges(possible)}"
            )
    return None
