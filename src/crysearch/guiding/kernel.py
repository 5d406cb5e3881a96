"""The compiled descent of one symmetric crystal after the other onto its target.

*Distances.* The radial distribution function (RDF) is a sum over ordered pairs of atoms, and all
atoms of an orbit see the same. One atom of the larger of two orbits against all atoms of the
smaller, times twice the multiplicity, is therefore the whole sum; so is its gradient by the free
parameters, because the parameters move whole orbits.

*Smearing.* A distance d is spread over six nodes of an even mesh with the weights of the quintic
B-spline, and the mesh convolved with the Gaussian, whose values on the mesh are prefiltered so
that the spline passes through them. With three nodes per standard deviation this interpolates the
Gaussian to 1e-6 of its peak, and the gradient is exactly the gradient of what is computed. (The
particle-mesh idea: Essmann et al., J. Chem. Phys. 103, 8577 (1995).)

*Neighbours.* Pairs are listed up to the reach plus a skin; the list is made again as soon as atoms
and strain could have brought an unlisted pair within reach, so that none is ever missed.

*Descent.* Limited-memory BFGS (Nocedal, Math. Comput. 35, 773 (1980)) in coordinates in which the
squared length of a step is the sum of the squared displacements of all atoms, Å^2, plus that of
the strain times a length; see :func:`factor_metric`. Steps are limited, and halved or more where
the loss does not fall.

Compiled by numba on first use and cached on disk; all is in one file because numba looks for
changes in one file only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

REACHED, TOO_FAR, TOO_CLOSE, FAILED = range(4)
FREE, BOUNDED, FIXED = range(3)
#: So many steps apart, the loss must have fallen.
CHECK_EVERY = 10
# Without a sign: an index that may be negative is looked at twice.
U1, U2, U3, U4, U5 = (np.uint64(number) for number in range(1, 6))
#: Nodes beyond the outermost grid point's Gaussian that the spline's six weights touch.
SPLINE_NODES = 3

# Rows of Work.rows: the point of the descent, the one tried, where the crystal was and came
# nearest, the gradient, the same in the coordinates of the metric, now and before, and the step.
PARAMETERS, TRIAL, INITIAL, BEST, GRADIENT, WHITE, OLD_WHITE, STEP = range(8)
# Of Work.atoms and Work.cells: at the point tried, and when the neighbours were listed; the
# derivative by the atoms; the inverse cell and the derivatives by the strain and the cell.
NOW, LISTED, PULL = range(3)
INVERSE, VIRIAL, BY_CELL = range(2, 5)
# Of Stages.sizes and Stages.limits.
POINTS, PHASES, HALF, STEPS = range(4)
NODE, LONGEST, STOP, STALL, REACH = range(5)
# Of Work.pairs.
IMAGE, VECTOR, LENGTH, FORCE, SPLINE = 0, 3, 6, 7, 8

compiled = njit(cache=True, error_model="numpy", nogil=True)
# Called from compiled code only: without a Python entry point it compiles in half the time.
inner = njit(  # type: ignore[call-overload]
    no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", nogil=True
)

# Called in one place only: put there before types are found, which compiles faster still.
once = njit(inline="always", error_model="numpy", nogil=True)


class Stages(NamedTuple):
    """The stages of S smearings, the last one the RDF's own.

    ``sizes`` (4, S): grid points, mesh nodes per grid point, nodes on either side of a grid point,
    largest number of evaluations. ``limits`` (5, S): the mesh and the longest step in Å; the
    distance and the relative fall of the loss that end a stage; beyond how many Å a distance does
    not count. ``taps`` (S, 2 half + 1) the
    prefiltered Gaussian, ``scale`` (S, channels * points) what a count is multiplied by,
    ``targets`` (S, k, channels * points) standardised; rows are padded with zeros.
    """

    sizes: np.ndarray
    limits: np.ndarray
    taps: np.ndarray
    scale: np.ndarray
    targets: np.ndarray


class Rules(NamedTuple):
    """Numbers of the request and settings; lengths in Å.

    ``volumes`` (2, k) are the smallest and largest volumes of the cell for each target, Å^3.
    """

    skin: float
    strain_length: float
    penalty: float
    margin: float
    volume_mode: int
    volumes: np.ndarray
    wanted: float
    channels: np.ndarray
    distances: np.ndarray


class Tables(NamedTuple):
    """Wyckoff positions and cells of all groups; see ``PositionTables`` and ``CELL_BASIS``."""

    operation_start: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    columns: np.ndarray
    cell_basis: np.ndarray
    cell_freedom: np.ndarray


class Crystals(NamedTuple):
    """Arrays of ``CrystalParameters``; cells and coordinates are moved in place."""

    systems: np.ndarray
    cells: np.ndarray
    orbits: np.ndarray
    positions: np.ndarray
    species: np.ndarray
    starts: np.ndarray
    coordinates: np.ndarray


class Work(NamedTuple):
    """Scratch of one crystal: N atoms, W orbits, P = 3 W + 6 parameters, E listed distances.

    Few arrays with named rows, because every array of an argument takes time to compile.
    """

    sizes: np.ndarray  # (4,) pair blocks, listed distances, whether the volume is held, target
    first: np.ndarray  # (W + 2,) first parameter of each orbit, of the cell, their number
    rows: np.ndarray  # (8, P) components of the orbits, then of the cell; see PARAMETERS, ...
    atoms: np.ndarray  # (3, N, 3) see NOW, LISTED (fractions), PULL (1/Å)
    cells: np.ndarray  # (5, 3, 3) see NOW, LISTED, INVERSE, VIRIAL, BY_CELL
    blocks: np.ndarray  # (N (N + 1) / 2, 6) atoms i and j, channel, species of i and j, end
    weight: np.ndarray  # (N (N + 1) / 2,) how often a block's distances occur
    pairs: np.ndarray  # (14, E) lattice vector (cells), vector, length (Å), force, six weights
    place: np.ndarray  # (E,) first of the six nodes
    mesh: np.ndarray  # (channels, nodes)
    split: np.ndarray  # (nodes,) a channel's, phase by phase
    fingerprint: np.ndarray  # (channels * points,)
    metric: np.ndarray  # (W + 2, 6, 9) Cholesky factors; then what the last one is made from
    history: np.ndarray  # (2, M, P) steps, and changes of the gradient
    curvature: np.ndarray  # (2, M) one over their product; factors; see choose_step


class Results(NamedTuple):
    """Per crystal: target, distances before and after, path, steps, outcome."""

    target: np.ndarray
    before: np.ndarray
    after: np.ndarray
    path: np.ndarray
    steps: np.ndarray
    outcome: np.ndarray


@inner
def volume_of(p, c, crystals, tables, work):  # pragma: no cover - compiled
    """Volume of the cell of parameters ``p``, Å^3."""
    system, start = crystals.systems[c], work.first[crystals.orbits[c]]
    volume = 1.0
    for i in range(3):
        value = 0.0
        for n in range(tables.cell_freedom[system]):
            value += p[start + n] * tables.cell_basis[system, n, i, i]
        volume *= value
    return volume


@inner
def set_crystal(p, c, crystals, tables, rules, work):  # pragma: no cover - compiled
    """Atoms and cell of parameters ``p``, whose cell is rescaled into the allowed volumes.

    Returns 0; -1 or 1 with the volume at its lower or upper limit; 2 where it is fixed; 3 where the
    cell is no cell.
    """
    orbits = crystals.orbits[c]
    system = crystals.systems[c]
    lattice = work.cells[NOW]
    start = work.first[orbits]
    for i in range(3):
        for j in range(3):
            value = 0.0
            for n in range(tables.cell_freedom[system]):
                value += p[start + n] * tables.cell_basis[system, n, i, j]
            lattice[i, j] = value
    smallest = min(lattice[0, 0], lattice[1, 1], lattice[2, 2])
    volume = lattice[0, 0] * lattice[1, 1] * lattice[2, 2]
    if not (smallest > 0.1 and volume < 1e9):
        return 3
    held = 0
    if rules.volume_mode != FREE:
        low, high = rules.volumes[0, work.sizes[3]], rules.volumes[1, work.sizes[3]]
        allowed = min(max(volume, low), high)
        if rules.volume_mode == FIXED:
            allowed = volume_of(work.rows[INITIAL], c, crystals, tables, work)
            held = 2
        elif volume >= high:
            held = 1
        elif volume <= low:
            held = -1
        factor = (allowed / volume) ** (1.0 / 3.0)
        for n in range(tables.cell_freedom[system]):
            p[start + n] *= factor
        for i in range(3):
            for j in range(3):
                lattice[i, j] *= factor
    for k in range(orbits):
        position = crystals.positions[c, k]
        u = crystals.coordinates[c, k]
        for n in range(work.first[k], work.first[k + 1]):
            u[tables.columns[position, n - work.first[k]]] = p[n]
        operation = tables.operation_start[position] - crystals.starts[c, k]
        for m in range(crystals.starts[c, k], crystals.starts[c, k + 1]):
            rotation = tables.rotations[operation + m]
            for i in range(3):
                value = tables.translations[operation + m, i]
                for j in range(3):
                    value += rotation[i, j] * u[j]
                work.atoms[NOW, m, i] = value
    return held


@inner
def invert(lattice, inverse):  # pragma: no cover - compiled
    """Inverse of a lower triangular cell."""
    inverse[0, 0] = 1.0 / lattice[0, 0]
    inverse[1, 1] = 1.0 / lattice[1, 1]
    inverse[2, 2] = 1.0 / lattice[2, 2]
    inverse[1, 0] = -lattice[1, 0] * inverse[0, 0] * inverse[1, 1]
    inverse[2, 1] = -lattice[2, 1] * inverse[1, 1] * inverse[2, 2]
    inverse[2, 0] = -(lattice[2, 0] * inverse[0, 0] + lattice[2, 1] * inverse[1, 0])
    inverse[2, 0] *= inverse[2, 2]


@inner
def list_is_safe(c, reach, crystals, rules, work):  # pragma: no cover - compiled
    """Whether no unlisted pair can be within reach.

    A vector v of the listed cell becomes v (1 + E) plus the displacements of its two atoms, so
    that its length is at least |v| (1 - |E|) minus them.
    """
    inverse = work.cells[INVERSE]
    invert(work.cells[LISTED], inverse)
    strain = 0.0
    for i in range(3):
        for j in range(i + 1):
            value = -1.0 if i == j else 0.0
            for n in range(j, i + 1):
                value += inverse[i, n] * work.cells[NOW, n, j]
            strain += value * value
    moved = 0.0
    for k in range(crystals.orbits[c]):
        atom = crystals.starts[c, k]
        square = 0.0
        for j in range(3):
            value = 0.0
            for i in range(j, 3):
                change = work.atoms[NOW, atom, i] - work.atoms[LISTED, atom, i]
                value += change * work.cells[NOW, i, j]
            square += value * value
        moved = max(moved, square)
    left = (reach + rules.skin) * (1.0 - math.sqrt(strain)) - 2.0 * math.sqrt(moved)
    return left >= reach


@inner
def list_images(i, j, filled, reach, work):  # pragma: no cover - compiled
    """Append the images of atom j within ``reach`` of atom i; -1 where there is no room.

    Of an atom's own images, which come in pairs, one each. Components are bounded from the last to
    the first (Fincke and Pohst, Math. Comput. 44, 463 (1985)): exact however skewed the cell.
    """
    lattice = work.cells[NOW]
    d0 = work.atoms[NOW, j, 0] - work.atoms[NOW, i, 0]
    d1 = work.atoms[NOW, j, 1] - work.atoms[NOW, i, 1]
    d2 = work.atoms[NOW, j, 2] - work.atoms[NOW, i, 2]
    own = i == j
    far2 = reach / lattice[2, 2]
    for k2 in range(0 if own else math.ceil(-far2 - d2), math.floor(far2 - d2) + 1):
        u2 = d2 + k2
        z = u2 * lattice[2, 2]
        far1 = math.sqrt(max(reach * reach - z * z, 0.0)) / lattice[1, 1]
        shift1 = d1 + u2 * lattice[2, 1] / lattice[1, 1]
        start1 = 0 if own and k2 == 0 else math.ceil(-far1 - shift1)
        for k1 in range(start1, math.floor(far1 - shift1) + 1):
            y = (shift1 + k1) * lattice[1, 1]
            rest = reach * reach - z * z - y * y
            if rest <= 0.0:
                continue
            far0 = math.sqrt(rest) / lattice[0, 0]
            shift0 = d0 + ((d1 + k1) * lattice[1, 0] + u2 * lattice[2, 0]) / lattice[0, 0]
            start0 = 1 if own and k2 == 0 and k1 == 0 else math.ceil(-far0 - shift0)
            for k0 in range(start0, math.floor(far0 - shift0) + 1):
                if filled == work.place.size:
                    return -1
                work.pairs[IMAGE, filled] = k0
                work.pairs[IMAGE + 1, filled] = k1
                work.pairs[IMAGE + 2, filled] = k2
                filled += 1
    return filled


@inner
def make_list(c, reach, crystals, rules, work):  # pragma: no cover - compiled
    """List the distances from one atom of each orbit; whether there was room."""
    starts, orbits = crystals.starts[c], crystals.orbits[c]
    number = 0
    filled = np.int64(0)  # 0 is a type of its own, for which all would be compiled again
    for a in range(orbits):
        for b in range(a + 1):
            large, small = a, b
            if starts[a + 1] - starts[a] < starts[b + 1] - starts[b]:
                large, small = b, a
            i = starts[large]
            size = starts[large + 1] - i
            for j in range(starts[small], starts[small + 1]):
                filled = list_images(i, j, filled, reach + rules.skin, work)
                if filled < 0:
                    return False
                work.blocks[number, 0] = i
                work.blocks[number, 1] = j
                work.blocks[number, 3] = crystals.species[c, large]
                work.blocks[number, 4] = crystals.species[c, small]
                work.blocks[number, 2] = rules.channels[
                    work.blocks[number, 3], work.blocks[number, 4]
                ]
                work.blocks[number, 5] = filled
                work.weight[number] = size if a == b and i != j else 2.0 * size
                number += 1
    work.sizes[0] = number
    work.sizes[1] = filled
    for m in range(starts[orbits]):
        for i in range(3):
            work.atoms[LISTED, m, i] = work.atoms[NOW, m, i]
    for i in range(3):
        for j in range(3):
            work.cells[LISTED, i, j] = work.cells[NOW, i, j]
    return True


@inner
def measure(rules, work):  # pragma: no cover - compiled
    """Vectors and lengths of the listed distances, and the penalty of short ones.

    Returns the penalty and the smallest ratio of a distance to its minimum. The derivative of the
    penalty is left in ``work.force``.
    """
    lattice = work.cells[NOW]
    start = 0
    penalty = 0.0
    closest = 1e9
    for block in range(work.sizes[0]):
        i, j, end = work.blocks[block, 0], work.blocks[block, 1], work.blocks[block, 5]
        d0 = work.atoms[NOW, j, 0] - work.atoms[NOW, i, 0]
        d1 = work.atoms[NOW, j, 1] - work.atoms[NOW, i, 1]
        d2 = work.atoms[NOW, j, 2] - work.atoms[NOW, i, 2]
        images0, images1 = work.pairs[IMAGE, start:end], work.pairs[IMAGE + 1, start:end]
        images2 = work.pairs[IMAGE + 2, start:end]
        xs, ys = work.pairs[VECTOR, start:end], work.pairs[VECTOR + 1, start:end]
        zs, lengths = work.pairs[VECTOR + 2, start:end], work.pairs[LENGTH, start:end]
        for e in range(end - start):
            f0, f1, f2 = d0 + images0[e], d1 + images1[e], d2 + images2[e]
            x = f0 * lattice[0, 0] + f1 * lattice[1, 0] + f2 * lattice[2, 0]
            y = f1 * lattice[1, 1] + f2 * lattice[2, 1]
            z = f2 * lattice[2, 2]
            xs[e] = x
            ys[e] = y
            zs[e] = z
            lengths[e] = math.sqrt(x * x + y * y + z * z + 1e-12)
        wanted = rules.distances[work.blocks[block, 3], work.blocks[block, 4]]
        limit = wanted * rules.margin
        shortest = 1e9
        for e in range(end - start):
            shortest = min(shortest, lengths[e])
        closest = min(closest, shortest / wanted)
        forces = work.pairs[FORCE, start:end]
        for e in range(end - start):
            forces[e] = 0.0
        if shortest < limit:
            weight = rules.penalty * work.weight[block]
            for e in range(end - start):
                short = 1.0 - lengths[e] / limit
                if short > 0.0:
                    penalty += weight * short * short
                    forces[e] = -2.0 * weight * short / limit
        start = end
    return penalty, closest


@inner
def spread(stage, stages, work):  # pragma: no cover - compiled
    """Counts on the mesh, then convolved into ``work.fingerprint``."""
    points, phases, half = (
        stages.sizes[POINTS, stage],
        stages.sizes[PHASES, stage],
        stages.sizes[HALF, stage],
    )
    nodes = (points - 1) * phases + 2 * half + 1
    columns = -(-nodes // phases)
    inverse = 1.0 / stages.limits[NODE, stage]
    offset = half - 0.5 * phases
    number = work.sizes[1]
    lengths, places = work.pairs[LENGTH, :number], work.place[:number]
    w0, w1, w2 = (
        work.pairs[SPLINE, :number],
        work.pairs[SPLINE + 1, :number],
        work.pairs[SPLINE + 2, :number],
    )
    w3, w4, w5 = (
        work.pairs[SPLINE + 3, :number],
        work.pairs[SPLINE + 4, :number],
        work.pairs[SPLINE + 5, :number],
    )
    for e in range(number):
        t = lengths[e] * inverse + offset
        place = np.int32(t)
        x = t - place
        y = 1.0 - x
        xx = x * x
        yy = y * y
        places[e] = place - 2
        w0[e] = yy * yy * y * (1.0 / 120.0)
        w1[e] = (26.0 + x * (-50.0 + x * (20.0 + x * (20.0 + x * (-20.0 + 5.0 * x))))) * (
            1.0 / 120.0
        )
        w2[e] = (66.0 + xx * (-60.0 + xx * (30.0 - 10.0 * x))) * (1.0 / 120.0)
        w3[e] = (66.0 + yy * (-60.0 + yy * (30.0 - 10.0 * y))) * (1.0 / 120.0)
        w4[e] = (26.0 + y * (-50.0 + y * (20.0 + y * (20.0 + y * (-20.0 + 5.0 * y))))) * (
            1.0 / 120.0
        )
        w5[e] = xx * xx * x * (1.0 / 120.0)
    channels = work.mesh.shape[0]
    for channel in range(channels):
        for n in range(columns * phases):
            work.mesh[channel, n] = 0.0
    largest = np.uint64(nodes - 5)
    start = 0
    for block in range(work.sizes[0]):
        mesh, weight = work.mesh[work.blocks[block, 2]], work.weight[block]
        for e in range(np.uint64(start), np.uint64(work.blocks[block, 5])):
            node = np.uint64(places[e])
            if node < largest:
                mesh[node] += weight * w0[e]
                mesh[node + U1] += weight * w1[e]
                mesh[node + U2] += weight * w2[e]
                mesh[node + U3] += weight * w3[e]
                mesh[node + U4] += weight * w4[e]
                mesh[node + U5] += weight * w5[e]
        start = work.blocks[block, 5]
    for channel in range(channels):
        for phase in range(phases):
            for n in range(columns):
                work.split[phase * columns + n] = work.mesh[channel, n * phases + phase]
        values = work.fingerprint[channel * points : (channel + 1) * points]
        for k in range(points):
            values[k] = 0.0
        for tap in range(2 * half + 1):
            begin = (tap % phases) * columns + tap // phases
            counts = work.split[begin : begin + points]
            factor = stages.taps[stage, tap]
            for k in range(points):
                values[k] += factor * counts[k]
        scale = stages.scale[stage, channel * points : (channel + 1) * points]
        for k in range(points):
            values[k] *= scale[k]


@inner
def compare(stage, target, stages, work):  # pragma: no cover - compiled
    """Pearson's distance; ``work.fingerprint`` becomes its derivative by the counts."""
    size = stages.sizes[POINTS, stage] * work.mesh.shape[0]
    values = work.fingerprint[:size]
    known = stages.targets[stage, target, :size]
    scale = stages.scale[stage, :size]
    mean = 0.0
    for k in range(size):
        mean += values[k]
    mean /= size
    square = 0.0
    product = 0.0
    for k in range(size):
        value = values[k] - mean
        square += value * value
        product += value * known[k]
    norm = math.sqrt(square)
    correlation = product / norm
    for k in range(size):
        values[k] = (correlation * (values[k] - mean) / norm - known[k]) * scale[k] / norm
    return 1.0 - correlation


