"""The input files of the published protocol, against hand computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

pytest.importorskip("atomate2", reason="pip install 'crysearch[vasp]'")

from emmet.core.vasp.calc_types.utils import run_type

from crysearch.workflows.vasp.sets import LDARelaxSetGenerator, LDASetGenerator, k_mesh

SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])


@pytest.fixture(scope="module")
def relaxation():
    return LDARelaxSetGenerator().get_input_set(SILICON, potcar_spec=True)


def test_relaxation_of_silicon(relaxation):
    incar = relaxation["INCAR"]
    assert incar["GGA"].upper() == "CA"
    assert run_type(dict(incar)).value == "LDA"
    assert incar["ENCUT"] == 500
    assert incar["EDIFFG"] == -0.01
    assert (incar["ISIF"], incar["IBRION"], incar["NSW"]) == (3, 2, 99)
    assert incar["PREC"] == "Accurate"
    assert incar["EDIFF"] == 1e-6
    assert incar["LREAL"] is False
    assert (incar["ISMEAR"], incar["SIGMA"], incar["ISPIN"]) == (0, 0.05, 1)
    assert not {"METAGGA", "LDAU", "MAGMOM", "KSPACING"} & set(incar)
    assert relaxation["POTCAR.spec"] == "Si"
    assert LDARelaxSetGenerator().user_potcar_functional == "LDA_54"


def test_one_energy_has_the_settings_of_the_relaxation(relaxation):
    static = LDASetGenerator().get_input_set(SILICON, potcar_spec=True)["INCAR"]
    different = {
        key: value for key, value in relaxation["INCAR"].items() if static.get(key) != value
    }
    assert set(different) == {"EDIFFG", "IBRION", "ISIF", "NSW"}
    assert static["NSW"] == 0


def test_k_points_of_a_cubic_cell(relaxation):
    # 1 / (5.43 Å · 0.02 Å⁻¹) = 9.21: ten planes of k-points, with Γ on one of them.
    kpoints = relaxation["KPOINTS"]
    assert kpoints.kpts == [(10, 10, 10)]
    assert kpoints.style.name == "Gamma"
    assert kpoints.kpts_shift == (0, 0, 0)


@pytest.mark.parametrize(
    ("lattice", "mesh"),
    [
        # 1 / (0.02 a): 12.05, 11.24, 4.35.
        (Lattice.orthorhombic(4.15, 4.45, 11.5), (13, 12, 5)),
        # Exactly ten; a rounding error is not to make it eleven.
        (Lattice.cubic(5.0), (10, 10, 10)),
        # Hexagonal: |b₁| / 2π = 2 / (√3 a) = 0.3007 Å⁻¹: 15.04; 1 / (0.02 · 6.3): 7.94.
        (Lattice.hexagonal(3.84, 6.3), (16, 16, 8)),
        (Lattice.cubic(60.0), (1, 1, 1)),
    ],
)
def test_k_points_of_other_cells(lattice, mesh):
    assert k_mesh(lattice) == mesh


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.tuples(*[st.floats(2.0, 30.0)] * 3),
    angles=st.tuples(*[st.floats(60.0, 110.0)] * 3),
    spacing=st.floats(0.01, 0.1),
)
def test_the_spacing_is_met_and_no_denser_than_needed(lengths, angles, spacing):
    lattice = Lattice.from_parameters(*lengths, *angles)
    reciprocal = 2 * math.pi * np.linalg.norm(np.linalg.inv(lattice.matrix), axis=0)
    for length, divisions in zip(reciprocal, k_mesh(lattice, spacing), strict=True):
        assert length / divisions <= 2 * math.pi * spacing * (1 + 1e-5)
        if divisions > 1:
            assert length / (divisions - 1) > 2 * math.pi * spacing * (1 - 1e-5)


def test_tags_of_the_user_win():
    generator = LDARelaxSetGenerator(user_incar_settings={"ENCUT": 700, "NSW": 5, "LASPH": None})
    incar = generator.get_input_set(SILICON, potcar_spec=True)["INCAR"]
    assert (incar["ENCUT"], incar["NSW"]) == (700, 5)
    assert "LASPH" not in incar
    assert LDARelaxSetGenerator().get_input_set(SILICON, potcar_spec=True)["INCAR"]["ENCUT"] == 500
