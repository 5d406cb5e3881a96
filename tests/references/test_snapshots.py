"""The bundled snapshots are complete, undamaged and attributed."""

from __future__ import annotations

import hashlib
import re
import shutil
from importlib.resources import files

import pytest
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crysearch.errors import ReferencesError
from crysearch.references import available_snapshots, load_snapshot, snapshots

DATA = files("crysearch.references") / "data"
ENTRIES = {"Al2O3": 36, "GaAs": 13, "NaCl": 3, "Si": 43, "SnSe": 8}


@pytest.mark.parametrize(("formula", "count"), ENTRIES.items())
def test_every_snapshot_loads(formula: str, count: int) -> None:
    references = load_snapshot(formula)
    assert len(references) == count
    assert len({reference.reference_id for reference in references}) == count
    assert {reference.structure.composition.reduced_formula for reference in references} == {
        formula
    }
    known = [
        reference.energy_above_ground_state
        for reference in references
        if reference.energy_above_ground_state is not None
    ]
    assert min(known) == 0
    for reference in references:
        assert "Materials Project" in reference.source
        has_energy = reference.energy_above_ground_state is not None
        assert (reference.energy_origin is not None) == has_energy


def test_available_snapshots_are_those() -> None:
    assert set(available_snapshots()) == set(ENTRIES)


@pytest.mark.parametrize("formula", ["Se4Sn4", "SnSe", "Sn2 Se2"])
def test_any_way_of_writing_the_composition(formula: str) -> None:
    assert len(load_snapshot(formula)) == 8


def test_known_facts_of_diamond() -> None:
    diamond = next(entry for entry in load_snapshot("Si") if entry.reference_id == "mp-149")
    assert diamond.reported_space_group == 227
    assert SpacegroupAnalyzer(diamond.structure, 0.1).get_space_group_number() == 227
    # Measured: 5.431 Å; density functionals come within 0.04 Å.
    assert (4 * diamond.structure.volume) ** (1 / 3) == pytest.approx(5.431, abs=0.04)
    assert diamond.energy_above_ground_state == 0
    assert diamond.metadata["in_2020_36_entry_set"] == "named"


def test_thirty_one_silicon_entries_have_energies() -> None:
    energies = [entry.energy_above_ground_state for entry in load_snapshot("Si")]
    assert sum(energy is not None for energy in energies) == 31


def test_missing_composition_lists_what_there_is() -> None:
    with pytest.raises(ReferencesError, match=r"'GaN'.*Al2O3, GaAs, NaCl, Si, SnSe"):
        load_snapshot("GaN")


@pytest.mark.parametrize("formula", ["", "not a formula", "Zz2"])
def test_nonsense_is_refused(formula: str) -> None:
    with pytest.raises(ReferencesError, match=r"formula|no snapshot"):
        load_snapshot(formula)


def test_a_damaged_file_is_noticed(tmp_path, monkeypatch) -> None:
    folder = shutil.copytree(str(DATA), tmp_path / "data")
    content = bytearray((folder / "nacl_mp.json.gz").read_bytes())
    content[-20] ^= 1
    (folder / "nacl_mp.json.gz").write_bytes(content)
    monkeypatch.setattr(snapshots, "_DATA", folder)
    with pytest.raises(ReferencesError, match=r"nacl_mp\.json\.gz is damaged"):
        load_snapshot("NaCl")
    assert len(load_snapshot("SnSe")) == 8


def test_checksums_and_attribution_cover_every_file() -> None:
    names = {path.name for path in DATA.iterdir() if path.name.endswith(".gz")}
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    assert set(sums) == names
    for name, digest in sums.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest
    readme = (DATA / "README.md").read_text()
    rows = dict(re.findall(r"`(\w+\.json\.gz)` \| \w+ \| (\d+)", readme))
    assert {name.removesuffix("_mp.json.gz"): int(count) for name, count in rows.items()} == {
        formula.lower(): count for formula, count in ENTRIES.items()
    }
    for needed in ("CC BY 4.0", "Jain", "2025.02.12", "Copyright (c) 2020, J. George"):
        assert needed in readme
