"""``crysearch dynamics analyse``: structure and motion in runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from bson.binary import Binary

from crysearch.cli import common
from crysearch.cli.protocols import average, measured
from crysearch.cli.run import say
from crysearch.errors import AnalysisError

_PAIRS = {
    "of": "of",
    "pair": "pair",
    "peak": "first peak (Å)",
    "height": "height",
    "minimum": "first minimum (Å)",
    "coordination": "neighbours up to it",
    "reason": "reason",
}
_DIFFUSION = {
    "of": "of",
    "element": "element",
    "coefficient": "diffusion (10⁻⁹ m²/s)",
    "lags": "from displacements of (ps)",
    "reason": "reason",
}
_BONDS = {
    "of": "of",
    "cutoff": "bonds up to (Å)",
    "mean": "neighbours",
    "shares": "share of atoms by neighbours (%)",
    "angle": "angle (°), deviation",
    "reason": "reason",
}


def analyse(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs; molecular dynamics (all its runs), a protocol (its last stage), or "
            "PROTOCOL/STAGE.",
        ),
    ],
    cutoff: Annotated[float, typer.Option(help="Of g(r), Å.")] = 10.0,
    bins: Annotated[int, typer.Option(min=2, help="Of g(r), from 0 to the cut-off.")] = 200,
    bond_cutoff: Annotated[
        float | None,
        typer.Option(
            help="Longest bond, Å, whatever the elements; for atoms of one element the first "
            "minimum of g(r) if not given."
        ),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="File, .png, .pdf or .svg.")] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]ID,ID...",
            help="Bundled known structures of one formula, measured together; may be repeated.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Measure distances, neighbours, angles, density and diffusion, and keep them as records."""
    from crysearch.plotting.style import SUFFIXES
    from crysearch.workflows.context import job_records
    from crysearch.workflows.dynamics import analyse_runs, draw_observables

    if figure is not None and figure.suffix.lower() not in SUFFIXES:
        raise AnalysisError(f"--figure {figure}: give a name ending in {', '.join(SUFFIXES)}")
    with job_records() as records:
        found = analyse_runs(
            records,
            runs,
            cutoff=cutoff,
            bins=bins,
            bond_cutoff=bond_cutoff,
            beside=beside or [],
        )
    for identifier, reason in found.skipped.items():
        say(f"Run {identifier[:10]} could not be measured: {reason}")
    if as_json:
        content = {"runs": found.runs, "beside": found.beside, "skipped": found.skipped}
        json.dump(content, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        _print_tables([*found.runs, *found.beside])
    if figure is not None:
        draw_observables(found, figure)
        say(f"Figure: {figure}")


def _print_tables(everything: list[dict[str, Any]]) -> None:
    for one in everything:
        common.console().print(_line(one), markup=False)
    for rows, headings in (
        ([row for one in everything for row in _pair_rows(one)], _PAIRS),
        ([row for one in everything for row in _diffusion_rows(one)], _DIFFUSION),
        ([_bond_row(one) for one in everything], _BONDS),
    ):
        if rows:
            typer.echo()
            _print(rows, headings)


def _print(rows: list[dict[str, Any]], headings: Mapping[str, str]) -> None:
    columns = [name for name in headings if any(row[name] is not None for row in rows)]
    common.print_rows(rows, common.Format.table, columns=columns, headings=headings)


def _line(one: Mapping[str, Any]) -> str:
    """What was measured, in a sentence."""
    density = f"density {average(one['mean_density'], 4)} g/cm³"
    if "structures" in one:
        return f"{one['label']}: {one['formula']}, {one['frames']} known structures, {density}"
    final = one["final_temperature"]
    at = f"{one['target_temperature']:g} K"
    if final is not None:
        at = f"all temperatures from {at} to {final:g} K"
    return (
        f"{one['label']} ({one['_id'][:10]}): {one['formula']}, {one['engine']}, "
        f"{one['ensemble']}, {at}, {one['frames']} frames, {density}"
    )


def _pair_rows(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "of": one["label"],
            "pair": pair["pair"].replace("-", "–"),
            "peak": measured(pair["peak"], None, 3),
            "height": measured(pair["peak_height"], pair["peak_height_error"], 3),
            "minimum": measured(pair["minimum"], None, 2),
            "coordination": measured(pair["coordination"], pair["coordination_error"], 3),
            "reason": pair["reason"],
        }
        for pair in one["pairs"]
    ]


def _diffusion_rows(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "of": one["label"],
            "element": motion["element"],
            "coefficient": measured(motion["coefficient"], motion["error"], 2),
            "lags": None
            if motion["first"] is None
            else f"{motion['first']:.2f} to {motion['last']:.2f}",
            "reason": motion["reason"],
        }
        for motion in one["diffusion"]
    ]


def _bond_row(one: Mapping[str, Any]) -> dict[str, Any]:
    bonds = one["bonds"]
    row: dict[str, Any] = dict.fromkeys(_BONDS)
    row |= {"of": one["label"], "reason": one["bonds_reason"]}
    if bonds is None:
        return row
    shares = (f"{share['neighbours']}: {100 * share['share']:.1f}" for share in bonds["shares"])
    angle = bonds["angle"]
    return row | {
        "cutoff": f"{bonds['cutoff']:.2f}",
        "mean": f"{bonds['mean']:.2f}",
        "shares": ", ".join(shares),
        "angle": None if angle is None else f"{angle:.1f}, {bonds['angle_deviation']:.1f}",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Binary):
        return list(value.as_vector().data)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
