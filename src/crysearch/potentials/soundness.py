"""Which crystals a potential can take, and their atoms one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from numpy.typing import NDArray

from crysearch.potentials import kernel
from crysearch.potentials.configuration import Configuration, Failure

#: Atoms nearer than this part of the sum of their covalent radii are refused.
CONTACT = 0.5
#: Atoms with more neighbours than this are refused: a collapsed cell.
MOST_NEIGHBOURS = 1500


class Gathered(NamedTuple):
    """The sound ones among some crystals.

    ``places`` (S,): which they are. ``failures``: why the others are not, by their place.
    ``neighbours`` (A,): atoms within the cut-off of each atom, images included; ``blocks`` (A,):
    distinct atoms among these, without itself.
    """

    places: NDArray[np.int64]
    failures: dict[int, Failure]
    crystals: kernel.Crystals
    neighbours: NDArray[np.int64]
    blocks: NDArray[np.int64]


def gather(
    configurations: Sequence[Configuration | Failure], elements: Sequence[str], cutoff: float
) -> Gathered:
    """Find the crystals that can be taken.

    Parameters
    ----------
    configurations : sequence of Configuration or Failure
        What has failed already stays so. Crystals with other elements, degenerate cells, atoms too
        close or too many neighbours are failures too.
    elements : sequence of str
    cutoff : float
        Å.
    """
    failures: dict[int, Failure] = {}
    sound_ones: dict[int, Configuration] = {}
    for place, configuration in enumerate(configurations):
        problem = _problem(configuration, elements, cutoff)
        if isinstance(configuration, Configuration) and problem is None:
            sound_ones[place] = configuration
        elif problem is not None:
            failures[place] = problem
    crystals = _crystals(list(sound_ones.values()), elements)
    places = np.array(list(sound_ones), np.int64)
    neighbours, blocks, closeness = _survey(crystals, elements, cutoff)
    sound = closeness >= CONTACT
    if not sound.all():
        for place, value in zip(places[~sound], closeness[~sound], strict=True):
            failures[int(place)] = _crowded(float(value))
        places = places[sound]
        kept = np.repeat(sound, np.diff(crystals.starts))
        neighbours, blocks = neighbours[kept], blocks[kept]
        crystals = _crystals([sound_ones[place] for place in places], elements)
    return Gathered(places, dict(sorted(failures.items())), crystals, neighbours, blocks)


def _problem(
    configuration: Configuration | Failure, elements: Sequence[str], cutoff: float
) -> Failure | None:
    if isinstance(configuration, Failure):
        return configuration
    unknown = [symbol for symbol in configuration.elements if symbol not in elements]
    if unknown:
        return Failure(
            "unknown_element",
            f"{', '.join(unknown)} is not among the elements {', '.join(elements)}",
        )
    volume = configuration.volume
    areas = np.linalg.norm(
        np.cross(configuration.cell[[1, 2, 0]], configuration.cell[[2, 0, 1]]), axis=1
    )
    if volume <= 0.0 or volume * kernel.MOST_IMAGES < cutoff * areas.max():
        return Failure(
            "degenerate_cell",
            f"the cell has a volume of {volume:.3g} Å³ and is thinner than the cut-off "
            f"{cutoff:g} Å over {kernel.MOST_IMAGES}; reduce it",
        )
    return None


def _crystals(configurations: Sequence[Configuration], elements: Sequence[str]) -> kernel.Crystals:
    table = np.full(len(chemical_symbols), -1, np.int64)
    for place, symbol in enumerate(elements):
        table[atomic_numbers[symbol]] = place
    starts = np.zeros(len(configurations) + 1, np.int64)
    np.cumsum([len(c) for c in configurations], out=starts[1:])
    return kernel.Crystals(
        starts,
        np.array([c.cell for c in configurations]).reshape(-1, 3, 3),
        np.concatenate([np.empty((0, 3)), *(c.positions for c in configurations)]),
        table[np.concatenate([np.empty(0, np.int64), *(c.numbers for c in configurations)])],
    )


def _survey(
    crystals: kernel.Crystals, elements: Sequence[str], cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in elements])
    atoms = len(crystals.positions)
    neighbours, blocks = np.zeros(atoms, np.int64), np.zeros(atoms, np.int64)
    closeness = np.empty(len(crystals.cells))
    kernel.survey(
        crystals,
        cutoff,
        radii[:, None] + radii[None],
        MOST_NEIGHBOURS,
        neighbours,
        blocks,
        closeness,
    )
    return neighbours, blocks, closeness


def _crowded(closeness: float) -> Failure:
    if closeness < 0.0:
        return Failure("too_dense", f"an atom has more than {MOST_NEIGHBOURS} neighbours")
    return Failure(
        "too_close",
        f"two atoms are {closeness:.3g} times the sum of their covalent radii apart, nearer than "
        f"{CONTACT:g} times",
    )
