"""Figures of a search by active learning: its learning, its pool, and its clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from crysearch.active_learning import PoolMap
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
    plain_log_ticks,
)
from crysearch.plotting.values import Document, counted, number

_QUANTITIES = (("energy", "energy (eV/atom)"), ("force", "force (eV/Å)"))
_CLUSTERS = tuple(
    zip((BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY), ("o", "s", "D", "^", "v", "P"), strict=True)
)
_SHOWN = 0.9  # of the relaxed pool, in the range of energies
_FRAME = 0.96  # quantile of the pool along each component of the map


class PoolOfCycle(Protocol):
    """The pool of a cycle: see `crysearch.workflows.active_learning.review.PoolEnergies`."""

    @property
    def cycle(self) -> int:
        """Its number."""

    @property
    def energies(self) -> NDArray[np.float64]:
        """Mean energies of the ensemble (n,), eV/atom."""

    @property
    def statuses(self) -> dict[str, int]:
        """How many of the pool ended in which way."""

    @property
    def calculated(self) -> NDArray[np.float64]:
        """Reference energies (m,) of the structures chosen, eV/atom."""


def plot_learning_curve(cycles: Sequence[Document], path: str | Path | None = None) -> Figure:
    """Errors of energies and forces against the number of reference calculations.

    Parameters
    ----------
    cycles
        Documents of cycles with ``configurations``, ``training`` (``energy`` and ``force`` of each
        member: root mean square errors for what it held out, eV/atom and eV/Å) and ``errors``
        (``energy_mae``, ``energy_rmse``, ``force_mae``, ``force_rmse``, for structures that the
        ensemble had not seen).
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no ensemble was trained, or the file name has another ending.
    """
    trained = [cycle for cycle in cycles if cycle.get("training")]
    if not trained:
        raise AnalysisError(
            f"none of {len(cycles)} cycles has a trained ensemble: let the first one end"
        )
    notes = [
        "held out: what each member is not trained on; mean over the members, the band from the "
        "best to the worst"
    ]
    silent = [str(cycle["cycle"]) for cycle in trained if cycle.get("errors") is None]
    if silent:
        notes.append(f"no new structures were calculated in cycle {', '.join(silent)}")
    counts = np.array([cycle["configurations"] for cycle in trained], dtype=np.float64)
    with house_style(path):
        figure = new_figure(7.0, 3.1)
        grid = figure.subplots(1, 2)
        for axes, letter, (quantity, label) in zip(grid, "ab", _QUANTITIES, strict=True):
            held_out = [[number(value) for value in c["training"][quantity]] for c in trained]
            low, high, mean = ([f(row) for row in held_out] for f in (min, max, np.mean))
            axes.fill_between(counts, low, high, color=GREY, alpha=0.15, lw=0)
            axes.plot(counts, mean, ":", marker=".", color=GREY, label="held out, root mean square")
            for key, dashes, marker, name in (
                ("rmse", "--", "s", "new structures, root mean square"),
                ("mae", "-", "o", "new structures, mean absolute"),
            ):
                values = [number((c.get("errors") or {}).get(f"{quantity}_{key}")) for c in trained]
                colour = BLUE if key == "mae" else VERMILLION
                axes.plot(counts, values, dashes, marker=marker, ms=4, color=colour, label=name)
            axes.set_yscale("log")
            plain_log_ticks(axes.yaxis)
            if len(counts) == 1:  # has no band
                axes.vlines(counts, low, high, color=GREY, alpha=0.4, lw=1)
            axes.set_xlim(0, 1.05 * counts.max())
            axes.set_xlabel("Reference calculations learned from")
            axes.set_ylabel(f"Error of the {label}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            panel_letter(axes, letter)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=3)
        return finish(figure, notes, path)


def plot_pool_energies(
    pools: Sequence[PoolOfCycle],
    found: float | None = None,
    known: float | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Energies of the relaxed pool by cycle, beside those of the reference method.

    A box has the middle half of the ensemble's mean energies with their median, its whiskers nine
    in ten; the lowest is marked. Dots are reference energies of the structures chosen.

    Parameters
    ----------
    pools
        Of each cycle, cycle 0 (the first batch) first.
    found, known
        The lowest energy of what was relaxed with the reference method at the end, and of the known
        structures, eV/atom.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If no pool was relaxed, or the file name has another ending.
    """
    relaxed = [pool for pool in pools if pool.energies.size]
    if not relaxed:
        raise AnalysisError(
            f"none of {len(pools)} cycles has a relaxed pool: let the first one end"
        )
    notes = ["boxes: quartiles and median; whiskers: 5 to 95 % of the pool"]
    failed = sum(pool.statuses.get("failed", 0) for pool in pools)
    if failed:
        notes.append(f"{counted(failed, 'relaxation', 'relaxations')} of the pool failed")
    low, high = _energy_range(relaxed, found, known)
    outside = sum(int((pool.calculated > high).sum()) for pool in pools)
    if outside:
        are = counted(outside, "reference energy is", "reference energies are")
        notes.append(f"{are} above what is shown")
    with house_style(path):
        figure = new_figure(max(6.6, min(8.0, 2.2 + 0.48 * len(pools))), 3.7)
        axes = figure.subplots()
        for pool in relaxed:
            _draw_box(axes, pool)
        for pool in pools:
            inside = np.sort(pool.calculated[pool.calculated <= high])
            # Side by side, so that equal energies stay visible.
            places = pool.cycle + 0.23 + 0.2 * (np.arange(len(inside)) % 5) / 4
            axes.plot(places, inside, "o", ms=2.4, mfc="none", mec=BLUE, mew=0.7)
        if known is not None:
            axes.axhline(known, color=LIGHT_GREY, lw=2.4, zorder=0)
        if found is not None:
            axes.axhline(found, color=GREEN, lw=1.0, ls="--", zorder=0.5)
        axes.set_ylim(low, high)
        axes.set_xlim(min(pool.cycle for pool in pools) - 0.6, pools[-1].cycle + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
        axes.set_xlabel("Cycle (0: first batch, crystals as they were drawn)")
        axes.set_ylabel("Energy (eV/atom)")
        handles = [
            Line2D([], [], color=ORANGE, lw=5, alpha=0.5, label="relaxed pool, ensemble mean"),
            _marker("v", VERMILLION, "its lowest"),
            _marker("o", BLUE, "chosen, reference method"),
        ]
        if found is not None:
            line = "lowest found, reference method"
            handles.append(Line2D([], [], color=GREEN, lw=1.0, ls="--", label=line))
        if known is not None:
            handles.append(Line2D([], [], color=LIGHT_GREY, lw=2.4, label="known ground state"))
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        return finish(figure, notes, path)


def plot_pool_map(pool: PoolMap, cycle: int, path: str | Path | None = None) -> Figure:
    """The relaxed pool of a cycle in the plane of its principal components, by cluster.

    Parameters
    ----------
    pool
        See `crysearch.active_learning.PoolMap`.
    cycle
        Its number.
    path
        File to write (.png, .pdf or .svg).

    Raises
    ------
    AnalysisError
        If the pool is empty, or the file name has another ending.
    """
    if not len(pool.points):
        raise AnalysisError(f"the pool of cycle {cycle} is empty: nothing of it could be relaxed")
    sizes = np.bincount(pool.ranks[pool.ranks >= 0], minlength=1)
    notes = [
        f"{counted(len(pool.points), 'structure', 'structures')} in "
        f"{counted(int((sizes > 0).sum()), 'cluster', 'clusters')}, of which "
        f"{int((sizes == 1).sum())} of a single structure",
    ]
    with house_style(path):
        figure = new_figure(6.6, 3.9)
        axes = figure.subplots()
        rest = pool.points[(pool.ranks < 0) | (pool.ranks >= len(_CLUSTERS))]
        low, high = _frame(pool)
        shown = pool.calculated[_inside(pool.calculated, low, high)]
        for points, what in ((pool.points, "of the pool"), (pool.calculated, "calculated before")):
            outside = len(points) - int(_inside(points, low, high).sum())
            if outside:
                are = counted(outside, f"structure {what} is", f"structures {what} are")
                notes.append(f"{are} outside")
        if pool.chosen.any():
            axes.plot(*pool.points[pool.chosen].T, "o", ms=9, mfc="none", mec=BLACK, mew=0.8,
                      ls="", zorder=3, label="chosen next")  # fmt: skip
        else:
            notes.append("nothing was chosen in this cycle")
        if len(shown):
            axes.plot(*shown.T, "x", ms=3.5, color=LIGHT_GREY, mew=0.8, zorder=1,
                      label="calculated before")  # fmt: skip
        if len(rest):
            axes.plot(*rest.T, "o", ms=4, mfc="none", mec=GREY, mew=0.8, ls="", zorder=2,
                      label="further clusters")  # fmt: skip
        # The best last, so that they lie on top.
        for rank in reversed(range(min(len(_CLUSTERS), len(sizes)))):
            own = pool.points[pool.ranks == rank]
            if not len(own):
                continue
            colour, marker = _CLUSTERS[rank]
            axes.plot(*own.T, marker, ms=5.5, color=colour, mec="white", mew=0.5, zorder=4,
                      label=_cluster_label(pool, rank, len(own)))  # fmt: skip
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        first, second = (f"{100 * share:.0f} %" for share in pool.shares)
        axes.set_xlabel(f"Principal component 1 ({first} of the variance)")
        axes.set_ylabel(f"Principal component 2 ({second} of the variance)")
        axes.set_title(f"Features of the pool after cycle {cycle}", loc="left")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right upper",
                      title="Clusters, best first", alignment="left")  # fmt: skip
        return finish(figure, notes, path)


