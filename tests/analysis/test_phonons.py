from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from pymatgen.core import Lattice, Structure

from crysearch.analysis import Phonons, calculate_elasticity, calculate_phonons
from crysearch.errors import AnalysisError
from crysearch.relaxation import create_relaxer

#: From the square root of eV/Å²/u to THz.
TO_TERAHERTZ = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi) * 1e-12


@pytest.fixture(scope="module")
def engine():
    return create_relaxer("stillinger-weber")


@pytest.fixture(scope="module")
def emt():
    return create_relaxer("emt")


@pytest.fixture(scope="module")
def diamond() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.430949), ["Si"], [[0, 0, 0]])


def copper(space_group: str, length: float) -> Structure:
    return Structure.from_spacegroup(space_group, Lattice.cubic(length), ["Cu"], [[0, 0, 0]])


@pytest.fixture(scope="module")
def silicon(diamond, engine) -> Phonons:
    return calculate_phonons(diamond, engine)


def at(result: Phonons, label: str) -> np.ndarray:
    """Frequencies at a special point, ascending."""
    segment = next(segment for segment in result.bands if label in segment.labels)
    return np.sort(segment.frequencies[0 if segment.labels[0] == label else -1])


def test_silicon_is_stable(silicon):
    assert silicon.is_stable
    assert silicon.is_relaxed
    assert silicon.imaginary_modes == ()
    assert silicon.minimum_frequency > 0
    assert silicon.acoustic_residual < 1e-4
    assert (silicon.supercell_atoms, silicon.displaced_cells) == (64, 1)
    np.testing.assert_array_equal(silicon.supercell_matrix, 2 * np.eye(3, dtype=int))
    json.dumps(silicon.to_dict())


