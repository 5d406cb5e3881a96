"""Arguments and bounds that all samplers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crysearch.errors import SamplingError

if TYPE_CHECKING:
    from crysearch.sampling.base import CrystalRequest


def checked_seed(n: int, seed: int | Sequence[int]) -> np.random.SeedSequence:
    """Check the arguments of :meth:`CrystalSampler.sample` and make the seed sequence."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise SamplingError(f"n: {n!r} crystals; give a whole number, 0 or more")
    entries = [seed] if isinstance(seed, int | np.integer) else list(seed)
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, int | np.integer) or entry < 0:
            raise SamplingError(
                f"seed: {seed!r} must be a whole number, 0 or more, or a sequence of such"
            )
    if not entries:
        raise SamplingError("seed: empty; give a whole number or a sequence of whole numbers")
    return np.random.SeedSequence([int(entry) for entry in entries])


def failed_in_a_row(hosting: int) -> tuple[int, int]:
    """After how many exhausted space groups in a row a compiled sampler doubts, and gives up.

    When it doubts before its first crystal, it tries each group once, so that what is impossible
    is recognised in a fraction of the time.
    """
    return max(200, hosting), max(200, 10 * hosting)


def effort_error(
    request: CrystalRequest, accepted: int, n: int, group_counts: dict[int, dict[str, int]]
) -> SamplingError:
    """The error of a sampler that gave up, with what failed and what to change."""
    working = tuple(g for g, c in group_counts.items() if c["accepted"])
    failing = tuple(g for g, c in group_counts.items() if c["exhausted"] and not c["accepted"])
    attempts = sum(c["attempts"] for c in group_counts.values())
    if working:
        hint = f"restrict space_groups to those that gave crystals ({group_ranges(working)}), or "
    else:
        hint = ""
    if request.space_group_weights:
        hint += "give those that work more weight in space_group_weights, "
    return SamplingError(
        f"only {accepted} of {n} crystals of {request.formula} found in {attempts} attempts: "
        f"space groups {group_ranges(failing)} gave none within "
        f"{request.attempts_per_group} attempts each; {hint}"
        f"raise attempts_per_group ({request.attempts_per_group}), enlarge volume "
        f"({request.volume:g} Å^3) or shorten minimum_distances"
    )


def group_ranges(groups: Sequence[int]) -> str:
    """``1-3, 5`` for ``(1, 2, 3, 5)``, shortened after twelve parts."""
    parts: list[list[int]] = []
    for group in sorted(groups):
        if parts and parts[-1][1] == group - 1:
            parts[-1][1] = group
        else:
            parts.append([group, group])
    texts = [f"{a}-{b}" if b > a else f"{a}" for a, b in parts]
    return ", ".join(texts[:12] + ["..."] * (len(texts) > 12))
