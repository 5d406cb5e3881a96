"""What the stand-in reads, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints
from pymatgen.io.vasp.outputs import Vasprun

from crysearch.errors import VaspStandinError
from crysearch.vasp_standin.inputs import read_inputs
from crysearch.vasp_standin.run import run
from crysearch.vasp_standin.vasprun import _parameters
from vasp_standin.calculations import RELAX, diamond, write_input

SALT = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def refusal(folder) -> str:
    with pytest.raises(VaspStandinError) as caught:
        read_inputs(folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["INCAR", "POSCAR", "POTCAR"])
def test_a_missing_file_is_named(tmp_path, name, capsys):
    (write_input(tmp_path) / name).unlink()
    assert f"{name} is missing" in refusal(tmp_path)
    assert run(tmp_path) == 1
    printed = capsys.readouterr()
    assert f"{name} is missing" in printed.out and f"{name} is missing" in printed.err
    assert not (tmp_path / "vasprun.xml").exists()


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        (("Na",), "number of potentials on File POTCAR incompatible"),
        (("Cl", "Na"), "type information on POSCAR and POTCAR are incompatible"),
        (("Na_pv", "Si"), "type information on POSCAR and POTCAR are incompatible"),
    ],
)
def test_potentials_of_other_elements_are_refused(tmp_path, symbols, words):
    assert words in refusal(write_input(tmp_path, SALT, symbols))


def test_variants_and_repeated_blocks_are_taken(tmp_path):
    crystal = Structure(Lattice.cubic(5), ["Na", "Cl", "Na"], np.eye(3) / 3)
    inputs = read_inputs(write_input(tmp_path, crystal, ("Na_pv", "Cl", "Na_pv")))
    assert inputs.species == (("Na", 1), ("Cl", 1), ("Na", 1))
    assert inputs.electrons == 1 + 7 + 1


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"IBRION": 0, "NSW": 5}, "IBRION = 0"),
        ({"NSW": 5}, "IBRION = 0"),
        ({"IBRION": 6, "NSW": 5}, "IBRION = 6"),
        ({**RELAX, "ISIF": 9}, "ISIF = 9"),
        ({"LEPSILON": True}, "LEPSILON"),
        ({"LOPTICS": True}, "LOPTICS"),
        ({"ICHARG": 11}, "ICHARG"),
        ({"ALGO": "GW0"}, "ALGO"),
        ({"NELM": 0}, "NELM"),
        ({"KSPACING": -1.0}, "KSPACING"),
        ({"PSTRESS": "much"}, "PSTRESS"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path, tags, words):
    folder = write_input(tmp_path, **tags)
    if "KSPACING" in tags:
        (folder / "KPOINTS").unlink()
    assert words in refusal(folder)


def test_lists_of_k_points_and_partly_fixed_atoms_are_refused(tmp_path):
    folder = write_input(tmp_path / "a")
    points = Kpoints(style=Kpoints.supported_modes.Reciprocal, num_kpts=1, kpts_weights=[1])
    points.write_file(folder / "KPOINTS")
    assert "KPOINTS" in refusal(folder)
    flags = [[True, False, True]] + [[True] * 3] * 7
    assert "atom 1" in refusal(write_input(tmp_path / "b", selective=flags))


def test_an_engine_that_cannot_do_it_is_named(tmp_path, monkeypatch, capsys):
    assert run(write_input(tmp_path / "a", SALT, ("Na", "Cl"))) == 1
    assert "does not know Cl, Na" in capsys.readouterr().out
    assert "does not know" in (tmp_path / "a/OUTCAR").read_text()
    monkeypatch.setenv("CRYSEARCH_VASP_STANDIN_ENGINE", "vasp")
    assert run(write_input(tmp_path / "b")) == 1
    assert "'vasp' is unknown" in capsys.readouterr().out


lengths = st.floats(2.0, 20.0)
angles = st.floats(60.0, 110.0)


@settings(max_examples=30, deadline=None)
@given(st.tuples(lengths, lengths, lengths), st.tuples(angles, angles, angles), st.floats(0.1, 1))
def test_kspacing_gives_the_mesh_of_the_manual(tmp_path_factory, sides, corners, spacing):
    lattice = Lattice.from_parameters(*sides, *corners)
    folder = write_input(
        tmp_path_factory.mktemp("mesh"), Structure(lattice, ["Si"], [[0, 0, 0]]), KSPACING=spacing
    )
    (folder / "KPOINTS").unlink()
    mesh = read_inputs(folder).mesh
    # Neighbouring points are at most the spacing apart, and would not be with one point less.
    lengths = np.array(lattice.reciprocal_lattice.abc)
    counts = np.array(mesh.divisions)
    assert (lengths / counts <= spacing * 1.001).all()
    more = counts > 1
    assert (lengths[more] / (counts[more] - 1) > spacing * 0.999).all()


tag_values = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.8g}")),
    st.text("abcXYZ<>&-", min_size=1, max_size=8),
    st.lists(st.integers(-99, 99), min_size=1, max_size=5),
    st.lists(st.floats(-9, 9).map(lambda value: float(f"{value:.6g}")), min_size=2, max_size=5),
)


@settings(max_examples=60, deadline=None)
@given(value=tag_values)
def test_pymatgen_reads_every_tag_as_it_was(value):
    [line] = _parameters({"TAG": value})
    parser = object.__new__(Vasprun)
    parser.filename = "vasprun.xml"
    read = parser._parse_params(etree.fromstring(f"<incar>{line}</incar>"))
    expected = Incar({"TAG": value})["TAG"]
    assert read["TAG"] == (pytest.approx(expected) if isinstance(value, float) else expected)


def test_defaults_are_vasps(tmp_path):
    inputs = read_inputs(write_input(tmp_path, diamond()))
    assert (inputs.nsw, inputs.ibrion, inputs.isif, inputs.nelm) == (0, -1, 2, 60)
    assert (inputs.ediff, inputs.ediffg, inputs.pstress) == (1e-4, 1e-3, 0.0)
    assert inputs.mesh.divisions == (3, 3, 3)
