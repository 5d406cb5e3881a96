"""The figures of a study."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from crysearch.analysis import mean_interval
from crysearch.errors import AnalysisError
from crysearch.plotting import plot_study_losses, plot_study_measures
from crysearch.study import MEASURES

NAMES = ("vae-adam", "hvae-adam", "vae-adam-equal-time", "hvae-sgd")


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(0)
    found = []
    for name in NAMES:
        epochs = 400 if "equal" in name else 100
        fall = 100 * np.exp(-np.arange(epochs) / 20)
        for seed in range(3):
            found.append(
                {
                    "variant": name,
                    "seed": seed,
                    "generative": {"optimizer": name.split("-")[1]},
                    "seconds": None if name == "hvae-sgd" else 8.0,
                    "history": {
                        "train_reconstruction": (40 + fall + rng.random(epochs)).tolist(),
                        "train_divergence": rng.random(epochs).tolist(),
                    },
                    "measures": {m.key: float(rng.random()) for m in MEASURES[:7]}
                    | {MEASURES[3].key: None},
                }
            )
    return [*found, {"variant": "wild", "seed": 0, "generative": {}, "history": None,
                     "measures": {}, "seconds": 1.0}]  # fmt: skip


@pytest.fixture(scope="module")
def study(trials):
    return {
        "variants": [
            {
                "name": name,
                "measures": {
                    m.key: mean_interval(
                        [t["measures"].get(m.key) for t in trials if t["variant"] == name]
                    ).to_dict()
                    for m in MEASURES
                },
            }
            for name in (*NAMES, "wild")
        ]
    }


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_losses_have_a_row_for_each_optimiser(trials, tmp_path):
    figure = plot_study_losses(trials, tmp_path / "losses.png")
    assert len(figure.axes) == 4
    epochs, seconds, sgd, sgd_seconds = figure.axes
    # Both axes show the same curves; a variant without a time has none against time.
    assert len(epochs.lines) == len(seconds.lines) == 3 and not sgd_seconds.lines
    assert epochs.lines[2].get_xdata().max() > 390
    assert seconds.lines[0].get_xdata().max() == pytest.approx(8.0, rel=0.02)
    assert [line.get_label() for line in sgd.lines] == ["hvae-sgd"]
    # Means over seeds of what is falling from about 140 to about 41.
    heights = epochs.lines[0].get_ydata()
    assert heights[0] == pytest.approx(141, abs=1.5) and heights[-1] == pytest.approx(41.7, abs=1)
    assert "1 of 13 trainings failed" in texts(figure).replace("\n", " ")
    assert Image.open(tmp_path / "losses.png").size[0] == 1600


def test_lines_are_told_apart_without_colours(trials):
    lines = plot_study_losses(trials).axes[0].lines
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 3


def test_losses_that_are_not_positive_are_drawn_too(trials):
    lowered = []
    for trial in trials[:3]:
        history = trial["history"]
        terms = [value - 60 for value in history["train_reconstruction"]]
        lowered.append(trial | {"history": history | {"train_reconstruction": terms}})
    axes = plot_study_losses(lowered).axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < -18


def test_measures_show_every_seed_and_the_interval(study, trials, tmp_path):
    figure = plot_study_measures(study, trials, tmp_path / "measures.pdf")
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 6  # the measure that nobody knows is left out
    dots = panels[0].lines[0]
    assert sorted(dots.get_xdata()) == sorted(t["measures"]["train_loss"] for t in trials[:3])
    low, high = panels[0].lines[1].get_xdata()
    summary = study["variants"][0]["measures"]["train_loss"]
    assert (low, high) == (summary["low"], summary["high"])
    assert [t.get_text() for t in panels[0].get_yticklabels()] == [*NAMES, "wild"]


def test_labels_do_not_overlap(study, trials):
    figure = plot_study_measures(study, trials)
    figure.draw_without_rendering()
    titles = [axes.title if axes.title.get_text() else axes._left_title for axes in figure.axes]
    boxes = [title.get_window_extent() for title in titles if title.get_text()]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s, t: plot_study_losses(t[-1:]), "none of 1 trials has a training history"),
        (lambda s, t: plot_study_measures({"variants": s["variants"][-1:]}, t), "none of 1 var"),
        (lambda s, t: plot_study_losses(t, "losses.gif"), "end the name in one of"),
        (lambda s, t: plot_study_measures(s, t, "m"), "end the name in one of"),
    ],
)
def test_refusals(call, said, study, trials):
    with pytest.raises(AnalysisError, match=said):
        call(study, trials)
