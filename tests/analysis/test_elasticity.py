from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.units import GPa
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core import Lattice, Structure

from crysearch.analysis import (
    analyse_mechanical_stability,
    average_moduli,
    calculate_elasticity,
    calculate_equation_of_state,
)
from crysearch.analysis.elasticity import standard_axes
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationSettings, create_relaxer


@pytest.fixture(scope="module")
def engine():
    return create_relaxer("stillinger-weber")


@pytest.fixture(scope="module")
def emt():
    return create_relaxer("emt")


def analytic(structure: Structure) -> np.ndarray:
    """Elastic constants with relaxed ions by matscipy's second derivatives, in GPa."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
        Stillinger_Weber_PRB_31_5262_Si,
        StillingerWeber,
    )
    from matscipy.elasticity import full_3x3x3x3_to_Voigt_6x6

    atoms = Atoms(
        [site.specie.symbol for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
    calculator = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    atoms.calc = calculator
    constants = calculator.get_property("elastic_constants", atoms)
    return np.array(full_3x3x3x3_to_Voigt_6x6(constants)) / GPa


@pytest.fixture(scope="module")
def diamond(engine) -> Structure:
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    settings = RelaxationSettings(force_tolerance=1e-4, stress_tolerance=1e-3)
    return engine.relax([cell], settings)[0].structure


@pytest.fixture(scope="module")
def silicon_elasticity(diamond, engine):
    return calculate_elasticity(diamond, engine)


def test_published_constants_of_stillinger_weber_silicon(silicon_elasticity):
    """151.4, 76.4 and 56.4 GPa: Cowley, Phys. Rev. Lett. 60, 2379 (1988)."""
    tensor = np.array(silicon_elasticity.tensor)
    np.testing.assert_allclose(
        [tensor[0, 0], tensor[0, 1], tensor[3, 3]], [151.4, 76.4, 56.4], atol=0.3
    )
    np.testing.assert_array_equal(tensor, tensor.T)
    assert silicon_elasticity.space_group == 227
    assert silicon_elasticity.asymmetry < 0.01
    assert silicon_elasticity.fit_residual < 0.05
    assert silicon_elasticity.residual_stress < 0.01
    assert analyse_mechanical_stability(tensor, 227).is_stable
    json.dumps(silicon_elasticity.to_dict())


def test_analytic_constants(silicon_elasticity):
    """With relaxed ions, from second derivatives of the potential (matscipy)."""
    cell = Structure(Lattice(silicon_elasticity.cell), ["Si", "Si"], [[0, 0, 0], [0.25] * 3])
    # In the conventional axes, whatever the origin, diamond has one atom at 1/4 1/4 1/4.
    np.testing.assert_allclose(silicon_elasticity.tensor, analytic(cell), atol=0.3)


def test_the_cell_and_its_orientation_do_not_matter(diamond, engine, silicon_elasticity, disguise):
    other = calculate_elasticity(disguise(diamond, 4), engine)
    np.testing.assert_allclose(other.tensor, silicon_elasticity.tensor, atol=0.02)


def test_moduli(silicon_elasticity):
    """Closed forms of a cubic crystal."""
    moduli = silicon_elasticity.moduli
    tensor = np.array(silicon_elasticity.tensor)
    c11, c12, c44 = tensor[0, 0], tensor[0, 1], tensor[3, 3]
    assert moduli.bulk_hill == pytest.approx((c11 + 2 * c12) / 3)
    assert moduli.shear_voigt == pytest.approx((c11 - c12 + 3 * c44) / 5)
    assert moduli.shear_reuss == pytest.approx(5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))
    assert moduli.young == pytest.approx(2 * moduli.shear_hill * (1 + moduli.poisson))
    assert moduli.young == pytest.approx(3 * moduli.bulk_hill * (1 - 2 * moduli.poisson))


def test_an_isotropic_solid_has_no_anisotropy():
    bulk, shear = 100.0, 50.0
    tensor = np.diag([shear] * 6)
    tensor[:3, :3] = 2 * shear * np.eye(3) + bulk - 2 * shear / 3
    moduli = average_moduli(tensor)
    assert moduli.universal_anisotropy == pytest.approx(0, abs=1e-9)
    assert (moduli.bulk_reuss, moduli.shear_reuss) == pytest.approx((bulk, shear))


def test_hexagonal_silicon(engine):
    """Lonsdaleite: the form of the class, and ions that move within the strained cell."""
    c = 5.43 / np.sqrt(2) * np.sqrt(8 / 3)
    lattice = Lattice.hexagonal(5.43 / np.sqrt(2), c)
    cell = Structure.from_spacegroup("P6_3/mmc", lattice, ["Si"], [[1 / 3, 2 / 3, 0.0625]])
    settings = RelaxationSettings(force_tolerance=1e-4, stress_tolerance=1e-3)
    relaxed = engine.relax([cell], settings)[0].structure
    result = calculate_elasticity(relaxed, engine)
    tensor = np.array(result.tensor)
    assert result.space_group == 194
    assert tensor[5, 5] == pytest.approx((tensor[0, 0] - tensor[0, 1]) / 2)
    assert result.asymmetry < 0.1
    verdict = analyse_mechanical_stability(tensor, 194)
    assert verdict.is_stable
    assert verdict.laue_class == "hexagonal"
    # z along the sixfold axis.
    np.testing.assert_allclose(result.cell[2], [0, 0, relaxed.lattice.c], atol=1e-3)


@pytest.mark.parametrize(("space_group", "length"), [("Im-3m", 2.855449), ("Pm-3m", 2.418781)])
def test_unstable_copper(emt, space_group, length):
    """Neither body-centred nor simple cubic copper resists shear; no averages are made up."""
    cell = Structure.from_spacegroup(space_group, Lattice.cubic(length), ["Cu"], [[0, 0, 0]])
    result = calculate_elasticity(cell, emt)
    assert result.residual_stress < 0.01
    assert result.moduli is None
    verdict = analyse_mechanical_stability(result.tensor, result.space_group)
    assert not verdict.is_stable
    failing = [condition.expression for condition in verdict.conditions if not condition.holds]
    assert failing == (["C11 - C12"] if space_group == "Im-3m" else ["C44"])


def test_bulk_modulus_of_copper_from_energies(emt):
    """(C11 + 2 C12) / 3 is the curvature of ASE's own energies in the volume."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.eos import EquationOfState

    volumes, energies = [], []
    for scale in np.linspace(0.985, 1.015, 7):
        atoms = bulk("Cu", a=3.589817 * scale)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.589817), ["Cu"], [[0, 0, 0]])
    result = calculate_elasticity(cell, emt)
    assert result.moduli.bulk_voigt == pytest.approx(modulus / GPa, rel=0.005)


