"""Radial distribution functions against independent neighbour lists and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.errors import FingerprintError
from crysearch.fingerprints import RadialDistributionFunction, pearson_distance


def silicon(space_group: str, lattice: Lattice, orbits: list[tuple[float, float, float]]):
    return Structure.from_spacegroup(space_group, lattice, ["Si"] * len(orbits), orbits)


@pytest.fixture(scope="module")
def published_pair() -> tuple[Structure, Structure]:
    """C2/m-Si and C2/m*-Si as printed by Lee and Chang."""
    first = silicon(
        "C2/m",
        Lattice.monoclinic(13.73, 3.82, 6.29, 83.3),
        [(0.94460, 0, 0.87347), (0.44097, 0, 0.65322), (0.78744, 0, 0.05727),
         (0.27303, 0, 0.58547)],
    )  # fmt: skip
    second = silicon(
        "C2/m",
        Lattice.monoclinic(3.77, 16.56, 6.93, 133.7),
        [(0.08137, 0, 0.86120), (0.07598, 0.87869, 0.36283), (0, 0.29131, 0)],
    )
    return first, second


def reference_rdf(structure: Structure, rdf: RadialDistributionFunction) -> np.ndarray:
    """The definition, summed over pymatgen's neighbour list."""
    distances = np.array(
        [
            neighbour.nn_distance
            for neighbours in structure.get_all_neighbors(rdf.cutoff + 8 * rdf.smearing)
            for neighbour in neighbours
        ]
    )
    gaussians = np.exp(-0.5 * ((rdf.grid[:, None] - distances) / rdf.smearing) ** 2)
    per_atom = gaussians.sum(axis=1) / (rdf.smearing * np.sqrt(2 * np.pi) * len(structure))
    if rdf.quantity == "n":
        return per_atom
    return per_atom / (4 * np.pi * rdf.grid**2 * len(structure) / structure.volume)


def test_published_distance_is_reproduced(published_pair):
    fingerprints = RadialDistributionFunction().from_structures(published_pair)
    assert pearson_distance(*fingerprints) == pytest.approx(0.102, abs=0.003)
    counts = RadialDistributionFunction(quantity="n").from_structures(published_pair)
    assert pearson_distance(*counts) == pytest.approx(0.233, abs=0.003)


@settings(max_examples=40, deadline=None)
# Atoms 0.4 Å apart: the tail of the Gaussian matters at the smallest r.
@example(lengths=(1.5, 1.5, 1.5), angles=(124.0, 88.0, 52.0), atoms=3, seed=1374, quantity="g")
@given(
    lengths=st.tuples(*[st.floats(1.5, 9.0)] * 3),
    angles=st.tuples(*[st.floats(25.0, 150.0)] * 3),
    atoms=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    quantity=st.sampled_from(["g", "n"]),
)
def test_agrees_with_an_independent_neighbour_list(lengths, angles, atoms, seed, quantity):
    """Any cell, very skewed and very small ones included, where the cut-off spans many images."""
    cosines = np.cos(np.radians(angles))
    determinant = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if determinant < 0.01:  # no such cell, or one flatter than any crystal
        return
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice.from_parameters(*lengths, *angles), ["Si"] * atoms, rng.random((atoms, 3)) * 3 - 1
    )
    rdf = RadialDistributionFunction(quantity=quantity)
    ours = rdf.from_structures([structure])[0]
    reference = reference_rdf(structure, rdf)
    # pymatgen leaves out pairs closer than 1e-8 Å; random atoms never are.
    np.testing.assert_allclose(ours, reference, atol=1e-6 * max(1.0, reference.max()))


