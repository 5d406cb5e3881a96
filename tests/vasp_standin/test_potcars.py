"""Fake POTCARs that pymatgen and atomate2 take."""

from __future__ import annotations

import gzip

import pytest
from pymatgen.core import SETTINGS, Structure
from pymatgen.io.vasp.inputs import Potcar, PotcarSingle
from pymatgen.io.vasp.sets import MPRelaxSet

from crysearch.errors import VaspStandinError
from crysearch.vasp_standin.inputs import read_potentials
from crysearch.vasp_standin.potcars import FUNCTIONALS, fake_potcar, main, write_fake_potcars
from vasp_standin.calculations import diamond

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def potentials(tmp_path_factory):
    return write_fake_potcars(tmp_path_factory.mktemp("psp"), ["Si", "Sn_d", "Se", "Xe"])


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_pymatgen_finds_and_reads_them(potentials, functional, monkeypatch):
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(potentials))
    potcar = Potcar(["Sn_d", "Se"], functional=functional)
    assert [single.element for single in potcar] == ["Sn", "Se"]
    assert [single.symbol for single in potcar] == ["Sn_d", "Se"]
    assert [single.ZVAL for single in potcar] == [4.0, 6.0]
    assert all("fake" in single.TITEL for single in potcar)
    expected = "Perdew-Zunger81" if functional.startswith("LDA") else "PBE"
    assert all(single.functional == expected for single in potcar)
    assert all(single.potential_type == "PAW" for single in potcar)


def test_our_reader_agrees_with_pymatgens():
    text = "".join(fake_potcar(symbol) for symbol in ("W_sv", "Xe", "O"))
    ours = read_potentials(text)
    theirs = [
        PotcarSingle(part + "End of Dataset\n") for part in text.split("End of Dataset\n")[:3]
    ]
    assert [one.element for one in ours] == ["W", "Xe", "O"] == [one.element for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.header == other.header
        assert (one.valence, one.cutoff) == (other.ZVAL, other.ENMAX)
        assert one.mass == pytest.approx(other.POMASS)


def test_an_input_set_writes_them(potentials, tmp_path, monkeypatch):
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(potentials))
    structure: Structure = diamond()
    MPRelaxSet(structure, user_potcar_functional="PBE_54").write_input(tmp_path)
    assert "fake potential of the crysearch stand-in" in (tmp_path / "POTCAR").read_text()


def test_the_command_line(tmp_path, capsys):
    assert main([str(tmp_path), "Si", "--functional", "LDA_64"]) == 0
    [file] = tmp_path.rglob("POTCAR*")
    assert file.relative_to(tmp_path).as_posix() == "POT_LDA_PAW_64/POTCAR.Si.gz"
    assert "PMG_VASP_PSP_DIR" in capsys.readouterr().out
    assert main([str(tmp_path), "Sx"]) == 1
    assert "'Sx'" in capsys.readouterr().err


def test_a_real_potcar_is_never_overwritten(tmp_path):
    file = tmp_path / "POT_LDA_PAW_64/POTCAR.Si.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(b"PAW Si 02Apr1999"))
    with pytest.raises(VaspStandinError, match="not a fake one"):
        write_fake_potcars(tmp_path, ["Si"], ["LDA_64"])
    assert gzip.decompress(file.read_bytes()) == b"PAW Si 02Apr1999"
    with pytest.raises(VaspStandinError, match="LDA_99"):
        write_fake_potcars(tmp_path, ["Si"], ["LDA_99"])
