"""How the cycles of an active learning went, and what was found, as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crysearch.active_learning import Calibration, Predictions, expected_coverage
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


def calibration_lines(predictions: Predictions) -> str:
    """Errors of structures that an ensemble had not seen, beside the members' disagreement."""
    ideal = expected_coverage((1, 2), predictions.members)
    lines = [
        f"{predictions.count} structures before they were learned from: root mean square error "
        "over that of the members' deviation, and errors within one and two deviations (ideal: "
        f"{_percent(ideal[0])} and {_percent(ideal[1])})"
    ]
    lines.append(_line("energies", predictions.of_energies()))
    try:
        lines.append(_line("forces", predictions.of_forces()))
    except ActiveLearningError:
        lines.append("  forces    all zero by symmetry")
    return "\n".join(lines)


def _line(name: str, found: Calibration) -> str:
    one, two = found.coverage((1, 2))
    return f"  {name:8s}  {found.ratio:.2f}, {_percent(one)} and {_percent(two)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
