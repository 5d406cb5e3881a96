"""Reading UPF headers and choosing among files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from crysearch.errors import RelaxationError
from crysearch.relaxation.pseudopotentials import find_pseudopotential, read_pseudopotential

LDA = " SLA  PZ   NOGX NOGC"
PBE = "SLA  PW   PBX  PBC"


def write(
    folder: Path,
    name: str,
    element: str = "Si",
    kind: str = "NC",
    functional: str = LDA,
    valence: str = "4.000000000000000E+000",
    relativistic: str = "scalar",
) -> Path:
    """A file whose header is that of UPF 2."""
    path = folder / name
    path.write_text(
        '<UPF version="2.0.1">\n<PP_INFO>\nelement="Xx" is said elsewhere\n</PP_INFO>\n'
        f'<PP_HEADER generated=\'by "atomic"\' author=""\n element="{element:>2}"\n'
        f'pseudo_type="{kind}" relativistic="{relativistic}"\nfunctional="{functional}"\n'
        f'z_valence="{valence}"/>\n<PP_MESH dx="1">\n</PP_MESH>\n</UPF>\n'
    )
    return path


VERSION_1 = """\
<PP_INFO>
Generated using a program of old
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  Si                   Element
   US                  Ultrasoft pseudopotential
    F                  Nonlinear Core Correction
 SLA  PW   PBX  PBC    PBE  Exchange-Correlation functional
    4.00000000000      Z valence
  0.0000000  0.0000000 Suggested cutoff for wfc and rho
</PP_HEADER>
"""


def test_header_of_version_2(tmp_path):
    path = write(tmp_path, "Si.upf")
    read = read_pseudopotential(path)
    assert (read.element, read.functional, read.kind) == ("Si", "lda", "norm-conserving")
    assert read.valence == 4
    assert read.checksum == hashlib.sha256(path.read_bytes()).hexdigest()


def test_header_of_version_1(tmp_path):
    path = tmp_path / "Si.UPF"
    path.write_text(VERSION_1)
    read = read_pseudopotential(path)
    assert (read.element, read.functional, read.kind) == ("Si", "pbe", "ultrasoft")
    path.write_text(VERSION_1 + "<PP_ADDINFO>\n</PP_ADDINFO>\n")
    with pytest.raises(RelaxationError, match="fully relativistic"):
        read_pseudopotential(path)


@pytest.mark.parametrize(
    ("text", "functional"),
    [
        ("PBE", "pbe"),
        (" SLA  PW   PBE  PBE", "pbe"),
        ("SLA-PW-PBX-PBC", "pbe"),
        ("PZ", "lda"),
        (" SLA  PW   NOGX NOGC", "lda"),
        ("LDA   ", "lda"),
        ("PBESOL", None),
        ("SLA  PW   PSX  PSC", None),
        (" SLA  LYP  B88  BLYP", None),
        (" SLA  PW   TPSS TPSS", None),
    ],
)
def test_functionals(tmp_path, text, functional):
    assert read_pseudopotential(write(tmp_path, "a.upf", functional=text)).functional == functional


@pytest.mark.parametrize(
    "fault", [{"relativistic": "full"}, {"kind": "1/r"}, {"valence": "3.98148"}]
)
def test_what_cannot_be_used_says_so(tmp_path, fault):
    with pytest.raises(RelaxationError, match="not usable here"):
        read_pseudopotential(write(tmp_path, "Si.upf", **fault))


def test_what_is_no_upf_file_says_so(tmp_path):
    (tmp_path / "Si.upf").write_text("'PZ'\n'Si',4.0,2,2,3,.f.,2,.t.\n")
    with pytest.raises(RelaxationError, match="no header of a UPF file"):
        read_pseudopotential(tmp_path / "Si.upf")
    with pytest.raises(RelaxationError, match="cannot be read"):
        read_pseudopotential(tmp_path / "none.upf")


def test_the_cheapest_kind_and_the_newest_name(tmp_path):
    write(tmp_path, "Si.pz-us.UPF", kind="USPP")
    assert find_pseudopotential(tmp_path, "Si", "lda").path.name == "Si.pz-us.UPF"
    write(tmp_path, "Si.pz-kjpaw.0.1.UPF", kind="PAW")
    write(tmp_path, "si_lda_paw.1.0.upf", kind="PAW")
    assert find_pseudopotential(tmp_path, "Si", "lda").path.name == "si_lda_paw.1.0.upf"
    write(tmp_path, "Si.pz.UPF")
    write(tmp_path, "Si.rel.UPF", relativistic="full")
    write(tmp_path, "Si.pbe.UPF", functional=PBE)
    assert find_pseudopotential(tmp_path, "Si", "lda").path.name == "Si.pz.UPF"
    assert find_pseudopotential(tmp_path, "Si", "pbe").path.name == "Si.pbe.UPF"


def test_another_element_is_not_taken(tmp_path):
    write(tmp_path, "Co.UPF", element="Co")
    write(tmp_path, "C_of_another.UPF", element="Cr")
    with pytest.raises(RelaxationError, match=f"no LDA pseudopotential of C in {tmp_path}.*gpaw"):
        find_pseudopotential(tmp_path, "C", "lda")
    assert find_pseudopotential(tmp_path, "Co", "lda").element == "Co"
