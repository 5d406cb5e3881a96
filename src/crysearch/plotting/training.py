"""Loss curves of a generative model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crysearch.errors import AnalysisError
from crysearch.plotting.style import BLUE, ORANGE, finish, house_style, new_figure, panel_letter
from crysearch.plotting.values import Document, number

_TERMS = {
    "reconstruction": "Reconstruction loss\n(nats per structure)",
    "divergence": "Kullback–Leibler divergence\n(nats per structure)",
}


def plot_loss_curves(model: Document, path: str | Path | None = None) -> Figure:
    """Both terms of the loss, for training and validation, against the epoch.

    Parameters
    ----------
    model
        Model document with ``history``: ``train_reconstruction``, ``train_divergence``,
        ``validation_reconstruction`` and ``validation_divergence``, one value per epoch.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there is no history, or the file name has another ending.
    """
    history = model.get("history") or {}
    curves = {
        f"{part}_{term}": np.array(
            [number(v) for v in _list(history.get(f"{part}_{term}"))], dtype=np.float64
        )
        for term in _TERMS
        for part in ("train", "validation")
    }
    if not any(np.isfinite(curve).any() for curve in curves.values()):
        raise AnalysisError(
            "the model document has no training history (fields history.train_reconstruction, "
            "history.train_divergence, ...): train a model first"
        )
    notes = []
    with house_style(path):
        figure = new_figure(7.0, 2.9)
        for axes, letter, (term, label) in zip(
            figure.subplots(1, 2), "ab", _TERMS.items(), strict=True
        ):
            for part, colour, dashes in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
                curve = curves[f"{part}_{term}"]
                finite = np.isfinite(curve)
                if not finite.any():
                    notes.append(f"no {part} {term} was recorded")
                    continue
                if not finite.all():
                    notes.append(f"{int((~finite).sum())} values of the {part} {term} are missing")
                # One epoch makes no line.
                marker = "o" if len(curve) < 3 else None
                epochs = np.arange(1, len(curve) + 1)
                axes.plot(epochs, curve, dashes, color=colour, marker=marker, label=part)
            axes.set_xlabel("Epoch")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            if _peak(axes) > 10:
                axes.set_yscale("log")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best")
            panel_letter(axes, letter)
        return finish(figure, notes, path)


def _list(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def _peak(axes: Axes) -> float:
    """Highest value over the median, which a bad start makes large; 0 without a logarithm."""
    drawn = np.concatenate([np.empty(0), *(line.get_ydata() for line in axes.lines)])
    drawn = drawn[np.isfinite(drawn)]
    return float(drawn.max() / np.median(drawn)) if drawn.size and drawn.min() > 0 else 0.0
