"""The figures of an active learning."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from crysearch.active_learning import PoolMap, Predictions, expected_coverage
from crysearch.errors import AnalysisError
from crysearch.plotting import (
    plot_calibration,
    plot_learning_curve,
    plot_pool_energies,
    plot_pool_map,
    plot_predictions,
)
from crysearch.workflows.active_learning.review import PoolEnergies

RNG = np.random.default_rng(0)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def cycle(number: int, errors: bool = True) -> dict:
    learned = {"energy": [0.1, 0.2], "force": [0.3, 0.5]}
    new = {"energy_mae": 0.1, "energy_rmse": 0.2, "force_mae": 0.3, "force_rmse": 0.4}
    return {
        "cycle": number,
        "configurations": 20 * number,
        "training": learned if number else None,
        "errors": new if errors and number else None,
    }


def pool(number: int, **changes) -> PoolEnergies:
    content = {
        "cycle": number,
        "energies": np.linspace(-4.3, -3.0, 40) if number else np.empty(0),
        "statuses": {"converged": 30, "uncertain": 10},
        "calculated": np.linspace(-4.2, 0.5, 10),
    }
    return PoolEnergies(**(content | changes))


def predictions(n: int = 60, members: int = 5) -> Predictions:
    deviations = np.exp(RNG.normal(-3, 1, n))
    force_deviations = np.exp(RNG.normal(-2, 1, (4 * n, 3)))
    reference, forces = RNG.normal(-3, 1, n), RNG.normal(0, 1, (4 * n, 3))
    return Predictions(
        cycles=np.arange(n) % 3 + 1,
        energies=reference + deviations * RNG.standard_normal(n),
        reference_energies=reference,
        energy_deviations=deviations,
        atom_cycles=np.repeat(np.arange(n) % 3 + 1, 4),
        forces=forces + force_deviations * RNG.standard_normal(forces.shape),
        reference_forces=forces,
        force_deviations=force_deviations,
        members=members,
    )


def pool_map(**changes) -> PoolMap:
    content = {
        "points": RNG.normal(size=(50, 2)),
        "shares": np.array([0.5, 0.25]),
        "ranks": np.sort(np.minimum(np.arange(50) // 3, 14)),
        "names": {0: "mp-149", 2: "P4/mnc"},
        "chosen": np.arange(50) % 5 == 0,
        "calculated": RNG.normal(size=(20, 2)),
    }
    return PoolMap(**(content | changes))


def test_the_learning_curve_has_all_errors_against_calculations(tmp_path):
    figure = plot_learning_curve(
        [cycle(0), cycle(1), cycle(2), cycle(3, False)], tmp_path / "l.png"
    )
    for axes, (held_out, rms, mae) in zip(
        figure.axes, ([0.15, 0.2, 0.1], [0.4, 0.4, 0.3]), strict=True
    ):
        lines = axes.lines
        assert [list(line.get_xdata()) for line in lines] == [[20, 40, 60]] * 3
        assert lines[0].get_ydata() == pytest.approx([held_out] * 3)
        assert lines[1].get_ydata() == pytest.approx([rms, rms, np.nan], nan_ok=True)
        assert lines[2].get_ydata() == pytest.approx([mae, mae, np.nan], nan_ok=True)
    assert "were calculated in cycle 3" in texts(figure)
    assert Image.open(tmp_path / "l.png").size[0] == 1400


def test_one_cycle_is_drawn_too():
    assert len(plot_learning_curve([cycle(0), cycle(1)]).axes) == 2
    assert len(plot_pool_energies([pool(0), pool(1)]).axes) == 1


def test_the_pool_is_drawn_by_cycle_with_what_lies_below_it():
    pools = [pool(0), pool(1, statuses={"failed": 3}), pool(2, calculated=np.empty(0))]
    figure = plot_pool_energies(pools, found=-4.33, known=-4.34)
    [axes] = figure.axes
    lowest = [line for line in axes.lines if line.get_marker() == "v"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in lowest] == [(1, -4.3), (2, -4.3)]
    # Quartiles of 40 equally spaced energies.
    box = axes.patches[0].get_path().vertices[:, 1]
    assert (box.min(), box.max()) == pytest.approx((-4.3 + 1.3 / 4, -3.0 - 1.3 / 4))
    low, high = axes.get_ylim()
    assert low < -4.34 and high > -3.2
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    shown = sum(len(line.get_xdata()) for line in dots)
    told = texts(figure)
    assert "3 relaxations of the pool failed" in told
    assert f"{20 - shown} reference energies are above what is shown" in told
    assert "known ground state" in told and "lowest found" in told
    assert "known ground state" not in texts(plot_pool_energies(pools))


def test_clusters_have_colours_names_and_sizes():
    figure = plot_pool_map(pool_map(), 7)
    told = texts(figure)
    assert "1: mp-149, 3 structures" in told and "3: P4/mnc, 3 structures" in told
    assert "2: 3 structures" in told and "7: " not in told
    assert "50 structures in 15 clusters" in told and "chosen next" in told
    assert "(50 % of the variance)" in told and "(25 % of the variance)" in told
    assert "cycle 7" in told
    rings = [line for line in figure.axes[0].lines if line.get_label() == "chosen next"]
    assert len(rings[0].get_xdata()) == 10


@pytest.mark.parametrize(
    "changes",
    [
        # Every structure is a cluster of its own.
        {"ranks": np.arange(50), "chosen": np.zeros(50, bool), "names": {}},
        {"ranks": np.zeros(50, int), "calculated": np.empty((0, 2))},
        {"ranks": np.full(50, -1)},
        {
            "points": np.zeros((1, 2)),
            "shares": np.zeros(2),
            "ranks": np.zeros(1, int),
            "chosen": np.ones(1, bool),
            "calculated": np.zeros((3, 2)),
        },
    ],
)
def test_pools_of_any_kind_have_a_map(changes):
    figure = plot_pool_map(pool_map(**changes), 1)
    low, high = figure.axes[0].get_xlim()
    assert low < high
    if "chosen" in changes and not changes["chosen"].any():
        assert "Nothing was chosen" in texts(figure)
        assert "of which 50 of a single structure" in texts(figure)


def test_far_structures_do_not_hide_the_others():
    points = RNG.normal(size=(50, 2))
    points[-1] = 100.0
    figure = plot_pool_map(pool_map(points=points, chosen=np.zeros(50, bool)), 1)
    assert figure.axes[0].get_xlim()[1] < 10
    assert "1 structure of the pool is outside" in texts(figure)


def test_predictions_lie_about_the_line():
    figure = plot_predictions(predictions())
    energies, forces, bar = figure.axes
    for axes, count in ((energies, 60), (forces, 720)):
        [dots] = axes.collections
        assert len(dots.get_offsets()) == count
        assert axes.get_xlim() == axes.get_ylim()
    assert bar.get_ylabel() == "Cycle"
    assert set(energies.collections[0].get_array()) == {1, 2, 3}
    assert "mean absolute error" in texts(figure)


def test_predictions_of_one_structure_are_drawn():
    assert len(plot_predictions(predictions(1)).axes) == 3
    assert len(plot_calibration(predictions(1, members=2)).axes) == 3


def test_calibration_shows_errors_bins_and_shares(tmp_path):
    found = predictions(400)
    figure = plot_calibration(found, tmp_path / "c.png")
    energies, forces, shares = figure.axes
    for axes, of in ((energies, found.of_energies()), (forces, found.of_forces())):
        line, bins = axes.lines
        assert (line.get_xdata() == line.get_ydata()).all()
        assert (bins.get_xdata() == of.bin_deviations).all()
        assert (bins.get_ydata() == of.bin_errors).all()
        assert axes.get_xlim() == axes.get_ylim()
    normal, ideal, *measured = shares.lines
    factors = normal.get_xdata()
    assert (normal.get_ydata() == expected_coverage(factors)).all()
    assert (ideal.get_ydata() == expected_coverage(factors, 5)).all()
    assert (measured[0].get_ydata() == found.of_energies().coverage(factors)).all()
    assert list(measured[1].get_xdata()) == [1, 2]
    # These deviations are right.
    assert measured[0].get_ydata() == pytest.approx(normal.get_ydata(), abs=0.08)
    assert Image.open(tmp_path / "c.png").size[0] == 1680


def test_forces_that_are_all_zero_leave_their_panel_empty():
    found = predictions()
    still = Predictions(
        **(vars(found) | {name: np.zeros((240, 3)) for name in
           ("forces", "reference_forces", "force_deviations")})
    )  # fmt: skip
    figure = plot_calibration(still)
    assert "Symmetry makes all forces zero" in texts(figure)
    assert [axes.axison for axes in figure.axes] == [True, False, True]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: plot_learning_curve([cycle(0)]), "none of 1 cycles has a trained ensemble"),
        (lambda: plot_pool_energies([pool(0)]), "none of 1 cycles has a relaxed pool"),
        (lambda: plot_pool_map(pool_map(points=np.empty((0, 2))), 1), "pool of cycle 1 is empty"),
        (lambda: plot_predictions(predictions(0)), "there are no predictions"),
        (lambda: plot_calibration(predictions(0)), "there are no predictions"),
        (lambda: plot_calibration(predictions(), "c.gif"), "end the name in one of"),
        (lambda: plot_pool_map(pool_map(), 1, "m"), "end the name in one of"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(AnalysisError, match=said):
        call()


def test_labels_of_logarithmic_axes_do_not_overlap():
    figure = plot_calibration(predictions(400))
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        low, high = axes.get_xlim()
        boxes = [
            label.get_window_extent()
            for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            if low <= place <= high
        ]
        assert len(boxes) >= 2
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])
