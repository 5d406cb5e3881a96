"""The configuration files in force, as crysearch, FireWorks and jobflow look for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from crysearch.deployment.server import Server, local_server, server_of_uri
from crysearch.errors import SettingsError
from crysearch.settings import Settings, config_file, load_settings

FIREWORKS_CONFIG = "FW_config.yaml"
PROJECT_FILES = (
    "crysearch.yaml",
    "launchpad.yaml",
    "my_launchpad.yaml",
    "jobflow.yaml",
    ".env",
)


def project_folder() -> Path:
    """The folder of the settings file in force, else the current one."""
    file = config_file()
    return file.resolve().parent if file else Path.cwd()


def records_server(settings: Settings | None = None) -> Server:
    """The server that the settings lead to; a local store is started if it does not run."""
    database = (settings or load_settings()).database
    if "://" in database.get_secret_value():
        return server_of_uri(database)
    return local_server(Path(database.get_secret_value()).expanduser().resolve())


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file.

    Raises
    ------
    SettingsError
        It cannot be read; its text is not shown, for it may hold a password.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: is not readable YAML ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: should hold `name: value` lines")
    return content


def fireworks_configs() -> list[Path]:
    """FireWorks' configuration files, the one in force first."""
    named = os.environ.get("FW_CONFIG_FILE")
    places = [Path.cwd() / FIREWORKS_CONFIG, Path.home() / ".fireworks" / FIREWORKS_CONFIG]
    places += [Path(named)] if named else []
    return list(dict.fromkeys(place.resolve() for place in places if place.is_file()))


def fireworks_config() -> dict[str, Any]:
    """FireWorks' configuration in force; empty if there is none."""
    found = fireworks_configs()
    return read_yaml(found[0]) if found else {}


def launchpad_file() -> Path | None:
    """The launch pad file that FireWorks is configured with, if any."""
    named = fireworks_config().get("LAUNCHPAD_LOC")
    if named:
        return Path(str(named))
    places = [folder / "my_launchpad.yaml" for folder in (Path.cwd(), Path.home() / ".fireworks")]
    return next((place for place in places if place.is_file()), None)


def jobflow_config() -> Path | None:
    """jobflow's configuration file in force, if any."""
    named = os.environ.get("JOBFLOW_CONFIG_FILE")
    place = Path(named).expanduser() if named else Path.home() / ".jobflow.yaml"
    return place if place.is_file() else None


def secret_files() -> Iterator[Path]:
    """The files of the project in which a password could be."""
    named = [config_file(), jobflow_config(), load_settings().launchpad_file, launchpad_file()]
    usual = [project_folder() / name for name in PROJECT_FILES]
    places = [place for place in (*named, *usual) if place is not None and place.is_file()]
    yield from dict.fromkeys(place.resolve() for place in places)


def secret_texts() -> Iterator[str]:
    """Every password and key in the settings and the project's files."""
    for path in secret_files():
        if path.name != ".env":
            yield from _passwords(read_yaml(path))
    settings = load_settings()
    if settings.materials_project_api_key:
        yield settings.materials_project_api_key.get_secret_value()
    database = settings.database
    if "://" in database.get_secret_value():
        yield server_of_uri(database).password.get_secret_value()


def _passwords(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str) and ("password" in str(key) or "api_key" in str(key)):
                yield value
            yield from _passwords(value)
    elif isinstance(content, list):
        for value in content:
            yield from _passwords(value)


def holds_secret(path: Path) -> bool:
    """Whether a file holds a password or a key."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.name == ".env":
        lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
        return any("PASSWORD" in name and value.strip() for name, _, value in lines)
    return any(_passwords(read_yaml(path))) or any(
        "@" in line and "://" in line for line in text.splitlines() if not line.startswith("#")
    )
