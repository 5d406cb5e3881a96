"""Checks of the settings, the files with passwords, the database and the launch pad."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from crysearch import localdb
from crysearch.deployment.findings import Finding, State
from crysearch.deployment.project import (
    fireworks_config,
    fireworks_configs,
    holds_secret,
    jobflow_config,
    launchpad_file,
    project_folder,
    read_yaml,
    records_server,
    secret_files,
)
from crysearch.deployment.server import server_of_uri
from crysearch.errors import CrysearchError, SettingsError
from crysearch.records.health import DatabaseHealth, examine
from crysearch.settings import config_file, load_settings

_OLDEST_VERSION = (7,)
_LARGEST_SKEW_SECONDS = 5.0
# FireWorks' own default shows lost runs after four hours.
_LONGEST_EXPIRATION_SECONDS = 3600
_JOB_STATES = ("READY", "WAITING", "RESERVED", "RUNNING", "COMPLETED", "FIZZLED", "DEFUSED")
_RUN_INIT = "run `crysearch init` in a new folder"


def check_settings() -> Iterator[Finding]:
    """Which settings file is in force, and whether others can read passwords."""
    load_settings()
    file = config_file()
    where = str(file) if file else "none found: the defaults and the environment count"
    yield Finding("settings", State.ok, where)
    for path in secret_files():
        mode = path.stat().st_mode & 0o777
        if mode & 0o077 and holds_secret(path):
            yield Finding(
                "permissions",
                State.failed,
                f"{path} holds a password or key and others can read it (mode {mode:04o})",
                f"chmod 600 {path}",
            )


def check_database() -> Iterator[Finding]:
    """Whether the database of the records answers, is guarded, takes writes and has its indexes."""
    location = load_settings().database.get_secret_value()
    with examine(location) as database:
        parts: list[tuple[str, Callable[[DatabaseHealth], Iterator[Finding]]]] = [
            ("database", _version if "://" in location else _local_store),
            ("authentication", _authentication),
            ("writing", _writing),
            ("indexes", _indexes),
            ("clock", _clock),
        ]
        for name, part in parts:
            try:
                yield from part(database)
            except Exception as error:
                known = isinstance(error, CrysearchError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                yield Finding(name, State.failed, text)


def _version(database: DatabaseHealth) -> Iterator[Finding]:
    version = database.version()
    text = f"{database.description}, MongoDB {'.'.join(map(str, version))}"
    if version < _OLDEST_VERSION:
        yield Finding(
            "database", State.warning, text, "crysearch is tested with MongoDB 7 or later: upgrade"
        )
    else:
        yield Finding("database", State.ok, text)


def _local_store(database: DatabaseHealth) -> Iterator[Finding]:
    folder = Path(load_settings().database.get_secret_value()).expanduser().resolve()
    status = localdb.status(folder)
    text = f"local store in {folder}, port {status.port}"
    if status.stays:
        yield Finding("database", State.ok, text)
    else:
        yield Finding(
            "database",
            State.ok,
            f"{text}, started on demand",
            "workers, lpad and qlaunch need it all the time: `crysearch db start` keeps it running",
        )


def _authentication(database: DatabaseHealth) -> Iterator[Finding]:
    asks, here = database.asks_for_password(), database.on_this_machine()
    where = "this machine only" if here else "the network"
    if asks:
        yield Finding("authentication", State.ok, f"on (reached over {where})")
    elif asks is None:
        yield Finding("authentication", State.warning, "could not be told", "ask who runs it")
    else:
        risk = (
            "every user of this machine can read and change everything"
            if here
            else "everybody who reaches it over the network can read and change everything"
        )
        yield Finding(
            "authentication",
            State.warning,
            f"off: {risk}",
            "turn it on (mongod --auth with a user, as docker-compose.yml does)",
        )


def _writing(database: DatabaseHealth) -> Iterator[Finding]:
    database.check_write()
    yield Finding("writing", State.ok, "a document was written, read and removed")


def _indexes(database: DatabaseHealth) -> Iterator[Finding]:
    missing = database.missing_indexes()
    if not missing:
        yield Finding("indexes", State.ok, "all there")
    elif database.is_empty():
        yield Finding("indexes", State.absent, "no search yet: the first one makes them")
    else:
        shown = ", ".join(missing[:4]) + (" …" if len(missing) > 4 else "")
        yield Finding(
            "indexes",
            State.warning,
            f"{len(missing)} missing, so that questions are slow: {shown}",
            "the next `crysearch submit` or `crysearch run` makes them",
        )


def _clock(database: DatabaseHealth) -> Iterator[Finding]:
    skew = database.clock_skew()
    if skew is None:
        yield Finding("clock", State.ok, "the server does not tell its time")
    elif abs(skew) > _LARGEST_SKEW_SECONDS:
        yield Finding(
            "clock",
            State.warning,
            f"the server is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}: running jobs "
            "may look lost, or lost ones alive",
            "synchronise the clocks (chrony or ntpd) on both machines",
        )
    else:
        yield Finding("clock", State.ok, f"within {max(abs(skew), 0.1):.1f} s of the server")


def check_launchpad() -> Iterator[Finding]:
    """Whether FireWorks' launch pad answers, is beside the records, and has lost runs."""
    settings = load_settings()
    file = settings.launchpad_file or launchpad_file()
    if file is not None:
        _check_reachable(file)
    # It loads jobflow and FireWorks, which takes seconds that other checks need not wait for.
    from crysearch.workflows.launchpad import launchpad

    pad = launchpad()
    where = file or "in the database of the records"
    with examine(settings.database.get_secret_value()) as database:
        same = database.check_write(pad.db)
    if same:
        yield Finding("launch pad", State.ok, f"{where}, same database as the records")
    else:
        yield Finding(
            "launch pad",
            State.failed,
            f"{where} is another database than that of the records",
            "let `database` in crysearch.yaml and the launch pad file name the same one, or "
            + _RUN_INIT,
        )
    counts = {state: pad.get_fw_ids({"state": state}, count_only=True) for state in _JOB_STATES}
    text = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    if counts["FIZZLED"]:
        yield Finding(
            "jobs",
            State.warning,
            text,
            "`lpad get_fws -s FIZZLED -d more` says why; `lpad rerun_fws -s FIZZLED` runs them "
            "again",
        )
    else:
        yield Finding("jobs", State.ok, text or "none")
    lost = pad.detect_lostruns()[1]
    if lost:
        shown = ", ".join(map(str, lost[:8])) + (" …" if len(lost) > 8 else "")
        yield Finding(
            "lost runs",
            State.warning,
            f"{len(lost)} jobs have not reported for long (fw_id {shown})",
            "`lpad detect_lostruns --rerun`",
        )
    else:
        yield Finding("lost runs", State.ok, "none")


