"""The configuration files of a project: what is in them, and writing them all or none."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from crysearch.deployment.queues import (
    Category,
    Queue,
    QueueRequest,
    adapter_file,
    queue_adapter,
    worker_file,
)
from crysearch.deployment.server import SELECTION_TIMEOUT_MS, Server
from crysearch.errors import SettingsError
from crysearch.settings import CONFIG_NAME

PING_SECONDS = 60
LOST_AFTER_SECONDS = 300
_SECRET = "Holds a password: keep it out of version control and readable by you alone.\n"


@dataclass(frozen=True)
class ConfigFile:
    """A file to be written: its name, its text, and whether it holds a password."""

    name: str
    text: SecretStr
    secret: bool


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: text of several lines in blocks, nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _file(name: str, about: str, content: dict[str, Any], *, secret: bool = False) -> ConfigFile:
    comment = "".join(f"# {line}\n" for line in (about + (_SECRET if secret else "")).splitlines())
    body = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return ConfigFile(name, SecretStr(comment + body), secret)


def project_files(
    server: Server,
    database: str,
    request: QueueRequest,
    categories: Sequence[Category] = (),
) -> list[ConfigFile]:
    """The files of a project.

    Parameters
    ----------
    server
        Where jobs and records live.
    database
        The setting ``database``: the folder of a local store, or the server's address.
    request
        The queue, and the project's folder.
    categories
        Kinds of job for which a worker of its own is described besides the one that takes all.
    """
    workers: list[Category | None] = [None, *categories]
    files = [
        _settings(database, secret="://" in database and server.has_password),
        _launchpad(server),
        _jobflow(server),
        _fireworks(request),
        *(_worker(category) for category in workers),
    ]
    if request.queue is not Queue.none:
        files += [_adapter(replace(request, category=category)) for category in workers]
    return files


def _settings(database: str, *, secret: bool) -> ConfigFile:
    about = "Settings of crysearch for this folder and those below it: docs/quickstart.md.\n"
    content = {"database": database, "launchpad_file": "launchpad.yaml"}
    return _file(CONFIG_NAME, about, content, secret=secret)


def _launchpad(server: Server) -> ConfigFile:
    about = "FireWorks' LaunchPad: the jobs, in the same database as the records.\n"
    content: dict[str, Any] = {
        "host": server.address,
        "port": server.port,
        "name": server.database,
        "username": server.username or None,
        "password": server.password.get_secret_value() or None,
        "authsource": server.auth_source,
        "logdir": None,
        "strm_lvl": "INFO",
        "user_indices": [],
        "wf_user_indices": [],
        # Workers wait this long for a database that restarts.
        "mongoclient_kwargs": {"serverSelectionTimeoutMS": SELECTION_TIMEOUT_MS},
    }
    return _file("launchpad.yaml", about, content, secret=server.has_password)


def _jobflow(server: Server) -> ConfigFile:
    about = "jobflow's JobStore, for jobs whose outputs are kept: export JOBFLOW_CONFIG_FILE.\n"
    place: dict[str, Any] = {"database": server.database, "host": server.address}
    if server.port is not None:
        place["port"] = server.port
    if server.username:
        place |= {
            "username": server.username,
            "password": server.password.get_secret_value(),
            "auth_source": server.auth_source,
        }
    place["mongoclient_kwargs"] = {"serverSelectionTimeoutMS": SELECTION_TIMEOUT_MS}
    store = {
        "docs_store": {"type": "MongoStore", "collection_name": "outputs", **place},
        "additional_stores": {
            "data": {"type": "GridFSStore", "collection_name": "outputs_blobs", **place}
        },
    }
    return _file("jobflow.yaml", about, {"JOB_STORE": store}, secret=server.has_password)


def _fireworks(request: QueueRequest) -> ConfigFile:
    about = (
        "FireWorks' own settings. A file of this name in the current folder, then one in\n"
        "~/.fireworks, goes before the one that FW_CONFIG_FILE names.\n"
        f"A running job reports every {PING_SECONDS} s and counts as lost after "
        f"{LOST_AFTER_SECONDS} s of silence.\n"
    )
    content: dict[str, Any] = {
        "LAUNCHPAD_LOC": str(request.folder / "launchpad.yaml"),
        "FWORKER_LOC": str(request.folder / worker_file(None)),
    }
    if request.queue is not Queue.none:
        content["QUEUEADAPTER_LOC"] = str(request.folder / adapter_file(None))
    content |= {
        "PING_TIME_SECS": PING_SECONDS,
        "RUN_EXPIRATION_SECS": LOST_AFTER_SECONDS,
        # The lock of a worker that died while it held it: FireWorks would wait for ever.
        "WFLOCK_EXPIRATION_SECS": 120,
        "WFLOCK_EXPIRATION_KILL": True,
        "RAPIDFIRE_SLEEP_SECS": 10,
    }
    return _file("FW_config.yaml", about, content)


def _worker(category: Category | None) -> ConfigFile:
    host = socket.gethostname().partition(".")[0]
    about = (
        f"A FireWorks worker that takes only jobs of category {category.label}.\n"
        if category
        else "A FireWorks worker; an empty category takes every job.\n"
    )
    content = {
        "name": f"{host}-{category}" if category else host,
        "category": category.label if category else "",
        "query": "{}",
        "env": {},
    }
    return _file(worker_file(category), about, content)


_MORE_KEYS = {
    Queue.slurm: "account, qos, constraint, mem, gpus_per_node, exclude_nodes",
    Queue.pbs: "account, pmem, group_name",
    Queue.sge: "account; anything else as a line `#$ …` at the top of pre_rocket",
    Queue.lsf: "anything else as a line `#BSUB …` at the top of pre_rocket",
}


def _adapter(request: QueueRequest) -> ConfigFile:
    about = (
        "FireWorks' queue adapter: each job in the queue runs a worker that takes job after job.\n"
        f"More keys: {_MORE_KEYS[request.queue]}.\n"
        "If walltime changes, change CRYSEARCH_JOB_END and --timeout (less than it) with it.\n"
    )
    return _file(adapter_file(request.category), about, queue_adapter(request))


def ignore_file(files: Sequence[ConfigFile]) -> ConfigFile:
    """A ``.gitignore`` that keeps passwords and what jobs leave out of version control."""
    lines = [*(file.name for file in files if file.secret), "logs/", "block_*/", "launcher_*/"]
    return ConfigFile(".gitignore", SecretStr("".join(f"/{line}\n" for line in lines)), False)


def write_files(folder: Path, files: Iterable[ConfigFile]) -> list[Path]:
    """Write the files, all or none, replacing nothing.

    Raises
    ------
    SettingsError
        Names every file that exists already, or what could not be written; no file is then left
        behind.
    """
    files = list(files)
    if existing := [file.name for file in files if os.path.lexists(folder / file.name)]:
        raise SettingsError(
            f"{folder}: holds {', '.join(existing)} already; nothing was written and nothing "
            "changed. Move them away, or give another folder with --folder"
        )
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        for file in files:
            path = folder / file.name
            mode = 0o600 if file.secret else 0o644
            # O_EXCL: neither a file nor a link that appeared meanwhile is written through.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(file.text.get_secret_value())
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise SettingsError(
            f"{folder}: could not be written ({error.strerror or error}); no file was left behind"
        ) from error
    return written


def checked_folder(folder: Path) -> Path:
    """The folder's absolute path.

    Raises
    ------
    SettingsError
        It is a file, or its name cannot stand in a queue script.
    """
    path = folder.expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise SettingsError(f"--folder {folder}: is a file; give a folder")
    if re.search(r"\$\$|[\n\r]", str(path)):
        # FireWorks drops every line of a queue script in which "$$" is left.
        raise SettingsError(f"--folder {folder}: a path with $$ or a line break cannot be used")
    return path
