"""What the figures of descents and of designed crystals show."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from crysearch.errors import AnalysisError
from crysearch.fingerprints import pearson_distance
from crysearch.plotting import Descent, plot_descent, plot_design_map
from crysearch.plotting.descent import moments

GRID = np.linspace(0.02, 7.98, 200)
START, TARGET = np.exp(-((GRID[None] - np.array([[2.2], [2.4]])) ** 2) / 0.02)
SHARES = np.array([0.0, 0.0, 0.4, 0.7, 0.95])[:, None]
WAY = SHARES * TARGET + (1.0 - SHARES) * START


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_moments_are_the_ends_and_half_of_the_way():
    assert moments(np.array([0.8, 0.8, 0.7, 0.45, 0.2, 0.1])) == (0, 3, 5)
    assert moments(np.array([0.8, 0.1])) == (0, 1, 1)
    # Half of the way is a distance, wherever on the way.
    assert moments(np.array([0.8, 0.9, 0.1, 0.12, 0.1]))[1] in (1, 3)


def test_a_descent_is_drawn_against_its_target():
    figure = plot_descent(GRID, [Descent(TARGET, WAY, "line 1/2")], threshold=0.13)
    before, during, after, distances = figure.axes
    expected = [pearson_distance(row, TARGET) for row in WAY]
    np.testing.assert_allclose(distances.lines[0].get_ydata(), expected, atol=1e-12)
    middle = moments(np.array(expected))[1]
    for axes, step, name in (
        (before, 0, "before"),
        (during, middle, "during"),
        (after, 4, "after"),
    ):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), WAY[step])
        assert f"{name}, {expected[step]:.3f} away" in texts(figure)
        # The area under the target's curve is drawn in each.
        outline = axes.collections[0].get_paths()[0].vertices
        assert outline[:, 1].max() == pytest.approx(TARGET.max())
    assert len({axes.get_ylim() for axes in (before, during, after)}) == 1
    assert "line 1/2" in texts(figure) and "reached (0.13)" in texts(figure)


def test_descents_and_channels_have_columns():
    three = [Descent(TARGET, WAY)] * 3
    assert len(plot_descent(GRID, three).axes) == 12
    resolved = Descent(np.tile(TARGET, 3), np.tile(WAY, 3))
    pairs = [("Sn", "Sn"), ("Sn", "Se"), ("Se", "Se")]
    figure = plot_descent(GRID, [resolved], "n", pairs)
    assert "Sn–Se" in texts(figure) and "$n(r)$" in texts(figure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "0 descents"),
        (([Descent(TARGET, WAY)] * 7,), "7 descents"),
        (([Descent(TARGET, WAY[:1])],), "without a step"),
        (([Descent(TARGET[:-1], WAY)],), "do not fit a grid"),
        (([Descent(TARGET, WAY)], "x"), "quantity='x'"),
        (([Descent(TARGET, WAY)], "g", [("Sn", "Se"), ("Se", "Se")]), "do not fit a grid"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(AnalysisError, match=message):
        plot_descent(GRID, *arguments)


def test_a_map_of_a_design():
    references = [{"latent": [0.5, 0.5]}, {"latent": [-1.0, 1.0]}, {"latent": None}]
    targets, crystals = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.1, 0.4], [0.9, 0.5]])
    figure = plot_design_map(
        references, targets, ["1", "2"], crystals, np.array([1, 0]), np.array([0.1, 0.2])
    )
    written = texts(figure)
    for label in ("known structure (2)", "target (2)", "crystal (2)", "1 known structure is not"):
        assert label in written.replace("\n", " ")
    links = [line.get_xydata().tolist() for line in figure.axes[0].lines]
    assert links == [[[1.0, 1.0], [0.1, 0.4]], [[0.0, 0.0], [0.9, 0.5]]]
    drawn = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    np.testing.assert_allclose(drawn.get_array(), [0.1, 0.2])
    empty = np.empty((0, 2)), np.empty(0), np.empty(0)
    assert "crystal (" not in texts(plot_design_map(references, targets, ["1", "2"], *empty))
    with pytest.raises(AnalysisError, match="two latent coordinates"):
        plot_design_map(references, np.array([[1.0]]), ["1"], *empty)
    with pytest.raises(AnalysisError, match="other points have 3 latent coordinates"):
        plot_design_map(references, np.zeros((2, 3)), ["1", "2"], *empty)
    with pytest.raises(AnalysisError, match="give one for each"):
        plot_design_map(references, targets, ["1"], *empty)


def test_a_map_of_a_design_in_more_dimensions():
    """Known structures on a line, of which the two principal components are the line and noise."""
    places = np.outer(np.arange(5.0), [0.0, 3.0, 4.0])
    places[:, 0] = [0.1, -0.1, 0.0, -0.1, 0.1]
    references = [{"latent": place.tolist()} for place in places]
    figure = plot_design_map(
        references, places[:2], ["1", "2"], places[3:4], np.array([0]), np.array([0.1])
    )
    written = texts(figure)
    assert "Principal component 1 (100% of the variance)" in written
    (link,) = [line.get_xydata() for line in figure.axes[0].lines]
    np.testing.assert_allclose(link, [[-10.0, 0.1], [5.0, -0.1]], atol=1e-12)
