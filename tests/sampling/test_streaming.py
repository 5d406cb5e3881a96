"""A stream of batches: the same crystals from any number of processes, whole in any format."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.cif import CifParser

from crysearch.errors import SamplingError
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.files import write_batch
from crysearch.sampling.streaming import Stream

SILICON = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
ALUMINA = CrystalRequest(
    ("Al", "O"), (4, 6), 95.0, {("Al", "Al"): 2.2, ("Al", "O"): 1.6, ("O", "O"): 2.1}
)


def digest(batch: CrystalBatch, seed: tuple[int, ...]) -> tuple[tuple[int, ...], int, str]:
    arrays = (batch.lattices, batch.fractional_coordinates, batch.space_groups, batch.sites)
    content = b"".join(array.tobytes() for array in arrays)
    return seed, len(batch), hashlib.sha256(content).hexdigest()


def meet(folder: Path, batch: CrystalBatch, seed: tuple[int, ...]) -> int:
    """Wait until two processes are at work; how many there were."""
    (folder / str(os.getpid())).touch()
    patience = time.monotonic() + 120.0
    while len(list(folder.iterdir())) < 2 and time.monotonic() < patience:
        time.sleep(0.05)
    return len(list(folder.iterdir()))


def die(batch: CrystalBatch, seed: tuple[int, ...]) -> None:
    if seed[-1] == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "request_", "number", "size"),
    [("wyckoff", SILICON, 3300, 500), ("wyckoff", ALUMINA, 700, 150), ("pyxtal", SILICON, 5, 2)],
)
def test_any_number_of_processes_makes_the_same_crystals(sampler, request_, number, size) -> None:
    stream = Stream(request_, (3, 8), sampler, batch_size=size)
    alone = list(stream.batches(number, digest))
    assert [count for _, count, _ in alone] == [size] * (number // size) + [number % size]
    assert [seed for seed, _, _ in alone] == [(3, 8, batch) for batch in range(len(alone))]
    assert len({content for *_, content in alone}) == len(alone)
    for processes in (2, 3):
        assert list(stream.batches(number, digest, processes)) == alone


@pytest.mark.slow
def test_the_work_is_shared(tmp_path: Path) -> None:
    met = set(Stream(SILICON, (0,), batch_size=5).batches(20, partial(meet, tmp_path), 2))
    assert met == {2} and not (tmp_path / str(os.getpid())).exists()


def test_batches_are_those_of_a_search() -> None:
    """A batch is sampled with the seed of the stream and its own number, as searches do."""
    first, second = Stream(SILICON, (3, 8), batch_size=40).batches(60, lambda batch, _: batch)
    sampler = create_sampler("wyckoff", SILICON)
    np.testing.assert_array_equal(first.lattices, sampler.sample(40, (3, 8, 0)).lattices)
    whole = sampler.sample(40, (3, 8, 1))
    np.testing.assert_array_equal(second.fractional_coordinates, whole.fractional_coordinates[:20])


def test_batches_are_made_when_they_are_asked_for() -> None:
    """A stream of a billion crystals costs no memory before it is read."""
    batches = Stream(SILICON, (0,), batch_size=10).batches(10**9, digest)
    assert isinstance(batches, Iterator)
    assert next(batches)[1] == 10
    batches.close()


@pytest.mark.slow
def test_a_process_that_is_killed_is_explained() -> None:
    with pytest.raises(SamplingError, match=r"processes: one of 2 ended .*killed, or out"):
        list(Stream(SILICON, (0,), batch_size=5).batches(40, die, 2))


@pytest.mark.slow
def test_errors_come_back_from_the_processes() -> None:
    request = CrystalRequest(
        ("Si",), (8,), 184.0, {("Si", "Si"): 2.6}, space_groups=(227,), attempts_per_group=2
    )
    with pytest.raises(SamplingError, match="only 0 of 5 crystals of Si8"):
        list(Stream(request, (0,), batch_size=5).batches(20, digest, 2))


@pytest.mark.parametrize(
    ("number", "processes", "message"),
    [(0, 1, "number: 0"), (2.5, 1, "number: 2.5"), (5, 0, "processes: 0"), (5, True, "processes")],
)
def test_invalid_arguments_are_named(number, processes, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        list(Stream(SILICON, (0,)).batches(number, digest, processes))
    with pytest.raises(SamplingError, match="batch_size: 0 is not"):
        Stream(SILICON, (0,), batch_size=0)


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")
@pytest.mark.parametrize("format", ["extxyz", "cif", "poscar"])
def test_files_hold_the_crystals_and_where_they_come_from(format) -> None:
    batch = create_sampler("wyckoff", ALUMINA).sample(8, (5, 2, 41))
    written = write_batch(batch, (5, 2, 41), format=format)
    assert len(written.texts) == len(set(written.names)) == 8
    assert written.attempts == batch.attempts and written.group_record == batch.group_record
    for i, text in enumerate(written.texts):
        expected = batch.structure(i)
        labels = "; ".join(f"{name}: {' '.join(w)}" for name, w in batch.wyckoff(i).items())
        if format == "extxyz":
            atoms = ase.io.read(io.StringIO(text), format="extxyz")
            symbols, cell, xyz = (
                atoms.get_chemical_symbols(), atoms.cell.array, atoms.get_scaled_positions()
            )  # fmt: skip
            info = atoms.info
            assert (info["batch"], info["index"]) == (41, i)
            assert info["space_group"] == batch.space_groups[i] and info["wyckoff"] == labels
            assert info["seed"].tolist() == [5, 2]
            digits = 7
        else:
            if format == "cif":
                read = CifParser.from_str(text).parse_structures(primitive=False)[0]
                assert f"data_Al2O3_41_{i}" in text
            else:
                read = Structure.from_str(text, fmt="poscar")
            symbols = [site.species_string for site in read]
            cell, xyz = read.lattice.matrix, read.frac_coords
            facts = f"seed 5 2, batch 41, index {i}, space group {batch.space_groups[i]}, wyckoff"
            assert f"crysearch: {facts} {labels}" in text
            digits = 9
        assert symbols == [site.species_string for site in expected]
        np.testing.assert_allclose(
            np.sort(cell @ cell.T), np.sort(expected.lattice.matrix @ expected.lattice.matrix.T),
            rtol=10.0**-digits, atol=10.0**-digits,
        )  # fmt: skip
        shift = xyz - expected.frac_coords
        np.testing.assert_allclose(shift - np.rint(shift), 0.0, atol=10.0**-digits)
