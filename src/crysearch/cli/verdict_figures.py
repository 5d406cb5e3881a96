"""Figures of a verification: equations of state, phonon bands, energies, X-ray patterns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import typer

from crysearch.errors import AnalysisError
from crysearch.records import RecordStore
from crysearch.records.values import structure_from_document
from crysearch.verification import VerificationSpec

MAXIMUM_CURVES = 7  # equations of state in one figure


def draw(
    records: RecordStore,
    spec: VerificationSpec,
    verdicts: list[dict[str, Any]],
    folder: Path,
) -> list[Path]:
    """Draw what the verdicts have; says which figure could not be drawn, and why."""
    if not verdicts:
        return []
    from crysearch import plotting
    from crysearch.analysis import xray_pattern

    folder = folder / f"verification-{spec.identifier[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    names = {verdict["_id"]: name_of(verdict) for verdict in verdicts}
    actions: list[tuple[str, Callable[..., Any]]] = []
    curves = [
        (names[verdict["_id"]], values)
        for verdict in verdicts
        if (values := _values(records, verdict, "equation_of_state")) is not None
    ][:MAXIMUM_CURVES]
    if curves:
        results, labels = [values for _, values in curves], [name for name, _ in curves]
        draw_curves = partial(plotting.plot_equations_of_state, results, labels)
        actions.append(("equations-of-state", draw_curves))
    known, new = _energies(records, spec, verdicts)
    if len(known) + len(new) > 1:
        # All that were verified are to be seen, however high.
        highest = max(v["energy_above_hull"] or 0.0 for v in verdicts)
        top = max(0.3, math.ceil(22 * highest) / 20)
        actions.append(("energies", partial(plotting.plot_hull, known, new, top)))
    for verdict in verdicts:
        name = names[verdict["_id"]]
        bands = _values(records, verdict, "phonons")
        if bands is not None:
            actions.append((f"phonons-{name}", partial(plotting.plot_phonon_bands, bands, name)))
        reference = _nearest(records, verdict)
        if reference is not None:
            first, second = (xray_pattern(structure_from_document(d)) for d in (verdict, reference))
            pair = (name, reference["reference_id"])
            actions.append((f"xray-{name}", partial(plotting.plot_xray_pair, first, second, pair)))
    paths = []
    for figure, action in actions:
        path = folder / f"{figure}.png"
        try:
            action(path=path)
        except AnalysisError as error:
            typer.echo(f"no figure {figure}: {error}", err=True)
        else:
            paths.append(path)
    return paths


def name_of(verdict: Mapping[str, Any]) -> str:
    """The name of a known structure, or the beginning of the relaxation's id."""
    label = verdict["label"]
    return Path(label).stem if label else verdict["relaxation_id"][:10]


def _values(records: RecordStore, verdict: dict[str, Any], kind: str) -> dict[str, Any] | None:
    answer = verdict["answers"][kind]
    if answer["status"] != "computed":
        return None
    document = records.get("properties", answer["document"])
    return None if document is None else document["values"]


def _energies(
    records: RecordStore, spec: VerificationSpec, verdicts: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from crysearch.workflows.verification import EnergyPool

    pool = EnergyPool(records, verdicts[0]["search"], spec)
    known, new = pool.stabilities([verdict["relaxation_id"] for verdict in verdicts])
    return [found.to_dict() for found in known], [found.to_dict() for found in new]


def _nearest(records: RecordStore, verdict: dict[str, Any]) -> dict[str, Any] | None:
    """The known structure nearest to a crystal that is not itself a known one."""
    if verdict["label"]:
        return None
    relaxation = records.get("relaxations", verdict["relaxation_id"])
    if relaxation is None or relaxation["nearest_reference_after"] is None:
        return None
    return records.get("references", relaxation["nearest_reference_after"]["id"])
