"""Targets at broader smearings, and the arrays of the stages of a descent.

A target is known as its radial distribution function (RDF) at one smearing σ0 on a grid that ends
at the cut-off. At a broader smearing σ it is the convolution with a Gaussian of width
τ = √(σ² − σ0²), since variances add. What is convolved must be the number of atoms per length,
n(r) ∝ r² g(r), because the smearing acts on distances before the division by r². The atoms beyond
the cut-off are not known; τ leaks in from there, and so a stage compares up to three τ before the
cut-off only, where less than 0.14 % of a shell of atoms can be missing. The last stage, at σ0,
compares the whole RDF and is the fingerprint's own Pearson's distance.

A broad RDF needs fewer grid points: two for three standard deviations carry all of it (the RDF's
own grid has as many).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crysearch.errors import GuidingError
from crysearch.fingerprints import RadialDistributionFunction, is_comparable
from crysearch.fingerprints.distances import standardised
from crysearch.fingerprints.kernel import SMEARING_REACH
from crysearch.guiding.kernel import SPLINE_NODES, Stages

#: Half-width of the Gaussian of the broad stages, whose loss need not be exact.
BROAD_REACH = 5.5
_POINTS_PER_SMEARING = 1.5
_NODES_PER_SMEARING = 3.0
_UNKNOWN_EDGE = 3.0
# Values of the quintic B-spline at whole numbers, times 120.
_SPLINE_VALUES = (66.0, 26.0, 1.0)


@dataclass(frozen=True)
class Stage:
    """One smearing: its grid and mesh.

    Attributes
    ----------
    smearing : float
        Å.
    end : float
        The grid ends here, Å.
    points : int
        Grid point k is at (k + ½) end / points.
    phases : int
        Mesh nodes per grid point.
    half : int
        Mesh nodes on either side of a grid point to which its Gaussian reaches.
    """

    smearing: float
    end: float
    points: int
    phases: int
    half: int

    @classmethod
    def own(cls, rdf: RadialDistributionFunction) -> Stage:
        """The stage of the RDF's own smearing and grid."""
        return cls._make(rdf.smearing, rdf.cutoff, rdf.grid_points, SMEARING_REACH)

    @classmethod
    def broad(cls, rdf: RadialDistributionFunction, smearing: float) -> Stage:
        """The stage of a broader smearing."""
        width = math.sqrt(smearing**2 - rdf.smearing**2)
        end = rdf.cutoff - _UNKNOWN_EDGE * width
        points = math.ceil(end / smearing * _POINTS_PER_SMEARING)
        return cls._make(smearing, end, min(max(points, 2), rdf.grid_points), BROAD_REACH)

    @classmethod
    def _make(cls, smearing: float, end: float, points: int, reach: float) -> Stage:
        phases = max(1, math.ceil(_NODES_PER_SMEARING * end / points / smearing - 1e-9))
        node = end / points / phases
        return cls(smearing, end, points, phases, math.ceil(reach * smearing / node) + SPLINE_NODES)

    @property
    def grid(self) -> np.ndarray:
        """(points,) Å."""
        return (np.arange(self.points) + 0.5) * (self.end / self.points)

    @property
    def node(self) -> float:
        """Spacing of the mesh, Å."""
        return self.end / self.points / self.phases

    @property
    def reach(self) -> float:
        """Å: a distance beyond touches no grid point."""
        # Its outermost of six nodes, three after the one before it, is the last of the mesh.
        return self.end + (self.half - 2 - 0.5 * self.phases) * self.node

    def taps(self) -> np.ndarray:
        """(2 half + 1,): coefficients whose spline passes through the Gaussian at the nodes."""
        # Periodic over twice the length, at whose ends the Gaussian is nothing.
        number = 4 * self.half
        away = np.minimum(np.arange(number), number - np.arange(number)) * self.node
        values = np.exp(-0.5 * (away / self.smearing) ** 2)
        angle = 2.0 * np.pi * np.arange(number) / number
        centre, first, second = _SPLINE_VALUES
        spline = (centre + 2 * first * np.cos(angle) + 2 * second * np.cos(2 * angle)) / 120.0
        coefficients = np.fft.ifft(np.fft.fft(values) / spline).real
        return np.concatenate([coefficients[-self.half :], coefficients[: self.half + 1]])

    def target(self, fingerprints: np.ndarray, rdf: RadialDistributionFunction) -> np.ndarray:
        """RDFs known at their own smearing at this one.

        Parameters
        ----------
        fingerprints : numpy.ndarray
            Shape (k, size) of ``rdf``.
        rdf : RadialDistributionFunction

        Returns
        -------
        numpy.ndarray
            Shape (k, channels * points).
        """
        if self == Stage.own(rdf):
            return fingerprints
        width = math.sqrt(self.smearing**2 - rdf.smearing**2)
        known = fingerprints.reshape(len(fingerprints), -1, rdf.grid_points)
        weight = rdf.grid**2 if rdf.quantity == "g" else np.ones(rdf.grid_points)
        away = (self.grid[:, None] - rdf.grid[None, :]) / width
        blur = np.exp(-0.5 * away**2) * (weight / (width * math.sqrt(2.0 * math.pi)))
        blur *= rdf.cutoff / rdf.grid_points
        if rdf.quantity == "g":
            blur /= self.grid[:, None] ** 2
        return (known @ blur.T).reshape(len(fingerprints), -1)

    def scale(self, rdf: RadialDistributionFunction, populations: np.ndarray) -> np.ndarray:
        """(channels, points): what a smeared count of ordered pairs is multiplied by.

        ``populations`` (channels,) are ordered pairs of atoms; factors that all channels share
        change no Pearson's distance and are left out.
        """
        if rdf.quantity == "n":
            return np.ones((len(populations), self.points))
        norm = np.where(populations > 0, populations, 1.0)
        return 1.0 / (norm[:, None] * self.grid[None, :] ** 2)


