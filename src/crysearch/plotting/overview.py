"""One figure that tells what a search has done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from crysearch.plotting.distances import draw_distances
from crysearch.plotting.energies import draw_energies
from crysearch.plotting.latent import draw_latent_map
from crysearch.plotting.pairs import draw_rdf_pair
from crysearch.plotting.style import finish, house_style, new_figure, panel_letter
from crysearch.plotting.values import Document


@dataclass(frozen=True)
class RdfPair:
    """A new crystal and its nearest known one, for the last panel.

    Attributes
    ----------
    grid
        Distances in Å, shape (p,).
    first, second
        Radial distribution functions of the new and of the known crystal, shape (p,).
    names
        What the two are called.
    quantity
        "g" or "n".
    """

    grid: np.ndarray
    first: np.ndarray
    second: np.ndarray
    names: tuple[str, str]
    quantity: Literal["g", "n"] = "g"


def plot_overview(
    references: Sequence[Document],
    replicas: Sequence[Document],
    relaxations: Sequence[Document],
    pair: RdfPair | None,
    window: tuple[float, float] = (0.05, 0.20),
    maximum: float = 0.8,
    threshold: float | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Latent map, energies, distances before and after, and the RDF of a new crystal.

    Parameters
    ----------
    references, replicas, relaxations
        Documents as for :func:`plot_latent_map`, :func:`plot_energies` and
        :func:`plot_distances`.
    pair
        The new crystal and its nearest known one; None if nothing new was found, which leaves
        the last panel out.
    window, maximum
        As for :func:`plot_energies`, eV/atom; the colours of the map end there too.
    threshold
        As for :func:`plot_distances`.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If one of the panels has nothing to show, or the file name has another ending.
    """
    with house_style(path):
        figure = new_figure(10.0, 8.6)
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        ((a, b), (c, d)) = figure.subplots(2, 2)
        notes, label = draw_latent_map(a, references, replicas, 6, maximum)
        notes += draw_energies(b, relaxations, window, maximum)
        notes += draw_distances(c, relaxations, "group", threshold, maximum)
        panels = [a, b, c]
        if pair is None:
            d.set_axis_off()
            notes.append("no new structure was found")
        else:
            names, quantity = pair.names, pair.quantity
            draw_rdf_pair([d], pair.grid, pair.first, pair.second, names, quantity, [None])
            panels.append(d)
        for axes, letter in zip(panels, "abcd", strict=False):
            panel_letter(axes, letter)
        finish(figure, notes, None)
        label()
        return finish(figure, [], path)