@settings(max_examples=60, deadline=None)
# Narrower than a step of the grid; wider than the whole grid; a grid of two points.
@example(cutoff=8.0, grid_points=20, smearing=0.01, seed=0)
@example(cutoff=1.5, grid_points=60, smearing=0.4, seed=1)
@example(cutoff=6.0, grid_points=2, smearing=0.06, seed=2)
@given(
    cutoff=st.floats(0.5, 9.0),
    grid_points=st.integers(2, 300),
    smearing=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_agrees_whatever_the_settings(cutoff, grid_points, smearing, seed):
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice(np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.5), ["Si"] * 3, rng.random((3, 3))
    )
    rdf = RadialDistributionFunction(cutoff, grid_points, smearing, "n")
    reference = reference_rdf(structure, rdf)
    ours = rdf.from_structures([structure])[0]
    np.testing.assert_allclose(ours, reference, atol=1e-9 / smearing)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.tuples(*[st.floats(2.0, 8.0)] * 3),
    angles=st.tuples(*[st.floats(40.0, 130.0)] * 3),
    species=st.lists(st.sampled_from(["Na", "Cl", "O"]), min_size=1, max_size=7),
    seed=st.integers(0, 2**32 - 1),
    quantity=st.sampled_from(["g", "n"]),
)
def test_every_channel_agrees_with_an_independent_neighbour_list(
    lengths, angles, species, seed, quantity
):
    """Unary, binary and ternary crystals, in skewed cells too."""
    cosines = np.cos(np.radians(angles))
    if 1 - (cosines**2).sum() + 2 * cosines.prod() < 0.01:
        return
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice.from_parameters(*lengths, *angles), species, rng.random((len(species), 3))
    )
    rdf = RadialDistributionFunction(quantity=quantity, species=("Na", "Cl", "O"))
    channels = rdf.from_structures([structure])[0].reshape(6, -1)
    symbols = np.array(species)
    first, second, _, distances = structure.get_neighbor_list(rdf.cutoff + 8 * rdf.smearing)
    for channel, (a, b) in zip(channels, rdf.pairs, strict=True):
        ordered = (symbols[first] == a) & (symbols[second] == b)
        gaussians = np.exp(-0.5 * ((rdf.grid[:, None] - distances[ordered]) / rdf.smearing) ** 2)
        expected = gaussians.sum(axis=1) / (rdf.smearing * np.sqrt(2 * np.pi))
        populations = (symbols == a).sum() * (symbols == b).sum()
        if quantity == "n":
            expected *= (1 if a == b else 2) / len(species)
        elif populations:
            expected *= structure.volume / (populations * 4 * np.pi * rdf.grid**2)
        np.testing.assert_allclose(channel, expected, atol=1e-6 * max(1.0, expected.max()))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_supercells_rotations_and_shifts_change_nothing(seed):
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice(np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.6), ["Si"] * 3, rng.random((3, 3))
    )
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = Structure(
        Lattice(structure.lattice.matrix @ rotation),
        structure.species,
        structure.frac_coords + rng.random(3),
    )
    supercell = structure * (2, 1, 3)
    rdf = RadialDistributionFunction()
    expected, *others = rdf.from_structures([structure, moved, supercell])
    for other in others:
        np.testing.assert_allclose(other, expected, atol=1e-9 * expected.max())


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(3)
    lattices = np.eye(3) * 5 + rng.normal(size=(7, 3, 3)) * 0.5
    coordinates = rng.random((7, 4, 3))
    rdf = RadialDistributionFunction()
    batch = rdf.compute(lattices, coordinates)
    for index in range(7):
        single = rdf.compute(lattices[index : index + 1], coordinates[index : index + 1])
        np.testing.assert_array_equal(batch[index], single[0])


def test_species_resolved_channels_add_up_and_match_their_definition():
    rng = np.random.default_rng(5)
    species = ["Na", "Cl", "Na", "Cl", "Cl"]
    structure = Structure(Lattice.cubic(6.0), species, rng.random((5, 3)))
    total_g, total_n = (
        RadialDistributionFunction(quantity=q).from_structures([structure])[0] for q in ("g", "n")
    )
    partial_g, partial_n = (
        RadialDistributionFunction(quantity=q, species=("Na", "Cl"))
        .from_structures([structure])
        .reshape(3, -1)
        for q in ("g", "n")
    )
    np.testing.assert_allclose(partial_n.sum(axis=0), total_n, atol=1e-10)
    weights = np.array([0.4 * 0.4, 2 * 0.4 * 0.6, 0.6 * 0.6])
    np.testing.assert_allclose(weights @ partial_g, total_g, atol=1e-10)

    # The Na–Na channel is the total g of the sodium sublattice.
    sodium = Structure.from_sites([site for site in structure if site.specie.symbol == "Na"])
    expected = RadialDistributionFunction().from_structures([sodium])[0]
    np.testing.assert_allclose(partial_g[0], expected, atol=1e-9)
    assert RadialDistributionFunction(species=("Na", "Cl")).size == 600


def test_absent_species_gives_zeros():
    rdf = RadialDistributionFunction(species=("Na", "Cl"))
    sodium = Structure(Lattice.cubic(4.0), ["Na"], [[0, 0, 0]])
    channels = rdf.from_structures([sodium])[0].reshape(3, -1)
    assert channels[0].max() > 0
    assert not channels[1:].any()


def test_first_shell_of_diamond_holds_four_neighbours():
    diamond = silicon("Fd-3m", Lattice.cubic(5.431), [(0, 0, 0)])
    rdf = RadialDistributionFunction(quantity="n")
    shell = rdf.from_structures([diamond])[0][rdf.grid < 3.0]
    assert shell.sum() * rdf.cutoff / rdf.grid_points == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"cutoff": -1.0}, "cutoff"),
        ({"smearing": float("nan")}, "smearing"),
        ({"grid_points": 1}, "grid_points"),
        ({"quantity": "h"}, "quantity"),
        ({"species": ("Si", "Si")}, "species"),
    ],
)
def test_bad_settings_are_named(arguments, named):
    with pytest.raises(FingerprintError, match=named):
        RadialDistributionFunction(**arguments)


def test_bad_input_is_named():
    rdf = RadialDistributionFunction()
    with pytest.raises(FingerprintError, match="lattices of shape"):
        rdf.compute(np.eye(3), np.zeros((1, 1, 3)))
    with pytest.raises(FingerprintError, match="fractional_coordinates of shape"):
        rdf.compute(np.eye(3)[None], np.zeros((1, 0, 3)))
    with pytest.raises(FingerprintError, match="crystal 1 of the batch has a flat cell"):
        rdf.compute(np.stack([np.eye(3), np.ones((3, 3))]), np.zeros((2, 1, 3)))
    resolved = RadialDistributionFunction(species=("Si",))
    with pytest.raises(FingerprintError, match="needs the element"):
        resolved.compute(np.eye(3)[None] * 4, np.zeros((1, 1, 3)))
    with pytest.raises(FingerprintError, match="species Ge"):
        resolved.compute(np.eye(3)[None] * 4, np.zeros((1, 1, 3)), ["Ge"])
