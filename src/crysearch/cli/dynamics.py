"""``crysearch dynamics``: molecular dynamics, and what is made of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.cli.run import command_line, duration, parse_change, read_spec_of, say
from crysearch.cli.submit import outcome
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.records import RecordStore, dynamics

app = typer.Typer(help="Molecular dynamics: run, list, show, export, label.", no_args_is_help=True)

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The beginning of the id of a run, or that of molecular dynamics or its name, "
        "which means all its runs.",
    ),
]
FormatOption = Annotated[common.Format, typer.Option(help="Form of the output.")]

_LIST = {
    "_id": "id",
    "name": "name",
    "formula": "formula",
    "engine": "engine",
    "ensemble": "ensemble",
    "runs": "runs",
    "status": "status",
    "created_at": "begun",
}
_RUNS = {
    "trajectory": "run",
    "target_temperature": "target (K)",
    "target_pressure": "target (GPa)",
    "status": "status",
    "duration": "ps",
    "frames": "frames",
    "temperature": "temperature (K)",
    "pressure": "pressure (GPa)",
    "potential_energy_per_atom": "potential energy (eV/atom)",
    "mean_volume_per_atom": "volume (Å³/atom)",
    "mean_density": "density (g/cm³)",
    "energy_drift": "drift (eV/atom/ps)",
    "energy_conserved": "conserved",
    "failure": "reason",
}
_AVERAGES = {
    "temperature": 1,
    "pressure": 3,
    "potential_energy_per_atom": 5,
    "mean_volume_per_atom": 4,
    "mean_density": 4,
}
_FRAMES = {
    "index": "frame",
    "step": "step",
    "time": "time (ps)",
    "temperature": "temperature (K)",
    "pressure": "pressure (GPa)",
    "potential_energy_per_atom": "potential energy (eV/atom)",
    "total_energy_per_atom": "total energy (eV/atom)",
    "volume_per_atom": "volume (Å³/atom)",
    "density": "density (g/cm³)",
    "_id": "id",
}


@app.command()
def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            help="Molecular dynamics in YAML, or a Python file that defines `build_spec`.",
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a field, such as `temperatures=[300, 600]`, or give a parameter of "
            "`build_spec`; may be repeated.",
        ),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
) -> None:
    """Run molecular dynamics at each temperature and pressure; runs that are done stay."""
    spec = read_spec_of(DynamicsSpec, file, changes or [])
    from crysearch.workflows import dynamics as workflow

    if submit:
        submission = workflow.submit_dynamics(spec)
        identifier = submission.search or ""
        typer.echo(f"Molecular dynamics {identifier[:10]} ({spec.name}) {outcome(submission)}")
        workers = (
            ""
            if submission.state == "complete"
            else "  rlaunch rapidfire          a worker on this machine\n"
            "  qlaunch rapidfire          workers through the queue system\n"
        )
        typer.echo(f"\nNext:\n{workers}  crysearch dynamics show {identifier[:10]}")
        return
    count = len(spec.state_points)
    say(f"Molecular dynamics ({spec.name}): {count} run{'s' if count > 1 else ''}.")
    started = time.monotonic()
    try:
        done = workflow.run_dynamics(spec)
    except KeyboardInterrupt:
        say("\nInterrupted. The same command goes on with the runs that are not done.")
        raise typer.Exit(130) from None
    say(f"Finished in {duration(time.monotonic() - started)}.")
    with common.reading() as records:
        found = dynamics.resolve_dynamics(records, done["dynamics"])
        _print_dynamics(records, found, common.Format.table)
    _next(found["_id"][:10])


@app.command("list")
def list_(format: FormatOption = common.Format.table) -> None:
    """Show all molecular dynamics, newest first."""
    with common.reading() as records:
        found = dynamics.all_dynamics(records)
    if not found and format is common.Format.table:
        typer.echo("No molecular dynamics yet.\n\nNext:\n  crysearch dynamics run SPEC")
        return
    rows = [
        {name: one.get(name) for name in _LIST}
        | {"_id": one["_id"][:10], "runs": len(one["state_points"])}
        for one in found
    ]
    common.print_rows(rows, format, columns=list(_LIST), headings=_LIST)


@app.command()
def show(
    identifier: IdArgument,
    frames: Annotated[
        bool, typer.Option("--frames", help="List the frames that are documents.")
    ] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="EXPRESSION",
            help="With --frames: such as `temperature>500`; may be repeated.",
        ),
    ] = None,
    format: FormatOption = common.Format.table,
) -> None:
    """Show the runs with their averages and errors, or their frames."""
    with common.reading() as records:
        if frames or filters:
            _print_frames(records, identifier, filters or [], format)
            return
        runs = dynamics.resolve_trajectories(records, identifier)
        found = dynamics.resolve_dynamics(records, runs[0]["dynamics"])
        only = None if len(runs) > 1 else runs[0]["_id"]
        _print_dynamics(records, found, format, only)


@app.command()
def export(
    identifier: IdArgument,
    to: Annotated[Path, typer.Option("--to", help="File, .extxyz or .traj.")],
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write all frames of a run as a file."""
    from crysearch.workflows.dynamics import export_trajectory

    with common.reading() as records:
        found, count = export_trajectory(records, identifier, to, overwrite=overwrite)
    typer.echo(f"wrote {count:,} frames of run {found['_id'][:10]} to {to}")


