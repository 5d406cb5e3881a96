"""Settings: sources, precedence, secrets."""

from __future__ import annotations

import pytest

from crysearch.errors import SettingsError
from crysearch.settings import load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch, tmp_path):
    for name in ("DATABASE", "CONFIG", "DEVICE", "THREADS", "MATERIALS_PROJECT_API_KEY"):
        monkeypatch.delenv(f"CRYSEARCH_{name}", raising=False)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_file_then_environment(monkeypatch, tmp_path):
    (tmp_path / "crysearch.yaml").write_text("database: records\nthreads: 3\n")
    settings = load_settings()
    assert settings.database.get_secret_value() == str(tmp_path.resolve() / "records")
    assert settings.threads == 3
    monkeypatch.setenv("CRYSEARCH_THREADS", "5")
    assert load_settings().threads == 5


def test_the_file_is_found_from_launch_folders_below_the_project(monkeypatch, tmp_path):
    (tmp_path / "crysearch.yaml").write_text("database: records\nlaunchpad_file: launchpad.yaml\n")
    folder = tmp_path / "block_1" / "launcher_1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    settings = load_settings()
    assert settings.database.get_secret_value() == str(tmp_path.resolve() / "records")
    assert settings.launchpad_file == tmp_path.resolve() / "launchpad.yaml"
    (folder / "crysearch.yaml").write_text("database: nearer\n")
    assert load_settings().database.get_secret_value() == str(folder.resolve() / "nearer")


def test_a_database_address_is_left_alone(tmp_path):
    (tmp_path / "crysearch.yaml").write_text(
        "database: mongodb://user:hidden@localhost/crysearch\n"
    )
    settings = load_settings()
    assert settings.database.get_secret_value().startswith("mongodb://user:hidden@")
    assert "hidden" not in repr(settings)


def test_the_key_is_read_from_the_usual_variable_and_never_shown(monkeypatch):
    monkeypatch.setenv("MP_API_KEY", "very-secret")
    settings = load_settings()
    assert settings.materials_project_api_key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(settings) + str(settings.model_dump())


def test_key_in_the_file(tmp_path):
    (tmp_path / "crysearch.yaml").write_text("materials_project_api_key: abc\n")
    assert load_settings().materials_project_api_key.get_secret_value() == "abc"


def test_errors_name_the_setting_but_no_value(monkeypatch, tmp_path):
    (tmp_path / "crysearch.yaml").write_text("databse: secret-place\nthreads: secret-number\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert "databse" in message
    assert "threads" in message
    assert "secret" not in message
    (tmp_path / "crysearch.yaml").write_text("secret: [")
    with pytest.raises(SettingsError, match="not readable YAML") as caught:
        load_settings()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("CRYSEARCH_CONFIG", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(SettingsError, match="no such file"):
        load_settings()


def test_the_folder_of_potentials_is_relative_to_the_file(monkeypatch, tmp_path):
    (tmp_path / "crysearch.yaml").write_text("vasp_potentials: potentials\nvasp_walltime: 3600\n")
    (tmp_path / "launch").mkdir()
    monkeypatch.chdir(tmp_path / "launch")
    settings = load_settings()
    assert settings.vasp_potentials == tmp_path.resolve() / "potentials"
    assert settings.vasp_walltime == 3600
    assert settings.vasp_command is settings.vasp_poll_seconds is None
    monkeypatch.setenv("CRYSEARCH_VASP_WALLTIME", "0")
    with pytest.raises(SettingsError, match="vasp_walltime: Input should be greater than 0"):
        load_settings()


def test_a_folder_in_the_file_is_meant_from_there(monkeypatch, tmp_path):
    (tmp_path / "crysearch.yaml").write_text("espresso_pseudopotentials: upf\n")
    folder = tmp_path / "launcher_1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CRYSEARCH_ESPRESSO_PSEUDOPOTENTIALS", raising=False)
    assert load_settings().espresso_pseudopotentials == tmp_path.resolve() / "upf"
