"""Where things are: database, keys, threads.

Every setting can be given in the environment (``CRYSEARCH_DATABASE=…``) or in a settings file
``crysearch.yaml``, looked for in the current folder, in the folders above it (workers run in launch
folders below the project) and then in the user's configuration folder; ``CRYSEARCH_CONFIG`` names
another file. The environment wins. Nothing here changes a result.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_config_path, user_data_path
from pydantic import (
    AliasChoices,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from crysearch.errors import SettingsError

CONFIG_NAME = "crysearch.yaml"


class Settings(BaseSettings):
    """Settings of this machine and user."""

    model_config = SettingsConfigDict(
        env_prefix="CRYSEARCH_",
        env_ignore_empty=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    database: SecretStr = Field(
        SecretStr(str(user_data_path("crysearch") / "records")),
        description="Where the records live: a folder of this machine, or a mongodb:// address "
        "(treated as a secret, because it may hold a password).",
    )
    database_patience: NonNegativeFloat = Field(
        120.0,
        description="Seconds to wait, with growing pauses, for a database that has gone away.",
    )
    launchpad_file: Path | None = Field(
        None,
        description="FireWorks' launch pad file; by default launchpad.yaml or my_launchpad.yaml "
        "beside the settings file, else the one that FireWorks itself is configured with, else a "
        "launch pad in the database of the records.",
    )
    sampling_jobs: PositiveInt = Field(
        4, description="Jobs that sample random crystals of one cell size side by side on workers."
    )
    job_minutes: PositiveFloat = Field(
        10.0, description="How long a job on a worker should take, where it can be chosen."
    )
    engine_timeout: PositiveFloat = Field(
        900.0,
        description="Seconds without a step after which a relaxation counts as hung and becomes a "
        "recorded failure.",
    )
    materials_project_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices(
            "CRYSEARCH_MATERIALS_PROJECT_API_KEY", "MP_API_KEY", "PMG_MAPI_KEY"
        ),
        description="Key of the Materials Project; also read from MP_API_KEY.",
    )
    materials_project_endpoint: str | None = Field(
        None, description="Address of the Materials Project's interface, if not the public one."
    )
    materials_project_cache_days: NonNegativeFloat = Field(
        30.0,
        description="Days for which an answer of the Materials Project kept in the records is used "
        "again; 0 always asks.",
    )
    device: str = Field("auto", description="Device of the potentials: auto, cpu or cuda.")
    espresso_command: str = Field(
        "pw.x",
        description="How pw.x of Quantum ESPRESSO is run here, such as `mpirun -np 4 pw.x`.",
    )
    espresso_pseudopotentials: Path | None = Field(
        None,
        description="Folder of pseudopotentials (UPF) for Quantum ESPRESSO; by default that of "
        "ESPRESSO_PSEUDO, else the one of Debian's package.",
    )
    gpaw_python: str = Field(
        "/usr/bin/python3", description="The Python interpreter that can import GPAW."
    )
    threads: PositiveInt = Field(
        1,
        description="CPU threads of the engines, of each process if there are several. More "
        "can be faster on idle cores, and change the last digits of the results.",
    )
    vasp_command: str | None = Field(
        None,
        description="Command that starts VASP, such as `srun vasp_std`; by default atomate2's "
        "VASP_CMD.",
    )
    vasp_potentials: Path | None = Field(
        None,
        description="Folder of VASP's potentials as pymatgen lays it out; by default pymatgen's "
        "PMG_VASP_PSP_DIR.",
    )
    vasp_walltime: PositiveFloat | None = Field(
        None,
        description="Seconds that one VASP calculation may take; by default there is no limit.",
    )
    vasp_poll_seconds: PositiveFloat | None = Field(
        None,
        description="Seconds between custodian's looks at a running VASP; by default custodian's "
        "own 10.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the settings file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_file())


def config_file() -> Path | None:
    """The settings file in force, if any."""
    named = os.environ.get("CRYSEARCH_CONFIG")
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"CRYSEARCH_CONFIG = {named}: no such file; create or unset it")
        return Path(named)
    here = Path.cwd()
    folders = (here, *here.parents, user_config_path("crysearch"))
    return next((f / CONFIG_NAME for f in folders if (f / CONFIG_NAME).is_file()), None)


def _read_file() -> dict[str, Any]:
    path = config_file()
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # The text may hold a key: say where the file is, not what it holds.
        raise SettingsError(f"{path}: is not readable YAML ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: give one setting per line, such as `database: ./records`")
    for name in ("database", "launchpad_file", "vasp_potentials", "espresso_pseudopotentials"):
        place = content.get(name)
        if isinstance(place, str) and "://" not in place:
            # A path in a settings file is meant relative to that file, wherever one stands.
            content[name] = str(path.resolve().parent / Path(place).expanduser())
    return content


def load_settings() -> Settings:
    """Read the settings in force.

    Raises
    ------
    SettingsError
        Names each invalid setting; never shows a value, since it may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        names = ", ".join(Settings.model_fields)
        raise SettingsError(
            "invalid settings (environment CRYSEARCH_* or "
            f"{config_file() or CONFIG_NAME}):\n  " + "\n  ".join(lines) + f"\nallowed: {names}"
        ) from None