@app.command()
def label(
    identifiers: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Runs, or molecular dynamics.")
    ],
    engine: Annotated[str, typer.Option(help="The reference method: an engine.")],
    to: Annotated[Path, typer.Option("--to", help="File, .extxyz or .extxyz.gz.")],
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Of the engine; may be repeated."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Of each run, spread evenly.")] = 50,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Calculate frames with a reference method, for a data set to learn from."""
    from crysearch.workflows.dynamics import label_frames

    given = dict(parse_change(option) for option in options or [])
    with common.reading() as records:
        done = label_frames(
            records,
            identifiers,
            to,
            engine=engine,
            options=given,
            frames=frames,
            overwrite=overwrite,
        )
    failed = ", ".join(f"{count:,} {reason}" for reason, count in done.failed.items())
    typer.echo(
        f"wrote {done.written:,} configurations to {to}"
        + (f"; not calculated: {failed}" if failed else "")
    )
    typer.echo(
        f"\nNext:\n  {command_line()} data import {shlex.quote(str(to))} --name NAME "
        f"--method {shlex.quote(done.method)} --group trajectory"
    )


def _print_dynamics(
    records: RecordStore,
    found: Mapping[str, Any],
    format: common.Format,
    only: str | None = None,
) -> None:
    from crysearch.workflows.dynamics import summary_of

    rows = summary_of(records, found["_id"])
    if only is not None:
        rows = [row for row in rows if row["trajectory"] == only]
    if format is not common.Format.table:
        common.print_rows(rows, format, columns=list(rows[0]) if rows else [])
        return
    out = common.console()
    out.print(
        f"{found['_id'][:10]} ({found['name']}): {found['formula']}, {found['engine']}, "
        f"{found['ensemble']}, {len(rows)} of {len(found['state_points'])} runs",
        markup=False,
    )
    shown = [
        {name: row[name] for name in _RUNS}
        | {"trajectory": row["trajectory"][:10]}
        | {name: _average(row[name], digits) for name, digits in _AVERAGES.items()}
        | {"energy_drift": None if row["energy_drift"] is None else f"{row['energy_drift']:.1e}"}
        for row in rows
    ]
    columns = [name for name in _RUNS if any(row[name] is not None for row in shown)]
    common.print_rows(shown, format, columns=columns, headings=_RUNS)


def _print_frames(
    records: RecordStore, identifier: str, expressions: list[str], format: common.Format
) -> None:
    from crysearch.records.filters import parse_filters

    runs = [one["_id"] for one in dynamics.resolve_trajectories(records, identifier)]
    query = {**parse_filters("frames", expressions), "trajectory": {"$in": runs}}
    order = [("trajectory", 1), ("index", 1)]
    rows = records.find("frames", query, list(_FRAMES), order)
    if format is common.Format.table:
        rows = [row | {"_id": row["_id"][:10]} for row in rows]
    common.print_rows(rows, format, columns=list(_FRAMES), headings=_FRAMES)


def _average(found: Mapping[str, Any] | None, digits: int) -> str | None:
    """A mean with its standard error."""
    if found is None:
        return None
    error = found["standard_error"]
    text = f"{found['mean']:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def _next(identifier: str) -> None:
    command = command_line()
    typer.echo(
        f"\nNext:\n  {command} dynamics show {identifier} --frames\n"
        f"  {command} dynamics export RUN --to run.extxyz\n"
        f"  {command} dynamics label {identifier} --engine ENGINE --to labelled.extxyz"
    )
