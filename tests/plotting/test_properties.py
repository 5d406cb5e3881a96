"""Figures of equations of state, phonon bands and convex hulls."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from crysearch.errors import AnalysisError
from crysearch.plotting import plot_equations_of_state, plot_hull, plot_phonon_bands


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def equation(formula: str, v0: float, e0: float, engine: str = "emt") -> dict:
    volumes = v0 * np.linspace(0.94, 1.06, 7)
    x = (v0 / volumes) ** (2 / 3)
    modulus = 100 / 160.21766208
    energies = e0 + 9 / 16 * v0 * modulus * ((x - 1) ** 3 * 4.5 + (x - 1) ** 2 * (6 - 4 * x))
    return {
        "formula": formula,
        "volumes": volumes.tolist(),
        "energies": energies.tolist(),
        "equilibrium_volume": v0,
        "equilibrium_energy": e0,
        "bulk_modulus": 100.0,
        "bulk_modulus_derivative": 4.5,
        "residual": 1e-5,
        "engine": engine,
    }


def bands(
    names: list[tuple[str, str]], lengths: list[float], low: float = 0.0, stable: bool = True
) -> dict:
    segments, start = [], 0.0
    for labels, length in zip(names, lengths, strict=True):
        distances = start + np.linspace(0, length, 11)
        wave = np.sin(np.linspace(0, np.pi, 11))
        segments.append(
            {
                "labels": labels,
                "distances": distances.tolist(),
                "frequencies": np.stack([low * wave, 5 + wave, 8 * wave], axis=1).tolist(),
            }
        )
        start += length
    return {
        "bands": segments,
        "tolerance": 0.1,
        "engine": "emt",
        "supercell_atoms": 108,
        "is_stable": stable,
        "is_relaxed": True,
        "residual_force": 0.0,
    }


def crystal(formula: str, formation: float | None, above: float | None, **more) -> dict:
    return {
        "entry_id": formula,
        "formula": formula,
        "scheme": "PBE",
        "formation_energy": formation,
        "energy_above_hull": above,
        **more,
    }


SALT = [
    crystal("Na", 0.0, 0.0),
    crystal("Cl2", 0.0, 0.0),
    crystal("NaCl", -1.8, 0.0),
    crystal("NaCl", -1.7, 0.1),
]

CROWDED = bands(
    [("G", "Y"), ("Y", "F"), ("F", "L"), ("I", "I1"), ("Z", "F1"), ("Y", "X1"), ("X", "G")],
    [1.0, 0.9, 1.1, 0.1, 1.0, 0.3, 1.0],
)

FIGURES = {
    "eos": lambda **k: plot_equations_of_state([equation("Cu4", 11.6, -3.5)], **k),
    "two eos": lambda **k: plot_equations_of_state(
        [equation("Cu4", 11.6, -3.5), equation("Cu2", 11.7, -3.4)], ["fcc", "bcc"], **k
    ),
    "bands": lambda **k: plot_phonon_bands(bands([("G", "X"), ("X", "W")], [1, 0.5]), "Cu", **k),
    "crowded bands": lambda **k: plot_phonon_bands(CROWDED, **k),
    "hull": lambda **k: plot_hull(SALT, [crystal("NaCl3", -1.0, -0.1)], **k),
    "levels": lambda **k: plot_hull(
        [crystal("Si", 0.0, 0.0)], [crystal("Si", 0.1, 0.1), crystal("Si", 0.4, 0.4)], **k
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_files(name, tmp_path):
    figure = FIGURES[name](path=tmp_path / "a.png")
    assert isinstance(figure, Figure)
    FIGURES[name](path=tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(AnalysisError, match=r"\.png, \.pdf, \.svg"):
        FIGURES[name](path=tmp_path / "a.jpg")


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_covers_another(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    # Ticks beyond the ends of an axis have labels that are not drawn.
    beyond = [
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in beyond
    ]
    assert len(boxes) > 8
    for index, (one, box) in enumerate(boxes):
        for other, another in boxes[index + 1 :]:
            assert not box.overlaps(another), (one, other)


def test_the_curve_goes_through_the_points():
    axes = plot_equations_of_state([equation("Cu4", 11.6, -3.5)]).axes[0]
    curve, points = axes.get_lines()
    at_points = np.interp(points.get_xdata(), curve.get_xdata(), curve.get_ydata())
    np.testing.assert_allclose(at_points, points.get_ydata(), atol=1e-5)
    assert points.get_ydata().min() == pytest.approx(0, abs=1e-9)


def test_equations_of_state_refuse():
    with pytest.raises(AnalysisError, match="different zeros"):
        plot_equations_of_state([equation("A", 10, 0), equation("A", 10, 0, engine="sw")])
    with pytest.raises(AnalysisError, match="0 equations"):
        plot_equations_of_state([])
    with pytest.raises(AnalysisError, match="1 names for 2"):
        plot_equations_of_state([equation("A", 10, 0)] * 2, ["a"])


def test_band_labels():
    axes = plot_phonon_bands(bands([("G", "X"), ("U", "G")], [1, 1])).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Γ", "X|U", "Γ"]
    assert axes.get_ylim()[0] == 0
    axes = plot_phonon_bands(CROWDED).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "Γ",
        "Y",
        "F",
        "L\nI",
        "I$_{1}$\nZ",
        "F$_{1}$\nY",
        "X$_{1}$\nX",
        "Γ",
    ]


def test_imaginary_modes_are_shown_and_said():
    figure = plot_phonon_bands(bands([("G", "X")], [1], low=-2, stable=False))
    assert figure.axes[0].get_ylim()[0] < -2
    assert "drawn as negative" in texts(figure).replace("\n", " ")
    elsewhere = plot_phonon_bands(bands([("G", "X")], [1], stable=False))
    assert "on the mesh" in texts(elsewhere).replace("\n", " ")
    restless = {**bands([("G", "X")], [1]), "is_relaxed": False, "residual_force": 0.2}
    assert "not at rest (forces up to 0.2" in texts(plot_phonon_bands(restless)).replace("\n", " ")
    with pytest.raises(AnalysisError, match="no bands"):
        plot_phonon_bands({**restless, "bands": []})


def test_hull_line():
    """Through the known crystals on the hull, from the first element to the second."""
    figure = plot_hull(SALT, [crystal("NaCl3", -1.0, -0.1), crystal("Na3Cl", -0.1, 0.8)])
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(line.get_ydata(), [0, -1.8, 0])
    written = texts(figure).replace("\n", " ")
    assert "1 crystal is more than 0.3 eV/atom above the hull" in written
    assert "NaCl$_3$" in written
    assert "of Cl in Na" in written


def test_levels_of_one_element():
    figure = FIGURES["levels"]()
    assert "1 crystal is more than" in texts(figure)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["known", "new"]


def test_hulls_refuse():
    with pytest.raises(AnalysisError, match="of one or two elements"):
        plot_hull([*SALT, crystal("K", 0.0, 0.0)])
    with pytest.raises(AnalysisError, match="different schemes"):
        plot_hull(SALT, [crystal("NaCl", 0, 0, scheme="emt")])
    with pytest.raises(AnalysisError, match="none of 1 crystals"):
        plot_hull([crystal("NaCl", None, None)])
    with pytest.raises(AnalysisError, match="maximum=-1"):
        plot_hull(SALT, maximum=-1)
    written = texts(plot_hull(SALT, [crystal("NaCl", None, None)])).replace("\n", " ")
    assert "1 crystal has no energy above the hull" in written
