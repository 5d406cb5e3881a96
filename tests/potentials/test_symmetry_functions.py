"""Symmetry functions against plain Python, DScribe, differences and their invariances."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from crysearch.errors import TrainingError
from crysearch.potentials.configuration import Configuration
from crysearch.potentials.symmetry_functions import SymmetryFunctions

SILICON = SymmetryFunctions.standard(["Si"])
UNEVEN = SymmetryFunctions(
    ("Si", "O"),
    radial=((0.0, 0.0), (0.7, 1.5), (2.0, 3.1)),
    exponents=(0.01, 0.07, 0.14),
    powers=(1, 3, 16),
    signs=(1,),
    cutoff=4.3,
    cutoff_function="cosine",
)


def cut(name, r, cutoff):
    if r >= cutoff:
        return 0.0
    x = r / cutoff
    if name == "cosine":
        return 0.5 * (math.cos(math.pi * x) + 1.0)
    return 1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5


def brute_force(functions, configuration):
    """The sums as they are written down, over all images."""
    cell, positions = configuration.cell, configuration.positions
    symbols = configuration.to_atoms().get_chemical_symbols()
    wrapped = positions - np.floor(positions @ np.linalg.inv(cell)) @ cell
    images = [np.array(t) @ cell for t in itertools.product(range(-5, 6), repeat=3)]
    values = []
    for i in range(len(wrapped)):
        near = [
            (wrapped[j] + t - wrapped[i], symbols[j])
            for j in range(len(wrapped))
            for t in images
            if 1e-9 < np.linalg.norm(wrapped[j] + t - wrapped[i]) < functions.cutoff
        ]
        row = []
        f = lambda r: cut(functions.cutoff_function, r, functions.cutoff)  # noqa: E731
        for label in functions.labels():
            total = 0.0
            if label["kind"] == "G2":
                for vector, symbol in near:
                    r = np.linalg.norm(vector)
                    if [symbol] == label["neighbours"]:
                        total += math.exp(-label["eta"] * (r - label["centre"]) ** 2) * f(r)
            else:
                for (a, first), (b, second) in itertools.combinations(near, 2):
                    if sorted([first, second]) != sorted(label["neighbours"]):
                        continue
                    r1, r2, r3 = (np.linalg.norm(v) for v in (a, b, a - b))
                    cosine = a @ b / (r1 * r2)
                    total += (
                        2.0 ** (1 - label["zeta"])
                        * (1.0 + label["lambda"] * cosine) ** label["zeta"]
                        * math.exp(-label["eta"] * (r1**2 + r2**2 + r3**2))
                        * f(r1) * f(r2) * f(r3)
                    )  # fmt: skip
            row.append(total)
        values.append(row)
    return np.array(values)


@pytest.mark.parametrize(
    ("functions", "numbers"),
    [
        (replace(SILICON, cutoff=3.4), [14]),
        (UNEVEN, [14, 8, 8]),
        (UNEVEN, [8]),
        (replace(UNEVEN, exponents=(0.01, 0.02, 0.04, 0.1), signs=(-1, 1), powers=(2, 5)), [14, 8]),
        (replace(UNEVEN, exponents=()), [14, 8]),
        (replace(UNEVEN, radial=()), [14, 8]),
    ],
)
def test_values_are_the_sums_as_written(functions, numbers, make_crystal):
    configuration = make_crystal(numbers, seed=3)
    expected = brute_force(functions, configuration)
    values = functions.compute([configuration])
    assert len(functions.labels()) == functions.size == values.values.shape[1]
    np.testing.assert_allclose(values.values, expected, rtol=1e-11, atol=1e-13)
    plain = functions.compute([configuration], derivatives=False)
    np.testing.assert_allclose(plain.values, expected, rtol=1e-11, atol=1e-13)


def dense(values, atoms):
    """All derivatives dG_i/dr_j as one array (i, j, 3, F)."""
    full = np.zeros((atoms, atoms, 3, values.values.shape[1]))
    for i in range(atoms):
        for block in range(values.block_starts[i], values.block_starts[i + 1]):
            full[i, values.block_atoms[block]] += values.jacobian[block]
            full[i, i] -= values.jacobian[block]
    return full


@pytest.mark.parametrize(
    ("functions", "numbers"),
    [(SILICON, [14] * 4), (UNEVEN, [14, 8, 8, 8]), (UNEVEN, [8])],
)
def test_derivatives_are_those_of_the_values(functions, numbers, make_crystal):
    configuration = make_crystal(numbers, seed=5)
    atoms, step = len(numbers), 1e-4
    values = functions.compute([configuration])

    def differences(changed):
        plus, minus = (
            functions.compute([Configuration(configuration.numbers, *changed(sign * step))]).values
            for sign in (1, -1)
        )
        return (plus - minus) / (2 * step)

    full = dense(values, atoms)
    for j in range(atoms):
        for x in range(3):
            move = np.zeros((atoms, 3))
            move[j, x] = 1.0
            numeric = differences(
                lambda h, m=move: (configuration.cell, configuration.positions + h * m)
            )
            np.testing.assert_allclose(full[:, j, x], numeric, atol=2e-6)
    for row, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        numeric = differences(
            lambda h, e=strain: (
                configuration.cell @ (np.eye(3) + h * e),
                configuration.positions @ (np.eye(3) + h * e),
            )
        )
        np.testing.assert_allclose(values.strain[:, row], numeric, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), repeats=st.tuples(*[st.integers(1, 3)] * 3))
def test_invariances(seed, repeats, make_crystal):
    rng = np.random.default_rng(seed)
    configuration = make_crystal([8, 14, 14], seed)
    (numbers, cell, positions) = (
        configuration.numbers, configuration.cell, configuration.positions,
    )  # fmt: skip
    rotation = Rotation.random(rng=rng).as_matrix()
    order = rng.permutation(3)
    skew = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])
    larger = configuration.to_atoms() * repeats
    values = UNEVEN.compute(
        [
            configuration,
            Configuration(numbers, cell @ rotation.T, positions @ rotation.T),
            Configuration(numbers, cell, positions + rng.normal(0, 9, 3)),
            Configuration(numbers[order], cell, positions[order]),
            Configuration(numbers, skew @ cell, positions),
            Configuration(numbers, cell[[1, 0, 2]], positions),
            Configuration(numbers, cell, positions + rng.integers(-3, 4, (3, 3)) @ cell),
            Configuration(larger.numbers, larger.cell.array, larger.positions),
        ],
        derivatives=False,
    )
    first = values.values[:3]
    parts = [values.values[values.starts[k] : values.starts[k + 1]] for k in range(1, 8)]
    inverse = np.argsort(order)
    parts[2] = parts[2][inverse]
    for part in parts:
        copies = len(part) // 3
        np.testing.assert_allclose(part, np.tile(first, (copies, 1)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["cosine", "polynomial"])
def test_continuous_at_the_cutoff(name):
    functions = SymmetryFunctions.standard(["Si"], cutoff=4.0, cutoff_function=name)
    cell = 30.0 * np.eye(3)

    def at(distance):
        positions = [[0, 0, 0], [2.2, 0.3, 0], [0, 0, distance]]
        return functions.compute([Configuration([14] * 3, cell, positions)])

    inside, outside = at(4.0 - 1e-6), at(4.0 + 1e-6)
    np.testing.assert_allclose(inside.values, outside.values, atol=1e-8)
    np.testing.assert_allclose(dense(inside, 3), dense(outside, 3), atol=1e-4)


def test_an_atom_alone_has_zeros():
    values = SILICON.compute([Configuration([14], 40.0 * np.eye(3), [[0.1, 0.2, 0.3]])])
    assert not values.values.any() and not values.strain.any() and not len(values.jacobian)


def test_what_cannot_be_computed_is_left_out_with_its_reason(make_crystal):
    sound = make_crystal([14, 14], 1)
    box = 9.0 * np.eye(3)
    values = SILICON.compute(
        [
            Configuration([14, 8], box, [[0, 0, 0], [2, 2, 2]]),
            sound,
            Configuration([14, 14], box, [[0, 0, 0], [0.4, 0.2, 0]]),
            Configuration([14, 14], box, [[0, 0, 0], [9.0, 0, 0]]),
            Configuration([14], np.diag([0.2, 9, 9]), [[0, 0, 0]]),
            Configuration([14], np.zeros((3, 3)), [[0, 0, 0]]),
            sound,
        ]
    )
    reasons = {place: failure.reason for place, failure in values.failures.items()}
    assert reasons == {
        0: "unknown_element", 2: "too_close", 3: "too_close", 4: "degenerate_cell",
        5: "degenerate_cell",
    }  # fmt: skip
    assert values.sound.tolist() == [1, 6]
    np.testing.assert_array_equal(values.values[:2], values.values[2:])
    assert "O is not among" in values.failures[0].detail
    assert not len(SILICON.compute([]).values)


def test_too_many_neighbours_are_refused(monkeypatch, make_crystal):
    monkeypatch.setattr("crysearch.potentials.soundness.MOST_NEIGHBOURS", 20)
    values = SILICON.compute([make_crystal([14, 14], 1)])
    assert values.failures[0].reason == "too_dense"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"elements": ("Xx",)}, "elements"),
        ({"elements": "Si"}, "elements"),
        ({"elements": ("Si", "Si")}, "elements"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"cutoff_function": "step"}, "cutoff_function"),
        ({"radial": ((1.0,),)}, "radial"),
        ({"radial": ((-1.0, 0.0),)}, "radial"),
        ({"exponents": (-0.1,)}, "exponents"),
        ({"exponents": (0.1, 0.1)}, "exponents"),
        ({"powers": (0,)}, "powers"),
        ({"powers": (1.5,)}, "powers"),
        ({"powers": (200,)}, "powers"),
        ({"signs": (0,)}, "signs"),
        ({"exponents": tuple(0.01 * k for k in range(1, 20))}, "at most 64"),
        ({"radial": (), "exponents": ()}, "empty"),
    ],
)
def test_bad_sets_are_refused(changes, field):
    with pytest.raises(TrainingError, match=field):
        replace(SILICON, **changes)


def test_a_set_survives_plain_data():
    for functions in (SILICON, UNEVEN):
        assert SymmetryFunctions.from_dict(functions.to_dict()) == functions
    with pytest.raises(TrainingError, match="no_such"):
        SymmetryFunctions.from_dict({**SILICON.to_dict(), "no_such": 1})


def test_against_dscribe(make_crystal):
    descriptors = pytest.importorskip("dscribe.descriptors", reason="pip install dscribe")
    configuration = make_crystal([14, 8, 8], 11)
    peer = descriptors.ACSF(
        species=["O", "Si"],
        r_cut=UNEVEN.cutoff,
        g2_params=[list(pair) for pair in UNEVEN.radial],
        g4_params=[
            [eta, zeta, sign]
            for eta in UNEVEN.exponents for sign in UNEVEN.signs for zeta in UNEVEN.powers
        ],
        periodic=True,
    )  # fmt: skip
    theirs = peer.create(configuration.to_atoms())
    # Each neighbouring element starts there with a plain sum of the cut-off function, G1.
    radial = [1, 2, 3, 5, 6, 7]
    ours = UNEVEN.compute([configuration]).values
    np.testing.assert_allclose(ours[:, :6], theirs[:, radial], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours[:, 6:], theirs[:, 8:], rtol=1e-9, atol=1e-12)


def test_many_atoms_take_the_bins(make_crystal):
    """A cell of many bins gives what its small cell gives."""
    small = make_crystal([14, 14, 8], 2)
    large = small.to_atoms() * (5, 4, 3)
    functions = replace(UNEVEN, cutoff=3.0)
    values = functions.compute(
        [small, Configuration(large.numbers, large.cell[:], large.positions)]
    )
    np.testing.assert_allclose(values.values[3:], np.tile(values.values[:3], (60, 1)), rtol=1e-9)
