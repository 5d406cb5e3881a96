"""``crysearch dynamics``: molecular dynamics, and what is made of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.cli.dynamics_analyse import analyse
from crysearch.cli.protocols import average, print_protocol, print_protocols, stages_of
from crysearch.cli.run import command_line, duration, parse_change, read_dynamics_spec, say
from crysearch.cli.submit import outcome
from crysearch.protocol_spec import ProtocolSpec
from crysearch.records import RecordStore, dynamics, protocols

app = typer.Typer(
    help="Molecular dynamics: run, list, show, analyse, export, label.", no_args_is_help=True
)
app.command()(analyse)

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The beginning of the id of a run; that of molecular dynamics or its name, which "
        "means all its runs; that of a protocol or its name, which means its last stage; or "
        "PROTOCOL/STAGE.",
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
    "protocol": "stage of",
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
            help="Molecular dynamics or a protocol (with `stages`) in YAML, or a Python file that "
            "defines `build_spec`.",
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
    """Run molecular dynamics at each temperature and pressure, or the stages of a protocol.

    What is done is not repeated.
    """
    spec = read_dynamics_spec(file, changes or [])
    from crysearch.workflows import dynamics as workflow

    staged = isinstance(spec, ProtocolSpec)
    kind = "Protocol" if staged else "Molecular dynamics"
    if submit:
        if isinstance(spec, ProtocolSpec):
            submission = workflow.submit_protocol(spec)
        else:
            submission = workflow.submit_dynamics(spec)
        identifier = submission.search or ""
        typer.echo(f"{kind} {identifier[:10]} ({spec.name}) {outcome(submission)}")
        workers = (
            ""
            if submission.state == "complete"
            else "  rlaunch rapidfire          a worker on this machine\n"
            "  qlaunch rapidfire          workers through the queue system\n"
        )
        typer.echo(f"\nNext:\n{workers}  crysearch dynamics show {identifier[:10]}")
        return
    part = "stage" if staged else "run"
    count = len(spec.stages if isinstance(spec, ProtocolSpec) else spec.state_points)
    say(f"{kind} ({spec.name}): {count} {part}{'s' if count > 1 else ''}.")
    started = time.monotonic()
    try:
        if isinstance(spec, ProtocolSpec):
            identifier = workflow.run_protocol(spec)["protocol"]
        else:
            identifier = workflow.run_dynamics(spec)["dynamics"]
    except KeyboardInterrupt:
        say(f"\nInterrupted. The same command goes on with the {part}s that are not done.")
        raise typer.Exit(130) from None
    say(f"Finished in {duration(time.monotonic() - started)}.")
    with common.reading() as records:
        if staged:
            print_protocol(protocols.resolve_protocol(records, identifier), common.Format.table)
        else:
            found = dynamics.resolve_dynamics(records, identifier)
            _print_dynamics(records, found, common.Format.table)
    _next(identifier[:10], staged)


@app.command("list")
def list_(
    only_protocols: Annotated[
        bool, typer.Option("--protocols", help="Only protocols, in any form of output.")
    ] = False,
    format: FormatOption = common.Format.table,
) -> None:
    """Show all molecular dynamics, newest first, and before them, in the table, protocols."""
    with common.reading() as records:
        found = dynamics.all_dynamics(records)
        staged = protocols.all_protocols(records)
    table = format is common.Format.table
    if table and not found and not staged:
        typer.echo("No molecular dynamics yet.\n\nNext:\n  crysearch dynamics run SPEC")
        return
    if only_protocols or (table and staged):
        print_protocols(staged, format)
        if only_protocols:
            return
        typer.echo()
    stages = stages_of(staged)
    rows = [
        {name: one.get(name) for name in _LIST}
        | {"_id": one["_id"][:10], "runs": len(one["state_points"])}
        | {"protocol": stages.get(one["_id"])}
        for one in found
    ]
    columns = [name for name in _LIST if name != "protocol" or staged]
    common.print_rows(rows, format, columns=columns, headings=_LIST)


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
    """Show the runs or the stages with their averages and errors, or frames."""
    with common.reading() as records:
        if frames or filters:
            _print_frames(records, identifier, filters or [], format)
            return
        protocol = protocols.meant_protocol(records, identifier)
        if protocol is not None:
            print_protocol(protocol, format)
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
        | {name: average(row[name], digits) for name, digits in _AVERAGES.items()}
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


def _next(identifier: str, staged: bool) -> None:
    command = command_line()
    more = (
        f"  {command} dynamics analyse {identifier} --figure FILE.png\n"
        f"  {command} dynamics export {identifier}/STAGE --to run.extxyz\n"
        if staged
        else f"  {command} dynamics analyse {identifier}\n"
        f"  {command} dynamics export RUN --to run.extxyz\n"
    )
    typer.echo(
        f"\nNext:\n  {command} dynamics show {identifier}{'' if staged else ' --frames'}\n{more}"
        f"  {command} dynamics label {identifier} --engine ENGINE --to labelled.extxyz"
    )
