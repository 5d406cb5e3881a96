"""Partial radial distribution functions of trajectories, and what is read off them.

Error bars are standard errors of the means of consecutive blocks of frames; blocks have to be
longer than the time in which the structure forgets itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from crysearch.dynamics.histograms import pair_counts
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError

Pair = tuple[str, str]

#: The reference's g(r) below which there is nothing, for the check of short distances.
ONSET = 0.01


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Partial radial distribution function of one pair of elements, averaged over frames.

    g_ab(r) = V ⟨n_ab(r)⟩ / (N_a N_b 4πr² Δr), n_ab the ordered pairs in a shell.

    Attributes
    ----------
    pair
        The elements a and b.
    r
        (bins,) middles of the bins, Å.
    g
        (bins,) dimensionless.
    error
        (bins,) standard error of g; zero for a single block.
    neighbours
        (bins,) mean number of b atoms around an a atom up to the outer edge of each bin.
    blocks, blocks_neighbours
        (blocks, bins) the same for each block of frames.
    """

    pair: Pair
    r: NDArray[np.float64]
    g: NDArray[np.float64]
    error: NDArray[np.float64]
    neighbours: NDArray[np.float64]
    blocks: NDArray[np.float64]
    blocks_neighbours: NDArray[np.float64]

    @property
    def width(self) -> float:
        """Of the bins, Å."""
        return float(self.r[1] - self.r[0])

    def first_peak(self) -> tuple[float, float]:
        """Position (Å) and height of the first peak above 1, by a parabola through its top.

        Raises
        ------
        DynamicsError
            If g nowhere exceeds 1.
        """
        start, stop = self._first_above_one()
        top = start + int(np.argmax(self.g[start:stop]))
        if top in (0, len(self.g) - 1):
            return float(self.r[top]), float(self.g[top])
        left, middle, right = self.g[top - 1 : top + 2]
        curvature = left - 2 * middle + right
        shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
        height = middle - 0.25 * (left - right) * shift
        return float(self.r[top] + shift * self.width), float(height)

    def first_minimum(self) -> float:
        """Position of the minimum after the first peak, Å; the middle of it if it is flat.

        Raises
        ------
        DynamicsError
            If g does not fall below 1 after the peak, within the cut-off.
        """
        _, stop = self._first_above_one()
        after = self.g[stop:]
        if not len(after) or not (after < 1).any():
            raise DynamicsError(
                f"g(r) of {'–'.join(self.pair)} has no minimum within {self.r[-1]:.3g} Å; give a "
                "longer cut-off"
            )
        above = np.flatnonzero(after >= 1)
        well = after[: above[0]] if len(above) else after
        flat = np.flatnonzero(well <= well.min() + 1e-12)
        return float(self.r[stop + flat].mean())

    def coordination(self, radius: float | None = None) -> tuple[float, float]:
        """Mean number of b atoms around an a atom, and its standard error.

        Parameters
        ----------
        radius
            Å; None: the first minimum.
        """
        radius = self.first_minimum() if radius is None else radius
        edges = self.r + self.width / 2
        of_blocks = [float(np.interp(radius, edges, block)) for block in self.blocks_neighbours]
        return float(np.interp(radius, edges, self.neighbours)), standard_error_of(of_blocks)

    def _first_above_one(self) -> tuple[int, int]:
        above = np.flatnonzero(self.g > 1)
        if not len(above):
            raise DynamicsError(
                f"g(r) of {'–'.join(self.pair)} has no peak within {self.r[-1]:.3g} Å; give a "
                "longer cut-off or more frames"
            )
        start = int(above[0])
        below = np.flatnonzero(self.g[start:] <= 1)
        return start, start + int(below[0]) if len(below) else len(self.g)


