"""Map of the latent space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    ENERGY_COLOURS,
    LIGHT_GREY,
    energy_scale,
    finish,
    house_style,
    label_points,
    new_figure,
)
from crysearch.plotting.values import Document, counted, latent_points, numbers


def plot_latent_map(
    references: Sequence[Document],
    replicas: Sequence[Document] = (),
    labels: int = 8,
    maximum: float = 0.8,
    path: str | Path | None = None,
) -> Figure:
    """Known structures in latent space, coloured by energy, with the points of the replicas.

    Parameters
    ----------
    references
        Reference documents with ``latent``, ``energy_above_ground_state`` (eV/atom) and
        ``space_group_symbol``; of more than two latent coordinates the first two are drawn.
    replicas
        Replica documents with ``latent``.
    labels
        Space groups to write beside the structures of lowest energy; those for which there is
        no room are left out.
    maximum
        Energy at the end of the colour scale in eV/atom; higher ones get its colour.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no reference has latent coordinates, or the file name has another ending.
    """
    with house_style(path):
        figure = new_figure(5.2, 4.2)
        notes, label = draw_latent_map(figure.subplots(), references, replicas, labels, maximum)
        finish(figure, notes, None)
        label()
        return finish(figure, [], path)


def draw_latent_map(
    axes: Axes,
    references: Sequence[Document],
    replicas: Sequence[Document],
    labels: int,
    maximum: float,
) -> tuple[list[str], Callable[[], None]]:
    """Draw the map; returns notes, and what writes the labels once the layout is final."""
    points = latent_points(references)
    placed = np.isfinite(points).all(axis=1)
    if not placed.any():
        raise AnalysisError(
            f"none of {len(references)} references has latent coordinates (field latent): train "
            "a model first"
        )
    energies = numbers(references, "energy_above_ground_state")
    known = placed & np.isfinite(energies)
    unknown = placed & ~known
    notes = []
    if (~placed).any():
        count = counted(int((~placed).sum()), "reference is", "references are")
        notes.append(f"{count} not in latent space and not shown")

    grid = latent_points(replicas)
    grid = grid[np.isfinite(grid).all(axis=1)]
    if len(grid):
        axes.scatter(
            grid[:, 0],
            grid[:, 1],
            marker="+",
            s=14,
            linewidths=0.6,
            color=LIGHT_GREY,
            label=f"replica ({len(grid)})",
        )
    if unknown.any():
        axes.scatter(
            points[unknown, 0],
            points[unknown, 1],
            marker="o",
            s=34,
            facecolor="white",
            edgecolor=BLACK,
            linewidths=0.8,
            label=f"known structure, no energy ({int(unknown.sum())})",
        )
    if known.any():
        norm = energy_scale(energies[known], maximum)
        drawn = axes.scatter(
            points[known, 0],
            points[known, 1],
            c=energies[known],
            cmap=ENERGY_COLOURS,
            norm=norm,
            s=38,
            edgecolor="white",
            linewidths=0.5,
            label=f"known structure ({int(known.sum())})",
        )
        axes.figure.colorbar(
            drawn,
            ax=axes,
            label="Energy above the ground state (eV/atom)",
            extend="max" if energies[known].max() > maximum else "neither",
        )
    axes.set_xlabel("Latent coordinate 1")
    axes.set_ylabel("Latent coordinate 2")
    axes.set_aspect("equal", adjustable="datalim")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles, names, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    def label() -> None:
        order = np.argsort(np.where(known, energies, np.inf), kind="stable")
        chosen = [k for k in order[:labels] if known[k] and references[k].get("space_group_symbol")]
        label_points(
            axes,
            points[chosen],
            [space_group(references[k]["space_group_symbol"]) for k in chosen],
            points[placed],
        )

    return notes, label


def space_group(symbol: str) -> str:
    """Space group symbol as mathematics: ``P6_3/mmc`` with a subscript, ``Fd-3m`` with a bar."""
    text = ""
    characters = iter(symbol)
    for character in characters:
        if character == "-":
            text += rf"\bar{{{next(characters, '')}}}"
        elif character == "_":
            text += f"_{{{next(characters, '')}}}"
        else:
            text += character
    return f"${text}$"