def _draw_box(axes: Axes, pool: PoolOfCycle) -> None:
    box = axes.boxplot(
        [pool.energies],
        positions=[pool.cycle],
        widths=0.36,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
    )
    for patch in box["boxes"]:
        patch.set(facecolor=ORANGE, alpha=0.5, edgecolor=BLACK, linewidth=0.7)
    for part in ("whiskers", "caps", "medians"):
        for line in box[part]:
            line.set(color=BLACK, linewidth=0.7)
    axes.plot([pool.cycle], [pool.energies.min()], "v", ms=4.5, color=VERMILLION, mec="white",
              mew=0.4, zorder=4)  # fmt: skip


def _energy_range(
    relaxed: Sequence[PoolOfCycle], found: float | None, known: float | None
) -> tuple[float, float]:
    """From the lowest energy to what most of every pool is below."""
    lowest = [pool.energies.min() for pool in relaxed]
    lowest += [pool.calculated.min() for pool in relaxed if pool.calculated.size]
    lowest += [energy for energy in (found, known) if energy is not None]
    low = float(min(lowest))
    high = max(float(np.quantile(pool.energies, _SHOWN)) for pool in relaxed)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _frame(pool: PoolMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of what is shown: the best clusters, and nearly all of the others."""
    best = pool.points[(pool.ranks >= 0) & (pool.ranks < len(_CLUSTERS))]
    lowest = np.quantile(pool.points, 1 - _FRAME, axis=0, method="lower")
    highest = np.quantile(pool.points, _FRAME, axis=0, method="higher")
    corners = np.concatenate([best, [lowest, highest], pool.points[pool.chosen]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = np.where(high > low, 0.12 * (high - low), 1.0)
    return low - margin, high + margin


def _inside(
    points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def _cluster_label(pool: PoolMap, rank: int, size: int) -> str:
    name = pool.names.get(rank)
    told = counted(size, "structure", "structures")
    return f"{rank + 1}: {told}" if name is None else f"{rank + 1}: {name}, {told}"


def _marker(marker: str, colour: str, label: str) -> Line2D:
    hollow = "none" if marker == "o" else colour
    return Line2D([], [], ls="", marker=marker, ms=4.5, mfc=hollow, mec=colour, label=label)
