from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState as AseEquationOfState
from ase.units import GPa
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.analysis import calculate_equation_of_state, fit_equation_of_state
from crysearch.analysis.equation_of_state import DEFAULT_VOLUMES
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationSettings, create_relaxer


@pytest.fixture(scope="module")
def emt():
    return create_relaxer("emt")


def metal(symbol: str, length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [symbol], [[0, 0, 0]])


@pytest.mark.parametrize(("symbol", "length"), [("Al", 3.994), ("Cu", 3.590)])
def test_against_ase(emt, symbol, length):
    result = calculate_equation_of_state(metal(symbol, length), emt)
    volumes, energies = [], []
    for volume in DEFAULT_VOLUMES:
        atoms = bulk(symbol, a=length * volume ** (1 / 3))
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    v0, e0, b0 = AseEquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    np.testing.assert_allclose(result.volumes, volumes, rtol=1e-10)
    np.testing.assert_allclose(result.energies, energies, atol=1e-9)
    assert result.equilibrium_volume == pytest.approx(v0, rel=1e-4)
    assert result.equilibrium_energy == pytest.approx(e0, abs=1e-4)
    assert result.bulk_modulus == pytest.approx(b0 / GPa, rel=1e-3)
    assert result.residual < 1e-4
    json.dumps(result.to_dict())


def birch_murnaghan(volume, v0, e0, b0, b1):
    x = (v0 / volume) ** (2 / 3)
    return e0 + 9 / 16 * v0 * b0 * ((x - 1) ** 3 * b1 + (x - 1) ** 2 * (6 - 4 * x))


@given(
    v0=st.floats(10, 40),
    e0=st.floats(-10, 10),
    b0=st.floats(10, 500),
    b1=st.floats(2, 7),
    centre=st.floats(0.98, 1.02),
)
def test_exact_energies_give_their_parameters(v0, e0, b0, b1, centre):
    volumes = v0 * centre * np.array(DEFAULT_VOLUMES)
    energies = birch_murnaghan(volumes, v0, e0, b0 * GPa, b1)
    result = fit_equation_of_state(volumes[::-1], energies[::-1], "X", "test")
    assert result.equilibrium_volume == pytest.approx(v0, rel=1e-5)
    assert result.equilibrium_energy == pytest.approx(e0, abs=1e-5)
    assert result.bulk_modulus == pytest.approx(b0, rel=1e-3)
    assert result.bulk_modulus_derivative == pytest.approx(b1, abs=0.05)


def test_ions_are_relaxed_at_each_volume():
    """An inner coordinate of a lower-symmetry crystal follows the volume and lowers the energy."""
    engine = create_relaxer("stillinger-weber")
    lattice = Lattice.tetragonal(5.2, 6.0)
    cell = Structure.from_spacegroup(
        "P4_2/mnm", lattice, ["Si", "Si"], [[0, 0, 0], [0.3, 0.3, 0.0]]
    )
    start = engine.relax([cell], RelaxationSettings(force_tolerance=1e-3))[0]
    assert start.converged
    fixed = engine.single_point(
        [start.structure.copy().scale_lattice(start.structure.volume * 1.1)]
    )
    result = calculate_equation_of_state(
        start.structure, engine, volumes=(0.94, 0.97, 1.0, 1.03, 1.06, 1.1)
    )
    assert result.energies[-1] < fixed[0].energy / len(start.structure) - 1e-6


def test_minimum_outside_the_range(emt):
    with pytest.raises(AnalysisError, match=r"at the end of the range .*relax the structure"):
        calculate_equation_of_state(metal("Cu", 3.9), emt)


def test_energies_that_follow_no_equation():
    volumes = 20 * np.array(DEFAULT_VOLUMES)
    energies = [0.0, -0.03, 0.01, -0.05, 0.0, -0.03, 0.02]
    with pytest.raises(AnalysisError, match=r"no equation of state of Si2 by test"):
        fit_equation_of_state(volumes, energies, "Si2", "test")


@pytest.mark.parametrize(
    "volumes", [(0.9, 1.0, 1.1), (0.9, 0.95, 1.0, 1.0, 1.1), (-1, 0.9, 0.95, 1.0, 1.1)]
)
def test_bad_volumes(emt, volumes):
    with pytest.raises(AnalysisError, match="at least five different"):
        calculate_equation_of_state(metal("Cu", 3.59), emt, volumes=volumes)


def test_failing_engine(emt):
    with pytest.raises(AnalysisError, match=r"by emt: the cell at 0\.94 of its volume failed"):
        calculate_equation_of_state(metal("Si", 3.59), emt)
