from __future__ import annotations

import shutil

import pytest
import yaml

from crysearch.deployment import check_machine
from crysearch.deployment.check_machine import (
    check_api_key,
    check_deepmd,
    check_device,
    check_disk,
    check_engines,
    check_queue,
    check_vasp,
)
from crysearch.deployment.findings import State
from crysearch.errors import CrysearchError
from materials_project_server import KEY


def states(findings):
    return {finding.check: finding.state for finding in findings}


@pytest.mark.slow
def test_default_engine_loads(place):
    found = list(check_engines())
    default = [finding for finding in found if "default" in finding.message]
    assert [(finding.state, "sevennet-0" in finding.message) for finding in default] == [
        (State.ok, True)
    ]


def test_an_engine_that_is_not_installed_is_no_failure(place, monkeypatch):
    chgnet = next(e for e in check_machine.available_relaxers() if e.name == "chgnet")
    absent = type(chgnet)(**{**vars(chgnet), "packages": ("no_such_package",)})
    monkeypatch.setattr(check_machine, "available_relaxers", lambda: [absent])
    (finding,) = check_engines()
    assert finding.state is State.absent
    assert finding.advice == chgnet.install


def test_an_engine_that_runs_a_program_looks_for_it_where_the_settings_say(place, monkeypatch):
    espresso = next(e for e in check_machine.available_relaxers() if e.name == "espresso")
    monkeypatch.setattr(check_machine, "available_relaxers", lambda: [espresso])
    monkeypatch.setenv("CRYSEARCH_ESPRESSO_COMMAND", str(place / "pw.x"))
    monkeypatch.setenv("CRYSEARCH_ESPRESSO_PSEUDOPOTENTIALS", str(place))
    (finding,) = check_engines()
    assert finding.state is State.absent
    assert "CRYSEARCH_ESPRESSO_COMMAND" in finding.message
    assert finding.advice == espresso.install
    (place / "pw.x").write_text("#!/bin/sh\necho '     Program PWSCF v.9.9 starts'\n")
    (place / "pw.x").chmod(0o755)
    (finding,) = check_engines()
    assert finding.state is State.ok
    assert finding.message == "espresso: quantum-espresso 9.9"


def test_deepmd_kit_that_is_not_installed_is_no_failure(place, monkeypatch):
    monkeypatch.delenv("CRYSEARCH_DEEPMD_PYTHON", raising=False)
    monkeypatch.setattr(check_machine, "find_spec", lambda name: None)
    (finding,) = check_deepmd()
    assert finding.state is State.absent
    assert "deepmd-kit" in finding.advice
    monkeypatch.setenv("CRYSEARCH_DEEPMD_PYTHON", "/bin/true")
    (finding,) = check_deepmd()
    assert finding.state is State.warning
    assert "/bin/true cannot import DeePMD-kit" in finding.message


def test_a_device_that_is_not_there_fails(place, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DEVICE", "cpu")
    assert states(check_device()) == {"device": State.ok}
    monkeypatch.setenv("CRYSEARCH_DEVICE", "cuda:99")
    with pytest.raises(CrysearchError, match="cuda:99"):
        list(check_device())


def test_vasp_is_optional(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setitem(_pymatgen_settings(), "PMG_VASP_PSP_DIR", None)
    assert set(states(check_vasp()).values()) == {State.absent}
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "srun vasp_std")
    assert states(check_vasp())["VASP"] is State.warning
    (place / "srun").write_text("#!/bin/sh\n")
    (place / "srun").chmod(0o755)
    assert states(check_vasp())["VASP"] is State.ok
    monkeypatch.setitem(_pymatgen_settings(), "PMG_VASP_PSP_DIR", str(place / "none"))
    assert states(check_vasp())["POTCARs"] is State.warning
    (place / "potcars" / "POT_GGA_PAW_PBE").mkdir(parents=True)
    monkeypatch.setitem(_pymatgen_settings(), "PMG_VASP_PSP_DIR", str(place / "potcars"))
    assert states(check_vasp())["POTCARs"] is State.ok


def _pymatgen_settings():
    from pymatgen.core import SETTINGS

    return SETTINGS


def test_api_key(place, monkeypatch, server):
    monkeypatch.delenv("MP_API_KEY")
    assert states(check_api_key(online=True)) == {"Materials Project": State.absent}
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("CRYSEARCH_MATERIALS_PROJECT_ENDPOINT", server.endpoint)
    assert states(check_api_key()) == {"Materials Project": State.ok}
    assert not server.received
    (finding,) = check_api_key(online=True)
    assert finding.state is State.ok
    assert server.received
    server.reply_for_ever = (401, {"error": "no"}, {})
    with pytest.raises(CrysearchError) as error:
        list(check_api_key(online=True))
    assert KEY not in f"{finding.message} {error.value}"


def test_little_room_is_said(place, monkeypatch):
    assert set(states(check_disk())) == {"disk"}
    usage = shutil.disk_usage(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * 1024**3))
    assert [finding.state for finding in check_disk()] == [State.warning, State.warning]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1024))
    assert [finding.state for finding in check_disk()] == [State.failed, State.failed]


def test_queue(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    assert states(check_queue()) == {"queue": State.absent}
    adapter = {"_fw_name": "CommonAdapter", "_fw_q_type": "PBS", "logdir": str(place)}
    file = place / "my_qadapter.yaml"
    file.write_text(yaml.safe_dump(adapter))
    (finding,) = check_queue()
    assert finding.state is State.warning
    assert "qsub" in finding.message
    (place / "qsub").write_text("#!/bin/sh\n")
    (place / "qsub").chmod(0o755)
    (finding,) = check_queue()
    assert finding.advice == "add a line `queue: NAME`"
    file.write_text(yaml.safe_dump(adapter | {"queue": "workq"}))
    assert states(check_queue()) == {"queue": State.ok}
    file.write_text(yaml.safe_dump(adapter | {"queue": "workq", "logdir": str(place / "gone")}))
    assert [finding.state for finding in check_queue()] == [State.ok, State.failed]
