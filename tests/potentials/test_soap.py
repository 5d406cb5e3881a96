"""SOAP power spectra, against a quadrature of the density, and their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.polynomial.legendre import leggauss
from scipy.special import sph_harm_y

from crysearch.errors import TrainingError
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.soap import SoapFeatures, radial_functions

SMALL = {"cutoff": 4.0, "radial": 3, "angular": 3, "smoothing": 1.0, "width": 0.6}


def spectrum_by_quadrature(
    atoms: Atoms, centre: int, elements: tuple[str, ...], decay: float = math.inf, **soap: Any
) -> np.ndarray:
    """The normalised power spectrum of an atom by integrals of the density itself."""
    nodes, weights, functions = radial_functions(soap["cutoff"], soap["radial"])
    cosines, polar = leggauss(24)
    azimuths = np.arange(48) * 2.0 * np.pi / 48
    theta, phi = np.repeat(np.arccos(cosines), 48), np.tile(azimuths, 24)
    solid = np.repeat(polar, 48) * 2.0 * np.pi / 48
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    points = nodes[:, None, None] * unit
    i, j, d, vectors = neighbour_list("ijdD", atoms, soap["cutoff"])
    here = i == centre
    fade = np.clip((d - soap["cutoff"] + soap["smoothing"]) / soap["smoothing"], 0.0, 1.0)
    counts = 0.5 * (1.0 + np.cos(np.pi * fade)) / (1.0 + (d / decay) ** 4)
    sources = [(centre, np.zeros(3), 1.0), *zip(j[here], vectors[here], counts[here], strict=True)]
    channels = []
    for element in elements:
        density = np.zeros(points.shape[:2])
        for atom, place, count in sources:
            if atoms.symbols[atom] == element:
                away = ((points - place) ** 2).sum(axis=2)
                density += count * np.exp(-0.5 * away / soap["width"] ** 2)
        radial = (functions * nodes**2 * weights) @ density
        for row in radial:
            channels.append(
                [
                    [(row * solid * sph_harm_y(k, m, theta, phi).conj()).sum()
                     for m in range(-k, k + 1)]
                    for k in range(soap["angular"] + 1)
                ]
            )  # fmt: skip
    found = []
    for first in range(len(channels)):
        for second in range(first, len(channels)):
            for k in range(soap["angular"] + 1):
                pair = np.vdot(channels[first][k], channels[second][k]).real
                twice = 1.0 if first == second else math.sqrt(2.0)
                found.append(twice * pair / math.sqrt(2 * k + 1))
    values = np.array(found)
    return values / np.linalg.norm(values)


@pytest.mark.parametrize("decay", [None, 2.5])
def test_power_spectra_are_those_of_the_density(make_crystal, decay) -> None:
    crystal = make_crystal([8, 14, 14], 3)
    soap = SoapFeatures(("Si", "O"), decay=decay, **SMALL)
    assert soap.elements == ("O", "Si")
    (features,) = [soap.compute([crystal]).features]
    assert features.shape == (3, soap.size) == (3, 84)
    for atom in (0, 2):
        expected = spectrum_by_quadrature(
            crystal.to_atoms(), atom, soap.elements, **SMALL, decay=decay or math.inf
        )
        # The radial parts are splines.
        np.testing.assert_allclose(features[atom], expected, atol=2e-6)


def test_radial_functions_are_orthonormal() -> None:
    nodes, weights, functions = radial_functions(5.0, 8)
    overlap = (functions * nodes**2 * weights) @ functions.T
    np.testing.assert_allclose(overlap, np.eye(8), atol=1e-8)


def test_rows_of_derivatives_are_what_pulls(make_crystal) -> None:
    """The derivatives that are fitted to, and the way back that evaluates, are the same."""
    crystals = [make_crystal([8, 14, 14, 8], 5), make_crystal([14], 6)]
    environments = SoapFeatures(("O", "Si"), **SMALL).compute(crystals)
    rng = np.random.default_rng(0)
    by_features = rng.normal(size=environments.features.shape)
    forces, virials = environments.pull(by_features)
    again, strains = np.zeros(15), np.zeros((2, 6))
    for begin, end in ((0, 2), (2, 5)):
        rows, centres, targets = environments.derivatives(begin, end)
        along = np.einsum("rd,rd->r", rows, environments.features[centres])
        rows = rows - along[:, None] * environments.features[centres]
        slopes = (rows * by_features[centres]).sum(axis=1) / environments.norms[centres]
        for slope, centre, target in zip(slopes, centres, targets, strict=True):
            if target >= 0:
                again[target] -= slope
                again[3 * centre + target % 3] += slope
            else:
                strains[int(centre == 4), -1 - target] += slope
    np.testing.assert_allclose(again.reshape(5, 3), forces, atol=1e-11)
    voigt = virials[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(strains, voigt, atol=1e-11)
    np.testing.assert_allclose(forces[4], 0.0, atol=1e-12)


def test_pulls_are_derivatives(make_crystal) -> None:
    soap = SoapFeatures(("Si",), **SMALL)
    crystal = make_crystal([14, 14, 14], 8)
    environments = soap.compute([crystal])
    by_features = np.random.default_rng(1).normal(size=environments.features.shape)
    forces, _ = environments.pull(by_features)

    def value(step: float) -> float:
        positions = crystal.positions.copy()
        positions[1, 2] += step
        moved = Configuration(crystal.numbers, crystal.cell, positions)
        return float((soap.compute([moved]).features * by_features).sum())

    slope = (value(-2e-3) - 8 * value(-1e-3) + 8 * value(1e-3) - value(2e-3)) / 12e-3
    assert forces[1, 2] == pytest.approx(-slope, abs=1e-7)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smoothing": 5.0}, "smoothing is 5, more than the cutoff"),
        ({"width": 0.0}, "width is 0.0"),
        ({"radial": 0}, "radial is 0"),
        ({"angular": -1}, "angular is -1"),
        ({"decay": -2.0}, "decay is -2.0"),
        ({"elements": ()}, "elements is"),
    ],
)
def test_impossible_arguments_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        SoapFeatures(**({"elements": ("Si",), **SMALL} | changes))