def _check_reachable(file: Path) -> None:
    """Fail in seconds where FireWorks, made patient for workers, would wait for minutes."""
    if not file.is_file():
        raise SettingsError(f"launch pad file {file}: no such file; correct it, or {_RUN_INIT}")
    content = read_yaml(file)
    host, port = content.get("host"), content.get("port")
    if not isinstance(host, str) or "://" in host or not isinstance(port, int):
        return
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise SettingsError(
            f"{file}: nothing answers at {host}:{port} ({error.strerror or error}); start the "
            "database (`crysearch db start`, `docker compose up -d`), or correct the file"
        ) from error


def check_fireworks() -> Iterator[Finding]:
    """Which FireWorks configuration is in force, and when it takes a run for lost."""
    found = fireworks_configs()
    named = os.environ.get("FW_CONFIG_FILE")
    if not found:
        yield Finding(
            "FireWorks",
            State.absent,
            "no FW_config.yaml: lost runs show only after 4 hours, and lpad needs -l",
            f"{_RUN_INIT}, and use lpad, rlaunch and qlaunch there",
        )
        return
    expiration = fireworks_config().get("RUN_EXPIRATION_SECS", 4 * 3600)
    if named and found[0] != Path(named).resolve():
        yield Finding(
            "FireWorks",
            State.warning,
            f"{found[0]} goes before {named} (FW_CONFIG_FILE)",
            "remove it, or unset FW_CONFIG_FILE if it is the one meant",
        )
    elif expiration > _LONGEST_EXPIRATION_SECONDS:
        yield Finding(
            "FireWorks",
            State.warning,
            f"{found[0]}: lost runs show only after {expiration / 3600:g} hours",
            "set PING_TIME_SECS: 60 and RUN_EXPIRATION_SECS: 300",
        )
    else:
        yield Finding("FireWorks", State.ok, f"{found[0]}: lost runs show after {expiration:g} s")


def check_job_store() -> Iterator[Finding]:
    """Whether jobflow's store is in the database of the records."""
    file = jobflow_config()
    if file is None:
        ours = project_folder() / "jobflow.yaml"
        advice = f"export JOBFLOW_CONFIG_FILE={ours}" if ours.is_file() else _RUN_INIT
        yield Finding(
            "job store",
            State.absent,
            "jobflow has no configuration; crysearch's own jobs need none",
            f"for jobs of other packages (atomate2): {advice}",
        )
        return
    store = read_yaml(file).get("JOB_STORE")
    documents = store.get("docs_store") if isinstance(store, dict) else None
    if not isinstance(documents, dict) or documents.get("type") != "MongoStore":
        yield Finding(
            "job store",
            State.warning,
            f"{file}: JOB_STORE is not given as docs_store and additional_stores of MongoDB, and "
            "was not compared with the records",
        )
        return
    here, server = _place(documents), records_server()
    ours_place = (_canonical(server.address), server.port, server.database)
    if here == ours_place:
        yield Finding("job store", State.ok, f"{file}: the database of the records")
    else:
        yield Finding(
            "job store",
            State.warning,
            f"{file}: outputs of jobs go to {here[2]} at {here[0]}:{here[1]}, the records to "
            f"{ours_place[2]} at {ours_place[0]}:{ours_place[1]}",
            "let both name the same database",
        )


def _place(store: dict[str, Any]) -> tuple[str, int | None, str]:
    if uri := store.get("uri"):
        server = server_of_uri(SecretStr(str(uri)))
        return _canonical(server.address), server.port, str(store.get("database", server.database))
    host = str(store.get("host", "localhost"))
    port = None if "://" in host else int(store.get("port", 27017))
    return _canonical(host), port, str(store.get("database"))


def _canonical(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