@inner
def gather(stage, stages, work):  # pragma: no cover - compiled
    """Add the derivative of Pearson's distance by each listed distance to ``work.force``."""
    points, phases, half = (
        stages.sizes[POINTS, stage],
        stages.sizes[PHASES, stage],
        stages.sizes[HALF, stage],
    )
    nodes = (points - 1) * phases + 2 * half + 1
    columns = -(-nodes // phases)
    for channel in range(work.mesh.shape[0]):
        values = work.fingerprint[channel * points : (channel + 1) * points]
        for n in range(columns * phases):
            work.split[n] = 0.0
        for tap in range(2 * half + 1):
            begin = (tap % phases) * columns + tap // phases
            sums = work.split[begin : begin + points]
            factor = stages.taps[stage, tap]
            for k in range(points):
                sums[k] += factor * values[k]
        for phase in range(phases):
            for n in range(columns):
                work.mesh[channel, n * phases + phase] = work.split[phase * columns + n]
    inverse = 1.0 / stages.limits[NODE, stage]
    offset = half - 0.5 * phases
    places, lengths, forces = work.place, work.pairs[LENGTH], work.pairs[FORCE]
    largest = np.uint64(nodes - 5)
    start = 0
    for block in range(work.sizes[0]):
        mesh, weight = work.mesh[work.blocks[block, 2]], work.weight[block] * inverse / 24.0
        for e in range(np.uint64(start), np.uint64(work.blocks[block, 5])):
            place = places[e]
            node = np.uint64(place)
            if node < largest:
                # The derivative of the spline, by its five differences' weights (quartic).
                x = lengths[e] * inverse + offset - (place + 2)
                y = 1.0 - x
                xx = x * x
                yy = y * y
                q0 = yy * yy
                q4 = xx * xx
                q1 = 1.0 + y * (4.0 + y * (6.0 + y * (4.0 - 4.0 * y)))
                q3 = 1.0 + x * (4.0 + x * (6.0 + x * (4.0 - 4.0 * x)))
                q2 = 24.0 - q0 - q1 - q3 - q4
                forces[e] += weight * (
                    q0 * (mesh[node + U1] - mesh[node])
                    + q1 * (mesh[node + U2] - mesh[node + U1])
                    + q2 * (mesh[node + U3] - mesh[node + U2])
                    + q3 * (mesh[node + U4] - mesh[node + U3])
                    + q4 * (mesh[node + U5] - mesh[node + U4])
                )
        start = work.blocks[block, 5]


@inner
def project(c, held, crystals, tables, rules, work):  # pragma: no cover - compiled
    """Chain rule from distances to parameters: ``work.gradient`` from ``work.force``."""
    orbits, system, starts = crystals.orbits[c], crystals.systems[c], crystals.starts[c]
    pull, lattice = work.atoms[PULL], work.cells[NOW]
    for m in range(starts[orbits]):
        for i in range(3):
            pull[m, i] = 0.0
    virial = work.cells[VIRIAL]
    for i in range(3):
        for j in range(3):
            virial[i, j] = 0.0
    start = 0
    for block in range(work.sizes[0]):
        i, j, end = work.blocks[block, 0], work.blocks[block, 1], work.blocks[block, 5]
        sx = sy = sz = 0.0
        for e in range(start, end):
            force = work.pairs[FORCE, e] / work.pairs[LENGTH, e]
            x, y, z = work.pairs[VECTOR, e], work.pairs[VECTOR + 1, e], work.pairs[VECTOR + 2, e]
            fx, fy, fz = force * x, force * y, force * z
            sx += fx
            sy += fy
            sz += fz
            virial[0, 0] += x * fx
            virial[1, 0] += y * fx
            virial[1, 1] += y * fy
            virial[2, 0] += z * fx
            virial[2, 1] += z * fy
            virial[2, 2] += z * fz
        pull[j, 0] += sx
        pull[j, 1] += sy
        pull[j, 2] += sz
        pull[i, 0] -= sx
        pull[i, 1] -= sy
        pull[i, 2] -= sz
        start = end
    virial[0, 1], virial[0, 2], virial[1, 2] = virial[1, 0], virial[2, 0], virial[2, 1]
    for k in range(orbits):
        position = crystals.positions[c, k]
        for n in range(work.first[k], work.first[k + 1]):
            work.rows[GRADIENT, n] = 0.0
        operation = tables.operation_start[position] - starts[k]
        if work.first[k] == work.first[k + 1]:
            continue
        for m in range(starts[k], starts[k + 1]):
            rotation = tables.rotations[operation + m]
            for i in range(3):
                value = 0.0
                for j in range(i + 1):
                    value += lattice[i, j] * pull[m, j]
                for n in range(work.first[k], work.first[k + 1]):
                    work.rows[GRADIENT, n] += (
                        rotation[i, tables.columns[position, n - work.first[k]]] * value
                    )
    inverse = work.cells[INVERSE]
    invert(lattice, inverse)
    by_cell = work.cells[BY_CELL]
    for i in range(3):
        for j in range(i + 1):
            by_cell[i, j] = 0.0
            for n in range(i, 3):
                by_cell[i, j] += inverse[n, i] * virial[n, j]
    growth = virial[0, 0] + virial[1, 1] + virial[2, 2]
    # The volume stays where it is if it is fixed, or at a limit that the gradient would pass.
    stays = held == 2 or (held == 1 and growth < 0.0) or (held == -1 and growth > 0.0)
    if stays:
        for i in range(3):
            by_cell[i, i] -= growth * inverse[i, i] / 3.0
    first = work.first[orbits]
    for n in range(tables.cell_freedom[system]):
        value = 0.0
        for i in range(3):
            for j in range(i + 1):
                value += by_cell[i, j] * tables.cell_basis[system, n, i, j]
        work.rows[GRADIENT, first + n] = value
    work.sizes[2] = stays


@once
def evaluate(p, c, stage, target, crystals, stages, rules, tables, work):  # pragma: no cover
    """Loss, Pearson's distance, smallest ratio of a distance to its minimum; the gradient."""
    work.sizes[3] = target
    held = set_crystal(p, c, crystals, tables, rules, work)
    if held == 3:
        return np.inf, np.inf, 0.0
    reach = stages.limits[REACH, stage]
    if work.sizes[0] == 0 or not list_is_safe(c, reach, crystals, rules, work):
        work.sizes[0] = 0
        if not make_list(c, reach, crystals, rules, work):
            work.sizes[0] = 0
            return np.inf, np.inf, 0.0
    penalty, closest = measure(rules, work)
    spread(stage, stages, work)
    distance = compare(stage, target, stages, work)
    gather(stage, stages, work)
    project(c, held, crystals, tables, rules, work)
    return distance + penalty, distance, closest


@inner
def factor_metric(c, crystals, tables, rules, work):  # pragma: no cover - compiled
    """Cholesky factors of the metric of each orbit and of the cell.

    Of an orbit, the squared displacement of its atoms, all equally long. Of the cell, the squared
    norm of the symmetric strain times the number of atoms and the square of a length. The metric
    does not depend on the axes or origin in which a crystal is described, and so neither do steps.
    """
    orbits, system, starts = crystals.orbits[c], crystals.systems[c], crystals.starts[c]
    lattice = work.cells[NOW]
    vectors = work.metric[orbits + 1]
    for k in range(orbits + 1):
        size = work.first[k + 1] - work.first[k]
        if k < orbits:
            factor = float(starts[k + 1] - starts[k])
            position = crystals.positions[c, k]
            rotation = tables.rotations[tables.operation_start[position]]
            for n in range(size):
                column = tables.columns[position, n]
                for j in range(9):
                    vectors[n, j] = 0.0
                for j in range(3):
                    for i in range(3):
                        vectors[n, j] += rotation[i, column] * lattice[i, j]
        else:
            factor = starts[orbits] * rules.strain_length**2
            inverse = work.cells[INVERSE]
            invert(lattice, inverse)
            for n in range(size):
                for j in range(9):
                    vectors[n, j] = 0.0
                for i in range(3):
                    for j in range(3):
                        for m in range(3):
                            half = 0.5 * inverse[i, m] * tables.cell_basis[system, n, m, j]
                            vectors[n, 3 * i + j] += half
                            vectors[n, 3 * j + i] += half
        chol = work.metric[k]
        for n in range(size):
            for m in range(n + 1):
                value = 0.0
                for j in range(9):
                    value += vectors[n, j] * vectors[m, j]
                value *= factor
                for i in range(m):
                    value -= chol[n, i] * chol[m, i]
                if n == m:
                    chol[n, n] = math.sqrt(max(value, 1e-12))
                else:
                    chol[n, m] = value / chol[m, m]


@inner
def whiten(orbits, work):  # pragma: no cover - compiled
    """``work.white``: the gradient in coordinates in which the metric is the unit matrix."""
    for k in range(orbits + 1):
        start, chol = work.first[k], work.metric[k]
        for n in range(work.first[k + 1] - start):
            value = work.rows[GRADIENT, start + n]
            for m in range(n):
                value -= chol[n, m] * work.rows[WHITE, start + m]
            work.rows[WHITE, start + n] = value / chol[n, n]


@inner
def move(factor, orbits, work):  # pragma: no cover - compiled
    """``work.trial``: the parameters after ``factor`` times ``work.step``."""
    for k in range(orbits + 1):
        start, chol = work.first[k], work.metric[k]
        for n in range(work.first[k + 1] - start - 1, -1, -1):
            value = factor * work.rows[STEP, start + n]
            for m in range(n + 1, work.first[k + 1] - start):
                value -= chol[m, n] * (
                    work.rows[TRIAL, start + m] - work.rows[PARAMETERS, start + m]
                )
            work.rows[TRIAL, start + n] = work.rows[PARAMETERS, start + n] + value / chol[n, n]


@inner
def longest_move(c, orbits, crystals, work):  # pragma: no cover - compiled
    """Largest displacement of an atom, or of the strain times its length, in ``work.step`` (Å)."""
    longest = 0.0
    for k in range(orbits + 1):
        size = float(crystals.starts[c, orbits])
        if k < orbits:
            size = float(crystals.starts[c, k + 1] - crystals.starts[c, k])
        square = 0.0
        for n in range(work.first[k], work.first[k + 1]):
            square += work.rows[STEP, n] ** 2
        longest = max(longest, square / size)
    return math.sqrt(longest)


@inner
def choose_step(kept, newest, count, work):  # pragma: no cover - compiled
    """``work.step``: minus the inverse Hessian times the gradient, from the last few steps."""
    memory = work.history.shape[1]
    step = work.rows[STEP]
    for n in range(count):
        step[n] = -work.rows[WHITE, n]
    for back in range(kept):
        row = (newest - back) % memory
        value = 0.0
        for n in range(count):
            value += work.history[0, row, n] * step[n]
        value *= work.curvature[0, row]
        work.curvature[1, row] = value
        for n in range(count):
            step[n] -= value * work.history[1, row, n]
    if kept > 0:
        square = 0.0
        for n in range(count):
            square += work.history[1, newest, n] ** 2
        factor = 1.0 / (work.curvature[0, newest] * square)
        for n in range(count):
            step[n] *= factor
    for back in range(kept - 1, -1, -1):
        row = (newest - back) % memory
        value = 0.0
        for n in range(count):
            value += work.history[1, row, n] * step[n]
        value = work.curvature[1, row] - value * work.curvature[0, row]
        for n in range(count):
            step[n] += value * work.history[0, row, n]


@inner
def remember(factor, kept, newest, count, work):  # pragma: no cover - compiled
    """Keep the step just taken and what it changed; how many are kept, the newest, its length."""
    memory = work.history.shape[1]
    row = (newest + 1) % memory
    product = 0.0
    square = 0.0
    change = 0.0
    for n in range(count):
        s = factor * work.rows[STEP, n]
        y = work.rows[WHITE, n] - work.rows[OLD_WHITE, n]
        work.history[0, row, n] = s
        work.history[1, row, n] = y
        product += s * y
        square += s * s
        change += y * y
    if product > 1e-10 * math.sqrt(square * change):
        work.curvature[0, row] = 1.0 / product
        return min(kept + 1, memory), row, math.sqrt(square)
    # Of negative curvature, which would spoil the estimate; its row held the oldest step.
    return min(kept, memory - 1), newest, math.sqrt(square)


@once
def descend_stage(
    c, stage, steps, target, crystals, stages, rules, tables, work, trace, done
):  # pragma: no cover - compiled
    """Descend at one smearing; distance, smallest ratio, evaluations and path (Å).

    At most ``steps`` evaluations; ``done`` came before.
    """
    orbits = crystals.orbits[c]
    count = work.first[orbits + 1]
    p, trial = work.rows[PARAMETERS], work.rows[TRIAL]
    last = stage == stages.taps.shape[0] - 1
    used = np.int64(0)
    tries = np.int64(0)
    kept = np.int64(0)
    newest = np.int64(-1)
    held = np.int64(0)
    accepted = np.int64(-1)
    loss = distance = closest = path = slope = factor = checked = 0.0
    work.sizes[0] = 0  # the reach is another
    for n in range(count):
        trial[n] = p[n]
    # One place that evaluates, for the start and every trial: it compiles several times as fast.
    while True:
        new_loss, new_distance, new_closest = evaluate(
            trial, c, stage, target, crystals, stages, rules, tables, work
        )
        used += 1
        if accepted < 0 or new_loss <= loss + 1e-4 * factor * slope:
            if accepted < 0:
                if not math.isfinite(new_loss):
                    return np.nan, 0.0, used, 0.0
                factor_metric(c, crystals, tables, rules, work)
                whiten(orbits, work)
                checked = new_loss
            else:
                whiten(orbits, work)
                kept, newest, length = remember(factor, kept, newest, count, work)
                path += length / math.sqrt(float(crystals.starts[c, orbits]))
            if work.sizes[2] != held:
                held = work.sizes[2]
                kept = np.int64(0)
            for n in range(count):
                p[n] = trial[n]
                if done + used < trace.shape[0]:
                    trace[done + used, n] = p[n]
            loss, distance, closest = new_loss, new_distance, new_closest
            accepted += 1
            if accepted > 0 and accepted % CHECK_EVERY == 0:
                if checked - loss < stages.limits[STALL, stage] * abs(loss):
                    break
                checked = loss
        elif used >= steps:
            break
        elif tries < 6:
            shrink = 0.25
            if math.isfinite(new_loss):
                # Least value of the parabola through both losses and the slope.
                shrink = -0.5 * slope * factor / (new_loss - loss - slope * factor)
            factor *= min(max(shrink, 0.1), 0.5)
            tries += 1
            move(factor, orbits, work)
            continue
        elif kept > 0:
            kept = np.int64(0)
        else:
            break
        if used >= steps or (
            distance <= stages.limits[STOP, stage] and (closest >= 1.0 or not last)
        ):
            break
        slope = 0.0
        while slope >= 0.0:
            choose_step(kept, newest, count, work)
            slope = 0.0
            for n in range(count):
                slope += work.rows[STEP, n] * work.rows[WHITE, n]
            if kept == 0:
                break
            if slope >= 0.0:
                kept = np.int64(0)
        length = longest_move(c, orbits, crystals, work)
        if not length > 1e-9:
            break
        limit = stages.limits[LONGEST, stage]
        factor = 0.5 * limit / length if kept == 0 else min(1.0, limit / length)
        tries = np.int64(0)
        for n in range(count):
            work.rows[OLD_WHITE, n] = work.rows[WHITE, n]
        move(factor, orbits, work)
    return distance, closest, used, path


@inner
def load(c, crystals, tables, work):  # pragma: no cover - compiled
    """Parameters of crystal ``c`` into ``work``."""
    orbits, system = crystals.orbits[c], crystals.systems[c]
    count = 0
    for k in range(orbits):
        work.first[k] = count
        for n in range(3):
            column = tables.columns[crystals.positions[c, k], n]
            if column >= 0:
                work.rows[PARAMETERS, count] = crystals.coordinates[c, k, column]
                count += 1
    for n in range(tables.cell_freedom[system]):
        work.rows[PARAMETERS, count + n] = crystals.cells[c, n]
    work.first[orbits] = count
    work.first[orbits + 1] = count + tables.cell_freedom[system]
    for n in range(work.first[orbits + 1]):
        work.rows[INITIAL, n] = work.rows[PARAMETERS, n]
        work.rows[BEST, n] = work.rows[PARAMETERS, n]
    work.sizes[0] = 0


@compiled
def descend(
    begin, end, targets, crystals, stages, rules, tables, work, results, trace
):  # pragma: no cover - compiled
    """Move crystals ``begin:end`` onto one of their targets, each as if there were no other.

    ``targets`` (n, t) are tried in order, each from the start, until one is reached; where none is,
    the crystal stays where it came nearest to one.
    """
    last = stages.taps.shape[0] - 1
    for c in range(begin, end):
        load(c, crystals, tables, work)
        count = work.first[crystals.orbits[c] + 1]
        outcome = FAILED
        nearest = np.inf
        for choice in range(targets.shape[1]):
            for n in range(count):
                work.rows[PARAMETERS, n] = work.rows[INITIAL, n]
            used = np.int64(0)
            path = 0.0
            before = np.nan
            distance = np.nan
            closest = 0.0
            hopeless = False
            # First the RDF's own smearing, once, for the distance before.
            for visit in range(-1, last + 1):
                if hopeless and visit < last:
                    continue
                stage = last if visit < 0 else visit
                distance, closest, more, length = descend_stage(
                    c,
                    stage,
                    1 if visit < 0 or hopeless else stages.sizes[STEPS, stage],
                    targets[c, choice],
                    crystals,
                    stages,
                    rules,
                    tables,
                    work,
                    trace,
                    used,
                )
                used += more
                path += length
                if visit < 0:
                    before = distance
                elif distance > rules.wanted:
                    # Distances are mostly smaller the broader the peaks. Of 600 Si8 crystals as
                    # many arrived without this rule, which saves a sixth of the time.
                    hopeless = True
                if not math.isfinite(distance):
                    break
            results.steps[c] += used
            if choice == 0 or distance < nearest:
                results.target[c] = targets[c, choice]
                results.before[c] = before
                results.after[c] = distance
                results.path[c] = path
                outcome = REACHED
                if not math.isfinite(distance):
                    outcome = FAILED
                elif distance > rules.wanted:
                    outcome = TOO_FAR
                elif closest < 1.0:
                    outcome = TOO_CLOSE
                results.outcome[c] = outcome
                nearest = distance if math.isfinite(distance) else np.inf
                for n in range(count):
                    work.rows[BEST, n] = work.rows[PARAMETERS, n]
                if outcome == REACHED:
                    break
        work.sizes[3] = results.target[c]
        set_crystal(work.rows[BEST], c, crystals, tables, rules, work)
        first = work.first[crystals.orbits[c]]
        for n in range(tables.cell_freedom[crystals.systems[c]]):
            crystals.cells[c, n] = work.rows[BEST, first + n]


@compiled
def loss_and_gradient(
    c, p, stage, target, crystals, stages, rules, tables, work
):  # pragma: no cover - compiled
    """Loss, Pearson's distance and smallest ratio at parameters ``p``, with ``work.gradient``."""
    load(c, crystals, tables, work)
    return evaluate(p, c, stage, target, crystals, stages, rules, tables, work)
