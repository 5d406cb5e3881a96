"""Free parameters: recovered from crystals of all space groups, and back again exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core.operations import SymmOp

from crysearch.errors import GuidingError
from crysearch.guiding.parameters import (
    CELL_FREEDOM,
    CrystalParameters,
    position_tables,
    without_symmetry,
)
from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.sampling.wyckoff import wyckoff_tables
from guided_crystals import crystals_of_group, request_in_group, silicon


@pytest.mark.parametrize("group", range(1, 231))
def test_there_and_back(group: int) -> None:
    batch = crystals_of_group(group, 2, seed=1)
    parameters = CrystalParameters.of(batch)
    lattices, coordinates = parameters.crystals()
    np.testing.assert_allclose(lattices, batch.lattices, atol=1e-12)
    difference = coordinates - batch.fractional_coordinates
    assert np.abs(difference - np.rint(difference)).max() < 1e-12
    assert (coordinates >= 0.0).all() and (coordinates < 1.0).all()


@pytest.mark.parametrize(
    ("group", "freedom"), [(1, 6), (2, 6), (14, 4), (62, 3), (136, 2), (166, 2), (194, 2), (227, 1)]
)
def test_free_cell_parameters(group: int, freedom: int) -> None:
    parameters = CrystalParameters.of(crystals_of_group(group, 1, seed=2))
    assert CELL_FREEDOM[parameters.systems[0]] == freedom


def test_every_position_has_as_many_components_as_freedom() -> None:
    free = (position_tables().columns >= 0).sum(axis=1)
    np.testing.assert_array_equal(free, wyckoff_tables().freedom)


def test_any_parameters_are_a_crystal_of_the_group() -> None:
    """Changed at random, the crystal still has all operations, to rounding."""
    rng = np.random.default_rng(3)
    tables = wyckoff_tables()
    for group in range(1, 231):
        batch = crystals_of_group(group, 1, seed=4)
        parameters = CrystalParameters.of(batch)
        columns = position_tables().columns[parameters.positions[0, : parameters.orbits[0]]]
        for orbit, free in enumerate(columns):
            for column in free[free >= 0]:
                parameters.coordinates[0, orbit, column] += rng.normal()
        parameters.cells[0] *= 1.0 + 0.1 * rng.random(6)
        moved = parameters.apply(batch)
        rotations, translations = tables.operations(tables.positions(group)[0])
        assert largest_misfit(moved, rotations, translations) < 1e-10, group


def largest_misfit(batch, rotations, translations) -> float:
    """Largest distance (Å) of an atom's image under an operation from an atom of its kind."""
    lattice, xyz = batch.lattices[0], batch.fractional_coordinates[0]
    metric = lattice @ lattice.T
    worst = 0.0
    for rotation, translation in zip(rotations, translations, strict=True):
        worst = max(worst, np.abs(rotation.T @ metric @ rotation - metric).max())
        images = xyz @ rotation.T + translation
        for kind in np.unique(batch.species_index):
            mine = batch.species_index == kind
            away = images[mine][:, None] - xyz[mine][None]
            away = np.linalg.norm((away - np.rint(away)) @ lattice, axis=2)
            worst = max(worst, away.min(axis=1).max())
    return worst


def test_turned_cells_are_turned_back() -> None:
    request = silicon(8)
    batch = create_sampler("wyckoff", request).sample(20, 5)
    turn = SymmOp.from_axis_angle_and_translation([1, 2, 3], 77.0).rotation_matrix
    turned = CrystalParameters.of(replace(batch, lattices=batch.lattices @ turn.T))
    lattices, _ = turned.crystals()
    np.testing.assert_allclose(lattices, batch.lattices, atol=1e-10)


def test_crystals_of_the_other_sampler() -> None:
    request = CrystalRequest(
        ("Al", "O"), (4, 6), 110.0, {("Al", "Al"): 2.2, ("Al", "O"): 1.6, ("O", "O"): 2.0}
    )
    batch = create_sampler("pyxtal", request).sample(6, 1)
    lattices, coordinates = CrystalParameters.of(batch).crystals()
    metric = lattices @ lattices.transpose(0, 2, 1)
    expected = batch.lattices @ batch.lattices.transpose(0, 2, 1)
    np.testing.assert_allclose(metric, expected, rtol=1e-9, atol=1e-9)
    difference = coordinates - batch.fractional_coordinates
    assert np.abs(difference - np.rint(difference)).max() < 1e-9


def test_an_empty_batch() -> None:
    batch = create_sampler("wyckoff", silicon(8)).sample(3, 1).select([])
    lattices, coordinates = CrystalParameters.of(batch).crystals()
    assert lattices.shape == (0, 3, 3) and len(coordinates) == 0


def test_without_symmetry_everything_is_free() -> None:
    batch = create_sampler("wyckoff", request_in_group(62)).sample(3, 1)
    free = CrystalParameters.of(without_symmetry(batch))
    assert (free.orbits == batch.fractional_coordinates.shape[1]).all()
    _, coordinates = free.crystals()
    np.testing.assert_allclose(coordinates, batch.fractional_coordinates, atol=1e-12)


def test_displacements_are_in_angstrom_and_from_the_seed() -> None:
    batch = create_sampler("wyckoff", silicon(8)).sample(400, 2)
    moved = without_symmetry(batch, 0.05, (1, 2))
    difference = moved.fractional_coordinates - batch.fractional_coordinates
    vectors = (difference - np.round(difference)) @ batch.lattices
    assert vectors.std() == pytest.approx(0.05, rel=0.03)
    again = without_symmetry(batch, 0.05, (1, 2)).fractional_coordinates
    np.testing.assert_array_equal(moved.fractional_coordinates, again)
    assert (without_symmetry(batch, 0.05, 3).fractional_coordinates != again).all()


def test_what_is_not_as_it_says_is_refused() -> None:
    batch = create_sampler("wyckoff", silicon(8)).sample(40, 6)
    row = int(np.flatnonzero(batch.space_groups > 15)[0])
    moved = batch.fractional_coordinates.copy()
    moved[row, 0] += 0.01
    with pytest.raises(GuidingError, match=f"crystal {row} of the batch has coordinates"):
        CrystalParameters.of(replace(batch, fractional_coordinates=moved))
    cells = batch.lattices.copy()
    cells[row, 2, 1] += 0.3
    with pytest.raises(GuidingError, match=f"crystal {row} of the batch has a cell"):
        CrystalParameters.of(replace(batch, lattices=cells))
    sites = batch.sites.copy()
    sites[row] = -1
    with pytest.raises(GuidingError, match=f"crystal {row} of the batch has sites"):
        CrystalParameters.of(replace(batch, sites=sites))
    cells = batch.lattices.copy()
    cells[row] = np.nan
    with pytest.raises(GuidingError, match=f"crystal {row} of the batch has a flat or non-finite"):
        CrystalParameters.of(replace(batch, lattices=cells))
