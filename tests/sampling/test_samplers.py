"""Both samplers keep every promise of a request, and agree where they should."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice
from scipy import stats

from crysearch.errors import SamplingError
from crysearch.sampling import SAMPLERS, CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.base import CrystalSampler
from crysearch.sampling.conformance import violations
from crysearch.sampling.wyckoff import wyckoff_tables

SILICON = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
TIN_SELENIDE = CrystalRequest(
    ("Sn", "Se"), (8, 8), 457.0, {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
)
ALUMINA = CrystalRequest(
    ("Al", "O"), (4, 6), 85.0, {("Al", "Al"): 2.2, ("Al", "O"): 1.6, ("O", "O"): 2.1}
)


def arrays(batch: CrystalBatch) -> list[np.ndarray]:
    return [batch.lattices, batch.fractional_coordinates, batch.space_groups, batch.sites]


def fingerprint(batch: CrystalBatch) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays(batch))).hexdigest()


@pytest.mark.parametrize("name", SAMPLERS)
class TestEverySampler:
    """The conformance test: a new sampler joins by being in ``SAMPLERS``."""

    def test_crystals_are_as_requested(self, name: str) -> None:
        groups = (2, 12, 63, 129, 136, 148, 166, 194, 225)
        for request, n in ((SILICON, 12), (TIN_SELENIDE, 8)):
            request = CrystalRequest(
                request.species,
                request.counts,
                request.volume,
                request.minimum_distances,
                space_groups=groups,
            )
            sampler = create_sampler(name, request)
            assert isinstance(sampler, CrystalSampler) and sampler.name == name
            batch = sampler.sample(n, 1)
            assert len(batch) == n
            assert violations(batch, request) == []

    def test_counts_add_up(self, name: str) -> None:
        batch = create_sampler(name, SILICON).sample(5, 2)
        counts = batch.group_counts
        rejected = batch.rejections["too_close"] + batch.rejections["cell_too_flat"]
        assert batch.attempts == 5 + rejected == sum(c["attempts"] for c in counts.values())
        assert sum(c["accepted"] for c in counts.values()) == 5
        assert batch.rejections["group_exhausted"] == sum(c["exhausted"] for c in counts.values())
        assert sum(c["chosen"] for c in counts.values()) == 5 + batch.rejections["group_exhausted"]

    def test_the_seed_decides(self, name: str) -> None:
        first = fingerprint(create_sampler(name, TIN_SELENIDE).sample(4, (7, 1)))
        sampler = create_sampler(name, TIN_SELENIDE)
        assert fingerprint(sampler.sample(4, [7, 1])) == first
        assert fingerprint(sampler.sample(4, (7, 1))) == first
        assert fingerprint(sampler.sample(4, (7, 2))) != first
        assert fingerprint(sampler.sample(4, 7)) != first

    def test_nothing_is_a_valid_sample(self, name: str) -> None:
        batch = create_sampler(name, SILICON).sample(0, 0)
        assert len(batch) == 0 and batch.fractional_coordinates.shape == (0, 8, 3)

    @pytest.mark.parametrize(
        ("n", "seed", "message"),
        [
            (-1, 0, "n: -1"),
            (2.0, 0, "n: 2.0"),
            (1, -3, "seed: -3"),
            (1, (), "seed: empty"),
            (1, (1, 0.5), "seed: "),
            (1, True, "seed: True"),
        ],
    )
    def test_invalid_arguments_are_named(self, name: str, n, seed, message: str) -> None:
        with pytest.raises(SamplingError, match=message):
            create_sampler(name, SILICON).sample(n, seed)

    def test_hopeless_effort_is_bounded_and_explained(self, name: str) -> None:
        # One atom makes group 195 simple cubic, 2.80 Å for the largest volume; a face-centred
        # cell would have room, so the request itself is not refused.
        request = CrystalRequest(
            ("Si",), (1,), 20.0, {("Si", "Si"): 2.9}, space_groups=(195,), attempts_per_group=10
        )
        with pytest.raises(SamplingError) as caught:
            create_sampler(name, request).sample(3, 0)
        message = str(caught.value)
        assert "only 0 of 3 crystals of Si" in message and "space groups 195 gave none" in message
        assert "attempts_per_group (10)" in message and "enlarge volume" in message


@pytest.mark.parametrize("counts_of", ["smallest", "general", "two species", "three species"])
def test_every_space_group(counts_of: str) -> None:
    """Crystals of all 230 groups, from the smallest cell a group can have to general positions."""
    tables = wyckoff_tables()
    for group in range(1, 231):
        sizes = [int(tables.multiplicity[p]) for p in tables.positions(group)]
        counts = {
            "smallest": (sizes[-1],),
            "general": (sizes[0],),
            "two species": (sizes[0], sizes[-1]),
            "three species": (sizes[0], sizes[-1], sizes[len(sizes) // 2]),
        }[counts_of]
        species = ("Si", "O", "Na")[: len(counts)]
        pairs = {(a, b): 0.9 for a in species for b in species}
        request = CrystalRequest(species, counts, 15.0 * sum(counts), pairs, space_groups=(group,))
        batch = create_sampler("wyckoff", request).sample(2 if sum(counts) < 100 else 1, group)
        assert violations(batch, request) == []


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    distances=st.lists(st.floats(0.5, 2.2), min_size=6, max_size=6),
    volume_per_atom=st.floats(18.0, 30.0),
    tolerance=st.floats(0.0, 0.3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_any_request_is_kept(
    counts: list[int],
    distances: list[float],
    volume_per_atom: float,
    tolerance: float,
    seed: int,
) -> None:
    species = ("Al", "O", "Mg")[: len(counts)]
    pairs = [(a, b) for i, a in enumerate(species) for b in species[i:]]
    request = CrystalRequest(
        species,
        tuple(counts),
        volume_per_atom * sum(counts),
        dict(zip(pairs, distances, strict=False)),
        volume_tolerance=tolerance,
    )
    batch = create_sampler("wyckoff", request).sample(4, seed)
    assert violations(batch, request) == []


def test_a_thousand_silicon_crystals() -> None:
    batch = create_sampler("wyckoff", SILICON).sample(1000, 5)
    assert violations(batch, SILICON) == []
    assert len(set(batch.space_groups)) > 190
    cell = [Lattice(matrix) for matrix in batch.lattices]
    assert min(min(lattice.angles) for lattice in cell) < 45.0  # skewed cells are among them


def test_samples_continue_and_do_not_depend_on_their_length() -> None:
    sampler = create_sampler("wyckoff", SILICON)
    long, short = sampler.sample(700, 9), sampler.sample(300, 9)
    np.testing.assert_array_equal(long.lattices[:300], short.lattices)
    np.testing.assert_array_equal(long.fractional_coordinates[:300], short.fractional_coordinates)


def test_another_process_makes_the_same_crystals() -> None:
    script = (
        "import hashlib\n"
        "from crysearch.sampling import CrystalRequest, create_sampler\n"
        "request = CrystalRequest(('Si',), (8,), 184.0, {('Si', 'Si'): 2.1})\n"
        "b = create_sampler('wyckoff', request).sample(50, (3, 4))\n"
        "arrays = [b.lattices, b.fractional_coordinates, b.space_groups, b.sites]\n"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    mine = create_sampler("wyckoff", SILICON).sample(50, (3, 4))
    assert other.stdout.strip() == fingerprint(mine)


def test_hard_groups_are_given_up_and_the_rest_delivers() -> None:
    """Diamond, all that 227 has for Si8, is 2.54 Å at most; 225 has 2.84 Å on 8c."""
    request = CrystalRequest(
        ("Si",), (8,), 184.0, {("Si", "Si"): 2.55}, space_groups=(227, 225), attempts_per_group=20
    )
    batch = create_sampler("wyckoff", request).sample(30, 0)
    assert set(batch.space_groups) == {225}
    assert batch.group_counts[227]["exhausted"] > 0
    assert batch.group_counts[227]["attempts"] == 20 * batch.group_counts[227]["exhausted"]


def test_sixteen_atoms_and_oxides_work() -> None:
    large = CrystalRequest(
        ("Al", "O"), (48, 72), 1020.0, ALUMINA.minimum_distances, space_groups=(2, 15, 62, 167)
    )
    silicon = CrystalRequest(("Si",), (16,), 368.0, {("Si", "Si"): 2.1})
    for request, n in ((silicon, 60), (ALUMINA, 60), (large, 4)):
        batch = create_sampler("wyckoff", request).sample(n, 6)
        assert violations(batch, request) == []


@pytest.mark.parametrize("group", [4, 19, 76, 144])
def test_agrees_with_pyxtal_where_there_is_one_combination(group: int) -> None:
    """Groups of nothing but a general position: cells and distances are drawn alike.

    Loose distances, so that the two ways of retrying do not matter.
    """
    size = int(wyckoff_tables().multiplicity[wyckoff_tables().positions(group)[0]])
    request = CrystalRequest(
        ("Si",), (2 * size,), 40.0 * size, {("Si", "Si"): 0.4}, space_groups=(group,)
    )
    ours = create_sampler("wyckoff", request).sample(250, 1)
    theirs = create_sampler("pyxtal", request).sample(250, 1)
    for quantity in (longest_edge, nearest_distance, lambda batch: batch.volumes):
        assert stats.ks_2samp(quantity(ours), quantity(theirs)).pvalue > 1e-3


def longest_edge(batch: CrystalBatch) -> np.ndarray:
    return np.linalg.norm(batch.lattices, axis=2).max(axis=1)


def nearest_distance(batch: CrystalBatch) -> np.ndarray:
    distances = []
    for i in range(len(batch)):
        found = batch.structure(i).get_neighbor_list(6.0)[3]
        distances.append(found.min())
    return np.array(distances)
