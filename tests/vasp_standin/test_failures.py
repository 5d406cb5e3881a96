"""Failures on request, STOPCAR, and custodian at work on them."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar
from pymatgen.io.vasp.outputs import Oszicar, Outcar

import crysearch
from crysearch.errors import VaspStandinError
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.vasp_standin.failures import FAIL_FILE, read_failures
from crysearch.vasp_standin.run import run
from vasp_standin.calculations import COMMAND, RELAX, diamond, start, vasprun, write_input

FORCES = {**RELAX, "EDIFFG": -0.01}


def wait_for(what, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def relaxation(folder, **tags):
    return write_input(folder, diamond(5.2, 0.1), **{**FORCES, **tags})


def test_what_is_asked_for_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv(FAIL_VARIABLE, "zbrent:2, slow:0.5")
    (tmp_path / FAIL_FILE).write_text("unconverged\n")
    failures = read_failures(tmp_path)
    assert (failures.zbrent, failures.slow, failures.unconverged) == (2, 0.5, True)
    assert not failures.crash and not failures.hang
    for wrong in ("brmix", "slow:long", "crash:2", "slow:-1", "slow:nan"):
        monkeypatch.setenv(FAIL_VARIABLE, wrong)
        with pytest.raises(VaspStandinError, match=wrong.split(":")[0]):
            read_failures(tmp_path)


def test_zbrent_stops_the_first_run_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(FAIL_VARIABLE, "zbrent")
    assert run(relaxation(tmp_path)) == 1
    assert "ZBRENT: fatal error in bracketing" in capsys.readouterr().out
    assert "ZBRENT: fatal error in bracketing" in (tmp_path / "OUTCAR").read_text()
    with pytest.raises(etree.XMLSyntaxError):
        vasprun(tmp_path)
    # What was reached is kept.
    reached = Structure.from_file(tmp_path / "CONTCAR")
    assert not np.allclose(reached.lattice.abc, 5.2, atol=1e-3)
    assert run(tmp_path) == 0
    assert vasprun(tmp_path).converged


def test_zbrent_does_not_touch_static_runs(tmp_path, monkeypatch):
    monkeypatch.setenv(FAIL_VARIABLE, "zbrent")
    assert run(write_input(tmp_path, NSW=0)) == 0


def test_unconverged_takes_all_electronic_steps(tmp_path, monkeypatch):
    monkeypatch.setenv(FAIL_VARIABLE, "unconverged")
    assert run(relaxation(tmp_path, NELM=7)) == 0
    read = vasprun(tmp_path)
    assert not read.converged_electronic and read.converged_ionic
    assert all(len(step["electronic_steps"]) == 7 for step in read.ionic_steps)
    assert all(len(steps) == 7 for steps in Oszicar(tmp_path / "OSZICAR").electronic_steps)


def test_a_crash_leaves_status_139_and_half_a_file(tmp_path):
    process = start(relaxation(tmp_path), "crash")
    assert process.wait(timeout=60) == 139
    assert "SIGSEGV" in (tmp_path / "std_err.txt").read_text()
    with pytest.raises(etree.XMLSyntaxError):
        vasprun(tmp_path)


def test_a_hanging_run_writes_nothing_and_ends_when_killed(tmp_path):
    process = start(relaxation(tmp_path), "hang")
    try:
        wait_for(lambda: (tmp_path / "CONTCAR").exists() and (tmp_path / "CONTCAR").stat().st_size)
        (tmp_path / "STOPCAR").write_text("LABORT = .TRUE.\n")
        sizes = [(tmp_path / name).stat().st_size for name in ("OUTCAR", "vasprun.xml")]
        time.sleep(0.5)
        assert process.poll() is None
        assert sizes == [(tmp_path / name).stat().st_size for name in ("OUTCAR", "vasprun.xml")]
    finally:
        process.terminate()
    assert process.wait(timeout=10) != 0


@pytest.mark.parametrize(("tag", "kind"), [("LSTOP", "soft"), ("LABORT", "hard")])
def test_stopcar_stops_a_slow_run_with_whole_files(tmp_path, tag, kind):
    process = start(relaxation(tmp_path), "slow:0.5" if tag == "LSTOP" else "slow:60")
    try:
        wait_for(lambda: (tmp_path / "vasprun.xml").exists())
        (tmp_path / "STOPCAR").write_text(f"{tag} = .TRUE.\n")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
    read = vasprun(tmp_path)
    assert 1 <= len(read.ionic_steps) < 5
    assert f"{kind} stop encountered!  aborting job" in (tmp_path / "OUTCAR").read_text()
    assert Outcar(tmp_path / "OUTCAR").is_stopped == (kind == "soft")
    assert not (tmp_path / "STOPCAR").exists()


def custodian_of(folder, extra=(), most=3):
    """Custodian with the handlers and validators that atomate2 uses."""
    core = pytest.importorskip("custodian")
    pytest.importorskip("atomate2")
    from atomate2.vasp.run import _DEFAULT_VALIDATORS, DEFAULT_HANDLERS
    from custodian.vasp.jobs import VaspJob

    job = VaspJob(COMMAND, auto_npar=False, gamma_vasp_cmd=COMMAND)
    handlers = [type(handler)() for handler in DEFAULT_HANDLERS]
    return core.Custodian(
        [*handlers, *extra],
        [job],
        validators=list(_DEFAULT_VALIDATORS),
        max_errors=most,
        polling_time_step=0.2,
        monitor_freq=1,
        directory=str(folder),
    )


@pytest.fixture
def quietly(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(crysearch.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield monkeypatch


def corrections(custodian):
    return [entry for job in custodian.run_log for entry in job["corrections"]]


def test_custodian_accepts_a_good_run(tmp_path, quietly):
    custodian = custodian_of(relaxation(tmp_path))
    custodian.run()
    assert corrections(custodian) == []
    assert vasprun(tmp_path).converged


def test_custodian_repairs_zbrent(tmp_path, quietly):
    quietly.setenv(FAIL_VARIABLE, "zbrent")
    custodian = custodian_of(relaxation(tmp_path))
    custodian.run()
    [repair] = corrections(custodian)
    assert repair["errors"] == ["zbrent"]
    assert Incar.from_file(tmp_path / "INCAR")["EDIFF"] == 1e-6
    assert (tmp_path / "error.1.tar.gz").exists()
    # The second run went on from where the first stopped.
    started = vasprun(tmp_path).initial_structure
    assert not np.allclose(started.lattice.abc, 5.2, atol=1e-3)
    assert vasprun(tmp_path).converged


def test_custodian_gives_up_on_electrons_that_never_converge(tmp_path, quietly):
    quietly.setenv(FAIL_VARIABLE, "unconverged")
    pytest.importorskip("custodian")
    from custodian.custodian import CustodianError

    folder = write_input(tmp_path, NSW=0, NELM=5, ALGO="Normal", ISMEAR=0)
    custodian = custodian_of(folder, most=2)
    with pytest.raises(CustodianError):
        custodian.run()
    assert {error for entry in corrections(custodian) for error in entry["errors"]} == {
        "Unconverged"
    }


def test_custodian_refuses_a_crashed_run(tmp_path, quietly):
    quietly.setenv(FAIL_VARIABLE, "crash")
    pytest.importorskip("custodian")
    from custodian.custodian import ValidationError

    with pytest.raises(ValidationError):
        custodian_of(relaxation(tmp_path)).run()


def test_custodian_stops_a_run_at_its_wall_time(tmp_path, quietly):
    quietly.setenv(FAIL_VARIABLE, "slow:0.3")
    pytest.importorskip("custodian")
    from custodian.vasp.handlers import WalltimeHandler

    handler = WalltimeHandler(wall_time=1, buffer_time=1)
    custodian_of(relaxation(tmp_path), extra=[handler]).run()
    assert "Walltime reached" in (tmp_path / "custodian.json").read_text()
    assert Outcar(tmp_path / "OUTCAR").is_stopped
    assert 1 <= len(vasprun(tmp_path).ionic_steps) < 13
