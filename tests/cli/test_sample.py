"""``crysearch sample``, as a person uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import typer
from pymatgen.core import Structure
from typer.testing import CliRunner, Result

from crysearch.cli.sample import sample
from crysearch.errors import CrysearchError, SamplingError, SpecError
from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.sampling.conformance import violations
from crysearch.spec import SearchSpec

SILICON = ("Si8", "--volume-per-atom", "23", "--minimum-distance", "Si-Si=2.1")
Sample = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Run the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(sample)

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        return result

    return run


def test_crystals_in_one_file(call: Sample, tmp_path: Path) -> None:
    result = call(*SILICON, "-n", "60", "--seed", "7", "-o", "crystals.extxyz")
    assert result.exit_code == 0, result.output
    assert "60 crystals of Si8 in " in result.output and "crystals/s with writing" in result.output
    assert "Written to crystals.extxyz" in result.output
    assert "60/60" in result.stderr  # the progress bar
    frames = ase.io.read(tmp_path / "crystals.extxyz", index=":")
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
    expected = create_sampler("wyckoff", request).sample(60, (7, 8, 0))
    assert violations(expected, request) == []
    for i, atoms in enumerate(frames):
        np.testing.assert_allclose(atoms.cell.array, expected.lattices[i], rtol=1e-12)
        assert atoms.get_chemical_formula() == "Si8" and atoms.pbc.all()
        assert atoms.info["space_group"] == expected.space_groups[i]
        assert atoms.info["wyckoff"] == f"Si: {' '.join(expected.wyckoff(i)['Si'])}"
        assert atoms.info["seed"].tolist() == [7, 8]
        assert (atoms.info["batch"], atoms.info["index"]) == (0, i)


def test_a_specification_gives_the_crystals_of_its_search(call: Sample, tmp_path: Path) -> None:
    """The batches of a search, whatever number is asked for."""
    spec = SearchSpec.build(
        {
            "composition": "SnSe",
            "formula_units": [2, 4],
            "volume_per_formula_unit": 57.2,
            "minimum_distances": {"Sn-Sn": 2.0, "Sn-Se": 2.1, "Se-Se": 2.2},
            "sampling": {"batch_size": 8, "space_group_weights": {62: 30, 1: 0}},
            "seed": 5,
        }
    )
    (tmp_path / "spec.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    result = call("spec.yaml", "--formula-units", "4", "-n", "20", "-o", "out.extxyz")
    assert result.exit_code == 0, result.output
    frames = ase.io.read(tmp_path / "out.extxyz", index=":")
    assert [frame.info["batch"] for frame in frames] == [0] * 8 + [1] * 8 + [2] * 4
    third = create_sampler("wyckoff", spec.crystal_request(4)).sample(8, (5, 4, 2))
    np.testing.assert_allclose(frames[16].cell.array, third.lattices[0], rtol=1e-12)
    assert sum(frame.info["space_group"] == 62 for frame in frames) > 1
    assert frames[0].get_chemical_symbols() == ["Sn"] * 4 + ["Se"] * 4
    assert (
        call("spec.yaml", "--formula-units", "2", "--set", "seed=6", "-o", "b.cif").exit_code == 0
    )


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")
@pytest.mark.parametrize(
    ("format", "suffix"), [(None, ".cif"), ("poscar", ".vasp"), ("extxyz", ".extxyz")]
)
def test_a_file_each_in_a_folder(call: Sample, tmp_path: Path, format, suffix: str) -> None:
    more = () if format is None else ("--format", format)
    result = call(
        "Al4O6", "--volume-per-atom", "9.5", "--minimum-distance", "Al-Al=2.2",
        "--minimum-distance", "O-Al=1.6", "--minimum-distance", "O-O=2.1", "-n", "7",
        "--space-group", "2,15", "--space-group", "140-167", "--output", "crystals", *more,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    files = sorted((tmp_path / "crystals").iterdir())
    assert len(files) == 7 and {file.suffix for file in files} == {suffix}
    for i, file in enumerate(files):
        formula, batch, index, group = file.stem.split("-")
        assert (formula, int(batch), int(index)) == ("Al4O6", 0, i)
        assert int(group) in (2, 15, *range(140, 168))
        if format == "extxyz":
            assert ase.io.read(file).get_chemical_formula() == "Al4O6"
        else:
            assert Structure.from_file(file).composition.formula == "Al4 O6"


def test_nothing_is_overwritten(call: Sample, tmp_path: Path) -> None:
    file, folder = tmp_path / "there.extxyz", tmp_path / "there"
    file.write_text("mine")
    folder.mkdir()
    (folder / "mine").write_text("mine")
    for output in ("there.extxyz", "there"):
        with pytest.raises(SamplingError, match="exists already and is not overwritten"):
            call(*SILICON, "-n", "3", "-o", output)
    assert file.read_text() == "mine" and len(list(folder.iterdir())) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert call(*SILICON, "-n", "3", "-o", "empty").exit_code == 0


@pytest.mark.parametrize("output", ["hopeless.extxyz", "hopeless"])
def test_what_fails_leaves_no_empty_file(call: Sample, tmp_path: Path, output: str) -> None:
    arguments = ("Si8", "--volume-per-atom", "23", "--minimum-distance", "Si-Si=2.6")
    with pytest.raises(SamplingError, match="only 0 of 3 crystals of Si8"):
        call(*arguments, "-n", "3", "--space-group", "227", "-o", output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Sx8", *SILICON[1:]), "composition"),
        (("what?", *SILICON[1:]), "neither a specification file nor a composition"),
        (("Si0", *SILICON[1:]), "has no atoms"),
        (("no.yaml",), "no.yaml: cannot be read"),
        (SILICON[:1], "--volume-per-atom: missing"),
        (SILICON[:3], "exactly the pairs Si-Si"),
        ((*SILICON, "--minimum-distance", "Si-Si"), "--minimum-distance Si-Si: write it like"),
        ((*SILICON, "--minimum-distance", "Si-Ge=2"), "exactly the pairs Si-Si"),
        ((*SILICON, "--weight", "227"), "--weight 227: write it like 227=5"),
        ((*SILICON, "--weight", "228=2"), "space group 228 has the weight 2, but its Wyckoff"),
        ((*SILICON, "--space-group", "cubic"), "--space-group cubic: write a number or a range"),
        ((*SILICON, "--space-group", "231"), "231"),
        ((*SILICON, "--space-group", "228,230"), "fits the Wyckoff positions of none of the 2"),
        ((*SILICON, "--volume-tolerance", "2"), "volume_tolerance: 2"),
        ((*SILICON, "--set", "seed=3"), "--set and --formula-units go with a specification"),
        ((*SILICON[:2], "5", *SILICON[3:]), "too small for 8 atoms of Si"),
        (("spec.yaml", "--seed", "3"), "--seed: the specification spec.yaml says that"),
        (("spec.yaml",), "--formula-units: missing; spec.yaml has the cell sizes 8, 16"),
        (("spec.yaml", "--formula-units", "5"), "--formula-units 5: spec.yaml has the cell sizes"),
    ],
)
def test_what_cannot_be_is_explained(call: Sample, tmp_path: Path, arguments, message: str) -> None:
    (tmp_path / "spec.yaml").write_text("name: a search\n")
    with pytest.raises((SpecError, SamplingError)) as caught:
        call(*arguments, "-n", "3", "-o", "out.extxyz")
    assert message in str(caught.value)
    assert not (tmp_path / "out.extxyz").exists()


@pytest.mark.parametrize(
    ("output", "more", "message"),
    [
        ("crystals.txt", (), "give a file ending in .extxyz or .cif, or a folder"),
        ("a.cif", ("--format", "poscar"), "--format poscar: a.cif is a file of format cif"),
    ],
)
def test_outputs_that_make_no_sense(call: Sample, output: str, more, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        call(*SILICON, "-n", "3", "-o", output, *more)


def test_groups_that_give_nothing_are_named(call: Sample) -> None:
    result = call(*SILICON, "-n", "40", "--space-group", "2,214", "-o", "a.extxyz")
    assert "Space groups 214 gave none: " in result.output and "--weight N=0" in result.output


@pytest.mark.slow
def test_the_same_file_whatever_the_number_of_processes(tmp_path: Path) -> None:
    """In processes of their own, as from a shell."""
    contents = []
    for processes in (1, 2, 3):
        file = tmp_path / f"{processes}.cif"
        command = [sys.executable, "-c", "from crysearch.cli.sample import sample; import typer; "
                   "app = typer.Typer(); app.command()(sample); app()"]  # fmt: skip
        done = subprocess.run(
            [*command, *SILICON, "-n", "45", "--batch-size", "10", "-o", str(file),
             "--processes", str(processes)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        contents.append(file.read_bytes())
    assert contents[0] == contents[1] == contents[2]
    assert contents[0].count(b"\ndata_Si8_") + contents[0].count(b"\ndata_Si_") == 45


@pytest.mark.slow
def test_pyxtal_can_be_asked(call: Sample, tmp_path: Path) -> None:
    result = call(*SILICON, "-n", "3", "--sampler", "pyxtal", "-o", "a.extxyz")
    assert result.exit_code == 0, result.output
    assert len(ase.io.read(tmp_path / "a.extxyz", index=":")) == 3
