"""``crysearch init``: the configuration files of FireWorks, jobflow and crysearch."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crysearch import localdb
from crysearch.deployment.files import checked_folder, ignore_file, project_files, write_files
from crysearch.deployment.queues import (
    Category,
    Queue,
    QueueRequest,
    default_partition,
    detect_queue,
    seconds_of,
)
from crysearch.deployment.server import Server, docker_uri, local_server, server_of_uri
from crysearch.errors import SettingsError
from crysearch.settings import load_settings


class Target(StrEnum):
    """Where the database is."""

    local = "local"
    docker = "docker"
    mongodb = "mongodb"


def init(
    target: Annotated[
        Target | None,
        typer.Option(
            help="The local store, the server of docker-compose.yml (credentials from .env), or "
            "the MongoDB address in the settings (CRYSEARCH_DATABASE). By default what the "
            "settings say."
        ),
    ] = None,
    queue: Annotated[
        Queue | None, typer.Option(help="Queue system; by default the one found here.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the files go.")] = Path(),
    walltime: Annotated[
        str, typer.Option(metavar="HH:MM:SS", help="Length of a job in the queue.")
    ] = "01:00:00",
    partition: Annotated[
        str | None,
        typer.Option(help="Queue or partition to submit to; by default the system's default."),
    ] = None,
    category: Annotated[
        list[Category] | None,
        typer.Option(help="Also describe a worker for this kind of job only; may be repeated."),
    ] = None,
) -> None:
    """Write the configuration of FireWorks, jobflow and crysearch into a folder.

    Nothing is overwritten. What can be found out (queue system, Python, address and password of
    the database) is not asked.
    """
    place = checked_folder(folder)
    seconds_of(walltime)
    queue = queue or detect_queue()
    server, database, target = _server(target, place)
    request = QueueRequest(queue, place, walltime, partition or default_partition(queue))
    files = project_files(server, database, request, list(dict.fromkeys(category or [])))
    if not (place / ".gitignore").exists():
        files.append(ignore_file(files))
    write_files(place, files)
    for file in files:
        typer.echo(f"{place / file.name}{'  (holds a password: mode 0600)' if file.secret else ''}")
    if queue in (Queue.pbs, Queue.lsf) and not request.partition:
        typer.echo(
            "\nThe default queue could not be found out: add `queue: NAME` to my_qadapter.yaml, "
            "without which `qlaunch rapidfire -m` cannot count jobs."
        )
    if target is Target.local and queue is not Queue.none:
        typer.echo(
            "\nThe local store answers on this machine only: workers on other nodes cannot reach "
            "it. For those use --target docker or mongodb."
        )
    steps = [f"cd {place}"] if place != Path.cwd() else []
    if target is Target.local and not localdb.status(Path(database)).stays:
        steps.append("crysearch db start")
    steps += ["crysearch doctor", "crysearch submit SPEC"]
    steps += ["rlaunch rapidfire" if queue is Queue.none else "qlaunch rapidfire -m 4"]
    typer.echo("\nNext:\n" + "\n".join(f"  {step}" for step in steps))


def _server(target: Target | None, place: Path) -> tuple[Server, str, Target]:
    """The server, the setting ``database`` that leads to it, and the target meant."""
    current = load_settings().database
    is_uri = "://" in current.get_secret_value()
    if target is None:
        target = Target.mongodb if is_uri else Target.local
    if target is Target.docker:
        here = Path.cwd()
        folders = list(dict.fromkeys([place, *place.parents, here, *here.parents]))
        uri = docker_uri(folders, os.environ)
        return server_of_uri(uri), uri.get_secret_value(), target
    if target is Target.mongodb:
        if not is_uri:
            raise SettingsError(
                "--target mongodb: the settings name no MongoDB server; give its address in the "
                "environment (CRYSEARCH_DATABASE=mongodb://user:password@host:27017/crysearch), "
                "not on the command line, where others could read the password"
            )
        return server_of_uri(current), current.get_secret_value(), target
    if is_uri:
        raise SettingsError(
            "--target local: the settings name a MongoDB server; unset CRYSEARCH_DATABASE or give "
            "the folder of the local store there"
        )
    store = Path(current.get_secret_value()).expanduser().resolve()
    return local_server(store), str(store), target
