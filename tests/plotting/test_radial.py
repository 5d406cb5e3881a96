"""What the figures of radial distributions and networks show."""

from __future__ import annotations

import numpy as np
import pytest

from crysearch.errors import AnalysisError
from crysearch.plotting import Curve, Network, plot_networks, plot_radial_distributions

R = np.linspace(0.05, 9.95, 100)
G = 1 + np.exp(-((R - 2.7) ** 2) / 0.1) - np.exp(-(R**2))
NETWORK = Network(
    "glass",
    Curve("glass", R, G),
    Curve("glass", np.linspace(1, 179, 90), np.full(90, 1 / 180)),
    {3: 0.1, 4: 0.7, 5: 0.2},
)


def test_curves_with_bands():
    figure = plot_radial_distributions([Curve("Na–Cl", R, G, np.full(100, 0.1)), Curve("x", R, G)])
    (axes,) = figure.axes
    labels = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in labels] == ["Na–Cl", "x"]
    np.testing.assert_array_equal(labels[0].get_ydata(), G)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((G + 0.1).max())
    assert axes.get_ylim()[1] > (G + 0.1).max()


def test_networks_have_three_panels(tmp_path):
    path = tmp_path / "networks.png"
    radial, angular, counted = plot_networks([NETWORK, NETWORK], path).axes
    assert path.stat().st_size > 10_000
    heights = [bar.get_height() for bar in counted.patches]
    assert heights == pytest.approx([10, 70, 20] * 2)
    assert len(angular.lines) == 3
    legend = radial.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["glass", "glass"]
    drawn = [line.get_color() for line in angular.lines[:2]]
    assert [line.get_color() for line in legend.get_lines()] == drawn
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_and_too_many(count):
    with pytest.raises(AnalysisError, match=f"{count} curves: give 1 to 6"):
        plot_radial_distributions([Curve("x", R, G)] * count)
    with pytest.raises(AnalysisError, match=f"{count} networks"):
        plot_networks([NETWORK] * count)
