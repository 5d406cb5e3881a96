"""Time against size."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.assessment import cost, fit_scaling, measure_cost, supercell
from crysearch.assessment.resources import memory_growth_limit, peak_memory
from crysearch.errors import AnalysisError, RelaxationError
from crysearch.relaxation import Evaluation
from crysearch.relaxation.lockstep import LockstepRelaxer

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])


class Burner(LockstepRelaxer):
    """Takes CPU time of a known power of the number of atoms, and remembers what it was given."""

    def __init__(self, seconds: float, power: float, raises_at: int | None = None) -> None:
        self.seconds, self.power, self.raises_at = seconds, power, raises_at
        self.given: list[Atoms] = []

    @property
    def name(self) -> str:
        return "burner"

    @property
    def provenance(self) -> dict[str, str]:
        return {"engine": "burner"}

    def evaluate(self, batch):
        [atoms] = batch
        self.given.append(atoms.copy())
        if self.raises_at is not None and len(atoms) >= self.raises_at:
            raise MemoryError("no room")
        end = time.process_time() + self.seconds * (len(atoms) / 100) ** self.power
        while time.process_time() < end:
            pass
        return [Evaluation(-1.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(cost, "LEAST_SECONDS", 0.02)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_power_of_the_time_is_found(power):
    found = measure_cost(COPPER, Burner(0.004, power), sizes=(50, 100, 400), memory_limit=1000)
    assert found.slope == pytest.approx(power, abs=0.15)
    assert found.slope_error is not None and found.slope_error < 0.2
    assert found.stopped is None and found.engine == "burner"
    sizes = [point.atoms for point in found.points]
    assert sizes == pytest.approx([50, 100, 400], rel=0.2)
    for point in found.points:
        assert point.cpu_seconds == pytest.approx(0.004 * (point.atoms / 100) ** power, rel=0.3)
        assert point.cpu_per_atom == point.cpu_seconds / point.atoms
        assert np.prod(point.repeats) * 4 == point.atoms


def test_the_atoms_move_between_evaluations_so_that_nothing_is_remembered():
    burner = Burner(0.001, 1.0)
    measure_cost(COPPER, burner, sizes=(30,), memory_limit=1000)
    pairs = zip(burner.given, burner.given[1:], strict=False)
    assert all(0 < np.abs(a.positions - b.positions).max() < 0.01 for a, b in pairs)


def test_cells_that_would_take_too_long_are_left_out():
    found = measure_cost(
        COPPER, Burner(0.002, 1.0), sizes=(30, 100, 10_000), time_limit=0.05, memory_limit=1000
    )
    assert len(found.points) == 2 and found.largest == 10_000
    assert "more than the time limit of 0.05 s" in str(found.stopped)


def test_cells_that_would_take_too_much_memory_are_left_out():
    found = measure_cost(COPPER, Burner(0.001, 1.0), sizes=(30, 100), memory_limit=1e-6)
    assert len(found.points) == 1 and found.slope is None and found.slope_error is None
    assert "more than the memory limit" in str(found.stopped)


class Hoarder(Burner):
    """Takes memory by the number of atoms, at first little, then far more than before."""

    def evaluate(self, batch):
        atoms = len(batch[0])
        taken = np.ones(atoms * 1000 if atoms < 200 else 10**9)
        found = super().evaluate(batch)
        assert len(taken)
        return found


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_that_could_not_be_foreseen_ends_the_series_and_not_the_machine():
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = peak_memory() + 1.0
    found = measure_cost(COPPER, Hoarder(0.001, 1.0), sizes=(30, 100, 300), memory_limit=limit)
    assert len(found.points) == 2
    assert "MemoryError" in str(found.stopped)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_memory_of_one_evaluation_is_recorded():
    class Even(Burner):
        def evaluate(self, batch):
            taken = np.ones(len(batch[0]) * 125_000)  # 1 MB for each atom
            found = super().evaluate(batch)
            assert len(taken)
            return found

    small = np.ones(10)
    np.ones(60_000_000).sum()  # what was taken before does not count
    found = measure_cost(COPPER, Even(0.001, 1.0), sizes=(30, 100, 300), memory_limit=1000)
    first, second, third = (point.memory for point in found.points)
    assert third - second == pytest.approx(0.2, abs=0.05) and second > first
    assert len(small) == 10


def test_an_engine_that_gives_up_ends_the_series_with_its_reason():
    found = measure_cost(
        COPPER, Burner(0.001, 1.0, raises_at=200), sizes=(30, 100, 300, 900), memory_limit=1000
    )
    assert [point.atoms < 200 for point in found.points] == [True, True]
    assert "MemoryError: no room" in str(found.stopped)
    with pytest.raises(AnalysisError, match=r"no cost of burner: .*no room"):
        measure_cost(COPPER, Burner(0.001, 1.0, raises_at=1), sizes=(30,))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"sizes": ()}, "sizes"), ({"sizes": (100, 10)}, "sizes"), ({"time_limit": 0}, "time_limit")],
)
def test_bad_arguments_are_named(wrong, said):
    with pytest.raises(AnalysisError, match=said):
        measure_cost(COPPER, Burner(0.001, 1.0), **wrong)


@given(st.floats(0.3, 3), st.floats(1e-7, 1e-2))
def test_exact_powers_are_fitted_exactly(power, factor):
    atoms = [100, 1000, 10_000]
    slope, error = fit_scaling(atoms, [factor * n**power for n in atoms])
    assert slope == pytest.approx(power, rel=1e-6)
    assert error == pytest.approx(0, abs=1e-6)
    assert fit_scaling(atoms[:2], [1.0, 10.0]) == (pytest.approx(1.0), None)
    assert fit_scaling(atoms[:1], [1.0]) == (None, None)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([(3.6, 3.6, 3.6), (3.0, 5.0, 12.0)]))
def test_supercells_are_the_same_crystal_of_about_the_size(size, lengths):
    unit = Structure(Lattice.orthorhombic(*lengths), ["Cu"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    atoms, repeats = supercell(unit, size)
    assert len(atoms) == 2 * np.prod(repeats)
    assert atoms.get_volume() / len(atoms) == pytest.approx(unit.volume / 2)
    if size > 200:
        assert abs(len(atoms) - size) < 0.25 * size
        # No edge is much longer than another, for a cube as near as whole repeats allow.
        assert max(atoms.cell.lengths()) < min(atoms.cell.lengths()) + 2 * max(lengths)


class Delegator(Burner):
    """Has another process do its work, which stays for the next evaluation."""

    WORK = """
