"""Coordination numbers and bond angles of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from crysearch.dynamics.observables import chosen_frames
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError


@dataclass(frozen=True, eq=False)
class BondAngles:
    """Angles between the bonds of an atom, over atoms and frames.

    Attributes
    ----------
    degrees
        (bins,) middles of the bins.
    density
        (bins,) per degree, with integral 1.
    mean, standard_deviation
        Degrees.
    """

    degrees: NDArray[np.float64]
    density: NDArray[np.float64]
    mean: float
    standard_deviation: float


@dataclass(frozen=True)
class Neighbours:
    """Coordination numbers over atoms and frames.

    Attributes
    ----------
    mean
        Neighbours of an atom.
    fractions
        Share of the atoms with each number of neighbours.
    """

    mean: float
    fractions: dict[int, float]


def bonding(
    trajectory: Trajectory,
    cutoff: float,
    bins: int = 90,
    frames: Sequence[int] | None = None,
) -> tuple[Neighbours, BondAngles]:
    """Coordination numbers and angles of bonds shorter than a cut-off, whatever the elements.

    Parameters
    ----------
    cutoff
        Longest bond, Å: as a rule the first minimum of g(r).
    bins
        Of the angles, from 0° to 180°.
    frames
        Indices of the frames; None: all.

    Raises
    ------
    DynamicsError
        If there are no frames, or the cut-off is not positive.
    """
    from matscipy.neighbours import first_neighbours, neighbour_list, triplet_list

    if not (np.isfinite(cutoff) and cutoff > 0):
        raise DynamicsError(f"cutoff={cutoff!r} must be a finite length greater than 0")
    atoms, numbers, cosines = len(trajectory.numbers), [], []
    for index in chosen_frames(trajectory, frames):
        frame = Atoms(
            numbers=trajectory.numbers,
            positions=trajectory.positions[index],
            cell=trajectory.cells[index],
            pbc=True,
        )
        first, vectors = neighbour_list("iD", frame, float(cutoff))
        numbers.append(np.bincount(first, minlength=atoms))
        one, two = triplet_list(first_neighbours(atoms, first))
        units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        cosines.append(np.einsum("td,td->t", units[one], units[two])[one != two])
    counted = np.concatenate(numbers)
    values, occurrences = np.unique(counted, return_counts=True)
    fractions = dict(zip(values.tolist(), (occurrences / len(counted)).tolist(), strict=True))
    angles = np.degrees(np.arccos(np.clip(np.concatenate(cosines), -1, 1)))
    density, edges = np.histogram(angles, bins, (0, 180), density=len(angles) > 0)
    return Neighbours(float(counted.mean()), fractions), BondAngles(
        degrees=(edges[1:] + edges[:-1]) / 2,
        density=density,
        mean=float(angles.mean()) if len(angles) else float("nan"),
        standard_deviation=float(angles.std()) if len(angles) else float("nan"),
    )
