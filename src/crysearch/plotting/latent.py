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
    BLUE,
    ENERGY_COLOURS,
    GREY,
    LIGHT_GREY,
    energy_scale,
    finish,
    house_style,
    label_points,
    new_figure,
)
from crysearch.plotting.values import Document, counted, latent_plane, latent_points, numbers


def plot_latent_map(
    references: Sequence[Document],
    replicas: Sequence[Document] = (),
    labels: int = 8,
    maximum: float = 0.8,
    path: str | Path | None = None,
) -> Figure:
    """Known structures in latent space, coloured by energy, with the points of the replicas.

    Of more than two latent coordinates the two principal components of the known structures'
    points are shown; a single one is drawn against the energy.

    Parameters
    ----------
    references
        Reference documents with ``latent``, ``energy_above_ground_state`` (eV/atom) and
        ``space_group_symbol``.
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
        If no reference has latent coordinates, points differ in their number of coordinates, or
        the file name has another ending.
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

    grid = latent_points(replicas, points.shape[1])
    grid = grid[np.isfinite(grid).all(axis=1)]
    conditions = {replica.get("condition") for replica in replicas} - {None}
    if len(conditions) > 1:
        notes.append(f"replicas of {len(conditions)} conditions lie on one another")
    if points.shape[1] == 1:
        return _draw_line(axes, references, points[:, 0], grid[:, 0], labels, notes)
    plane = latent_plane(points[placed])
    notes += plane.notes
    points, grid = plane.project(points), plane.project(grid)
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
    axes.set_xlabel(plane.names[0])
    axes.set_ylabel(plane.names[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return notes, _labelling(axes, references, points, energies, known, labels)


def _draw_line(
    axes: Axes,
    references: Sequence[Document],
    places: np.ndarray,
    grid: np.ndarray,
    labels: int,
    notes: list[str],
) -> tuple[list[str], Callable[[], None]]:
    """Draw the only latent coordinate, shape (n,), against the energy."""
    energies = numbers(references, "energy_above_ground_state")
    known = np.isfinite(places) & np.isfinite(energies)
    unknown = np.isfinite(places) & ~known
    edge = axes.get_xaxis_transform()
    if len(grid):
        axes.plot(
            grid, np.full(len(grid), 0.03), "|", ms=8, mew=0.6, color=GREY, transform=edge,
            label=f"replica ({len(grid)})",
        )  # fmt: skip
    if unknown.any():
        axes.plot(
            places[unknown], np.full(int(unknown.sum()), 0.95), "o", ms=6, mfc="white", mec=BLACK,
            mew=0.8, transform=edge,
            label=f"known structure, no energy ({int(unknown.sum())}; at the top)",
        )  # fmt: skip
    if known.any():
        axes.scatter(
            places[known], energies[known], s=30, color=BLUE, edgecolor="white", linewidths=0.5,
            label=f"known structure ({int(known.sum())})",
        )  # fmt: skip
        top = energies[known].max()
        # Room for what is drawn at both edges.
        axes.set_ylim(-0.12 * max(top, 0.1), 1.15 * max(top, 0.1))
    else:
        axes.set_yticks([])
    axes.set_xlabel("Latent coordinate")
    axes.set_ylabel("Energy above the ground state (eV/atom)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    points = np.stack([places, energies], axis=1)
    return notes, _labelling(axes, references, points, energies, known, labels)


def _labelling(
    axes: Axes,
    references: Sequence[Document],
    points: np.ndarray,
    energies: np.ndarray,
    known: np.ndarray,
    labels: int,
) -> Callable[[], None]:
    """What writes the space groups of lowest energy beside their points, shape (n, 2)."""

    def label() -> None:
        order = np.argsort(np.where(known, energies, np.inf), kind="stable")
        chosen = [k for k in order[:labels] if known[k] and references[k].get("space_group_symbol")]
        label_points(
            axes,
            points[chosen],
            [space_group(references[k]["space_group_symbol"]) for k in chosen],
            points[np.isfinite(points).all(axis=1)],
        )

    return label


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