def pair_distributions(
    trajectory: Trajectory,
    cutoff: float = 10.0,
    bins: int = 200,
    frames: Sequence[int] | None = None,
    blocks: int = 5,
) -> dict[Pair, PairDistribution]:
    """Partial radial distribution functions of all pairs of elements.

    Parameters
    ----------
    trajectory
        One atom or more of each element, in cells of any size and shape.
    cutoff
        Å.
    bins
        Of equal width from 0 to the cut-off.
    frames
        Indices of the frames to average over; None: all.
    blocks
        Into how many consecutive parts the frames are divided for the error bars; fewer if there
        are fewer frames.

    Returns
    -------
    dict
        By pair of elements, in the order of their first atoms.

    Raises
    ------
    DynamicsError
        If there are no frames, or a setting is out of range.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise DynamicsError(f"cutoff={cutoff!r} must be a finite length greater than 0")
    if bins < 2 or blocks < 1:
        raise DynamicsError(f"bins={bins}, blocks={blocks}: give at least 2 bins and 1 block")
    chosen = chosen_frames(trajectory, frames)
    numbers = list(dict.fromkeys(int(number) for number in trajectory.numbers))
    kinds = np.array([numbers.index(int(number)) for number in trajectory.numbers])
    counts = pair_counts(
        trajectory.cells[chosen], trajectory.positions[chosen], kinds, cutoff, bins
    ).astype(float)
    edges = np.linspace(0, cutoff, bins + 1)
    shells = 4 / 3 * np.pi * (edges[1:] ** 3 - edges[:-1] ** 3)
    volumes = trajectory.volumes[chosen]
    parts = np.array_split(np.arange(len(chosen)), min(blocks, len(chosen)))
    distributions = {}
    pairs = itertools.combinations_with_replacement(range(len(numbers)), 2)
    for channel, (a, b) in enumerate(pairs):
        ordered = counts[:, channel] * (1.0 if a == b else 0.5)
        first, second = (int(np.sum(kinds == kind)) for kind in (a, b))
        g = ordered * volumes[:, None] / (first * second * shells)
        near = np.cumsum(ordered, axis=1) / first
        g_blocks = np.array([g[part].mean(axis=0) for part in parts])
        pair = chemical_symbols[numbers[a]], chemical_symbols[numbers[b]]
        distributions[pair] = PairDistribution(
            pair=pair,
            r=(edges[1:] + edges[:-1]) / 2,
            g=g.mean(axis=0),
            error=g_blocks.std(axis=0, ddof=1) / np.sqrt(len(parts))
            if len(parts) > 1
            else np.zeros(bins),
            neighbours=near.mean(axis=0),
            blocks=g_blocks,
            blocks_neighbours=np.array([near[part].mean(axis=0) for part in parts]),
        )
    return distributions


@dataclass(frozen=True)
class ShortRangeCheck:
    """Whether a potential lets atoms come nearer than its reference does.

    Attributes
    ----------
    pair
        The elements.
    onset
        Smallest distance at which the reference's g exceeds 0.01, Å.
    weight, reference_weight
        Neighbours per atom nearer than that, of the fitted potential and of the reference.
    threshold
        Of the difference.
    unphysical
        Whether it is exceeded.
    """

    pair: Pair
    onset: float
    weight: float
    reference_weight: float
    threshold: float
    unphysical: bool


def unphysical_short_range(
    fitted: PairDistribution, reference: PairDistribution, threshold: float = 0.005
) -> ShortRangeCheck:
    """Look for atoms that are nearer to each other than the reference allows.

    Parameters
    ----------
    fitted, reference
        g(r) of the same pair, from dynamics at the same temperature and density.
    threshold
        Neighbours per atom nearer than the reference's onset, beyond those of the reference, from
        which they are not physical.

    Raises
    ------
    DynamicsError
        If the pairs differ, or the reference has no onset.
    """
    if set(fitted.pair) != set(reference.pair):
        raise DynamicsError(
            f"fitted.pair={fitted.pair} and reference.pair={reference.pair} differ; compare the "
            "same pair"
        )
    present = np.flatnonzero(reference.g > ONSET)
    if not len(present):
        raise DynamicsError(f"reference: g(r) of {reference.pair} is nowhere above {ONSET}")
    onset = float(reference.r[present[0]] - reference.width / 2)
    weights = [_nearer(distribution, onset) for distribution in (fitted, reference)]
    return ShortRangeCheck(
        pair=reference.pair,
        onset=onset,
        weight=weights[0],
        reference_weight=weights[1],
        threshold=threshold,
        unphysical=weights[0] - weights[1] > threshold,
    )


def _nearer(distribution: PairDistribution, radius: float) -> float:
    edges = np.concatenate([[0.0], distribution.r + distribution.width / 2])
    return float(np.interp(radius, edges, np.concatenate([[0.0], distribution.neighbours])))


def standard_error_of(values: Sequence[float]) -> float:
    """Standard error of the mean of independent values; zero for a single one."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def chosen_frames(trajectory: Trajectory, frames: Sequence[int] | None) -> NDArray[np.int64]:
    """Indices of the frames, all of them for None.

    Raises
    ------
    DynamicsError
        If there is none.
    """
    chosen = np.arange(len(trajectory)) if frames is None else np.asarray(frames, dtype=np.int64)
    if not len(chosen):
        raise DynamicsError("the trajectory has no frames to average over")
    return chosen
