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

_TERMS = ("reconstruction", "divergence")


def plot_loss_curves(model: Document, path: str | Path | None = None) -> Figure:
    """Both terms of the loss, for training and validation, against the epoch.

    Parameters
    ----------
    model
        Model document with ``history``: ``train_reconstruction``, ``train_divergence``,
        ``validation_reconstruction`` and ``validation_divergence``, one value per epoch; ``model``
        and ``likelihood`` say what the two terms are.
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
        for axes, letter, term in zip(figure.subplots(1, 2), "ab", _TERMS, strict=True):
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
            axes.set_ylabel(f"{_name(model, term)}\n(nats per structure)")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            if _peak(axes) > 10:
                axes.set_yscale("log")
            elif (beginning := _cut(axes)) is not None:
                notes.append(f"the {term} begins at {beginning:,.0f}, above what is shown")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best")
            panel_letter(axes, letter)
        return finish(figure, notes, path)


def _name(model: Document, term: str) -> str:
    """What a term of the loss is."""
    if term == "reconstruction":
        # Cross-entropy is not the logarithm of a density; the others are, and may be negative.
        published = model.get("likelihood") in (None, "bernoulli")
        return "Reconstruction loss" if published else "Negative log-likelihood"
    # That of a Hamiltonian model is estimated from single points with their momenta.
    return "Divergence" if model.get("model") == "hvae" else "Kullback–Leibler divergence"


def _list(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def _cut(axes: Axes) -> float | None:
    """Leave out a high beginning that no logarithm can be taken of; returns its peak, if any."""
    curves = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines]
    late = np.concatenate([np.empty(0), *(curve[len(curve) // 20 + 1 :] for curve in curves)])
    late = late[np.isfinite(late)]
    if late.size < 2:
        return None
    highest = max(float(np.nanmax(curve)) for curve in curves)
    low, high = float(late.min()), float(late.max())
    if low > 0 or highest - low <= 3 * (high - low):
        return None
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    return highest


def _peak(axes: Axes) -> float:
    """Highest value over the median, which a bad start makes large; 0 without a logarithm."""
    drawn = np.concatenate([np.empty(0), *(line.get_ydata() for line in axes.lines)])
    drawn = drawn[np.isfinite(drawn)]
    return float(drawn.max() / np.median(drawn)) if drawn.size and drawn.min() > 0 else 0.0