def make_stages(rdf: RadialDistributionFunction, smearings: tuple[float, ...]) -> list[Stage]:
    """The broad stages, then the RDF's own.

    Raises
    ------
    GuidingError
        If a smearing is not broader than the RDF's own, or too broad for the cut-off.
    """
    for smearing in smearings:
        if smearing <= rdf.smearing:
            raise GuidingError(
                f"smearings: {smearing:g} Å is not broader than the RDF's own {rdf.smearing:g} Å, "
                "which always comes last; give broader ones only"
            )
        if _UNKNOWN_EDGE * smearing > 0.5 * rdf.cutoff:
            raise GuidingError(
                f"smearings: {smearing:g} Å leaves too little of the {rdf.cutoff:g} Å before the "
                f"cut-off; give at most {0.5 * rdf.cutoff / _UNKNOWN_EDGE:g} Å"
            )
    return [*(Stage.broad(rdf, smearing) for smearing in smearings), Stage.own(rdf)]


def stage_arrays(
    stages: list[Stage],
    rdf: RadialDistributionFunction,
    targets: np.ndarray,
    populations: np.ndarray,
    shortest_reach: float,
    steps: tuple[int, ...],
    longest_steps: tuple[float, ...],
    stop: tuple[float, ...],
    stall: tuple[float, ...],
) -> Stages:
    """The stages as the compiled code reads them; see :class:`crysearch.guiding.kernel.Stages`.

    Raises
    ------
    GuidingError
        Where a target has no Pearson's distance at one of the smearings.
    """
    channels = len(populations)
    size = channels * max(stage.points for stage in stages)
    taps = np.zeros((len(stages), 2 * max(stage.half for stage in stages) + 1))
    scale = np.zeros((len(stages), size))
    known = np.zeros((len(stages), len(targets), size))
    for s, stage in enumerate(stages):
        taps[s, : 2 * stage.half + 1] = stage.taps()
        scale[s, : channels * stage.points] = stage.scale(rdf, populations).ravel()
        broadened = stage.target(targets, rdf)
        bad = ~is_comparable(broadened)
        if bad.any():
            raise GuidingError(
                f"targets: row {int(np.argmax(bad))} is constant or not finite at a smearing of "
                f"{stage.smearing:g} Å, so that no crystal has a distance to it; leave it out"
            )
        known[s, :, : channels * stage.points] = standardised(broadened)
    return Stages(
        sizes=np.array(
            [
                [stage.points for stage in stages],
                [stage.phases for stage in stages],
                [stage.half for stage in stages],
                steps,
            ],
            dtype=np.int64,
        ),
        limits=np.array(
            [
                [stage.node for stage in stages],
                longest_steps,
                stop,
                stall,
                [max(stage.reach, shortest_reach) for stage in stages],
            ]
        ),
        taps=taps,
        scale=scale,
        targets=known,
    )
