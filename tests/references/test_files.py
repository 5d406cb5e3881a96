"""References from files of every kind, and clear refusals of the rest."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp import Poscar

from crysearch.errors import ReferencesError
from crysearch.references import check_references, load_files

SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def write_frames(path: Path, energies: list[float | None]) -> list[ase.Atoms]:
    """Silicon crystals of one to several cells, with total energies in eV."""
    frames = []
    for number, energy in enumerate(energies, start=1):
        atoms = bulk("Si", cubic=True) * (1, 1, number)
        atoms.rattle(0.05, seed=number)
        if energy is not None:
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return frames


def same(first: Structure, second: Structure) -> bool:
    return StructureMatcher(scale=False, attempt_supercell=False).fit(first, second)


@pytest.mark.parametrize(
    "name", ["salt.cif", "POSCAR", "POSCAR_salt", "salt.vasp", "salt.json", "salt.xsf", "CONTCAR"]
)
def test_single_files_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith((".cif", ".json", ".xsf")):
        SALT.to(filename=str(path))
    else:
        Poscar(SALT).write_file(path)
    for pattern in (path, str(path), tmp_path, tmp_path / "*", [str(path), tmp_path]):
        [reference] = load_files(pattern)
        assert reference.reference_id == str(path)
        assert str(path) in reference.source
        assert same(reference.structure, SALT)
        assert reference.energy_above_ground_state is None
        assert reference.energy_origin is None


@pytest.mark.parametrize("name", ["salt.cif.gz", "salt.json.gz", "POSCAR.gz", "salt.cif.bz2"])
def test_compressed_files(tmp_path: Path, name: str) -> None:
    SALT.to(filename=str(tmp_path / name))
    [reference] = load_files(tmp_path)
    assert same(reference.structure, SALT)


def test_extended_xyz_frames_carry_energies(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "si.extxyz", [-40.0, -84.0, None])
    references = load_files(tmp_path / "si.extxyz")
    assert [entry.reference_id.rpartition("#")[2] for entry in references] == ["1", "2", "3"]
    energies = [entry.energy_above_ground_state for entry in references]
    assert energies[:2] == pytest.approx([-40 / 8 + 84 / 16, 0.0])
    assert energies[2] is None and references[2].energy_origin is None
    assert references[0].metadata == {"energy_per_atom": -5.0}
    for atoms, entry in zip(frames, references, strict=True):
        positions = AseAtomsAdaptor.get_atoms(entry.structure).get_positions(wrap=True)
        assert np.allclose(positions, atoms.get_positions(wrap=True), atol=1e-6)
        assert np.allclose(entry.structure.lattice.matrix, atoms.cell.array)


def test_energies_compare_within_a_composition(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.extxyz", [-40.0])
    write_frames(tmp_path / "b.extxyz.gz", [-41.0])
    salt = AseAtomsAdaptor.get_atoms(SALT)
    salt.calc = SinglePointCalculator(salt, energy=-27.0)
    ase.io.write(tmp_path / "c.xyz", salt, format="extxyz")
    energies = [entry.energy_above_ground_state for entry in load_files(tmp_path)]
    assert energies == pytest.approx([1 / 8, 0, 0])


def test_json_lists_of_both_kinds(tmp_path: Path) -> None:
    content = [SALT.as_dict(), {"material_id": "mp-22862", "structure": SALT.as_dict()}]
    with gzip.open(tmp_path / "salt.json.gz", "wt") as stream:
        json.dump(content, stream)
    assert [same(entry.structure, SALT) for entry in load_files(tmp_path)] == [True, True]


def test_a_cif_with_several_blocks(tmp_path: Path) -> None:
    other = SALT.copy()
    other.scale_lattice(SALT.volume * 1.3)
    text = SALT.to(fmt="cif") + "\n" + other.to(fmt="cif").replace("data_NaCl", "data_other")
    (tmp_path / "two.cif").write_text(text)
    volumes = [entry.structure.volume for entry in load_files(tmp_path)]
    assert volumes == pytest.approx([SALT.volume, 1.3 * SALT.volume])


def test_the_order_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        SALT.to(filename=str(tmp_path / f"{name}.cif"))
    deep = tmp_path / "deep"
    deep.mkdir()
    SALT.to(filename=str(deep / "d.cif"))

    def names(patterns: object) -> list[str]:
        return [Path(entry.reference_id).stem for entry in load_files(patterns)]

    assert names(tmp_path) == ["a", "b", "c"]
    assert names(tmp_path / "**" / "*.cif") == ["a", "b", "c", "d"]
    assert names([tmp_path / "c.cif", tmp_path, tmp_path / "[ab].cif"]) == ["c", "a", "b"]


def test_a_folder_ignores_what_is_no_structure_file(tmp_path: Path) -> None:
    SALT.to(filename=str(tmp_path / "salt.cif"))
    (tmp_path / "notes.txt").write_text("unrelated")
    (tmp_path / ".hidden.cif").write_text("unrelated")
    assert len(load_files(tmp_path)) == 1


def test_oxidation_states_are_dropped(tmp_path: Path) -> None:
    charged = SALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    charged.to(filename=str(tmp_path / "salt.cif"))
    [reference] = load_files(tmp_path)
    assert reference.structure.composition == SALT.composition


def test_disordered_files_are_set_aside_by_the_check(tmp_path: Path) -> None:
    mixed = SALT.copy()
    mixed.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    mixed.to(filename=str(tmp_path / "mixed.cif"))
    SALT.to(filename=str(tmp_path / "salt.cif"))
    distances = {("Na", "Na"): 2.4, ("Na", "Cl"): 2.2, ("Cl", "Cl"): 2.6}
    sound, set_aside = check_references(load_files(tmp_path), distances, formula="NaCl")
    assert [Path(entry.reference_id).name for entry in sound] == ["salt.cif"]
    assert [item.reason for item in set_aside] == ["disordered"]


def test_all_unreadable_files_are_reported_at_once(tmp_path: Path) -> None:
    SALT.to(filename=str(tmp_path / "good.cif"))
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "broken.json").write_text('{"lattice": 3')
    (tmp_path / "other.json").write_text('{"formula": "Si"}')
    (tmp_path / "POSCAR").write_text("nothing\nof use\n")
    ase.io.write(tmp_path / "molecule.xyz", ase.Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]))
    slab = bulk("Si", cubic=True)
    slab.pbc = (True, True, False)
    ase.io.write(tmp_path / "slab.extxyz", slab)
    (tmp_path / "unknown.txt").write_text("words")
    with pytest.raises(ReferencesError) as caught:
        load_files([tmp_path, tmp_path / "unknown.txt", tmp_path / "absent", tmp_path / "no*.cif"])
    message = str(caught.value)
    for name in (
        "empty.cif", "broken.json", "other.json", "POSCAR", "molecule.xyz", "slab.extxyz",
        "unknown.txt", "absent", "no*.cif",
    ):  # fmt: skip
        lines = [line for line in message.splitlines() if f"/{name}: " in line]
        assert len(lines) == 1, name
        assert len(lines[0].split(": ", 1)[1]) > 5
    assert "good.cif" not in message
    assert "no lattice and no sites" in message
    assert "three-dimensional cell" in message
    assert "not periodic in all directions" in message


def test_an_empty_folder_and_no_pattern(tmp_path: Path) -> None:
    with pytest.raises(ReferencesError, match="holds no structure files"):
        load_files(tmp_path)
    with pytest.raises(ReferencesError, match="no files given"):
        load_files([])