@pytest.mark.parametrize(
    ("space_group", "lattice", "system"),
    [
        ("P4/mmm", Lattice.tetragonal(3.0, 4.1), "tetragonal"),
        ("R-3m", Lattice.hexagonal(3.0, 8.0), "trigonal"),
        ("P6/mmm", Lattice.hexagonal(3.0, 2.5), "hexagonal"),
        ("Fm-3m", Lattice.cubic(4.0), "cubic"),
        ("Pmmm", Lattice.orthorhombic(3.0, 5.0, 4.0), "orthorhombic"),
        ("P2/m", Lattice.monoclinic(5.0, 4.0, 3.0, 100), "monoclinic"),
    ],
)
def test_standard_axes_agree_with_pymatgen(space_group, lattice, system):
    """A tensor averaged over the point group is the same in both choices, up to signs."""
    structure = Structure.from_spacegroup(space_group, lattice, ["Cu"], [[0, 0, 0]])
    rng = np.random.default_rng(3)
    matrix = rng.uniform(size=(6, 6))
    tensor = ElasticTensor.from_voigt(matrix + matrix.T).fit_to_structure(structure)
    axes = standard_axes(lattice, system)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    own = np.array(tensor.rotate(axes).voigt)
    np.testing.assert_allclose(
        np.abs(own), np.abs(np.array(tensor.convert_to_ieee(structure).voigt)), atol=1e-9
    )


