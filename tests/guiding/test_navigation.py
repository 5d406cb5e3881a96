"""Crystals for chosen targets: the best of many, the same whatever else is asked for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from crysearch.errors import GuidingError, TrainingError
from crysearch.fingerprints import RadialDistributionFunction, pearson_distance
from crysearch.guiding import GuidingSettings
from crysearch.guiding.navigation import (
    STREAM,
    DesignTarget,
    Navigator,
    line_targets,
    point_targets,
)
from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.sampling.conformance import violations

RDF = RadialDistributionFunction()
REQUESTS = {
    units: CrystalRequest(("Si",), (units,), 23.0 * units, {("Si", "Si"): 2.1}) for units in (2, 4)
}
SETTINGS = GuidingSettings(stop_distance=0.02)


def structure(lattice: Lattice, *points: tuple[float, float, float]) -> np.ndarray:
    return RDF.from_structures([Structure(lattice, ["Si"] * len(points), points)])[0]


@pytest.fixture(scope="module")
def targets() -> list[DesignTarget]:
    cubic = Lattice.cubic(5.43)
    primitive = Lattice(cubic.matrix @ (np.ones((3, 3)) - np.eye(3)) / 2)
    hexagonal = Lattice.hexagonal(2.66, 2.6)
    return [
        DesignTarget("diamond", structure(primitive, (0, 0, 0), (0.25, 0.25, 0.25))),
        DesignTarget("simple hexagonal", structure(hexagonal, (0, 0, 0))),
    ]


class LinearModel:
    """Decodes a point by adding what it says of two fingerprints."""

    latent_dimension = 2

    def __init__(self, fingerprints: np.ndarray) -> None:
        self.fingerprints = fingerprints

    def decode(self, latent: np.ndarray, conditions: np.ndarray | None = None) -> np.ndarray:
        scale = 1.0 if conditions is None else conditions
        return np.clip(latent, 0.0, None) @ self.fingerprints * scale


@pytest.fixture(scope="module")
def model(targets) -> LinearModel:
    return LinearModel(np.stack([target.fingerprint for target in targets]))


def navigator(**changes) -> Navigator:
    options = {"draw": 600, "descend": 60, "crystals": 4, "seed": 7} | changes
    return Navigator(RDF, REQUESTS, SETTINGS, **options)


@pytest.fixture(scope="module")
def found(targets) -> SimpleNamespace:
    guide = navigator()
    drawn: list[int] = []
    results = guide.design(targets, drawn.append)
    return SimpleNamespace(navigator=guide, results=results, drawn=drawn)


def test_line(model, targets):
    line = line_targets(model, ("a", [1.0, 0.0]), ("b", [0.0, 1.0]), 5)
    assert [target.label for target in line] == [f"a to b, {number}/5" for number in range(1, 6)]
    np.testing.assert_allclose(line[1].latent, [0.75, 0.25])
    np.testing.assert_allclose(line[0].fingerprint, targets[0].fingerprint)
    np.testing.assert_allclose(
        line[2].fingerprint, 0.5 * targets[0].fingerprint + 0.5 * targets[1].fingerprint
    )
    with pytest.raises(TrainingError, match="points"):
        line_targets(model, ("a", [1.0, 0.0]), ("b", [0.0, 1.0]), 1)


def test_a_line_of_a_conditional_model(model, targets):
    """The condition changes in equal steps: each end is decoded with its own."""
    line = line_targets(model, ("a", [1.0, 0.0]), ("b", [0.0, 1.0]), 3, (1.0, 3.0))
    assert [target.condition for target in line] == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(line[2].fingerprint, 3.0 * targets[1].fingerprint)
    middle = targets[0].fingerprint + targets[1].fingerprint
    np.testing.assert_allclose(line[1].fingerprint, middle)
    assert line_targets(model, ("a", [1.0, 0.0]), ("b", [0.0, 1.0]), 3)[0].condition is None


def test_a_point_that_decodes_to_nothing_is_refused(model):
    with pytest.raises(GuidingError, match=r"latent point \(-1, -2\): decodes to a constant"):
        point_targets(model, np.array([[1.0, 0.0], [-1.0, -2.0]]), ["a", "b"])


@pytest.mark.slow
def test_crystals_are_what_they_are_said_to_be(found, targets):
    assert found.drawn == [600, 600]
    for target, result in zip(targets, found.results, strict=True):
        assert result.target is target and result.set_out == 2 * 60
        assert 0 < len(result.crystals) <= 4 and result.distinct <= result.reached
        distances = [crystal.distance_after for crystal in result.crystals]
        assert distances == sorted(distances) and distances[-1] <= SETTINGS.wanted_distance
        assert result.nearest is not None
        for crystal in result.crystals:
            assert crystal.outcome == "reached"
            assert crystal.distance_after == pytest.approx(
                pearson_distance(crystal.fingerprint, target.fingerprint), abs=1e-6
            )
            assert crystal.distance_after < crystal.distance_before
            written = RDF.from_structures([crystal.crystal.structure(0)])[0]
            np.testing.assert_allclose(written, crystal.fingerprint, atol=1e-6)
            # The volume follows the target; all else is as in a random crystal.
            units = crystal.formula_units
            wide = CrystalRequest(
                ("Si",), (units,), 23.0 * units, {("Si", "Si"): 2.1}, volume_tolerance=0.95
            )
            assert violations(crystal.crystal, wide) == []


@pytest.mark.slow
def test_crystals_differ(found):
    for result in found.results:
        fingerprints = [crystal.fingerprint for crystal in result.crystals]
        for row, fingerprint in enumerate(fingerprints):
            assert all(pearson_distance(fingerprint, f) > 0.01 for f in fingerprints[:row])
        matcher = StructureMatcher(ltol=0.1, stol=0.1, angle_tol=3.0)
        structures = [crystal.crystal.structure(0) for crystal in result.crystals]
        for row, crystal in enumerate(structures):
            assert not any(matcher.fit(crystal, earlier) for earlier in structures[:row])


@pytest.mark.slow
def test_every_crystal_can_be_drawn_again(found):
    for result in found.results:
        for crystal in result.crystals:
            assert crystal.seed == (7, crystal.formula_units, 0, STREAM)
            sampler = create_sampler("wyckoff", REQUESTS[crystal.formula_units])
            again = sampler.sample(crystal.index + 1, crystal.seed).select([crystal.index])
            np.testing.assert_array_equal(again.lattices, crystal.start.lattices)


@pytest.mark.slow
def test_the_way_ends_at_the_crystal(found):
    for result in found.results:
        best = result.crystals[0]
        way = found.navigator.way(best, result.target)
        ends = [pearson_distance(way[k], result.target.fingerprint) for k in (0, -1)]
        assert ends == pytest.approx([best.distance_before, best.distance_after], abs=1e-6)


def summary(result) -> list[tuple]:
    crystals = [(c.seed, c.index, c.distance_after) for c in result.crystals]
    return [(result.set_out, result.reached, result.distinct), *crystals]


@pytest.mark.slow
def test_a_result_depends_on_nothing_else(found, targets, monkeypatch):
    alone = navigator().design([targets[1]])[0]
    assert summary(alone) == summary(found.results[1])
    assert summary(navigator(seed=8).design([targets[1]])[0]) != summary(alone)
    more = navigator(draw=900, descend=90).design([targets[1]])[0]
    assert more.reached >= alone.reached
    # Many batches: only the nearest crystals of all are moved, from each batch its own.
    monkeypatch.setattr("crysearch.guiding.navigation.BATCH", 250)
    several = navigator().design(targets)[0]
    assert several.set_out == 2 * 60
    assert len({crystal.seed for crystal in several.crystals}) > 1


@pytest.mark.slow
def test_a_target_out_of_reach_is_there_with_the_nearest(targets):
    strict = GuidingSettings(wanted_distance=1e-9, stop_distance=1e-9)
    result = Navigator(RDF, REQUESTS, strict, draw=40, descend=10).design(targets[1:])[0]
    assert (result.set_out, result.reached, result.distinct, result.crystals) == (20, 0, 0, [])
    assert result.nearest is not None and 0.0 < result.nearest.distance_after < 2.0
    assert result.nearest.outcome in ("too_far", "too_close")


@pytest.mark.parametrize("name", ["draw", "descend", "crystals"])
def test_numbers_are_checked(name):
    with pytest.raises(GuidingError, match=f"{name}: 0 is not positive"):
        navigator(**{name: 0})
    with pytest.raises(GuidingError, match="requests: empty"):
        Navigator(RDF, {}, SETTINGS)
