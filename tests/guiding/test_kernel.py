"""The compiled loss: the fingerprint's own distance, and the gradient of finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crysearch.fingerprints import (
    RadialDistributionFunction,
    pearson_distance,
    pearson_distance_matrix,
)
from crysearch.guiding import Guide, GuidingSettings, kernel
from crysearch.guiding.parameters import CrystalParameters, position_tables
from crysearch.guiding.stages import make_stages
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from guided_crystals import TIN_SELENIDE, known, request_in_group, silicon

RDFS = {
    "g": RadialDistributionFunction(),
    "n": RadialDistributionFunction(quantity="n"),
    "g by species": RadialDistributionFunction(species=("Se", "Sn")),
    "n by species": RadialDistributionFunction(species=("Sn", "Se", "O"), quantity="n"),
    "another grid": RadialDistributionFunction(cutoff=5.5, grid_points=97, smearing=0.11),
    "narrow": RadialDistributionFunction(cutoff=6.0, grid_points=120, smearing=0.02),
}


class Loss:
    """The compiled loss of one crystal as a function of its parameters."""

    def __init__(self, guide: Guide, batch: CrystalBatch, row: int, target: int = 0) -> None:
        self.guide, self.row, self.target = guide, row, target
        parameters = CrystalParameters.of(batch)
        self.crystals = guide._crystals(parameters)
        self.work = guide._work(parameters)
        free = position_tables().columns[parameters.positions[row, : parameters.orbits[row]]]
        values = [
            parameters.coordinates[row, orbit, column]
            for orbit, columns in enumerate(free)
            for column in columns[columns >= 0]
        ]
        cell = parameters.cells[row]
        self.start = np.array([*values, *cell[cell != 0.0]])

    def __call__(self, p: np.ndarray, stage: int) -> tuple[float, float, float, np.ndarray]:
        padded = np.zeros(self.work.rows.shape[1])
        padded[: len(p)] = p
        values = kernel.loss_and_gradient(
            self.row, padded, stage, self.target, self.crystals, self.guide._stage_arrays,
            self.guide._rules, self.guide._tables, self.work,
        )  # fmt: skip
        return *values, self.work.rows[kernel.GRADIENT, : len(p)].copy()


def differences(loss: Loss, stage: int, step: float = 2e-5) -> np.ndarray:
    """Fourth-order central differences."""
    result = np.zeros(len(loss.start))
    for n in range(len(loss.start)):
        values = []
        for shift in (-2, -1, 1, 2):
            p = loss.start.copy()
            p[n] += shift * step
            values.append(loss(p, stage)[0])
        result[n] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return result


def check_gradient(guide: Guide, batch: CrystalBatch, row: int) -> None:
    loss = Loss(guide, batch, row)
    for stage in range(len(guide.settings.smearings) + 1):
        value, _, _, gradient = loss(loss.start, stage)
        assert np.isfinite(value)
        expected = differences(loss, stage)
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(gradient / scale, expected / scale, atol=2e-6)


@pytest.mark.parametrize("name", RDFS)
def test_gradient(name: str) -> None:
    rdf = RDFS[name]
    request = TIN_SELENIDE if rdf.species else silicon(8)
    formula = "SnSe" if rdf.species else "Si"
    smearings = (0.40, 0.15) if rdf.cutoff > 7 else (0.20,)
    settings = GuidingSettings(
        smearings=smearings,
        steps=(50,) * (len(smearings) + 1),
        longest_steps=(0.1,) * (len(smearings) + 1),
    )
    guide = Guide(rdf, known(formula, rdf), request, settings)
    batch = create_sampler("wyckoff", request).sample(12, 7)
    for row in range(12):
        check_gradient(guide, batch, row)


@pytest.mark.parametrize("group", [1, 2, 5, 14, 43, 62, 88, 122, 146, 155, 166, 186, 205, 227, 230])
def test_gradient_in_groups_of_all_kinds(group: int) -> None:
    """Also with short distances, whose penalty counts."""
    request = request_in_group(group)
    batch = create_sampler("wyckoff", request).sample(2, 8)
    rdf = RadialDistributionFunction(cutoff=6.0, grid_points=150)
    target = rdf.compute(batch.lattices, batch.fractional_coordinates)[1:]
    distances = dict.fromkeys(request.minimum_distances, 1.9)
    longer = replace(request, minimum_distances=distances, volume=2 * request.volume)
    check_gradient(Guide(rdf, target, longer), batch, 0)


def test_gradient_at_fixed_volume() -> None:
    """The loss does not see a uniform scaling, and the gradient knows."""
    request = silicon(8)
    batch = create_sampler("wyckoff", request).sample(30, 9)
    rdf = RadialDistributionFunction()
    guide = Guide(rdf, known("Si", rdf), request, GuidingSettings(volume="fixed"))
    for row in range(30):
        loss = Loss(guide, batch, row)
        gradient = loss(loss.start, 2)[3]
        expected = differences(loss, 2)
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(gradient / scale, expected / scale, atol=2e-6)
        cell = loss.start[loss.work.first[loss.crystals.orbits[row]] :]
        np.testing.assert_allclose(gradient[-len(cell) :] @ cell / scale, 0.0, atol=1e-9)


@pytest.mark.parametrize("name", RDFS)
def test_distance_is_the_fingerprints(name: str) -> None:
    rdf = RDFS[name]
    request = TIN_SELENIDE if rdf.species else silicon(8)
    targets = known("SnSe" if rdf.species else "Si", rdf)
    settings = GuidingSettings(smearings=(), steps=(1,), longest_steps=(0.1,))
    guide = Guide(rdf, targets, request, settings)
    batch = create_sampler("wyckoff", request).sample(60, 10)
    symbols = [batch.species[s] for s in batch.species_index]
    prints = rdf.compute(batch.lattices, batch.fractional_coordinates, symbols)
    expected = pearson_distance_matrix(prints, targets)
    for row in range(0, 60, 3):
        for target in range(len(targets)):
            loss = Loss(guide, batch, row, target)
            assert loss(loss.start, 0)[1] == pytest.approx(expected[row, target], abs=1e-6)


def test_loss_is_smooth_where_atoms_cross_the_cut_off() -> None:
    """One cubic cell grown through the reach: the gradient is the slope all the way."""
    request = CrystalRequest(("Si",), (1,), 27.0, {("Si", "Si"): 2.1}, space_groups=(221,))
    batch = create_sampler("wyckoff", request).sample(1, 1)
    rdf = RadialDistributionFunction()
    guide = Guide(rdf, known("Si", rdf), request)
    loss = Loss(guide, batch, 0)
    edges = np.linspace(3.9, 4.4, 2001)  # second neighbours along a pass 8 Å and the reach
    for stage in range(3):
        values = [loss(np.array([edge]), stage) for edge in edges]
        losses = np.array([value[0] for value in values])
        slopes = np.array([value[3][0] for value in values])
        step = edges[1] - edges[0]
        middle = (losses[2:] - losses[:-2]) / (2 * step)
        curved = np.abs(np.diff(slopes)).max()
        assert np.abs(middle - slopes[1:-1]).max() < 0.02 * curved + 1e-6
        assert curved < 0.2


def test_targets_at_broader_smearings() -> None:
    """Broadened from the sharp RDF, a target is the RDF computed at the broad smearing."""
    batch = create_sampler("wyckoff", silicon(8)).sample(50, 12)
    for rdf in (RDFS["g"], RDFS["n"]):
        sharp = rdf.compute(batch.lattices, batch.fractional_coordinates)
        for stage in make_stages(rdf, (0.5, 0.3, 0.15, 0.08))[:-1]:
            broad = replace(
                rdf, cutoff=stage.end, grid_points=stage.points, smearing=stage.smearing
            ).compute(batch.lattices, batch.fractional_coordinates)
            made = stage.target(sharp, rdf)
            worst = max(pearson_distance(a, b) for a, b in zip(made, broad, strict=True))
            assert worst < 2e-4
            inner = stage.grid < stage.end - 2 * stage.smearing
            largest = broad.max(axis=1, keepdims=True)
            assert np.abs((made - broad) / largest)[:, inner].max() < 2e-3


def test_short_distances_cost_their_squared_shortfall() -> None:
    request = CrystalRequest(("Si",), (1,), 27.0, {("Si", "Si"): 2.1}, space_groups=(221,))
    batch = create_sampler("wyckoff", request).sample(1, 1)
    rdf = RadialDistributionFunction()
    guide = Guide(rdf, known("Si", rdf), request, GuidingSettings(penalty=2.0, margin=1.0))
    loss = Loss(guide, batch, 0)
    value, distance, closest, _ = loss(np.array([2.0]), 2)
    assert closest == pytest.approx(2.0 / 2.1, rel=1e-8)
    assert value - distance == pytest.approx(6 * 2.0 * (1 - 2.0 / 2.1) ** 2, rel=1e-6)
    value, distance, closest, _ = loss(np.array([2.2]), 2)
    assert value == distance and closest > 1.0
