"""``crysearch db``: the server of the local record folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path

from crysearch import localdb
from crysearch.errors import SettingsError
from crysearch.settings import load_settings

app = typer.Typer(help="Start, stop or look at the database server of a record folder.")

PathOption = Annotated[
    Path | None,
    typer.Option(
        "--path", metavar="FOLDER", help="Record folder, instead of the settings' `database`."
    ),
]


@app.command()
def start(
    path: PathOption = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port to listen on from now on; remembered."),
    ] = None,
) -> None:
    """Start the server; it runs until stopped."""
    folder = _folder(path)
    address = localdb.start(folder, port=port)
    typer.echo(f"serving {folder} at {address.host}:{address.port}")
    typer.echo(f"user {address.username}, password in {folder / 'password'}")


@app.command()
def stop(path: PathOption = None) -> None:
    """Stop the server; nothing that was acknowledged is lost."""
    folder = _folder(path)
    stopped = localdb.stop(folder)
    typer.echo(f"stopped the server of {folder}" if stopped else f"no server serves {folder}")


@app.command()
def status(
    path: PathOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read every document and compare the indexes with it.")
    ] = False,
) -> None:
    """Show whether the server runs, and what it holds."""
    folder = _folder(path)
    found = localdb.status(folder)
    rows = [("folder", str(folder)), ("size", f"{found.size_bytes / 1e6:.1f} MB")]
    if found.format_version is not None:
        rows.append(("format", str(found.format_version)))
    if found.running:
        started = found.started_at.astimezone() if found.started_at else None
        rows += [
            ("address", f"{found.host}:{found.port}"),
            ("process", str(found.pid)),
            ("started", f"{started:%Y-%m-%d %H:%M}"),
            ("ends", "when stopped" if found.stays else "by itself, when idle"),
            ("connections", str(found.connections)),
            *((name, f"{number:,} documents") for name, number in found.documents.items()),
        ]
    typer.echo("running" if found.running else "not running")
    for name, value in rows:
        typer.echo(f"  {name}: {value}")
    if check:
        faults = localdb.check(folder)
        for fault in faults:
            typer.echo(f"  damaged: {fault}")
        if faults:
            raise typer.Exit(1)
        typer.echo("  checked: every document and index is sound")
    if not found.running and not check:
        raise typer.Exit(3)


def _folder(path: Path | None) -> Path:
    if path is not None:
        return path.expanduser().absolute()
    database = load_settings().database.get_secret_value()
    if database.startswith(("mongodb://", "mongodb+srv://")):
        raise SettingsError(
            "database: the settings name a MongoDB server, which is not started from here; name "
            "a record folder with --path, or leave the setting out for "
            f"{user_data_path('crysearch') / 'records'}"
        )
    return Path(database).expanduser().absolute()
