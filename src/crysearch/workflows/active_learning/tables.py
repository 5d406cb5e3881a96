"""How the cycles of an active learning went, and what was found, as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.active_learning import Calibration, Predictions, expected_coverage, expected_ratio
from crysearch.errors import ActiveLearningError

Document = Mapping[str, Any]


def cycle_table(cycles: Sequence[Document]) -> str:
    """A line for each trained ensemble: what it learned from, and how far off it was.

    Errors are mean absolute ones of the structures chosen in the cycle; the column is empty until
    they are calculated.
    """
    lines = ["cycle  learned from  clusters  lowest Ē (eV/atom)  error of new: eV/atom  eV/Å"]
    for cycle in cycles:
        if cycle["cycle"] == 0:
            continue
        errors = cycle["errors"]
        new = "" if errors is None else f"{errors['energy_mae']:22.3f}  {errors['force_mae']:5.2f}"
        lines.append(
            f"{cycle['cycle']:5d}  {cycle['configurations']:12d}  {cycle['cluster_count']:8d}  "
            f"{cycle['lowest_energy_per_atom']:18.3f}{new}"
        )
    return "\n".join(lines)


def conclusion_lines(summary: Document) -> str:
    """What a summary (`crysearch.workflows.active_learning.finishing.conclude`) says."""
    lines = [
        f"{summary['reference_calculations']} reference calculations ({summary['failed']} failed) "
        f"in {summary['cycles']} cycles; ended: {summary['decision']}"
    ]
    best = summary["best"]
    if best is None:
        lines.append("none of the best structures converged with the reference method")
    else:
        above = best["energy_above_reference_ground_state"]
        height = "" if above is None else f", {above:+.4f} to the known"
        known = best["matches"] or "no known structure"
        lines.append(f"best: {best['energy_per_atom']:.4f} eV/atom{height}; {known}")
    return "\n".join(lines)


def calibration_table(predictions: Predictions) -> str:
    """Errors of structures that an ensemble had not seen, beside the members' deviation."""
    heading = f"disagreement, {predictions.count} new structures"
    lines = [f"{heading:40s}error/deviation  within 1 deviation  within 2"]
    lines.append(_line("energies", predictions.of_energies()))
    with suppress(ActiveLearningError):  # symmetry makes all forces zero
        lines.append(_line("forces", predictions.of_forces()))
    members = predictions.members
    shares = expected_coverage((1, 2), members)
    lines.append(_row(f"an ideal ensemble of {members}", expected_ratio(members), shares))
    return "\n".join(lines)


def _line(name: str, found: Calibration) -> str:
    return _row(name, found.ratio, found.coverage((1, 2)))


def _row(name: str, ratio: float, shares: NDArray[np.float64]) -> str:
    one, two = (f"{100 * share:.0f} %" for share in shares)
    return f"  {name:38s}{ratio:15.2f}  {one:>18s}  {two:>8s}"
