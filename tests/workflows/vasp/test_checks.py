"""What is missing is said before any work starts."""

from __future__ import annotations

import sys

import pytest
from pymatgen.core import SETTINGS, Lattice, Structure

pytest.importorskip("atomate2", reason="pip install 'crysearch[vasp]'")

from crysearch.errors import VaspError
from crysearch.workflows.vasp import check_vasp
from crysearch.workflows.vasp.checks import command_problem


def test_all_is_there(standin, silicon):
    before = dict(SETTINGS)
    check_vasp([silicon], "lda")
    check_vasp([silicon, silicon], "mp-r2scan")
    assert dict(SETTINGS) == before


def test_everything_that_is_missing_is_named(standin, silicon, potentials):
    standin.setenv("CRYSEARCH_VASP_COMMAND", "srun-nowhere vasp_std")
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0] * 3, [0.5] * 3]
    )
    with pytest.raises(VaspError) as caught:
        check_vasp([silicon, salt], "lda")
    said = str(caught.value)
    assert "srun-nowhere and vasp_std is not on the PATH" in said
    assert "no usable POTCAR of LDA_54 for Cl, Na_pv" in said
    assert f"{potentials}/POT_LDA_PAW_54" in said
    assert "CRYSEARCH_VASP_COMMAND" in said
    assert "CRYSEARCH_VASP_POTENTIALS" in said


def test_without_settings_those_of_pymatgen_count(standin, silicon, potentials):
    standin.delenv("CRYSEARCH_VASP_POTENTIALS")
    standin.delitem(SETTINGS, "PMG_VASP_PSP_DIR", raising=False)
    with pytest.raises(VaspError, match="no folder is set"):
        check_vasp([silicon], "lda")
    standin.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(potentials))
    check_vasp([silicon], "lda")


def test_a_broken_potcar_is_no_potcar(standin, silicon, tmp_path):
    folder = tmp_path / "broken" / "POT_LDA_PAW_54"
    folder.mkdir(parents=True)
    (folder / "POTCAR.Si").write_text("  PAW Si\n")
    standin.setenv("CRYSEARCH_VASP_POTENTIALS", str(folder.parent))
    with pytest.raises(VaspError, match="no usable POTCAR of LDA_54 for Si"):
        check_vasp([silicon], "lda")


def test_commands(monkeypatch):
    monkeypatch.setenv("HERE", sys.executable)
    assert command_problem("$HERE -m vasp") is None
    for command in ("vasp_std", f"{sys.executable} -n 8 /nowhere/vasp_gam", "", "'"):
        assert "vasp_command" in (command_problem(command) or "")
