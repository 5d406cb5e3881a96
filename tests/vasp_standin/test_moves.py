"""What ISIF, IBRION, EDIFFG, PSTRESS and NSW do."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize_scalar

from crysearch.relaxation import RelaxationSettings, create_relaxer
from vasp_standin.calculations import RELAX, calculate, diamond

ENGINE = create_relaxer("stillinger-weber")
KBAR = 0.1 / 160.21766208
"""eV/Å^3."""


def sheared() -> Structure:
    """Silicon with displaced atoms in a triclinic cell, too small."""
    silicon = diamond(5.2, 0.1)
    strain = np.eye(3) + np.array([[0.03, 0.02, 0.0], [0.02, -0.02, 0.01], [0.0, 0.01, 0.0]])
    return Structure(Lattice(silicon.lattice.matrix @ strain), silicon.species, silicon.frac_coords)


def lowest(pressure: float = 0.0) -> tuple[float, float]:
    """Lattice constant (Å) and enthalpy (eV) of diamond silicon at a pressure in kBar."""

    def enthalpy(length: float) -> float:
        [result] = ENGINE.single_point([diamond(length)])
        return result.energy + pressure * KBAR * length**3

    found = minimize_scalar(enthalpy, bracket=(5.2, 5.5), options={"xtol": 1e-10})
    return float(found.x), float(found.fun)


@pytest.mark.parametrize("ibrion", [1, 2, 3])
def test_each_optimizer_reaches_our_relaxers_minimum(tmp_path, ibrion):
    tags = {**RELAX, "IBRION": ibrion, "NSW": 400}
    run = calculate(tmp_path, sheared(), **tags)
    settings = RelaxationSettings(force_tolerance=1e-4, stress_tolerance=1e-3)
    [expected] = ENGINE.relax([sheared()], settings)
    assert run.converged and expected.converged
    assert float(run.final_energy) == pytest.approx(expected.energy, abs=1e-4)
    assert run.final_structure.volume == pytest.approx(expected.structure.volume, rel=1e-3)
    last = run.ionic_steps[-1]
    assert np.linalg.norm(last["forces"], axis=1).max() < 0.001
    rows = np.linalg.norm(last["stress"], axis=1) * KBAR * run.final_structure.volume / 8
    assert rows.max() < 0.001


@pytest.mark.parametrize("isif", [0, 1, 2])
def test_a_fixed_cell_stays(tmp_path, isif):
    run = calculate(tmp_path, sheared(), **{**RELAX, "ISIF": isif})
    settings = RelaxationSettings(force_tolerance=1e-4, fixed_cell=True)
    [expected] = ENGINE.relax([sheared()], settings)
    assert run.converged
    assert np.allclose(run.final_structure.lattice.matrix, sheared().lattice.matrix, atol=1e-9)
    assert float(run.final_energy) == pytest.approx(expected.energy, abs=1e-5)
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() < 0.001


def shape(structure: Structure) -> np.ndarray:
    matrix = structure.lattice.matrix
    return matrix / np.linalg.det(matrix) ** (1 / 3)


@pytest.mark.parametrize(
    ("isif", "atoms", "form", "volume"),
    [
        (3, True, True, True),
        (4, True, True, False),
        (5, False, True, False),
        (6, False, True, True),
        (7, False, False, True),
        (8, True, False, True),
    ],
)
def test_isif_moves_what_it_says_and_nothing_else(tmp_path, isif, atoms, form, volume):
    run = calculate(tmp_path, sheared(), **{**RELAX, "ISIF": isif})
    before, after = sheared(), run.final_structure
    assert run.converged and len(run.ionic_steps) > 2
    moved = np.abs((after.frac_coords - before.frac_coords + 0.5) % 1 - 0.5).max()
    assert (moved > 1e-3) if atoms else (moved < 1e-9)
    deformed = np.abs(shape(after) - shape(before)).max()
    assert (deformed > 1e-3) if form else (deformed < 1e-8)
    change = abs(after.volume / before.volume - 1)
    assert (change > 1e-2) if volume else (change < 1e-8)
    stress = np.array(run.ionic_steps[-1]["stress"]) * KBAR * after.volume / 8
    pressure = np.trace(stress) / 3
    if volume:
        assert abs(pressure) < 0.001
    if form:
        assert np.abs(stress - np.eye(3) * pressure).max() < 0.001
    if atoms:
        assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() < 0.001


def test_volume_only_finds_the_lowest_energy_of_all_volumes(tmp_path):
    run = calculate(tmp_path, diamond(5.1), **{**RELAX, "ISIF": 7, "EDIFFG": -0.0001})
    length, energy = lowest()
    assert run.final_structure.lattice.abc == pytest.approx([length] * 3, abs=1e-4)
    assert float(run.final_energy) == pytest.approx(energy, abs=1e-6)


@pytest.mark.parametrize("isif", [3, 7])
def test_pstress_is_the_pressure_in_the_end_and_the_energy_an_enthalpy(tmp_path, isif):
    tags = {**RELAX, "ISIF": isif, "PSTRESS": 50.0, "EDIFFG": -0.0001}
    run = calculate(tmp_path, diamond(5.43), **tags)
    length, enthalpy = lowest(50.0)
    last = run.ionic_steps[-1]
    assert np.allclose(last["stress"], 50.0 * np.eye(3), atol=0.05)
    assert run.final_structure.lattice.abc == pytest.approx([length] * 3, abs=1e-4)
    assert last["e_fr_energy"] == pytest.approx(enthalpy, abs=1e-6)
    volume = run.final_structure.volume
    energy = last["electronic_steps"][-1]["e_fr_energy"]
    assert last["e_fr_energy"] - energy == pytest.approx(50 * KBAR * volume, abs=1e-6)
    assert "enthalpy is  TOTEN" in (tmp_path / "OUTCAR").read_text()


def test_a_positive_ediffg_bounds_the_change_of_energy(tmp_path):
    run = calculate(tmp_path, sheared(), **{**RELAX, "EDIFFG": 1e-3})
    energies = [step["e_fr_energy"] for step in run.ionic_steps]
    changes = np.abs(np.diff(energies))
    assert changes[-1] < 1e-3 and (changes[:-1] >= 1e-3).all()


def test_a_run_out_of_steps_is_not_converged(tmp_path):
    run = calculate(tmp_path, sheared(), **{**RELAX, "NSW": 3})
    assert len(run.ionic_steps) == 3
    assert run.converged_electronic and not run.converged_ionic
    assert "reached required accuracy" not in (tmp_path / "OUTCAR").read_text()


def test_atoms_fixed_by_selective_dynamics_stay(tmp_path):
    flags = [[False] * 3] * 2 + [[True] * 3] * 6
    run = calculate(tmp_path, sheared(), selective=flags, **{**RELAX, "ISIF": 2})
    moved = np.abs((run.final_structure.frac_coords - sheared().frac_coords + 0.5) % 1 - 0.5)
    assert moved[:2].max() < 1e-9 and moved[2:].max() > 1e-3
    assert run.converged
    assert "Selective dynamics" in (tmp_path / "CONTCAR").read_text()


def test_another_engine_takes_other_elements(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_VASP_STANDIN_ENGINE", "emt")
    alloy = Structure(Lattice.cubic(3.8), ["Cu", "Au", "Au", "Cu"], FCC)
    run = calculate(tmp_path, alloy, symbols=("Cu", "Au", "Cu"), **RELAX)
    [expected] = create_relaxer("emt").relax([alloy])
    assert run.atomic_symbols == ["Cu", "Au", "Au", "Cu"]
    assert float(run.final_energy) == pytest.approx(expected.energy, abs=1e-4)
    assert "engine emt" in (tmp_path / "OUTCAR").read_text()


FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
