"""What pymatgen, ASE and emmet read in the stand-in's files."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from ase.io import read
from pymatgen.core import Structure
from pymatgen.io.vasp.outputs import Oszicar, Outcar, Poscar, Xdatcar

from crysearch.relaxation import create_relaxer
from crysearch.vasp_standin import MARK, VERSION, is_standin
from crysearch.vasp_standin.run import run
from vasp_standin.calculations import RELAX, calculate, diamond, vasprun, write_input


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    calculate(folder, diamond(5.3, 0.1), NSW=0, ENCUT=500.0, GGA="PE", MAGMOM=[0.6] * 8)
    return folder


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relaxed")
    calculate(folder, diamond(5.3, 0.1), **RELAX)
    return folder


def engine_result(structure):
    [result] = create_relaxer("stillinger-weber").single_point([structure])
    return result.evaluation


def test_a_static_run_gives_the_engines_numbers(static):
    run = vasprun(static)
    expected = engine_result(diamond(5.3, 0.1))
    [step] = run.ionic_steps
    assert run.converged
    assert float(run.final_energy) == pytest.approx(expected.energy, abs=2e-8)
    assert step["electronic_steps"] == [
        {name: pytest.approx(expected.energy, abs=2e-8) for name in ENERGIES}
    ]
    assert np.allclose(step["forces"], expected.forces, atol=1e-8)
    # kBar with the opposite sign.
    assert np.allclose(step["stress"], -10 * expected.stress, atol=1e-8)


ENERGIES = ("e_fr_energy", "e_wo_entrp", "e_0_energy")


def test_ase_reads_the_same_energy_forces_and_stress(static):
    atoms = read(static / "vasprun.xml")
    expected = engine_result(diamond(5.3, 0.1))
    assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=2e-8)
    assert np.allclose(atoms.get_forces(), expected.forces, atol=1e-8)
    assert np.allclose(atoms.get_stress(voigt=False) * 160.21766208, expected.stress, atol=1e-6)


def test_all_files_tell_of_the_same_relaxation(relaxed):
    run = vasprun(relaxed)
    outcar = Outcar(relaxed / "OUTCAR")
    oszicar = Oszicar(relaxed / "OSZICAR")
    contcar = Poscar.from_file(relaxed / "CONTCAR", check_for_potcar=False).structure
    steps = len(run.ionic_steps)
    assert run.converged and 2 < steps < RELAX["NSW"]
    assert outcar.final_energy == pytest.approx(float(run.final_energy), abs=1e-8)
    assert float(oszicar.final_energy) == pytest.approx(float(run.final_energy), abs=1e-6)
    assert [step["F"] for step in oszicar.ionic_steps] == pytest.approx(
        [step["e_fr_energy"] for step in run.ionic_steps], abs=1e-6
    )
    assert len(oszicar.electronic_steps) == len(Xdatcar(relaxed / "XDATCAR").structures) == steps
    for structure in (contcar, run.structures[-1], Xdatcar(relaxed / "XDATCAR").structures[-1]):
        assert np.allclose(structure.lattice.matrix, run.final_structure.lattice.matrix, atol=1e-8)
        assert np.allclose(structure.frac_coords, run.final_structure.frac_coords, atol=1e-8)
    assert engine_result(contcar).energy == pytest.approx(float(run.final_energy), abs=1e-7)
    assert np.allclose(outcar.drift[-1], 0.0, atol=1e-5)
    assert outcar.run_stats["cores"] == 1 and outcar.run_stats["Elapsed time (sec)"] > 0


def test_what_needs_electrons_is_absent(static):
    run = vasprun(static)
    outcar = Outcar(static / "OUTCAR")
    assert run.eigenvalues is None and run.efermi is None and not hasattr(run, "tdos")
    assert run.actual_kpoints == []
    assert outcar.efermi is None and outcar.nelect is None and outcar.total_mag is None
    assert outcar.magnetization == () and outcar.charge == ()
    with pytest.raises(ValueError, match="eigenvalues"):
        _ = run.eigenvalue_band_properties


def test_the_input_is_echoed(static):
    run = vasprun(static)
    assert run.incar["ENCUT"] == 500 and run.incar["MAGMOM"] == [0.6] * 8
    assert run.parameters["ENMAX"] == 500 and run.parameters["NELM"] == 60
    assert run.parameters["NELECT"] == 32
    assert run.kpoints.kpts == [(3, 3, 3)] and run.kpoints.style.name == "Gamma"
    assert run.potcar_symbols == ["PAW_PBE Si fake"]
    assert "functional tags are not honoured (GGA)" in (static / "OUTCAR").read_text()
    assert run.run_type == "PBE"


def test_every_file_names_the_stand_in(relaxed, capsys):
    write_input(relaxed.parent / "said", NSW=0)
    assert run(relaxed.parent / "said") == 0
    assert MARK in capsys.readouterr().out
    for name in ("vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR", "XDATCAR"):
        first = "".join((relaxed / name).read_text().splitlines(keepends=True)[:12])
        assert MARK in first and "not VASP" in first, name
    assert vasprun(relaxed).vasp_version == VERSION


def test_the_stand_in_is_told_from_vasp(relaxed, tmp_path):
    assert is_standin(relaxed) is True
    assert is_standin(relaxed / "vasprun.xml") is True
    assert is_standin(tmp_path) is None
    packed = tmp_path / "packed"
    packed.mkdir()
    with gzip.open(packed / "vasprun.xml.relax2.gz", "wb") as stream:
        stream.write((relaxed / "vasprun.xml").read_bytes())
    assert is_standin(packed) is True
    other = tmp_path / "other"
    other.mkdir()
    text = '<?xml version="1.0"?><modeling><generator><i name="program">vasp</i></generator>'
    (other / "vasprun.xml").write_text(text)
    assert is_standin(other) is False
    (packed / "vasprun.xml.relax2.gz").write_bytes(b"\x1f\x8bbroken")
    assert is_standin(packed) is None


def test_the_title_is_not_marked_twice(relaxed, tmp_path):
    folder = write_input(tmp_path / "again", NSW=0)
    shutil.copy(relaxed / "CONTCAR", folder / "POSCAR")
    assert run(folder) == 0
    assert (folder / "CONTCAR").read_text().count(MARK) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_task_document_has_energies_and_no_bands(static, relaxed):
    tasks = pytest.importorskip("emmet.core.tasks")
    document = tasks.TaskDoc.from_directory(relaxed)
    assert document.state == "successful" and document.vasp_version == VERSION
    assert document.task_type.value == "Structure Optimization"
    assert document.output.energy == pytest.approx(float(vasprun(relaxed).final_energy))
    assert len(document.calcs_reversed[0].output.ionic_steps) == len(vasprun(relaxed).ionic_steps)
    # A static INCAR without IBRION, as atomate2 writes it.
    document = tasks.TaskDoc.from_directory(static)
    assert document.state == "successful" and document.task_type.value == "Static"
    output = document.calcs_reversed[0].output
    for field in ("bandgap", "cbm", "vbm", "efermi", "is_metal", "is_gap_direct", "mag_density"):
        assert getattr(output, field) is None, field
    assert output.dos_properties in ({}, None)
    assert document.input.nkpoints == 0
    assert isinstance(document.structure, Structure)
    assert "magmom" not in document.structure.site_properties
