"""The launch pad: FireWorks' queue of jobs, in the same database as the records."""

from __future__ import annotations

from pathlib import Path

from fireworks import LaunchPad
from fireworks.fw_config import LAUNCHPAD_LOC

from crysearch import localdb
from crysearch.errors import SettingsError
from crysearch.records import open_records
from crysearch.settings import load_settings

# pymongo then waits for a database that restarts, at every operation of a worker.
_PATIENT = {"serverSelectionTimeoutMS": 120_000}


def launchpad() -> LaunchPad:
    """The launch pad of the settings; a new one is initialised.

    It is the one in the ``launchpad_file`` of the settings, else the one that FireWorks is
    configured with (``my_launchpad.yaml`` in the current folder, or ``FW_config.yaml``), else one
    in the database of the records.

    Raises
    ------
    SettingsError
        The launch pad file cannot be read.
    """
    settings = load_settings()
    file = settings.launchpad_file or (Path(LAUNCHPAD_LOC) if LAUNCHPAD_LOC else None)
    found = _from_records(settings.database.get_secret_value()) if file is None else _read(file)
    found.m_logger.setLevel("WARNING")
    try:
        if not found.fw_id_assigner.find_one({}):
            # Empty: FireWorks refuses its first workflow until the counters exist.
            found.reset("", require_password=False, max_reset_wo_password=0)
    except Exception as error:
        raise SettingsError(
            f"the launch pad of {file or 'the settings'} cannot be used: "
            f"{type(error).__name__}: {error} — `crysearch doctor` says more"
        ) from error
    return found


def _read(file: Path) -> LaunchPad:
    if not file.is_file():
        raise SettingsError(
            f"launchpad_file = {file}: no such file; `crysearch init` writes one, or correct the "
            "setting"
        )
    try:
        return LaunchPad.from_file(str(file))
    except Exception as error:
        # The text of the error may show the file's content, and that may be a password.
        raise SettingsError(
            f"launchpad_file = {file}: FireWorks cannot read it ({type(error).__name__}); "
            "`crysearch init` in an empty folder writes one to compare with"
        ) from None


def _from_records(location: str) -> LaunchPad:
    with open_records(location) as records:
        name = records.database_name
    if "://" not in location:
        location = localdb.ensure_running(Path(location).expanduser().resolve()).uri(name)
    options = {"mongoclient_kwargs": _PATIENT, "strm_lvl": "WARNING"}
    return LaunchPad(host=location, name=name, uri_mode=True, **options)
