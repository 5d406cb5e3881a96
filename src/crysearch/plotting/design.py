"""Targets in the latent space and the crystals found for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    ENERGY_COLOURS,
    GREY,
    LIGHT_GREY,
    VERMILLION,
    finish,
    house_style,
    label_points,
    new_figure,
)
from crysearch.plotting.values import Document, counted, latent_plane, latent_points


def plot_design_map(
    references: Sequence[Document],
    targets: np.ndarray,
    names: Sequence[str],
    crystals: np.ndarray,
    target_of: np.ndarray,
    distances: np.ndarray,
    path: str | Path | None = None,
) -> Figure:
    """Targets in latent space, and where the crystals found for them are encoded to.

    Parameters
    ----------
    references
        Known structures with ``latent``. Of more than two coordinates the two principal components
        of the known structures' points are drawn.
    targets
        Latent points, shape (k, d).
    names
        What to write beside each target.
    crystals
        Latent points of the crystals, shape (n, d), d at least 2.
    target_of
        Row of the target of each crystal, shape (n,).
    distances
        Pearson's distance of each crystal to the nearest known structure, shape (n,): its colour.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If there are no targets or not two latent coordinates, the lengths do not fit, or the file
        name has another ending.
    """
    targets, crystals = np.asarray(targets, dtype=float), np.asarray(crystals, dtype=float)
    target_of, distances = np.asarray(target_of, dtype=int), np.asarray(distances, dtype=float)
    if targets.ndim != 2 or not len(targets) or targets.shape[1] < 2:
        raise AnalysisError(
            f"targets of shape {targets.shape}: a map needs at least one, with two latent "
            "coordinates"
        )
    number = len(crystals)
    if not (len(names) == len(targets) and target_of.shape == distances.shape == (number,)):
        raise AnalysisError(
            f"{len(names)} names of {len(targets)} targets, and {target_of.shape} targets and "
            f"{distances.shape} distances of {number} crystals: give one for each"
        )
    known = latent_points(references, targets.shape[1])
    placed = np.isfinite(known).all(axis=1)
    plane = latent_plane(known[placed] if placed.any() else targets)
    notes = list(plane.notes)
    if (~placed).any():
        count = counted(int((~placed).sum()), "known structure is", "known structures are")
        notes.append(f"{count} not in latent space and not shown")
    known, targets = plane.project(known), plane.project(targets)
    crystals = plane.project(crystals) if number else np.empty((0, 2))
    with house_style(path):
        figure = new_figure(5.4, 4.6)
        axes = figure.subplots()
        axes.scatter(
            known[placed, 0], known[placed, 1], marker="D", s=20, facecolor="white", edgecolor=GREY,
            linewidths=0.8, label=f"known structure ({int(placed.sum())})",
        )  # fmt: skip
        for point, row in zip(crystals, target_of, strict=True):
            axes.plot(*np.stack([targets[row], point]).T, color=LIGHT_GREY, lw=0.7, zorder=1)
        axes.scatter(
            targets[:, 0], targets[:, 1], marker="x", s=32, color=VERMILLION, linewidths=1.4,
            label=f"target ({len(targets)})", zorder=3,
        )  # fmt: skip
        if number:
            drawn = axes.scatter(
                crystals[:, 0], crystals[:, 1], c=distances, cmap=ENERGY_COLOURS, vmin=0.0, s=30,
                edgecolor=BLACK, linewidths=0.4, label=f"crystal ({number})", zorder=2,
            )  # fmt: skip
            figure.colorbar(
                drawn, ax=axes, label="Pearson's distance to the nearest known structure"
            )
        axes.set_xlabel(plane.names[0])
        axes.set_ylabel(plane.names[1])
        axes.set_aspect("equal", adjustable="datalim")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        finish(figure, notes, None)
        # The labels of the ends of a line are worth most.
        order = sorted(range(len(targets)), key=lambda row: min(row, len(targets) - 1 - row))
        taken = np.concatenate([known[placed], targets, crystals])
        label_points(axes, targets[order], [names[row] for row in order], taken)
        return finish(figure, [], path)
