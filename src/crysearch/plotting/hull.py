"""Convex hull of a binary system, or the energy levels of one composition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crysearch.errors import AnalysisError
from crysearch.plotting.style import (
    BLACK,
    BLUE,
    GREY,
    finish,
    house_style,
    label_points,
    new_figure,
)
from crysearch.plotting.values import Document, counted, number

#: Crystals this near to the hull (eV/atom) are on it.
_ON_HULL = 1e-6


def plot_hull(
    known: Sequence[Document],
    new: Sequence[Document] = (),
    maximum: float = 0.3,
    path: str | Path | None = None,
) -> Figure:
    """Formation energies of a binary system with its hull; of one element, energy levels.

    Parameters
    ----------
    known, new
        :class:`crysearch.analysis.Stability` as dictionaries: of the known crystals, which make
        the hull, and of new ones.
    maximum
        Highest energy above the hull shown in eV/atom; what lies above is counted below the
        figure.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no crystal has an energy above the hull, there are more than two elements, or the file
        name has another ending.
    """
    with house_style(path):
        figure = new_figure(4.8, 3.8)
        notes = draw_hull(figure.subplots(), known, new, maximum)
        return finish(figure, notes, path)


def draw_hull(
    axes: Axes, known: Sequence[Document], new: Sequence[Document], maximum: float
) -> list[str]:
    """Draw the hull or the levels; returns notes on what is not shown."""
    if not maximum > 0:
        raise AnalysisError(f"maximum={maximum}: give a number of eV/atom greater than 0")
    everything = [*known, *new]
    schemes = sorted({document["scheme"] for document in everything})
    if len(schemes) > 1:
        raise AnalysisError(
            f"energies of different schemes ({', '.join(schemes)}) cannot share a hull: give "
            "those of one"
        )
    above = np.array([number(d.get("energy_above_hull")) for d in everything])
    if not np.isfinite(above).any():
        raise AnalysisError(
            f"none of {len(everything)} crystals has an energy above the hull: give energies of "
            "the elements among the known crystals"
        )
    elements = _elements(everything)
    if len(elements) > 2:
        raise AnalysisError(
            f"elements {', '.join(elements)}: a hull can be drawn of one or two elements"
        )
    shown = [above_one <= maximum for above_one in above]
    parts = {
        "known": [d for d, show in zip(known, shown[: len(known)], strict=True) if show],
        "new": [d for d, show in zip(new, shown[len(known) :], strict=True) if show],
    }
    if len(elements) == 1:
        _levels(axes, parts, maximum)
    else:
        _binary(axes, parts, elements)
    notes = [f"energies by {schemes[0]}, hull of the known crystals"]
    if hidden := int((above > maximum).sum()):
        are = counted(hidden, "crystal is", "crystals are")
        notes.append(f"{are} more than {maximum:g} eV/atom above the hull and not shown")
    if missing := int(np.isnan(above).sum()):
        have = counted(missing, "crystal has", "crystals have")
        notes.append(f"{have} no energy above the hull")
    return notes


def _binary(axes: Axes, parts: dict[str, list[Document]], elements: Sequence[str]) -> None:
    points = {
        name: np.array([[_share(d, elements[1]), d["formation_energy"]] for d in documents])
        for name, documents in parts.items()
    }
    known = points["known"].reshape(-1, 2)
    on_hull = np.array([abs(d["energy_above_hull"]) < _ON_HULL for d in parts["known"]], dtype=bool)
    corners = known[on_hull]
    corners = corners[np.argsort(corners[:, 0])]
    axes.plot(corners[:, 0], corners[:, 1], color=BLACK, lw=1.1, zorder=2)
    axes.plot(*known[~on_hull].T, "D", color=GREY, ms=4, mfc="white", label="known", zorder=3)
    axes.plot(*corners.T, "D", color=BLACK, ms=5, label="known, on the hull", zorder=4)
    new = points["new"].reshape(-1, 2)
    if len(new):
        axes.plot(*new.T, "o", color=BLUE, ms=4.5, mew=0.5, mec="white", label="new", zorder=5)
    axes.axhline(0, color=GREY, lw=0.8, ls=":", zorder=0)
    axes.set_xlim(-0.04, 1.04)
    axes.margins(y=0.12)
    axes.set_xlabel(f"Share $x$ of {elements[1]} in {elements[0]}$_{{1-x}}${elements[1]}$_{{x}}$")
    axes.set_ylabel("Formation energy (eV/atom)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.3)
    below = [d for d in parts["new"] if d["energy_above_hull"] < -_ON_HULL]
    named = [*[d for d, on in zip(parts["known"], on_hull, strict=True) if on], *below]
    named_points = np.array([[_share(d, elements[1]), d["formation_energy"]] for d in named])
    everything = np.vstack([known, new])
    label_points(axes, named_points, [_subscripts(d["formula"]) for d in named], everything)


def _levels(axes: Axes, parts: dict[str, list[Document]], maximum: float) -> None:
    columns = [name for name in ("known", "new") if parts[name]]
    lowest = 0.0
    for position, name in enumerate(columns):
        levels = np.array([d["energy_above_hull"] for d in parts[name]])
        lowest = min(lowest, float(levels.min()))
        colour = GREY if name == "known" else BLUE
        axes.hlines(levels, position - 0.32, position + 0.32, color=colour, lw=1.2)
        axes.text(
            position,
            1.02,
            f"$n$ = {len(levels)}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=8,
        )
    axes.axhline(0, color=GREY, lw=0.8, ls=":", zorder=0)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylim(lowest - 0.04 * maximum, maximum)
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("Energy above the known\nground state (eV/atom)")


def _elements(documents: Sequence[Document]) -> list[str]:
    """All elements, the least electronegative first."""
    from pymatgen.core import Composition, Element

    found = {symbol for d in documents for symbol in Composition(d["formula"]).chemical_system_set}
    return sorted(found, key=lambda symbol: (Element(symbol).X, symbol))


def _share(document: Document, element: str) -> float:
    from pymatgen.core import Composition

    return float(Composition(document["formula"]).get_atomic_fraction(element))


def _subscripts(formula: str) -> str:
    return "".join(f"$_{c}$" if c.isdigit() else c for c in formula)
