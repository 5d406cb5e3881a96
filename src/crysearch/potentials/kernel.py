"""Compiled loops over neighbours and triplets behind the symmetry functions.

*Neighbours.* Atoms are sorted into bins of at least the cut-off wide where the cell is that wide;
a thinner cell is one bin whose images are visited. Every crystal, large or of one atom, takes the
same path, and the work grows linearly with the number of atoms.

*Triplets.* An angular function of the distances a, b, c between a centre and two neighbours, and
between those, has derivatives along the two vectors to the neighbours only, so that three numbers
for each function and triplet give all of them. Functions of a pair of elements are a grid of
exponents and powers: the powers are made once for all exponents, and all functions of a triplet
are one short loop of vector instructions. For that the scratch is one flat array whose rows lie
`LANES` apart: the compiler then knows that they do not overlap.

Compiled by numba on first use and cached on disk; all is in one file because numba looks for
changes in one file only.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as _intrinsic

#: Room for the angular functions of one pair of elements.
LANES = 64
#: Powers are at most two to this.
POWER_BITS = 7
# Rows of the scratch before the sums.
_HEAD = 4 + POWER_BITS
_WIDTH = 8
# Components of a strain, in the order of ASE.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
COSINE, POLYNOMIAL = range(2)
# Without a sign: an index that may be negative is looked at twice, and keeps loops from vectors.
ROW, ROW2 = np.uint64(LANES), np.uint64(2 * LANES)
#: Images of a thin cell that are visited on either side, at most.
MOST_IMAGES = 24

_RULES: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "fastmath": {"contract", "reassoc"},
}
compiled: Any = njit(cache=True, **_RULES)
# Written with one argument more than it is called with, which type checkers do not know.
intrinsic: Any = _intrinsic
# Called from compiled code only: without a Python entry point it compiles in half the time.
inner: Any = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_RULES)  # type: ignore[call-overload]


class Functions(NamedTuple):
    """Symmetry functions of every centre: R radial of each element, E x L x Z angular of each pair.

    ``sizes`` (2,): kind of the cut-off function, number of features. ``radial`` (2, R): exponents
    in Å⁻² and centres in Å. ``exponents`` (E,) Å⁻², ``signs`` (L,), ``powers`` (Z,) ascending.
    ``radial_offsets`` (elements,) and ``angular_offsets`` (elements, elements): first feature.
    """

    cutoff: float
    sizes: np.ndarray
    radial: np.ndarray
    exponents: np.ndarray
    doublings: np.ndarray
    signs: np.ndarray
    powers: np.ndarray
    radial_offsets: np.ndarray
    angular_offsets: np.ndarray


class Crystals(NamedTuple):
    """S crystals, their atoms one after the other: ``starts`` (S + 1,), ``cells`` (S, 3, 3)."""

    starts: np.ndarray
    cells: np.ndarray
    positions: np.ndarray
    species: np.ndarray


class _Near(NamedTuple):
    """Neighbours of one atom: vectors and [distance, cut-off function, its derivative / distance].

    ``places`` (room, 2): place in the crystal, and block of the Jacobian.
    """

    vectors: np.ndarray
    scalars: np.ndarray
    places: np.ndarray


class _Bins(NamedTuple):
    """Atoms of one crystal by bins; ``layout`` (2, 3): bins and reach in bins along each vector."""

    wrapped: np.ndarray
    place: np.ndarray
    first: np.ndarray
    members: np.ndarray
    layout: np.ndarray


@inner
def _sort(crystals, crystal, cutoff):  # pragma: no cover - compiled
    """Wrap the atoms of a crystal into its cell and sort them into bins."""
    start, end = crystals.starts[crystal], crystals.starts[crystal + 1]
    atoms = end - start
    cell, positions = crystals.cells[crystal], crystals.positions
    normals = np.empty((3, 3))
    layout = np.empty((2, 3), np.int64)
    for d in range(3):
        a, b = cell[(d + 1) % 3], cell[(d + 2) % 3]
        nx, ny, nz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
        volume = cell[d, 0] * nx + cell[d, 1] * ny + cell[d, 2] * nz
        normals[d, 0], normals[d, 1], normals[d, 2] = nx / volume, ny / volume, nz / volume
        height = abs(volume) / math.sqrt(nx * nx + ny * ny + nz * nz)
        # No more bins than atoms: empty ones take time too.
        layout[0, d] = max(1, min(math.floor(height / cutoff), math.ceil(atoms ** (1 / 3))))
        layout[1, d] = math.ceil(cutoff * layout[0, d] / height)
    wrapped = np.empty((atoms, 3))
    place = np.empty((atoms, 3), np.int64)
    count = layout[0, 0] * layout[0, 1] * layout[0, 2]
    first = np.zeros(count + 1, np.int64)
    for atom in range(atoms):
        for x in range(3):
            wrapped[atom, x] = positions[start + atom, x]
        for d in range(3):
            fraction = 0.0
            for x in range(3):
                fraction += positions[start + atom, x] * normals[d, x]
            whole = math.floor(fraction)
            for x in range(3):
                wrapped[atom, x] -= whole * cell[d, x]
            place[atom, d] = min(int((fraction - whole) * layout[0, d]), layout[0, d] - 1)
        number = (place[atom, 0] * layout[0, 1] + place[atom, 1]) * layout[0, 2] + place[atom, 2]
        first[number + 1] += 1
    for number in range(count):
        first[number + 1] += first[number]
    filled = first.copy()
    members = np.empty(atoms, np.int64)
    for atom in range(atoms):
        number = (place[atom, 0] * layout[0, 1] + place[atom, 1]) * layout[0, 2] + place[atom, 2]
        members[filled[number]] = atom
        filled[number] += 1
    return _Bins(wrapped, place, first, members, layout)


@inner
def _gather(bins, cell, atom, cutoff, near):  # pragma: no cover - compiled
    """List the neighbours of an atom; those beyond the room are counted, not listed."""
    room = len(near.vectors)
    found = 0
    squared_cutoff = cutoff * cutoff
    shift = np.empty(3, np.int64)
    origin = np.empty(3)
    layout, place = bins.layout, bins.place
    wrapped, first, members = bins.wrapped, bins.first, bins.members
    vectors, scalars, index = near.vectors, near.scalars, near.places
    n0, n1, n2 = layout[0, 0], layout[0, 1], layout[0, 2]
    r0, r1, r2 = layout[1, 0], layout[1, 1], layout[1, 2]
    p0, p1, p2 = place[atom, 0], place[atom, 1], place[atom, 2]
    for b0 in range(p0 - r0, p0 + r0 + 1):
        shift[0] = math.floor(b0 / n0)
        for b1 in range(p1 - r1, p1 + r1 + 1):
            shift[1] = math.floor(b1 / n1)
            for b2 in range(p2 - r2, p2 + r2 + 1):
                shift[2] = math.floor(b2 / n2)
                for x in range(3):
                    origin[x] = -wrapped[atom, x]
                    for d in range(3):
                        origin[x] += shift[d] * cell[d, x]
                number = (b0 - shift[0] * n0) * n1 + b1 - shift[1] * n1
                number = number * n2 + b2 - shift[2] * n2
                here = shift[0] == 0 and shift[1] == 0 and shift[2] == 0
                for entry in range(first[number], first[number + 1]):
                    other = members[entry]
                    x = wrapped[other, 0] + origin[0]
                    y = wrapped[other, 1] + origin[1]
                    z = wrapped[other, 2] + origin[2]
                    squared = x * x + y * y + z * z
                    if squared >= squared_cutoff or (here and other == atom):
                        continue
                    if found < room:
                        vectors[found, 0] = x
                        vectors[found, 1] = y
                        vectors[found, 2] = z
                        scalars[found, 0] = math.sqrt(squared)
                        index[found, 0] = other
                    found += 1
    return found


@inner
def _room(size):  # pragma: no cover - compiled
    return _Near(np.empty((size, 3)), np.empty((size, 4)), np.empty((size, 2), np.int64))


@compiled
def survey(crystals, cutoff, contacts, most, neighbours, blocks, closeness):  # pragma: no cover
    """Count the neighbours and the distinct neighbouring atoms of each atom.

    ``closeness`` (S,) is the smallest distance over ``contacts`` (elements, elements), and
    negative for a crystal with an atom of more than `most` neighbours.
    """
    near = _room(most)
    for crystal in range(len(crystals.cells)):
        start, end = crystals.starts[crystal], crystals.starts[crystal + 1]
        bins = _sort(crystals, crystal, cutoff)
        seen = np.full(end - start, -1)
        closest = np.inf
        for atom in range(end - start):
            found = _gather(bins, crystals.cells[crystal], atom, cutoff, near)
            neighbours[start + atom] = found
            blocks[start + atom] = 0
            if found > most:
                closest = -1.0
                break
            seen[atom] = atom
            for entry in range(found):
                other = near.places[entry, 0]
                if seen[other] != atom:
                    seen[other] = atom
                    blocks[start + atom] += 1
                contact = contacts[crystals.species[start + atom], crystals.species[start + other]]
                closest = min(closest, near.scalars[entry, 0] / contact)
        closeness[crystal] = closest


@inner
def _cut(kind, distance, cutoff):  # pragma: no cover - compiled
    """Value and derivative over distance of the cut-off function."""
    x = distance / cutoff
    if kind == COSINE:
        return (
            0.5 * math.cos(math.pi * x) + 0.5,
            -0.5 * math.pi / cutoff * math.sin(math.pi * x) / distance,
        )
    y = 1.0 - x
    return 1.0 + x * x * x * (x * (15.0 - 6.0 * x) - 10.0), -30.0 * x * y * y / (cutoff * cutoff)


@inner
def _radial(functions, near, found, species, derivatives, values, slopes):  # pragma: no cover
    """Add the radial functions of all neighbours; ``slopes`` (room, R) get dG/dr / r."""
    radial, offsets = functions.radial, functions.radial_offsets
    scalars, index = near.scalars, near.places
    for j in range(found):
        distance, cut, cut_slope = scalars[j, 0], scalars[j, 1], scalars[j, 2]
        offset = offsets[species[index[j, 0]]]
        for f in range(radial.shape[1]):
            away = distance - radial[1, f]
            gauss = math.exp(-radial[0, f] * away * away)
            values[offset + f] += gauss * cut
            if derivatives:
                slopes[j, f] = gauss * (cut_slope - 2.0 * radial[0, f] * away * cut / distance)


class _Vectors:
    """Builds vector instructions on rows of a flat array, for the functions from `first` on.

    The compiler finds none by itself in loops as short as these, and cannot know that the rows
    never overlap.
    """

    def __init__(self, context, builder, array_type, array, first):
        self.kind = ir.VectorType(ir.DoubleType(), _WIDTH)
        self.builder = builder
        self.data = context.make_array(array_type)(context, builder, array).data
        self.first = first

    def pointer(self, row, shift):
        """Address of the eight numbers, `shift` after the start of a row."""
        word = ir.IntType(64)
        if row is None:
            row = ir.Constant(word, 0)
        place = self.builder.add(row, ir.Constant(word, shift))
        place = self.builder.gep(self.data, [self.builder.add(place, self.first)])
        return self.builder.bitcast(place, self.kind.as_pointer())

    def load(self, row, shift):
        value = self.builder.load(self.pointer(row, shift))
        value.align = 8
        return value

    def store(self, value, row, shift):
        self.builder.store(value, self.pointer(row, shift)).align = 8

    def constant(self, number):
        return ir.Constant(self.kind, [number] * _WIDTH)

    def spread(self, number):
        """The same number eight times."""
        undefined, word = ir.Constant(self.kind, ir.Undefined), ir.IntType(32)
        single = self.builder.insert_element(undefined, number, ir.Constant(word, 0))
        zeros = ir.Constant(ir.VectorType(word, _WIDTH), [0] * _WIDTH)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def times(self, first, second):
        return self.builder.fmul(first, second, ("contract",))

    def plus(self, first, second):
        return self.builder.fadd(first, second, ("contract",))


@intrinsic
def _powers(typing, work, f, cosine):
    """Put 2^(1-ζ) (1+λc)^ζ of eight functions into row 0 and its derivative by c into row 1.

    Written with half the base, b = (1+λc)/2: 2 b^ζ and λ ζ b^(ζ-1). Rows 2 and 3 hold λ and λζ,
    row 4 + n whether to multiply by b^(2^n) to get b^(ζ-1).
    """
    signature = types.void(work, f, cosine)

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[0], arguments[0], arguments[1])
        half, zero, one = v.constant(0.5), v.constant(0.0), v.constant(1.0)
        base = v.times(v.times(v.load(None, 2 * LANES), v.spread(arguments[2])), half)
        base = v.plus(base, half)
        # Rounding may bring it below zero.
        base = builder.select(builder.fcmp_ordered(">", base, zero), base, zero)
        power, square = one, base
        for bit in range(POWER_BITS):
            chosen = builder.fcmp_ordered(">", v.load(None, (4 + bit) * LANES), half)
            power = v.times(power, builder.select(chosen, square, one))
            square = v.times(square, square)
        v.store(v.times(v.plus(base, base), power), None, 0)
        v.store(v.times(v.load(None, 3 * LANES), power), None, LANES)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_angular(typing, work, rows, f, weights, first, second):
    """Add eight functions of a triplet: to the sums and to the derivatives of both neighbours.

    ``rows`` are the starts of the powers, of the sums and of either neighbour in the scratch, ``f``
    the function; ``weights`` (7,) say how powers and slopes are put together, ``first`` and
    ``second`` are the vectors.
    """
    signature = types.void(work, rows, f, weights, first, second)

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[0], arguments[0], arguments[2])

        def unpack(packed, count):
            return [v.spread(builder.extract_value(packed, n)) for n in range(count)]

        def combine(left, x, right, y):
            return v.plus(v.times(left, x), v.times(right, y))

        def add(row, shift, value):
            v.store(v.plus(v.load(row, shift), value), row, shift)

        sums, near, far = (builder.extract_value(arguments[1], n) for n in range(3))
        power, slope = v.load(None, 0), v.load(None, LANES)
        value, a, a_turn, b, b_turn, g, g_turn = unpack(arguments[3], 7)
        one, two = unpack(arguments[4], 3), unpack(arguments[5], 3)
        own_first = combine(a, power, a_turn, slope)
        own_second = combine(b, power, b_turn, slope)
        cross = combine(g, power, g_turn, slope)
        add(sums, 0, v.times(value, power))
        for axis in range(3):
            add(near, axis * LANES, combine(own_first, one[axis], cross, two[axis]))
            add(far, axis * LANES, combine(own_second, two[axis], cross, one[axis]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_values(typing, work, sums, f, value):
    """Add eight functions of a triplet to the sums only."""
    signature = types.void(work, sums, f, value)

    def generate(context, builder, signature, arguments):
        v = _Vectors(context, builder, signature.args[0], arguments[0], arguments[2])
        term = v.times(v.spread(arguments[3]), v.load(None, 0))
        v.store(v.plus(v.load(arguments[1], 0), term), arguments[1], 0)
        return context.get_dummy_value()

    return signature, generate


@inner
def _prepare(functions, work):  # pragma: no cover - compiled
    """Write the rows that `_powers` reads."""
    f = 0
    for sign in functions.signs:
        for zeta in functions.powers:
            work[2 * LANES + f] = sign
            work[3 * LANES + f] = sign * zeta
            for bit in range(POWER_BITS):
                work[(4 + bit) * LANES + f] = (zeta - 1) >> bit & 1
            f += 1


@inner
def _triplets(functions, near, found, species, derivatives, values, work):  # pragma: no cover
    """Add the angular functions of all pairs of neighbours.

    ``work`` is flat: rows of powers and what makes them, one of sums for each pair of elements,
    then for each neighbour and each element of the third atom three, the derivatives by x, y, z.
    """
    elements = len(functions.radial_offsets)
    cutoff, kind = functions.cutoff, functions.sizes[0]
    squared_cutoff = cutoff * cutoff
    # Taken out here, and numbers instead of rows below: views of arrays cost a count of references.
    exponents, doublings = functions.exponents, functions.doublings
    vectors, scalars, index = near.vectors, near.scalars, near.places
    grid = len(functions.signs) * len(functions.powers)
    squares, nearby = np.empty(found), np.empty(found, np.int64)
    padded = np.uint64((grid + _WIDTH - 1) // _WIDTH * _WIDTH)
    for j in range(found):
        x1, y1, z1 = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        cut1, slope1, inverse1 = scalars[j, 1], scalars[j, 2], scalars[j, 3]
        squared1 = scalars[j, 0] ** 2
        species1 = species[index[j, 0]]
        third = 0
        for k in range(j + 1, found):
            x, y, z = vectors[k, 0] - x1, vectors[k, 1] - y1, vectors[k, 2] - z1
            squares[third] = x * x + y * y + z * z
            nearby[third] = k
            third += (
                squares[third] < squared_cutoff
            )  # a branch would be guessed wrong half the time
        for entry in range(third):
            k, squared = nearby[entry], squares[entry]
            x2, y2, z2 = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            cut2, slope2, inverse2 = scalars[k, 1], scalars[k, 2], scalars[k, 3]
            species2 = species[index[k, 0]]
            cut3, slope3 = _cut(kind, math.sqrt(squared), cutoff)
            inverse = inverse1 * inverse2
            cosine = (x1 * x2 + y1 * y2 + z1 * z2) * inverse
            for f in range(np.uint64(0), padded, np.uint64(_WIDTH)):
                _powers(work, f, cosine)
            cut = cut1 * cut2 * cut3
            along1, along2 = slope1 * cut2 * cut3, cut1 * slope2 * cut3
            along3 = cut1 * cut2 * slope3
            total = squared1 + scalars[k, 0] ** 2 + squared
            turn1, turn2 = -cosine * inverse1 * inverse1, -cosine * inverse2 * inverse2
            sums = np.uint64((_HEAD + species1 * elements + species2) * LANES)
            p = np.uint64((_HEAD + elements * elements + 3 * (j * elements + species2)) * LANES)
            q = np.uint64((_HEAD + elements * elements + 3 * (k * elements + species1)) * LANES)
            gauss = 1.0
            for e in range(len(exponents)):
                eta = exponents[e]
                if doublings[e] == 0:
                    gauss = math.exp(-eta * total)
                for _ in range(doublings[e]):
                    gauss *= gauss
                value = gauss * cut
                if derivatives:
                    weights = (
                        value,
                        gauss * (along1 + along3 - 4.0 * eta * cut), value * turn1,
                        gauss * (along2 + along3 - 4.0 * eta * cut), value * turn2,
                        gauss * (2.0 * eta * cut - along3), value * inverse,
                    )  # fmt: skip
                    for f in range(np.uint64(0), padded, np.uint64(_WIDTH)):
                        _add_angular(work, (sums, p, q), f, weights, (x1, y1, z1), (x2, y2, z2))
                else:
                    for f in range(np.uint64(0), padded, np.uint64(_WIDTH)):
                        _add_values(work, sums, f, value)
                sums += padded
                p += padded
                q += padded
    for first in range(elements):
        for second in range(elements):
            offset = functions.angular_offsets[first, second]
            start = (_HEAD + first * elements + second) * LANES
            for e in range(len(functions.exponents)):
                for f in range(grid):
                    values[offset + e * grid + f] += work[start + e * int(padded) + f]


@intrinsic
def _add_derivatives(typing, source, start, vector, blocks, block, strains, strain, stride):
    """Add eight derivatives of a neighbour (rows of the source) to its block and the strain.

    ``block`` and ``strain`` are starts in flat arrays whose rows lie ``stride`` apart; a block of 0
    with no array is left out by the caller's choice of ``blocks``.
    """
    signature = types.void(source, start, vector, blocks, block, strains, strain, stride)

    def generate(context, builder, signature, arguments):
        zero = ir.Constant(ir.IntType(64), 0)
        kinds = signature.args
        rows = _Vectors(context, builder, kinds[0], arguments[0], zero)
        to_block = _Vectors(context, builder, kinds[3], arguments[3], zero)
        to_strain = _Vectors(context, builder, kinds[5], arguments[5], zero)
        stride = arguments[7]

        def add(target, start, row, value):
            place = builder.add(start, builder.mul(stride, ir.Constant(ir.IntType(64), row)))
            target.store(target.plus(target.load(place, 0), value), place, 0)

        slopes = [rows.load(arguments[1], axis * LANES) for axis in range(3)]
        vector = [rows.spread(builder.extract_value(arguments[2], n)) for n in range(3)]
        for axis in range(3):
            add(to_block, arguments[4], axis, slopes[axis])
        for row, (first, second) in enumerate(_VOIGT):
            add(to_strain, arguments[6], row, rows.times(slopes[first], vector[second]))
        return context.get_dummy_value()

    return signature, generate


@inner
def _add(source, start, size, vector, blocks, block, strains, strain, stride):
    # pragma: no cover - compiled
    """Add a neighbour's derivatives (3 rows of the source) to its block and the atom's strain."""
    f = np.uint64(0)
    while f + np.uint64(_WIDTH) <= size:
        _add_derivatives(source, start + f, vector, blocks, block + f, strains, strain + f, stride)
        f += np.uint64(_WIDTH)
    x, y, z = vector
    while f < size:
        dx, dy, dz = source[start + f], source[start + ROW + f], source[start + ROW2 + f]
        place = block + f
        for slope in (dx, dy, dz):
            blocks[place] += slope
            place += stride
        place = strain + f
        for product in (dx * x, dy * y, dz * z, dy * z, dx * z, dx * y):
            strains[place] += product
            place += stride
        f += np.uint64(1)


@inner
def _collect(functions, near, found, species, slopes, work, first, blocks, strains, atom, spare):
    # pragma: no cover - compiled
    """Sum the derivatives over the images of each neighbouring atom."""
    elements = len(functions.radial_offsets)
    vectors, index = near.vectors, near.places
    radial_offsets, angular_offsets = functions.radial_offsets, functions.angular_offsets
    radial, features = slopes.shape[1], functions.sizes[1]
    stride = np.uint64(features)
    strain = np.uint64(atom * 6 * features)
    pieces, size = len(functions.exponents), len(functions.signs) * len(functions.powers)
    step = (size + _WIDTH - 1) // _WIDTH * _WIDTH
    if step == size:
        pieces, size = min(pieces, 1), pieces * size  # without gaps: all at once
    for j in range(found):
        place, here = index[j, 1], species[index[j, 0]]
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        # An atom's own images move with it: they count for the strain only.
        target = blocks if place >= 0 else spare
        block = np.uint64((first + place) * 3 * features if place >= 0 else 0)
        for start in range(0, radial, LANES):
            number = min(LANES, radial - start)
            for f in range(number):
                slope = slopes[j, start + f]
                work[f], work[LANES + f], work[2 * LANES + f] = slope * x, slope * y, slope * z
            offset = np.uint64(radial_offsets[here] + start)
            _add(
                work, np.uint64(0), np.uint64(number), (x, y, z), target, block + offset,
                strains, strain + offset, stride,
            )  # fmt: skip
        for other in range(elements):
            begin = np.uint64((_HEAD + elements * elements + 3 * (j * elements + other)) * LANES)
            for piece in range(pieces):
                offset = np.uint64(angular_offsets[here, other] + piece * size)
                _add(
                    work, begin + np.uint64(piece * step), np.uint64(size), (x, y, z),
                    target, block + offset, strains, strain + offset, stride,
                )  # fmt: skip


@compiled
def evaluate(
    functions, crystals, most, block_starts, derivatives, values, block_atoms, jacobian, strain
):  # pragma: no cover - compiled
    """Fill values (A, F) and, on request, the derivatives.

    ``jacobian`` (B * 3 * F) holds dG_i/dr_j for the distinct neighbours j of each atom i, in the
    blocks ``block_starts[i]`` to ``block_starts[i + 1]``; ``block_atoms`` (B,) says which atom j
    is. ``strain`` (A * 6 * F) holds dG_i/dε in the order xx, yy, zz, yz, xz, xy. All start at zero.
    """
    cutoff, kind = functions.cutoff, functions.sizes[0]
    elements = len(functions.radial_offsets)
    near = _room(most)
    scalars, index = near.scalars, near.places
    slopes = np.empty((most, functions.radial.shape[1]))
    spare = np.zeros(3 * functions.sizes[1])
    work = np.zeros((_HEAD + elements * elements + 3 * most * elements) * LANES)
    for crystal in range(len(crystals.cells)):
        start, end = crystals.starts[crystal], crystals.starts[crystal + 1]
        bins = _sort(crystals, crystal, cutoff)
        cell = crystals.cells[crystal]
        species = crystals.species[start:end]
        number = np.full(end - start, -1)
        for atom in range(end - start):
            found = _gather(bins, cell, atom, cutoff, near)
            first = block_starts[start + atom]
            used = first
            for entry in range(found):
                distance = scalars[entry, 0]
                scalars[entry, 1], scalars[entry, 2] = _cut(kind, distance, cutoff)
                scalars[entry, 3] = 1.0 / distance
                index[entry, 1] = -1
                other = index[entry, 0]
                if derivatives and other != atom:
                    if number[other] < first:
                        number[other] = used
                        block_atoms[used] = start + other
                        used += 1
                    index[entry, 1] = number[other] - first
            row = values[start + atom]
            _radial(functions, near, found, species, derivatives, row, slopes)
            used_rows = elements * elements + (3 * found * elements if derivatives else 0)
            work[_HEAD * LANES : (_HEAD + used_rows) * LANES] = 0.0
            _prepare(functions, work)
            _triplets(functions, near, found, species, derivatives, row, work)
            if derivatives:
                _collect(
                    functions, near, found, species, slopes, work, first, jacobian, strain,
                    start + atom, spare,
                )  # fmt: skip
