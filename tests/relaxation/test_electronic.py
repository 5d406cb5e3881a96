"""Gaps from eigenvalues, and the k-points where they are looked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.dft.bandgap import bandgap
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.errors import RelaxationError
from crysearch.relaxation.electronic import (
    band_count,
    band_points,
    high_symmetry_path,
    k_mesh,
    structure_of_bands,
)

from .first_principles import diamond


def test_an_indirect_gap():
    found = structure_of_bands(np.array([[0.0, 2.0], [-1.0, 0.5], [-0.5, 1.0]]), 2, 0.2)
    assert (found.band_gap, found.is_metal, found.is_direct) == (0.5, False, False)
    assert (found.valence_band_maximum, found.conduction_band_minimum) == (0.0, 0.5)
    assert (found.fermi_energy, found.k_points) == (0.2, 3)


def test_a_direct_gap():
    found = structure_of_bands(np.array([[0.0, 0.8], [-1.0, 1.5]]), 2, 0.2)
    assert found.band_gap == pytest.approx(0.8)
    assert found.is_direct


def test_bands_that_overlap_or_hold_an_odd_electron_are_a_metal():
    for eigenvalues, electrons in (([[0.0, 2.0], [-3.0, -0.5]], 2), ([[0.0, 2.0, 3.0]], 3)):
        found = structure_of_bands(np.array(eigenvalues), electrons, 0.0)
        assert found.is_metal and found.band_gap == 0 and found.is_direct is None
        assert found.valence_band_maximum is None and found.conduction_band_minimum is None


@pytest.mark.parametrize(
    ("eigenvalues", "electrons", "message"),
    [
        ([[0.0]], 2, "1 bands for 2 electrons"),
        ([[0.0, 1.0]], 2.4, "2.4 electrons"),
        ([[0.0, math.nan]], 2, "not finite"),
        ([[0.0, 1.0]], 1, "at least one filled"),
    ],
)
def test_what_has_no_answer_is_an_error(eigenvalues, electrons, message):
    with pytest.raises(RelaxationError, match=message):
        structure_of_bands(np.array(eigenvalues), electrons, 0.0)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.floats(-3, 5),
)
def test_agrees_with_ase_where_the_fermi_energy_is_in_the_gap(points, filled, seed, shift):
    random = np.random.default_rng(seed)
    eigenvalues = np.sort(random.uniform(-2, 2, (points, 2 * filled)), axis=1)
    eigenvalues[:, filled:] += shift
    eigenvalues.sort(axis=1)
    found = structure_of_bands(eigenvalues, 2.0 * filled, 0.0)
    top, bottom = eigenvalues[:, filled - 1].max(), eigenvalues[:, filled].min()
    assert found.is_metal == (top >= bottom)
    if found.is_metal:
        return
    middle = (top + bottom) / 2
    gap, first, second = bandgap(eigenvalues=eigenvalues[None] - middle, efermi=0.0, output=None)
    assert found.band_gap == pytest.approx(gap, abs=1e-12)
    if first[1] == second[1]:
        assert found.is_direct


def test_a_mesh_is_no_coarser_than_asked_for():
    atoms = bulk("Si")
    for spacing in (0.1, 0.25, 0.7, 5.0):
        lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
        mesh = k_mesh(atoms, spacing)
        assert (lengths / mesh <= spacing * (1 + 1e-6)).all()
        assert (lengths / (np.array(mesh) - 1 + 1e-12) > spacing).all()


def test_the_mesh_of_a_supercell_is_the_folded_one():
    atoms = Atoms("Si", cell=[3.0, 3.1, 3.2], pbc=True)
    spacing = 2 * np.pi / 3.0 / 6
    assert k_mesh(atoms, spacing)[0] == 6
    assert k_mesh(atoms * (2, 1, 1), spacing)[0] == 3


def test_a_supercell_is_looked_at_in_its_primitive_cell():
    primitive, large = (band_points(s, 0.4) for s in (diamond(), diamond() * (2, 1, 2)))
    assert len(large.structure) == len(primitive.structure) == 2
    assert len(large.points) == len(primitive.points)
    assert large.structure.volume == pytest.approx(diamond().volume)
    assert primitive.settings["path"].startswith("GXWKGLUWLK,UX")


def test_the_path_meets_its_corners_and_is_three_times_denser():
    cell = bulk("Si").cell
    _, points = high_symmetry_path(cell, 0.1)
    for corner in cell.bandpath(npoints=0).special_points.values():
        assert np.linalg.norm(points - corner, axis=1).min() < 1e-9
    steps = 2 * np.pi * np.linalg.norm(np.diff(points, axis=0) @ cell.reciprocal().array, axis=1)
    # One step is the jump from K to U.
    assert (steps > 0.1 + 1e-9).sum() <= 1
    coarse = band_points(diamond(), 0.3)
    assert f"{len(points)} points" in coarse.settings["path"]


def test_a_crystal_without_symmetry_has_a_path():
    random = np.random.default_rng(3)
    lattice = Lattice.from_parameters(4.1, 5.2, 6.3, 71, 83, 95)
    found = band_points(Structure(lattice, ["Si"] * 4, random.random((4, 3))), 0.8)
    assert len(found.structure) == 4
    assert np.isfinite(found.points).all()


def test_there_is_always_an_empty_band():
    for electrons in range(1, 60):
        assert band_count(electrons) >= math.ceil(electrons / 2) + 4
