"""Entry point: the commands, their common options, and how errors end."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from crysearch import __version__
from crysearch.cli import (
    ask,
    assess,
    data,
    db,
    design,
    doctor,
    dynamics,
    export,
    init,
    learn,
    plot,
    potential,
    results,
    run,
    sample,
    show,
    spec,
    status,
    study,
    submit,
    verify,
)
from crysearch.errors import CrysearchError, SettingsError

app = typer.Typer(
    name="crysearch",
    help="Search for new crystal structures, and ask questions of what was found.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(submit.submit)
app.command()(sample.sample)
app.command()(design.design)
app.command()(verify.verify)
app.command()(assess.assess)
app.command()(study.study)
app.command()(learn.learn)
app.command()(status.status)
app.command()(results.results)
app.command()(show.show)
app.command()(export.export)
app.command()(plot.plot)
app.command()(spec.spec)
app.add_typer(ask.app, name="ask")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
app.add_typer(potential.app, name="potential")
app.add_typer(dynamics.app, name="dynamics")
app.command()(init.init)
app.command()(doctor.doctor)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"crysearch {__version__}")
        raise typer.Exit


@app.callback()
def common(
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            "-d",
            metavar="PLACE",
            help="Folder or mongodb:// address of the records, instead of the settings'.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more of what is being done.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""
    if database is not None:
        if re.match(r"mongodb(\+srv)?://[^/]*:[^/]*@", database):
            raise SettingsError(
                "--database: the address holds a password, and everybody on this machine can see "
                "the arguments of a command; put it into CRYSEARCH_DATABASE or crysearch.yaml"
            )
        # Jobs read the settings where they run: the environment reaches them all.
        os.environ["CRYSEARCH_DATABASE"] = database
    handler = RichHandler(
        console=Console(stderr=True), show_time=False, show_path=False, show_level=False
    )
    logger = logging.getLogger("crysearch")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


def main() -> None:
    """Run the command line; exit status 1 for an error, 2 for wrong usage, 130 when interrupted."""
    try:
        app()
    except CrysearchError as error:
        print(f"crysearch: {error}", file=sys.stderr)
        sys.exit(1)