def test_analytic_second_derivatives(silicon, diamond):
    """Γ and X of the primitive cell fold onto Γ of the cube, whose Hessian matscipy knows."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
        Stillinger_Weber_PRB_31_5262_Si,
        StillingerWeber,
    )

    atoms = Atoms(
        ["Si"] * 8,
        cell=diamond.lattice.matrix,
        scaled_positions=diamond.frac_coords,
        pbc=True,
    )
    calculator = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    atoms.calc = calculator
    hessian = calculator.get_property("hessian", atoms).toarray() / atoms.get_masses()[0]
    squares = np.linalg.eigvalsh(hessian)
    expected = np.sqrt(np.clip(squares, 0, None)) * TO_TERAHERTZ
    folded = np.sort(np.concatenate([at(silicon, "G"), np.tile(at(silicon, "X"), 3)]))
    np.testing.assert_allclose(folded[3:], expected[3:], atol=0.005)


def test_ase_phonons(emt, tmp_path):
    """Forces of the same supercell, displaced and analysed by ASE."""
    from ase.calculators.emt import EMT
    from ase.phonons import Phonons as AsePhonons

    cell = copper("Fm-3m", 3.589817)
    result = calculate_phonons(cell, emt, supercell_matrix=3 * np.eye(3, dtype=int))
    atoms = Atoms(["Cu"] * 4, cell=cell.lattice.matrix, scaled_positions=cell.frac_coords, pbc=True)
    reference = AsePhonons(atoms, EMT(), supercell=(3, 3, 3), delta=0.01, name=tmp_path / "forces")
    reference.run()
    reference.read(acoustic=True)
    energies = np.sort(reference.band_structure(np.zeros((1, 3)), verbose=False)[0])
    expected = energies / (units._hplanck / units._e * 1e12)
    np.testing.assert_allclose(np.tile(at(result, "X"), 3).sum(), expected[3:].sum(), rtol=1e-3)
    np.testing.assert_allclose(np.sort(np.tile(at(result, "X"), 3)), expected[3:], atol=0.01)


def test_sound_velocities_agree_with_the_elastic_constants(silicon, diamond, engine):
    """Slopes of the acoustic bands towards X: √(C44/ρ) twice and √(C11/ρ)."""
    tensor = np.array(calculate_elasticity(diamond, engine).tensor)
    segment = silicon.bands[0]
    assert segment.labels == ("G", "X")
    step = segment.distances[1]
    slopes = np.sort(segment.frequencies[1])[:3] / step * 100  # THz Å -> m/s
    density = diamond.density * 1000
    expected = np.sqrt(np.array([tensor[3, 3], tensor[3, 3], tensor[0, 0]]) * 1e9 / density)
    np.testing.assert_allclose(slopes, expected, rtol=0.02)


def test_the_cell_does_not_matter(silicon, diamond, engine, disguise):
    other = calculate_phonons(disguise(diamond, 4), engine)
    for label in ("G", "X", "L"):
        np.testing.assert_allclose(at(other, label)[3:], at(silicon, label)[3:], atol=1e-3)


def test_bands_are_continuous(silicon):
    """Distances run on, and neighbouring segments share their point."""
    for one, other in zip(silicon.bands[:-1], silicon.bands[1:], strict=True):
        assert one.distances[-1] == pytest.approx(other.distances[0])
        if one.labels[1] == other.labels[0]:
            np.testing.assert_allclose(one.frequencies[-1], other.frequencies[0], atol=2e-6)
    assert silicon.bands[0].distances[-1] == pytest.approx(1 / 5.430949)


@pytest.mark.parametrize(
    ("space_group", "length", "point"),
    [("Im-3m", 2.855449, None), ("Pm-3m", 2.418781, (0.5, 0.5, 0.0))],
)
def test_unstable_copper(emt, space_group, length, point):
    result = calculate_phonons(copper(space_group, length), emt, minimum_length=9)
    assert not result.is_stable
    assert result.is_relaxed
    assert result.minimum_frequency < -1
    assert result.imaginary_modes[0].frequency == result.minimum_frequency
    assert result.imaginary_mode_count >= len(result.imaginary_modes)
    if point is not None:
        assert sorted(np.abs(result.imaginary_modes[0].q)) == sorted(point)


def test_a_loose_tolerance_forgives(emt):
    cell = copper("Im-3m", 2.855449)
    loose = calculate_phonons(cell, emt, minimum_length=5, tolerance=50.0)
    assert loose.is_stable
    assert loose.imaginary_modes == ()
    assert loose.minimum_frequency < 0


def test_a_structure_that_is_not_at_rest_is_reported(diamond, engine):
    moved = Structure(diamond.lattice, diamond.species, diamond.frac_coords)
    moved.translate_sites([0], [0.02, 0, 0])
    result = calculate_phonons(moved, engine, minimum_length=5)
    assert not result.is_relaxed
    assert result.residual_force > 0.1


def test_the_narrowest_way_through_an_oblique_cell_counts(engine):
    lattice = Lattice.from_parameters(4, 4, 4, 55, 60, 65)
    cell = Structure(lattice, ["Si"], [[0, 0, 0]])
    result = calculate_phonons(cell, engine, minimum_length=6, points=5)
    vectors = np.array(result.supercell_matrix) @ np.array(
        # One atom: the conventional cell is the primitive one.
        result.cell
    )
    heights = 1 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    assert heights.min() >= 6 - 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maximum_atoms": 10}, r"\[2, 2, 2\] has 64 atoms, more than maximum_atoms=10"),
        ({"minimum_length": 0}, "minimum_length=0"),
        ({"displacement": float("nan")}, "displacement=nan"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"points": 1}, "points=1"),
        ({"supercell_matrix": [[1, 0], [0, 1]]}, "three rows"),
        ({"supercell_matrix": [[1.5, 0, 0], [0, 1, 0], [0, 0, 1]]}, "integers"),
        ({"supercell_matrix": [[0, 0, 0], [0, 1, 0], [0, 0, 1]]}, "positive"),
    ],
)
def test_bad_input(diamond, engine, options, message):
    with pytest.raises(AnalysisError, match=message):
        calculate_phonons(diamond, engine, **options)


def test_a_failing_engine_is_an_error(diamond, emt):
    with pytest.raises(AnalysisError, match="no phonons by emt: the supercell failed"):
        calculate_phonons(diamond, emt)


@pytest.mark.slow
def test_silicon_with_a_pretrained_potential():
    """Against measurements: 15.5 THz of the optical mode and a bulk modulus of 98 GPa."""
    engine = create_relaxer("sevennet-0", device="cpu", threads=1)
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.46), ["Si"], [[0, 0, 0]])
    relaxed = engine.relax([diamond.get_primitive_structure()])[0].structure
    result = calculate_phonons(relaxed, engine, displacement=0.03)
    assert result.is_stable
    assert at(result, "G")[-1] == pytest.approx(15.5, rel=0.25)
    elasticity = calculate_elasticity(relaxed, engine)
    assert elasticity.moduli.bulk_hill == pytest.approx(98, rel=0.2)