import sys, time
for line in sys.stdin:
    seconds, megabytes = map(float, line.split())
    start = time.process_time()
    taken = b"1" * int(1e6 * megabytes)
    while time.process_time() - start < seconds: pass
    taken = None
    print("done", flush=True)
"""

    def __init__(self, megabytes=0.0):
        super().__init__(0.0, 1.0)
        self.megabytes = megabytes
        self.program = subprocess.Popen(
            [sys.executable, "-c", self.WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def evaluate(self, batch):
        atoms = len(batch[0])
        self.program.stdin.write(f"{0.002 * atoms} {self.megabytes * atoms}\n")
        self.program.stdin.flush()
        if self.program.stdout.readline() != "done\n":
            raise RelaxationError("the program has ended")
        return super().evaluate(batch)


@pytest.fixture
def delegated():
    made = []

    def make(*arguments):
        made.append(Delegator(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.program.kill()
        one.program.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's clocks")
def test_a_program_that_stays_counts(delegated):
    found = measure_cost(COPPER, delegated(1.0), sizes=(30, 100, 200), memory_limit=1000)
    for point in found.points:
        assert point.cpu_per_atom == pytest.approx(0.002, rel=0.1)
    memory = [point.memory for point in found.points]
    atoms = [point.atoms for point in found.points]
    assert memory[2] - memory[1] == pytest.approx(0.001 * (atoms[2] - atoms[1]), rel=0.3)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_a_program_s_memory_is_limited(delegated):
    limit = peak_memory() + 0.3
    found = measure_cost(COPPER, delegated(1.0), sizes=(30, 1000), memory_limit=limit)
    assert len(found.points) == 1 and "more than the memory limit" in str(found.stopped)
    program = delegated(1.0)
    with memory_growth_limit(0.3):
        program.evaluate([Atoms("Cu10")])
        with pytest.raises(RelaxationError, match="has ended"):
            program.evaluate([Atoms("Cu1000")])
