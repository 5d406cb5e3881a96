"""Figures of a study of generative models: loss curves over seeds, and measures by variant."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    house_style,
    new_figure,
    panel_letter,
)
from crysearch.plotting.values import Document, number, numbers
from crysearch.study import MEASURES, Measure

_COLOURS = (BLUE, VERMILLION, SKY, GREEN, ORANGE, PURPLE)
# Besides by colour, lines are told apart by their dashes and dots by their markers.
_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKERS = ("o", "s", "D", "^", "v", "P")
_OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
_STRETCHES = 150
_START = 0.1  # of the shortest training
_LINE = 34  # letters over a panel


def plot_study_losses(trials: Sequence[Document], path: str | Path | None = None) -> Figure:
    """Training loss of every variant, against epochs and against wall-clock time.

    One row for each optimiser. Lines are means over the seeds and over 1/150 of the training, bands
    go from the lowest to the highest loss of any seed there. All seeds of a variant are trained
    together: the time is that of all. The loss of the first 10 % of the shortest training is out of
    range.

    Parameters
    ----------
    trials
        Trial documents with ``variant``, ``generative.optimizer``, ``history`` and ``seconds``.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no trial has a history, or the file name has another ending.
    """
    curves = _curves(trials)
    if not curves:
        raise AnalysisError(
            f"none of {len(trials)} trials has a training history (field history): run the study "
            "first, and see the field reason of the trials that failed"
        )
    optimizers = list(dict.fromkeys(optimizer for optimizer, *_ in curves.values()))
    notes = [
        f"lines are means over the seeds and 1/{_STRETCHES} of the training, bands go from the "
        "lowest to the highest loss there",
        "the time is that of all seeds, which are trained together",
        f"the range begins with the loss after {_START:.0%} of the shortest training".replace(
            "%", " %"
        ),
    ]
    failed = sum(trial.get("history") is None for trial in trials)
    if failed:
        notes.append(f"{failed} of {len(trials)} trainings failed and are not shown")
    with house_style(path):
        figure = new_figure(8.0, 0.6 + 2.7 * len(optimizers))
        grid = figure.subplots(len(optimizers), 2, squeeze=False, sharey="row")
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        for row, optimizer in zip(grid, optimizers, strict=True):
            own = {name: c for name, c in curves.items() if c[0] == optimizer}
            for place, (name, (_, losses, seconds)) in enumerate(own.items()):
                epochs = np.arange(1, losses.shape[1] + 1)
                _band(row[0], epochs, losses, name, place)
                if seconds is not None:
                    _band(row[1], epochs * seconds / losses.shape[1], losses, name, place)
            _loss_axis(row[0], [losses for _, losses, _ in own.values()])
            row[0].set_ylabel("Training loss\n(nats per structure)")
            row[0].set_xlabel("Epoch")
            row[1].set_xlabel("Wall-clock time (s)")
            row[0].set_title(f"Optimiser: {_OPTIMIZERS.get(optimizer, optimizer)}")
            row[0].legend(loc="upper right")
            for axes in row:
                panel_letter(axes, next(letters))
        return finish(figure, notes, path)


def plot_study_measures(
    study: Document, trials: Sequence[Document], path: str | Path | None = None
) -> Figure:
    """Every measure by variant: each seed as a dot, the mean with its 95 % interval.

    Parameters
    ----------
    study
        Study document with ``variants``: ``name`` and ``measures``.
    trials
        Its trial documents with ``variant``, ``seed`` and ``measures``.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no measure is known, or the file name has another ending.
    """
    variants = list(study["variants"])
    shown = [m for m in MEASURES if any(v["measures"].get(m.key, {}).get("n") for v in variants)]
    if not shown:
        raise AnalysisError(
            f"none of {len(variants)} variants has a measure (field variants.measures): see the "
            "field reason of the trials that failed"
        )
    styles = _styles(variants, trials)
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    with house_style(path):
        figure = new_figure(10.5, 0.8 + rows * (0.75 + 0.2 * len(variants)))
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(shown):
                axes.set_axis_off()
                continue
            _draw_measure(axes, shown[place], variants, trials, styles)
            names = [v["name"] for v in variants] if place % columns == 0 else []
            axes.set_yticks(range(len(variants)), names or [""] * len(variants))
            axes.set_ylim(len(variants) - 0.4, -0.6)
        notes = ["dots are seeds; bars are means with their 95 % intervals (Student's t)"]
        return finish(figure, notes, path)


_Curves = tuple[str, NDArray[np.float64], float | None]


def _curves(trials: Sequence[Document]) -> dict[str, _Curves]:
    """Optimiser, training loss (seeds, epochs) and seconds of each variant with a history."""
    found: dict[str, list[Document]] = {}
    for trial in trials:
        if trial.get("history") is not None:
            found.setdefault(trial["variant"], []).append(trial)
    curves: dict[str, _Curves] = {}
    for name, own in found.items():
        losses = np.array([_total(trial["history"]) for trial in own])
        seconds = numbers(own, "seconds")
        known = seconds[np.isfinite(seconds)]
        longest = float(known.max()) if known.size else None
        curves[name] = (own[0]["generative"].get("optimizer", "adam"), losses, longest)
    return curves


def _total(history: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    terms = (history["train_reconstruction"], history["train_divergence"])
    return np.sum([[number(value) for value in term] for term in terms], axis=0)


def _band(
    axes: Axes, x: NDArray[np.float64], losses: NDArray[np.float64], name: str, place: int
) -> None:
    """Draw the mean and the range of each of a number of equal stretches of the training."""
    colour = _COLOURS[place % len(_COLOURS)]
    borders = np.linspace(0, len(x), min(len(x), _STRETCHES) + 1).astype(int)
    parts = [slice(*ends) for ends in pairwise(borders)]
    middle = [x[part].mean() for part in parts]
    low, high = ([f(losses[:, part]) for part in parts] for f in (np.min, np.max))
    axes.fill_between(middle, low, high, color=colour, alpha=0.13, lw=0)
    means = [losses[:, part].mean() for part in parts]
    dashes = _DASHES[place % len(_DASHES)]
    axes.plot(middle, means, ls=dashes, color=colour, label=name)


def _loss_axis(axes: Axes, losses: Sequence[NDArray[np.float64]]) -> None:
    """Leave the start out of the range, which would hide all that comes after it."""
    start = max(1, round(_START * min(curve.shape[1] for curve in losses)))
    after = [curve[:, start - 1 :] for curve in losses]
    low = min(float(curve.min()) for curve in after)
    high = max(float(curve[:, 0].mean()) for curve in after)
    high = max(high, max(float(np.quantile(curve, 0.999)) for curve in after))
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def _draw_measure(
    axes: Axes,
    measure: Measure,
    variants: Sequence[Document],
    trials: Sequence[Document],
    styles: Mapping[str, int],
) -> None:
    for place, variant in enumerate(variants):
        own = [trial for trial in trials if trial["variant"] == variant["name"]]
        values = np.array([number(trial["measures"].get(measure.key)) for trial in own])
        # Seeds side by side, so that equal values stay visible.
        heights = place + np.linspace(-0.22, 0.22, len(own))
        axes.plot(values, heights, "o", ms=2.6, mfc="none", mec=GREY, mew=0.7, zorder=1)
        summary = variant["measures"].get(measure.key, {})
        mean, low, high = (number(summary.get(key)) for key in ("mean", "low", "high"))
        if np.isfinite(low):
            axes.plot([low, high], [place, place], "-", color=BLACK, lw=1.6, zorder=2)
        axes.plot(
            [mean],
            [place],
            _MARKERS[styles[variant["name"]]],
            ms=5,
            color=_COLOURS[styles[variant["name"]]],
            mec=BLACK,
            mew=0.6,
            zorder=3,
        )
        axes.axhline(place, color=LIGHT_GREY, lw=0.4, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.set_title(_wrapped(measure), loc="left", fontsize=8)


def _styles(variants: Sequence[Document], trials: Sequence[Document]) -> dict[str, int]:
    """Place of each variant among those of its optimiser: its colour and marker."""
    optimizers = {trial["variant"]: trial["generative"].get("optimizer") for trial in trials}
    seen: Counter[str | None] = Counter()
    styles = {}
    for variant in variants:
        optimizer = optimizers.get(variant["name"])
        styles[variant["name"]] = seen[optimizer] % len(_MARKERS)
        seen[optimizer] += 1
    return styles


def _wrapped(measure: Measure) -> str:
    """The label in lines that fit over a panel."""
    words = measure.label[:1].upper() + measure.label[1:]
    return textwrap.fill(f"{words} ({measure.unit})" if measure.unit else words, _LINE)
