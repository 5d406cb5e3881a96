"""Extended XYZ: round trips, units and signs, and what is said about files that are wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crysearch.datasets import Keys, LabelledStructure, read_extxyz, write_extxyz
from crysearch.errors import DatasetError
from labelled_crystals import label, rattled, silicon, silicon_file

Write = Callable[..., Path]
FRAME = """1
Lattice="3 0 0 0 4 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 {}
Si 0.1 0.2 0.3 0.0 0.0 0.0
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(text: str, name: str = "some.extxyz") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return call


def same(one: LabelledStructure, other: LabelledStructure) -> None:
    assert one.key == other.key
    assert (one.energy, one.pbc) == (other.energy, other.pbc)
    assert one.metadata == other.metadata
    assert one.site_metadata == other.site_metadata
    for name in ("numbers", "cell", "positions", "forces", "stress"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


numbers = st.floats(-1e4, 1e4)
words = st.text("abcdefgh =\"'\\,{}[]äß", min_size=1, max_size=12).map(lambda text: f"x{text}x")
values = st.one_of(
    st.integers(-1000, 1000),
    numbers,
    words,
    st.booleans(),
    st.lists(st.integers(0, 9), min_size=2, max_size=10),
    st.lists(words, min_size=1, max_size=3),
    st.dictionaries(words, words, min_size=1, max_size=2),
)


@st.composite
def frames(draw: st.DrawFn) -> LabelledStructure:
    n = draw(st.integers(1, 4))
    arrays = [draw(st.lists(numbers, min_size=k, max_size=k)) for k in (3 * n, 3 * n, 6, 9)]
    return LabelledStructure(
        numbers=np.array(draw(st.lists(st.integers(1, 103), min_size=n, max_size=n))),
        cell=np.diag([40.0, 50.0, 60.0]) + np.array(arrays[3]).reshape(3, 3) / 1e4,
        positions=np.array(arrays[0]).reshape(n, 3),
        energy=draw(st.none() | numbers),
        forces=draw(st.sampled_from([None, np.array(arrays[1]).reshape(n, 3)])),
        stress=draw(st.sampled_from([None, np.array(arrays[2])])),
        pbc=draw(st.tuples(st.booleans(), st.booleans(), st.booleans())),
        metadata=draw(st.dictionaries(st.sampled_from(["a", "b", "config_type"]), values)),
        site_metadata=draw(st.sampled_from([{}, {"weights": list(range(n))}])),
    )


@given(st.lists(frames(), min_size=1, max_size=3), st.sampled_from(["", ".gz"]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_writing_and_reading_change_nothing(
    tmp_path: Path, given: list[LabelledStructure], suffix: str
) -> None:
    path = tmp_path / f"some.extxyz{suffix}"
    assert write_extxyz(path, given) == len(given)
    found = list(read_extxyz(path))
    for one, other in zip(given, found, strict=True):
        same(one, other)


def test_labels_are_those_of_the_calculator(tmp_path: Path) -> None:
    atoms = silicon([3])[0]
    ase.io.write(tmp_path / "some.extxyz", atoms)
    (frame,) = read_extxyz(tmp_path / "some.extxyz")
    assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert frame.forces is not None and frame.stress is not None
    np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=5e-9)
    np.testing.assert_allclose(frame.stress, atoms.get_stress(), atol=1e-12)
    assert frame.metadata == {"number": 3, "free_energy": frame.energy}
    assert set(frame.site_metadata) == {"energies", "stresses"}


def test_virials_become_stresses_of_the_right_sign(tmp_path: Path) -> None:
    """The virial is minus the derivative of the energy with respect to strain."""
    atoms = silicon([0])[0]
    virial = np.empty((3, 3))
    step = 1e-5
    for a, b in np.ndindex(3, 3):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.calc = atoms.calc
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(strained.get_potential_energy())
        virial[a, b] = -(energies[0] - energies[1]) / (2 * step)
    plain = atoms.copy()
    for name, value in (
        ("virial", virial),
        ("virials", virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]),
    ):
        plain.info = {"energy": 0.0, name: value}
        ase.io.write(tmp_path / "some.extxyz", plain)
        (frame,) = read_extxyz(tmp_path / "some.extxyz")
        assert frame.stress is not None
        np.testing.assert_allclose(frame.stress, atoms.get_stress(), atol=2e-7)
        assert frame.metadata == {}


def test_other_names_and_what_they_hide(write: Write) -> None:
    text = FRAME.format('energy=1.0 dft_energy=2.0 dft_virial="6 0 0 0 12 0 0 0 -6" note="a b"')
    keys = Keys(energy="dft_energy", forces="forces", virial=("dft_virial",))
    (frame,) = read_extxyz(write(text), keys)
    assert frame.energy == 2.0
    assert frame.stress is not None
    np.testing.assert_allclose(frame.stress, [-0.1, -0.2, 0.1, 0, 0, 0])
    assert frame.metadata == {"other_energy": 1.0, "note": "a b"}


def test_per_atom_columns_and_lists_are_kept(write: Write, tmp_path: Path) -> None:
    text = (
        '2\nLattice="3 0 0 0 4 0 0 0 5" energy=1 list="1 2 3" '
        "Properties=species:S:1:pos:R:3:magmoms:R:1:site:I:1:v:R:3\n"
        "Si 0 0 0 0.5 7 1 2 3\nGe 1 1 1 -0.5 8 4 5 6\n"
    )
    (frame,) = read_extxyz(write(text))
    assert frame.metadata == {"list": [1, 2, 3]}
    assert frame.site_metadata == {
        "magmoms": [0.5, -0.5],
        "site": [7, 8],
        "v": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    }
    write_extxyz(tmp_path / "again.extxyz", [frame])
    same(next(read_extxyz(tmp_path / "again.extxyz")), frame)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a comment\n", "frame 1 begins with '# a comment' instead of its number of atoms"),
        (FRAME.format("energy=1")[:-28], "frame 1 has 0 of 1 atoms: the file is cut short"),
        ("1\n", "frame 1 has 0 of 1 atoms"),
        (FRAME.format("energy=one"), "frame 1: energy is 'one': give one number, in eV"),
        (FRAME.format("stress=3"), "frame 1: is not extended XYZ .*stress.* 9-long"),
        (FRAME.format('stress="1 2 0 0 1 0 0 0 1"'), "frame 1: .*stress is not symmetric"),
        (FRAME.format('virials="1 2 3 4"'), "frame 1: virials is .* give six numbers"),
        (FRAME.format('virial="1 2 0 0 1 0 0 0 1"'), "frame 1: virial is not symmetric"),
        (FRAME.format("a.b=3"), "frame 1: key 'a.b' holds a dot"),
        (FRAME.format("").replace("Lattice=", "Grid="), "frame 1: cell has a volume of 0"),
        (FRAME.format("").replace("Si 0.1", "Si nan"), "frame 1: positions has numbers that"),
        (FRAME.format("").replace("Si 0.1", "Qq 0.1"), "frame 1: is not extended XYZ"),
        (FRAME.format("").replace("Si 0.1", "Si"), "frame 1: is not extended XYZ"),
        (FRAME.format("").replace("Si 0.1", "Si x"), "frame 1: is not extended XYZ"),
    ],
)
def test_errors_name_the_file_and_the_frame(write: Write, text: str, message: str) -> None:
    path = write(FRAME.format("energy=1") + text)
    with pytest.raises(DatasetError, match=message) as raised:
        list(read_extxyz(path))
    assert str(raised.value).startswith(f"{path}: frame 1")


def test_files_that_are_no_files(write: Write, tmp_path: Path) -> None:
    for name, content in {
        "a.extxyz.gz": b"1\n",
        "b.extxyz": b"\xff\xfe\x00",
        "c.extxyz.gz": gzip.compress(FRAME.format("").encode() * 50)[:-30],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=f"{name}: cannot be read"):
            list(read_extxyz(tmp_path / name))
    with pytest.raises(DatasetError, match="absent: cannot be read"):
        list(read_extxyz(tmp_path / "absent"))


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    def broken() -> object:
        yield label(rattled(0))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_extxyz(tmp_path / "some.extxyz", broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DatasetError, match=r"some.extxyz: cannot be written \(No such file"):
        write_extxyz(tmp_path / "absent" / "some.extxyz", [])


def test_packed_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    path = silicon_file(tmp_path / "some.extxyz", range(2))
    for name in ("one.extxyz.gz", "two.extxyz.gz"):
        write_extxyz(tmp_path / name, read_extxyz(path))
    one, two = ((tmp_path / name).read_bytes() for name in ("one.extxyz.gz", "two.extxyz.gz"))
    assert one == two
