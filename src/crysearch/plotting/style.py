"""The house style of the figures: colours, fonts, saving, labels that keep out of the way."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from crysearch.errors import AnalysisError

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE, GREY, LIGHT_GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#6B6B6B",
    "#B8B8B8",
)

#: Colour and marker of the known structures, of each group of candidates, and of those in none.
GROUP_STYLES = {
    "Database": (GREY, "D"),
    "I": (BLUE, "o"),
    "II": (VERMILLION, "s"),
    "I and II": (PURPLE, "P"),
    "III": (GREEN, "^"),
    "IV": (ORANGE, "v"),
    "none": (GREY, "x"),
}

#: Even lightness steps, readable in grey and by colour-blind readers.
ENERGY_COLOURS = "viridis"

SUFFIXES = (".png", ".pdf", ".svg")
PIXELS_PER_INCH = 200

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "crysearch",
}

#: Where a label may stand relative to its point (in font sizes), the best places first.
_PLACES = [
    (0.7, 0.5),
    (-0.7, 0.5),
    (0.7, -0.5),
    (-0.7, -0.5),
    (0.0, 0.9),
    (0.0, -0.9),
    (1.4, 1.3),
    (-1.4, 1.3),
    (1.4, -1.3),
    (-1.4, -1.3),
]


def energy_scale(energies: np.ndarray, maximum: float) -> Normalize:
    """Colour scale from the ground state to the highest energy, or to the maximum if lower."""
    low = min(0.0, energies.min(initial=0.0))
    return Normalize(low, min(maximum, max(energies.max(initial=0.0), 1e-3)))


@contextmanager
def house_style(path: str | Path | None) -> Iterator[None]:
    """Check where the figure goes, then set the style for as long as it is drawn.

    Raises
    ------
    AnalysisError
        If the name does not end in one of :data:`SUFFIXES`.
    """
    if path is not None and Path(path).suffix.lower() not in SUFFIXES:
        raise AnalysisError(
            f"path={str(path)!r}: a figure can be written as {', '.join(SUFFIXES)}; "
            "end the name in one of them"
        )
    with mpl.rc_context():
        # Whatever the caller has set, the figures look the same.
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches that no global state of matplotlib knows of."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, notes: Sequence[str], path: str | Path | None) -> Figure:
    """Write the notes under the figure, and the figure to a file if a path is given."""
    if notes:
        text = " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
        width = int(figure.get_figwidth() * 17)
        figure.supxlabel(textwrap.fill(text, width), x=0.01, ha="left", fontsize=7, color=GREY)
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No date inside: the same records give the same file.
        stamp = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
        figure.savefig(path, dpi=PIXELS_PER_INCH, metadata=stamp.get(path.suffix.lower()))
    return figure


def panel_letter(axes: Axes, letter: str) -> None:
    """Mark one panel of several, above its vertical axis, where no legend comes."""
    axes.annotate(
        letter,
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(-22, 8),
        textcoords="offset points",
        fontweight="bold",
        fontsize=10,
    )


def plain_log_ticks(axis: Axis, *, decades: bool = False) -> None:
    """Label a logarithmic axis with plain numbers: 0.1, 0.2, 0.5, 1, …, or only its decades."""
    axis.set_major_locator(LogLocator(base=10, subs=(1,) if decades else (1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
    axis.set_minor_formatter(NullFormatter())


def label_points(axes: Axes, points: np.ndarray, texts: Sequence[str], taken: np.ndarray) -> int:
    """Label points, most important first, without covering points or other labels.

    A label for which there is no free place is left out. Call it when everything else has been
    drawn, since the places are found on the finished layout.

    Parameters
    ----------
    points
        Points to label in data coordinates, shape (n, 2).
    texts
        One label per point.
    taken
        All points that must stay visible, shape (m, 2).

    Returns
    -------
    int
        Labels drawn.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise AnalysisError("the axes belong to no figure: draw them in one before labelling")
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer)
    size = 7.0
    marker = 2.5 * figure.dpi / 72
    obstacles = [
        Bbox([centre - marker, centre + marker]) for centre in axes.transData.transform(taken)
    ]
    legend = axes.get_legend()
    if legend is not None:
        obstacles.append(legend.get_window_extent(renderer))
    drawn = 0
    for point, text in zip(points, texts, strict=True):
        for right, up in _PLACES:
            label = axes.annotate(
                text,
                point,
                xytext=(right * size, up * size),
                textcoords="offset points",
                fontsize=size,
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="bottom" if up > 0 else "top",
                path_effects=[withStroke(linewidth=2, foreground="white")],
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2}
                if abs(right) > 1
                else None,
            )
            box = _text_box(label, renderer)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1
            fits = fits and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(box.overlaps(other) for other in obstacles):
                obstacles.append(box)
                drawn += 1
                break
            label.remove()
    return drawn


def _text_box(label: Annotation, renderer: RendererAgg) -> Bbox:
    """Where the words are, without the line to the point."""
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer)
