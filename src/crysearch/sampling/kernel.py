"""The compiled inner loop of :class:`crysearch.sampling.random_crystals.WyckoffSampler`.

Compiled by numba on first use and cached on disk. Lattices are lower
triangular (rows a, b, c), so that a vector ``(u0, u1, u2)`` in fractions is
``(u0 L00 + u1 L10 + u2 L20, u1 L11 + u2 L21, u2 L22)``. All periodic images shorter than a
distance are found exactly, however skewed the cell, by bounding the components from the last to
the first (the enumeration of Fincke and Pohst, Math. Comput. 44, 463 (1985)).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

TRICLINIC, MONOCLINIC, ORTHORHOMBIC, TETRAGONAL, HEXAGONAL, CUBIC = range(6)
CELL_TOO_FLAT, TOO_CLOSE = range(2)
CHOSEN, EXHAUSTED, ATTEMPTS, ACCEPTED = range(4)

compiled = njit(cache=True, error_model="numpy")
# Called from compiled code only: no Python entry point and no cache file of its own, which halves
# the compile time. Everything is in one file because numba looks for changes in one file only.
inner = njit(  # type: ignore[call-overload]
    no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy"
)

LENGTH_SPREAD = 0.35
AXIS_SPREAD = LENGTH_SPREAD * math.sqrt(3.0)
ANGLE_SPREAD = math.pi / 9.0
SMALLEST_ANGLE = math.pi / 6.0
SMALLEST_BOX = 0.1


class GroupArrays(NamedTuple):
    """The ``CombinationTable`` of each hosting group, one after the other (G groups).

    ``fixed_*`` and ``free_*`` list the usable positions and ``*_ways`` their counts; ``*_start``
    (G + 1,) says where each group's part begins. ``*_position`` is a row of ``PositionArrays``,
    ``*_size`` the multiplicity in the group's unit. ``counts`` (G, species) are the atoms in that
    unit and ``strides`` (G, species) move the state of ``fixed_ways``, which has ``states`` (G,)
    columns as ``free_ways`` has ``free_width`` (G,). ``centring`` (vectors, 3) is in fractions.
    ``cumulative_weight`` (G,) is the running sum of the groups' weights.
    """

    system: np.ndarray
    counts: np.ndarray
    strides: np.ndarray
    fixed_start: np.ndarray
    fixed_position: np.ndarray
    fixed_size: np.ndarray
    fixed_ways: np.ndarray
    fixed_ways_start: np.ndarray
    states: np.ndarray
    free_start: np.ndarray
    free_position: np.ndarray
    free_size: np.ndarray
    free_ways: np.ndarray
    free_ways_start: np.ndarray
    free_width: np.ndarray
    centring: np.ndarray
    centring_start: np.ndarray
    cumulative_weight: np.ndarray


class PositionArrays(NamedTuple):
    """Wyckoff positions of all groups, as in ``WyckoffTables`` but translations in fractions."""

    multiplicity: np.ndarray
    freedom: np.ndarray
    operation_start: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray


class Limits(NamedTuple):
    """Numbers of a request: volumes in Å^3, then bounds on the effort."""

    volume_low: float
    volume_high: float
    tries_per_orbit: int
    attempts_per_group: int
    groups_in_a_row: int
    attempts_per_call: int


class Workspace(NamedTuple):
    """Scratch of one crystal in the making (S species, N atoms, so at most N orbits).

    ``left`` (S,), ``position``, ``species`` (N,) and ``start`` (N + 1,) of the orbits,
    ``atoms`` (N, 3) fractional, ``lattice`` (3, 3).
    """

    left: np.ndarray
    position: np.ndarray
    species: np.ndarray
    start: np.ndarray
    atoms: np.ndarray
    lattice: np.ndarray


class Output(NamedTuple):
    """Arrays that :func:`fill` writes; see ``CrystalBatch`` for shapes."""

    lattices: np.ndarray
    coordinates: np.ndarray
    group: np.ndarray
    sites: np.ndarray
    group_counts: np.ndarray
    reasons: np.ndarray


@inner
def draw_angle(rng: Any) -> float:
    """A normal angle about 90 degrees, drawn again outside 30 to 150 degrees."""
    while True:
        angle = 0.5 * math.pi + ANGLE_SPREAD * rng.standard_normal()
        if SMALLEST_ANGLE < angle < math.pi - SMALLEST_ANGLE:
            return angle


@inner
def draw_lattice(rng: Any, system: int, volume: float, lattice: np.ndarray) -> None:
    """Draw a cell of a crystal system with a volume (Å^3) into ``lattice`` (lower triangular)."""
    for i in range(3):
        for j in range(3):
            lattice[i, j] = 0.0
    if system == CUBIC:
        length = volume ** (1.0 / 3.0)
        lattice[0, 0] = length
        lattice[1, 1] = length
        lattice[2, 2] = length
    elif system in (TETRAGONAL, HEXAGONAL):
        box = 1.0 if system == TETRAGONAL else 0.5 * math.sqrt(3.0)
        height = (volume / box) ** (1.0 / 3.0) * math.exp(AXIS_SPREAD * rng.standard_normal())
        length = math.sqrt(volume / box / height)
        lattice[0, 0] = length
        lattice[1, 1] = length * box
        if system == HEXAGONAL:
            lattice[1, 0] = -0.5 * length
        lattice[2, 2] = height
    else:
        # The unit-edge box: rows of the lattice divided by the edge lengths.
        cos_bc = 0.0
        cos_ac = 0.0
        cos_ab = 0.0
        if system == MONOCLINIC:
            cos_ac = math.cos(draw_angle(rng))
        box = 0.0
        while box < SMALLEST_BOX:
            if system == TRICLINIC:
                cos_bc = math.cos(draw_angle(rng))
                cos_ac = math.cos(draw_angle(rng))
                cos_ab = math.cos(draw_angle(rng))
            squared = 1.0 - cos_bc**2 - cos_ac**2 - cos_ab**2 + 2.0 * cos_bc * cos_ac * cos_ab
            box = math.sqrt(max(squared, 0.0))
        a = math.exp(LENGTH_SPREAD * rng.standard_normal())
        b = math.exp(LENGTH_SPREAD * rng.standard_normal())
        c = math.exp(LENGTH_SPREAD * rng.standard_normal())
        scale = (volume / (a * b * c * box)) ** (1.0 / 3.0)
        sin_ab = math.sqrt(1.0 - cos_ab**2)
        lattice[0, 0] = a * scale
        lattice[1, 0] = b * scale * cos_ab
        lattice[1, 1] = b * scale * sin_ab
        lattice[2, 0] = c * scale * cos_ac
        lattice[2, 1] = c * scale * (cos_bc - cos_ac * cos_ab) / sin_ab
        lattice[2, 2] = c * scale * box / sin_ab


@compiled
def is_too_close(
    d0: float, d1: float, d2: float, lattice: np.ndarray, distance: float, skip_zero: bool
) -> bool:
    """Whether any periodic image of a fractional vector is shorter than ``distance`` (Å).

    With ``skip_zero`` the vector itself, without a lattice vector added, does not count: an atom
    is at no distance from itself.
    """
    reach2 = distance / lattice[2, 2]
    for k2 in range(math.ceil(-reach2 - d2), math.floor(reach2 - d2) + 1):
        u2 = d2 + k2
        z = u2 * lattice[2, 2]
        shift1 = d1 + u2 * lattice[2, 1] / lattice[1, 1]
        reach1 = distance / lattice[1, 1]
        for k1 in range(math.ceil(-reach1 - shift1), math.floor(reach1 - shift1) + 1):
            y = (shift1 + k1) * lattice[1, 1]
            rest = distance * distance - z * z - y * y
            if rest <= 0.0:
                continue
            shift0 = d0 + ((d1 + k1) * lattice[1, 0] + u2 * lattice[2, 0]) / lattice[0, 0]
            reach0 = math.sqrt(rest) / lattice[0, 0]
            for k0 in range(math.ceil(-reach0 - shift0), math.floor(reach0 - shift0) + 1):
                if not (skip_zero and k0 == 0 and k1 == 0 and k2 == 0):
                    return True
    return False


@inner
def atoms_too_close(
    atoms: np.ndarray, i: int, j: int, lattice: np.ndarray, distance: float
) -> bool:
    """Whether rows ``i`` and ``j`` of ``atoms``, or their images, are too close."""
    return is_too_close(
        atoms[j, 0] - atoms[i, 0],
        atoms[j, 1] - atoms[i, 1],
        atoms[j, 2] - atoms[i, 2],
        lattice,
        distance,
        False,
    )


@inner
def cell_is_flat(g: int, groups: GroupArrays, lattice: np.ndarray, distance: float) -> bool:
    """Whether a lattice vector, centring included, is shorter than ``distance`` (Å)."""
    if is_too_close(0.0, 0.0, 0.0, lattice, distance, True):
        return True
    centring = groups.centring
    for t in range(groups.centring_start[g], groups.centring_start[g + 1]):
        if is_too_close(centring[t, 0], centring[t, 1], centring[t, 2], lattice, distance, False):
            return True
    return False


@inner
def draw_combination(rng: Any, g: int, groups: GroupArrays, work: Workspace) -> int:
    """Draw one of the group's combinations uniformly; return the number of orbits.

    Orbits come in the order in which they are placed: fixed positions first, then free ones by
    their place in the group's list, whatever the species.
    """
    left = work.left
    state = 0
    for s in range(left.size):
        left[s] = groups.counts[g, s]
        state += left[s] * groups.strides[g, s]
    orbits = 0
    row = groups.fixed_ways_start[g]
    for j in range(groups.fixed_start[g], groups.fixed_start[g + 1]):
        here = groups.fixed_ways[row + state]
        row += groups.states[g]
        without = groups.fixed_ways[row + state]
        if without == here:
            continue
        threshold = rng.random() * here - without
        if threshold < 0.0:
            continue
        size = groups.fixed_size[j]
        chosen = 0
        for s in range(left.size):
            if left[s] >= size:
                ways = groups.fixed_ways[row + state - size * groups.strides[g, s]]
                if ways > 0.0:
                    chosen = s
                    threshold -= ways
                    if threshold < 0.0:
                        break
        left[chosen] -= size
        state -= size * groups.strides[g, chosen]
        work.position[orbits] = groups.fixed_position[j]
        work.species[orbits] = chosen
        orbits += 1

    first_free = orbits
    width = groups.free_width[g]
    for s in range(left.size):
        n = left[s]
        row = groups.free_ways_start[g]
        j = groups.free_start[g]
        while n > 0:
            here = groups.free_ways[row + n]
            without = groups.free_ways[row + width + n]
            if without > 0.0 and (without == here or rng.random() * here < without):
                row += width
                j += 1
                continue
            n -= groups.free_size[j]
            # Insert by place in the list; j stands in for the position until the end.
            k = orbits
            while k > first_free and work.position[k - 1] > j:
                work.position[k] = work.position[k - 1]
                work.species[k] = work.species[k - 1]
                k -= 1
            work.position[k] = j
            work.species[k] = s
            orbits += 1
    for k in range(first_free, orbits):
        work.position[k] = groups.free_position[work.position[k]]
    return orbits


@inner
def place_orbit(
    rng: Any, k: int, positions: PositionArrays, distances: np.ndarray, work: Workspace
) -> bool:
    """Draw the free parameters of orbit ``k`` once; whether it keeps all minimum distances.

    The atoms of orbit ``k`` are written to ``work.atoms`` from row ``work.start[k]``.
    """
    atoms = work.atoms
    lattice = work.lattice
    position = work.position[k]
    species = work.species[k]
    x = 0.0
    y = 0.0
    z = 0.0
    if positions.freedom[position] > 0:
        x = rng.random()
        y = rng.random()
        z = rng.random()
    start = work.start[k]
    size = positions.multiplicity[position]
    first_operation = positions.operation_start[position]
    for m in range(size):
        rotation = positions.rotations[first_operation + m]
        for axis in range(3):
            value = (
                rotation[axis, 0] * x
                + rotation[axis, 1] * y
                + rotation[axis, 2] * z
                + positions.translations[first_operation + m, axis]
            )
            atoms[start + m, axis] = value - math.floor(value)
        if m > 0 and atoms_too_close(atoms, start, start + m, lattice, distances[species, species]):
            return False
    # All atoms of an orbit are equivalent, so one atom of the larger orbit against all atoms of
    # the smaller one covers every pair.
    for other in range(k):
        single = start
        many = work.start[other]
        length = work.start[other + 1] - many
        if length > size:
            single = many
            many = start
            length = size
        allowed = distances[species, work.species[other]]
        for m in range(many, many + length):
            if atoms_too_close(atoms, single, m, lattice, allowed):
                return False
    work.start[k + 1] = start + size
    return True


@inner
def place_all(
    rng: Any,
    orbits: int,
    tries: int,
    positions: PositionArrays,
    distances: np.ndarray,
    work: Workspace,
) -> bool:
    """Place the drawn orbits one after the other, each within ``tries`` draws if it is free."""
    for k in range(orbits):
        left = tries if positions.freedom[work.position[k]] > 0 else 1
        while left > 0 and not place_orbit(rng, k, positions, distances, work):
            left -= 1
        if left == 0:
            return False
    return True


@inner
def write_crystal(
    row: int, g: int, orbits: int, species_start: np.ndarray, work: Workspace, output: Output
) -> None:
    """Copy the crystal to row ``row`` of the output, its atoms sorted by species."""
    output.group[row] = g
    for i in range(3):
        for j in range(3):
            output.lattices[row, i, j] = work.lattice[i, j]
    for s in range(species_start.size):
        target = species_start[s]
        for k in range(orbits):
            if work.species[k] == s:
                output.sites[row, k] = work.position[k] * species_start.size + s
                for m in range(work.start[k], work.start[k + 1]):
                    for axis in range(3):
                        output.coordinates[row, target, axis] = work.atoms[m, axis]
                    target += 1


@compiled
def fill(
    rng: Any,
    first: int,
    last: int,
    exhausted: int,
    limits: Limits,
    distances: np.ndarray,
    species_start: np.ndarray,
    groups: GroupArrays,
    positions: PositionArrays,
    work: Workspace,
    output: Output,
) -> tuple[int, int]:
    """Fill crystals ``first:last`` of ``output``; ``exhausted`` groups failed just before.

    Returns early, at the end of a group, after ``limits.attempts_per_call`` attempts (so that the
    caller can be interrupted) or when ``limits.groups_in_a_row`` groups in a row were exhausted.
    The returned pair is the number of crystals now filled and of groups exhausted in a row.
    """
    largest_own = 0.0
    for s in range(species_start.size):
        largest_own = max(largest_own, distances[s, s])
    spent = 0
    while first < last and exhausted < limits.groups_in_a_row and spent < limits.attempts_per_call:
        total = groups.cumulative_weight[groups.system.size - 1]
        g = np.searchsorted(groups.cumulative_weight, rng.random() * total, side="right")
        found = False
        tried = 0
        while tried < limits.attempts_per_group and not found:
            tried += 1
            volume = limits.volume_low + (limits.volume_high - limits.volume_low) * rng.random()
            draw_lattice(rng, groups.system[g], volume, work.lattice)
            if cell_is_flat(g, groups, work.lattice, largest_own):
                output.reasons[CELL_TOO_FLAT] += 1
                continue
            orbits = draw_combination(rng, g, groups, work)
            found = place_all(rng, orbits, limits.tries_per_orbit, positions, distances, work)
            if found:
                write_crystal(first, g, orbits, species_start, work, output)
            else:
                output.reasons[TOO_CLOSE] += 1
        spent += tried
        output.group_counts[g, CHOSEN] += 1
        output.group_counts[g, ATTEMPTS] += tried
        if found:
            output.group_counts[g, ACCEPTED] += 1
            exhausted = 0
            first += 1
        else:
            output.group_counts[g, EXHAUSTED] += 1
            exhausted += 1
    return first, exhausted
