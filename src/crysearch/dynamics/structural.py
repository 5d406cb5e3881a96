"""What characterises a liquid or a glass: distances, neighbours, angles, density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core import Structure

from crysearch.dynamics.averages import Mean, mean_of
from crysearch.dynamics.bonding import BondAngles, Neighbours, bonding
from crysearch.dynamics.diffusion import Diffusion, diffusion
from crysearch.dynamics.observables import PairDistribution, pair_distributions
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError

# Four blocks of three frames: what an error of the diffusion needs at least.
_LEAST_FRAMES = 12


@dataclass(frozen=True, eq=False)
class PairFeatures:
    """A partial radial distribution function, and what is read off it.

    Attributes
    ----------
    distribution
        g(r) of the pair.
    peak, height, height_error
        Position (Å) and height of the first peak; standard error of g at its top.
    minimum
        Position of the first minimum, Å.
    coordination, coordination_error
        Neighbours up to the first minimum, and the standard error.
    reason
        Why something is None: a gas has no peak, and errors need two blocks of frames.
    """

    distribution: PairDistribution
    peak: float | None = None
    height: float | None = None
    height_error: float | None = None
    minimum: float | None = None
    coordination: float | None = None
    coordination_error: float | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Bonds:
    """Neighbours and angles of bonds shorter than a cut-off (Å)."""

    cutoff: float
    neighbours: Neighbours
    angles: BondAngles


@dataclass(frozen=True, eq=False)
class Structural:
    """What characterises the structure in the frames of a trajectory.

    Attributes
    ----------
    frames
        Number of them.
    density
        g/cm³.
    pairs
        In the order of `pair_distributions`.
    bonds, bonds_reason
        None without a cut-off, and why.
    """

    frames: int
    density: Mean
    pairs: tuple[PairFeatures, ...]
    bonds: Bonds | None
    bonds_reason: str | None = None


def structural(
    trajectory: Trajectory,
    cutoff: float = 10.0,
    bins: int = 200,
    bond_cutoff: float | None = None,
) -> Structural:
    """Radial distribution functions with their features, and bonds.

    Parameters
    ----------
    trajectory
        All its frames count.
    cutoff, bins
        See `pair_distributions`.
    bond_cutoff
        Longest bond, Å, whatever the elements; None: the first minimum of g(r) for atoms of one
        element, and no bonds for several.

    Raises
    ------
    DynamicsError
        There are no frames, or a setting is out of range.
    """
    found = pair_distributions(trajectory, cutoff, bins)
    pairs = tuple(_features(distribution) for distribution in found.values())
    reason = None
    longest = bond_cutoff
    if longest is None and len(pairs) > 1:
        reason = "several elements: give a cut-off"
    elif longest is None:
        longest, reason = pairs[0].minimum, pairs[0].reason
    bonds = None
    if longest is not None:
        bonds, reason = Bonds(longest, *bonding(trajectory, longest)), None
    return Structural(len(trajectory), mean_of(trajectory.densities), pairs, bonds, reason)


def measured_diffusion(trajectory: Trajectory, symbol: str) -> Diffusion:
    """Self-diffusion with its error.

    Raises
    ------
    DynamicsError
        There are too few frames for an error, or no such element.
    """
    if len(trajectory) < _LEAST_FRAMES:
        raise DynamicsError(
            f"{len(trajectory)} frames are too few for diffusion; give {_LEAST_FRAMES}"
        )
    return diffusion(trajectory, symbol)


def as_frames(structures: Sequence[Structure]) -> Trajectory:
    """Structures of the same atoms, each in its own cell, as if they were frames.

    Raises
    ------
    DynamicsError
        There is none, or their atoms differ.
    """
    if not structures:
        raise DynamicsError("structures: none given — give at least one")
    ordered = [one.get_sorted_structure(lambda site: site.specie.Z) for one in structures]
    numbers = [np.array(one.atomic_numbers, dtype=np.int64) for one in ordered]
    if any(not np.array_equal(one, numbers[0]) for one in numbers):
        formulas = ", ".join(dict.fromkeys(one.formula.replace(" ", "") for one in ordered))
        raise DynamicsError(
            f"structures: cells of different atoms ({formulas}) — give those of one formula "
            "together, and others apart"
        )
    count, atoms = len(ordered), len(numbers[0])
    nothing = np.zeros(count)
    return Trajectory(
        numbers=numbers[0],
        steps=np.arange(count),
        times=nothing,
        temperatures=nothing,
        pressures=nothing,
        potential_energies=nothing,
        total_energies=nothing,
        cells=np.array([one.lattice.matrix for one in ordered]),
        positions=np.array([one.cart_coords for one in ordered]),
        velocities_of_last=np.zeros((atoms, 3)),
    )


def _features(distribution: PairDistribution) -> PairFeatures:
    errors = len(distribution.blocks) > 1
    found = PairFeatures(distribution)
    try:
        peak, height = distribution.first_peak()
        top = int(np.argmin(np.abs(distribution.r - peak)))
        error = float(distribution.error[top]) if errors else None
        found = replace(found, peak=peak, height=height, height_error=error)
        minimum = distribution.first_minimum()
    except DynamicsError as problem:
        return replace(found, reason=str(problem))
    number, spread = distribution.coordination(minimum)
    return replace(
        found,
        minimum=minimum,
        coordination=number,
        coordination_error=spread if errors else None,
        reason=None if errors else "a single frame has no errors",
    )
