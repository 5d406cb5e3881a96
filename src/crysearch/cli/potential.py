"""``crysearch potential``: interatomic potentials trained here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crysearch.cli import common
from crysearch.records import RecordStore, open_records, potentials
from crysearch.settings import load_settings

if TYPE_CHECKING:
    from crysearch.workflows.submission import Submission

app = typer.Typer(
    help="Interatomic potentials trained here: train, list, show, export, import.",
    no_args_is_help=True,
)

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The beginning of its id, or that of an active learning, whose last one is meant.",
    ),
]
FormatOption = Annotated[common.Format, typer.Option(help="Form of the output.")]

_LIST = {
    "_id": "id",
    "model": "potential",
    "members": "members",
    "elements": "elements",
    "learned_from": "learned from",
    "method": "method",
    "configurations": "configurations",
    "energy": "energy (eV/atom)",
    "force": "force (eV/Å)",
    "created_at": "trained",
}


@app.command()
def train(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Its name, or the beginning of its id.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a setting, such as `members=3`, `epochs=100` or "
            "`architecture.hidden_layers=[20, 20]`; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and held-out parts.")] = 0,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
) -> None:
    """Train a potential on a data set; an interrupted training goes on where it was."""
    from crysearch.cli.run import parse_change
    from crysearch.workflows.potentials import potential_spec, submit_training, train_on_dataset

    part = potential_spec(dict(parse_change(change) for change in changes or []))
    if submit:
        _say_submitted(*submit_training(dataset, part, seed))
        return
    with _writing() as records:
        try:
            document = train_on_dataset(records, dataset, part, seed)
        except KeyboardInterrupt:
            typer.echo("\nInterrupted. The same command goes on from there.", err=True)
            raise typer.Exit(130) from None
    _print_potential(document)
    _next(document)


@app.command("list")
def list_(format: FormatOption = common.Format.table) -> None:
    """Show all potentials, newest first; the errors are those of the validation."""
    with common.reading() as records:
        found = potentials.potentials(records)
    if not found and format is common.Format.table:
        typer.echo("No potentials yet.\n\nNext:\n  crysearch potential train DATASET")
        return
    rows = []
    for one in found:
        errors = one["errors"].get("validation", {})
        values = {
            "_id": one["_id"][:10],
            "learned_from": _learned_from(one),
            "energy": errors.get("energy_rmse"),
            "force": errors.get("force_rmse"),
        }
        rows.append({name: values.get(name, one.get(name)) for name in _LIST})
    common.print_rows(rows, format, columns=list(_LIST), headings=_LIST)


@app.command()
def show(identifier: IdArgument, format: FormatOption = common.Format.table) -> None:
    """Show what a potential learned from, and its errors."""
    with common.reading() as records:
        found = potentials.resolve_potential(records, identifier)
    if format is not common.Format.table:
        common.print_rows([found], format, columns=list(found))
        return
    _print_potential(found)


@app.command()
def export(
    identifier: IdArgument,
    to: Annotated[Path, typer.Option("--to", help="File for the weights.")],
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Write the weights as a file, and what is known of the potential beside it."""
    from crysearch.workflows.potentials import export_potential

    with common.reading() as records:
        found, beside = export_potential(records, identifier, to, overwrite=overwrite)
    typer.echo(f"wrote potential {found['_id'][:10]} to {to}, and what is known of it to {beside}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `export` writes it.")],
    method: Annotated[
        str | None,
        typer.Option(help="The reference method that it learned, if no FILE.json says so."),
    ] = None,
) -> None:
    """Take a potential from a file into the records; it keeps its id."""
    from crysearch.workflows.potentials import import_potential

    with _writing() as records:
        document = import_potential(records, file, method=method)
    _print_potential(document)
    _next(document)


def _writing() -> RecordStore:
    settings = load_settings()
    return open_records(settings.database.get_secret_value(), patience=settings.database_patience)


def _say_submitted(identifier: str, submission: Submission) -> None:
    short = identifier[:10]
    if submission.state == "complete":
        typer.echo(f"Potential {short} is trained already.")
        return
    typer.echo(
        f"Potential {short}: job {submission.fw_ids[0]}, {submission.state}.\n\nNext:\n"
        "  rlaunch rapidfire          a worker on this machine\n"
        "  qlaunch rapidfire          workers through the queue system\n"
        f"  crysearch potential show {short}"
    )


def _learned_from(found: Mapping[str, Any]) -> str:
    if found["active_learning"] is not None:
        return f"active learning {found['active_learning'][:10]}, cycle {found['cycle']}"
    return ", ".join(known["name"] for known in found["datasets"]) or "not known"


def _print_potential(found: Mapping[str, Any]) -> None:
    training = found["training"]
    rows = {
        "potential": f"{found['_id']} ({found['model']})",
        "elements": " ".join(found["elements"]),
        "members": f"{found['members']} of {found['parameter_count']:,} parameters, cut-off "
        f"{found['cutoff']:g} Å",
        "learned from": _learned_from(found),
        "method": found["method"],
        "configurations": f"{found['configurations']:,}, those held out included"
        if found["configurations"]
        else "not known",
    }
    if training:
        seed = found["seed"]
        rows["training"] = f"{training['epochs']} epochs, seed {seed}"
        if training["skipped"]:
            rows["left out"] = common.as_text(training["skipped"])
    for name, errors in found["errors"].items():
        rows[name] = _errors(errors)
    rows["weights"] = f"SHA-256 {found['weights_sha256']}"
    width = max(map(len, rows))
    for heading, value in rows.items():
        typer.echo(f"{heading:<{width}}  {value}")


def _errors(errors: Mapping[str, Any]) -> str:
    """Errors in one line; of the validation they are means over the members."""
    parts = []
    for kind, name in (("mae", "mean absolute"), ("rmse", "root mean square")):
        units = {"energy": "eV/atom", "force": "eV/Å"}
        values = {unit: errors.get(f"{quantity}_{kind}") for quantity, unit in units.items()}
        known = [f"{value:.4f} {unit}" for unit, value in values.items() if value is not None]
        if known:
            parts.append(f"{name} {', '.join(known)}")
    failed = f", {errors['failed']} of them not taken" if errors.get("failed") else ""
    return "; ".join([*parts, f"{errors['configurations']:,} configurations{failed}"])


def _next(document: Mapping[str, Any]) -> None:
    short = document["_id"][:10]
    name = shlex.quote(f"{short}.potential")
    typer.echo(
        "\nNext:\n"
        f"  crysearch potential export {short} --to {name}\n"
        "  crysearch run SPEC --set relaxation.engine=self-trained "
        f"--set relaxation.options.potential={short}"
    )