def test_axes_of_a_flat_tetragonal_cell():
    """z stays on the fourfold axis where c is the shorter one."""
    np.testing.assert_allclose(standard_axes(Lattice.tetragonal(4.0, 3.0), "tetragonal"), np.eye(3))


@pytest.mark.parametrize(
    "matrix",
    [
        Lattice.from_parameters(3, 4, 5, 80, 95, 70).matrix,
        Lattice.from_parameters(5, 4, 3, 80, 95, 70).matrix[[1, 0, 2]],
    ],
)
def test_axes_of_a_triclinic_cell(matrix):
    axes = standard_axes(Lattice(matrix), "triclinic")
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    shortest = min(matrix, key=np.linalg.norm)
    np.testing.assert_allclose(axes[2], shortest / np.linalg.norm(shortest), atol=1e-12)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [("mp-92", "tetragonal I"), ("mp-1079297", "monoclinic"), ("mp-165", "hexagonal")],
)
def test_real_crystals_of_lower_symmetry(silicon, engine, identifier, expected):
    """The tensor has the form of its class, and Voigt's bulk modulus is that of the energies."""
    settings = RelaxationSettings(force_tolerance=1e-3, stress_tolerance=0.01)
    relaxed = engine.relax([silicon[identifier]], settings)[0].structure
    result = calculate_elasticity(relaxed, engine)
    verdict = analyse_mechanical_stability(result.tensor, result.space_group)
    assert (verdict.laue_class, verdict.is_stable) == (expected, True)
    curve = calculate_equation_of_state(relaxed, engine)
    assert result.moduli.bulk_voigt == pytest.approx(curve.bulk_modulus, rel=0.03)


def test_ions_that_leave_their_places_are_an_error(silicon, engine):
    """Hexagonal close-packed silicon: strain sends the ions from a saddle into other minima."""
    settings = RelaxationSettings(force_tolerance=1e-3, stress_tolerance=0.01)
    relaxed = engine.relax([silicon["mp-10649"]], settings)[0].structure
    with pytest.raises(AnalysisError, match="ions leave their places in a strained cell"):
        calculate_elasticity(relaxed, engine)


def test_a_failing_cell_is_an_error(diamond, emt):
    with pytest.raises(AnalysisError, match=r"by emt: the unstrained cell failed"):
        calculate_elasticity(diamond, emt)


def test_an_unconverged_cell_is_an_error(diamond, engine):
    settings = RelaxationSettings(force_tolerance=1e-6, max_steps=1)
    with pytest.raises(AnalysisError, match=r"strain .* kept a force of .* max_steps=1"):
        calculate_elasticity(diamond, engine, settings=settings)


@pytest.mark.parametrize(
    ("strains", "message"),
    [
        ((), "give different numbers"),
        ((0.0, 0.01), "not 0"),
        ((-0.2, 0.2), "0.05"),
        ((0.005, 0.01), "both signs"),
        ((-0.01, float("nan")), "different numbers"),
    ],
)
def test_bad_strains(diamond, engine, strains, message):
    with pytest.raises(AnalysisError, match=message):
        calculate_elasticity(diamond, engine, strains=strains)


def test_no_space_group(diamond, engine):
    broken = diamond.copy()
    broken.append("Si", broken[0].frac_coords)
    with pytest.raises(AnalysisError, match="no space group"):
        calculate_elasticity(broken, engine)
    with pytest.raises(AnalysisError, match="symmetry_tolerance=-1"):
        calculate_elasticity(diamond, engine, symmetry_tolerance=-1)
