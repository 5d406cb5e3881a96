"""Data sets from files to records and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from crysearch import localdb
from crysearch.datasets import Limits, read_extxyz
from crysearch.errors import DatasetError, RecordsError
from crysearch.records import RecordStore, datasets, open_records
from crysearch.workflows.datasets import (
    check_dataset,
    export_dataset,
    import_files,
    importing,
    read_dataset,
)
from labelled_crystals import silicon, silicon_file

METHOD = "Stillinger-Weber"
# What belongs to the file and the time of an import.
_OF_THE_IMPORT = ("created_at", "provenance", "source")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[localdb.Address]:
    folder = tmp_path_factory.mktemp("server")
    yield localdb.start(folder)
    localdb.stop(folder)


@pytest.fixture
def new_store(server: localdb.Address, tmp_path: Path) -> Iterator[Callable[[], RecordStore]]:
    """Open empty databases."""
    opened: list[RecordStore] = []

    def call() -> RecordStore:
        name = f"{tmp_path.name}_{len(opened)}"[-60:].replace("[", "_").replace("]", "_")
        opened.append(open_records(server.uri(name)))
        return opened[-1]

    yield call
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: Callable[[], RecordStore]) -> RecordStore:
    return new_store()


def documents(store: RecordStore, name: str = "sw") -> list[dict[str, Any]]:
    """What a data set holds, without what another import of the same frames changes."""
    found = datasets.configurations(store, datasets.dataset_id(name))
    return [{k: v for k, v in one.items() if k not in _OF_THE_IMPORT} for one in found]


def load(store: RecordStore, *paths: Path, **options: Any) -> Any:
    return import_files(store, paths, **{"name": "sw", "method": METHOD} | options)


def test_documents_have_what_the_file_has(store: RecordStore, tmp_path: Path) -> None:
    path = silicon_file(tmp_path / "a.extxyz.gz", range(20), run="quench 1")
    done = load(store, path, licence="CC0", seed=4)
    assert (done.frames, done.added, done.replaced, done.repeated) == (20, 20, 0, 0)
    assert done.dataset == store.get("datasets", datasets.dataset_id("sw"))
    assert done.dataset["counts"] == {
        "configurations": 20, "atoms": 160, "with_forces": 20, "with_stress": 20, "flagged": 0,
        "by_split": {"train": 16, "validation": 2, "test": 2}, "by_flag": {},
    }  # fmt: skip
    assert done.dataset["sources"][0]["licence"] == "CC0"
    assert done.dataset["formulas"] == {"Si8": 20}
    energies = [a.get_potential_energy() / 8 for a in silicon(range(20))]
    assert done.dataset["lowest_energy_per_atom"] == pytest.approx(min(energies))
    assert done.dataset["highest_energy_per_atom"] == pytest.approx(max(energies))
    for frame, atoms in zip(read_dataset(store, "sw"), ase.io.iread(path), strict=True):
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.cell, atoms.cell)
        np.testing.assert_array_equal(frame.forces, atoms.get_forces())
        np.testing.assert_array_equal(frame.stress, atoms.get_stress())
        assert frame.energy == atoms.get_potential_energy()
        assert frame.metadata["run"] == "quench 1"
    ninth = store.find_one("configurations", {"index": 9})
    assert ninth is not None
    assert ninth["source"]["file"] == "a.extxyz.gz"
    assert ninth["source"]["frame"] == 9
    assert ninth["method"] == METHOD
    assert ninth["chemical_formula_reduced"] == "Si"
    assert ninth["provenance"]["parents"] == [done.dataset["_id"]]


def test_import_export_import_gives_the_same_documents(
    new_store: Callable[[], RecordStore], tmp_path: Path
) -> None:
    frames = silicon(range(12)) + silicon([3], note='a "quoted" \\ one')
    frames[5].calc.results["energy"] += 40.0
    frames[6].calc.results["forces"][2] = np.nan
    ase.io.write(tmp_path / "a.extxyz", frames)
    one, other = new_store(), new_store()
    load(one, tmp_path / "a.extxyz", group_key="number")
    assert export_dataset(one, "sw", tmp_path / "b.extxyz.gz", flagged=True) == 12
    load(other, tmp_path / "b.extxyz.gz", group_key="number")
    assert documents(other) == documents(one)
    assert {f for found in documents(one) for f in found["flags"]} == {
        "energy_outlier",
        "forces_not_finite",
    }


def test_importing_twice_changes_nothing(store: RecordStore, tmp_path: Path) -> None:
    path = silicon_file(tmp_path / "a.extxyz", [*range(10), 3, 3])
    first = load(store, path)
    assert (first.frames, first.added, first.repeated) == (12, 10, 2)
    before = documents(store)
    again = load(store, path)
    assert (again.added, again.replaced, again.repeated) == (0, 10, 2)
    assert documents(store) == before
    unchanged = {k: v for k, v in first.dataset.items() if k not in _OF_THE_IMPORT}
    assert unchanged == {k: v for k, v in again.dataset.items() if k not in _OF_THE_IMPORT}
    assert again.dataset["created_at"] == first.dataset["created_at"]


def test_other_files_are_appended(new_store: Callable[[], RecordStore], tmp_path: Path) -> None:
    one = silicon_file(tmp_path / "a.extxyz", range(10))
    two = silicon_file(tmp_path / "b.extxyz", range(5, 20))
    store, both = new_store(), new_store()
    load(store, one)
    before = documents(store)
    done = load(store, two)
    assert (done.added, done.replaced) == (10, 5)
    after = documents(store)
    assert after[:10] == before
    assert [found["index"] for found in after] == list(range(20))
    assert done.dataset["counts"]["by_split"] == {"train": 16, "validation": 2, "test": 2}
    assert [source["file"] for source in done.dataset["sources"]] == ["a.extxyz", "b.extxyz"]
    load(both, one, two)
    keys = [found["key"] for found in documents(both)]
    assert keys == [found["key"] for found in after]


def test_additions_flag_what_they_contradict(store: RecordStore, tmp_path: Path) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(10)))
    (wrong,) = silicon([4])
    wrong.calc.results["energy"] += 1.0
    ase.io.write(tmp_path / "b.extxyz", wrong)
    done = load(store, tmp_path / "b.extxyz")
    assert done.dataset["counts"]["by_flag"] == {"conflicting_energy": 2}
    found = documents(store)
    assert [one["index"] for one in found if one["flags"]] == [4, 10]
    assert found[4]["findings"][0].startswith("the same structure as configuration 10, 0.125")
    assert found[4]["split"] == found[10]["split"]
    assert export_dataset(store, "sw", tmp_path / "c.extxyz") == 9


def test_what_would_join_two_splits_is_in_none(store: RecordStore, tmp_path: Path) -> None:
    frames = silicon(range(10))
    for i, atoms in enumerate(frames):
        atoms.info["run"] = f"run {i}"
    ase.io.write(tmp_path / "a.extxyz", frames)
    load(store, tmp_path / "a.extxyz", group_key="run")
    found = documents(store)
    parted = next(one for one in found if one["split"] != found[0]["split"])
    (again,) = silicon([0])
    again.calc.results["energy"] += 1e-4
    again.info["run"] = parted["group"]
    ase.io.write(tmp_path / "b.extxyz", again)
    load(store, tmp_path / "b.extxyz")
    last = documents(store)[-1]
    assert (last["index"], last["split"]) == (10, None)
    assert last["flags"] == ["duplicate", "joins_splits"]


def test_groups_stay_together(store: RecordStore, tmp_path: Path) -> None:
    frames = silicon(range(40))
    for i, atoms in enumerate(frames):
        atoms.info["run"] = i // 4
    ase.io.write(tmp_path / "a.extxyz", frames)
    load(store, tmp_path / "a.extxyz", group_key="run", fractions=(0.6, 0.2, 0.2))
    splits = [found["split"] for found in documents(store)]
    assert {len(set(splits[i : i + 4])) for i in range(0, 40, 4)} == {1}
    assert [splits.count(name) for name in ("train", "validation", "test")] == [24, 8, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "PBE"}, "method is 'PBE', and the data set 'sw' has 'Stillinger-Weber'"),
        ({"seed": 3}, "seed is 3, and the data set 'sw' has 0: its splits stay as they are"),
        ({"fractions": (1, 0, 0)}, "fractions is .*train.: 1.0.*: its splits stay"),
        ({"group_key": "run"}, "group_key is 'run', and the data set 'sw' has None"),
        ({"fractions": (1, 1, 0)}, "split is 1,1,0: give three shares"),
        ({"name": " "}, "name is empty"),
        ({"method": ""}, "method is empty"),
    ],
)
def test_what_does_not_fit_the_set_is_refused(
    store: RecordStore, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(3)))
    before = documents(store)
    with pytest.raises(DatasetError, match=message):
        load(store, silicon_file(tmp_path / "b.extxyz", range(3, 6)), **options)
    assert documents(store) == before
    assert store.count("datasets") == 1


def test_frames_of_another_method_are_refused(store: RecordStore, tmp_path: Path) -> None:
    frames = silicon(range(3), method=METHOD) + silicon([3], method="LDA")
    ase.io.write(tmp_path / "a.extxyz", frames)
    with pytest.raises(DatasetError, match="frame 3 has method 'LDA', and the data set has 'Sti"):
        load(store, tmp_path / "a.extxyz")
    assert store.count("configurations") == store.count("datasets") == 0


@pytest.mark.parametrize("damage", ["cut", "word", "empty", "no energies", "no group"])
def test_nothing_is_written_of_files_that_cannot_be_read(
    store: RecordStore, tmp_path: Path, damage: str
) -> None:
    good = silicon_file(tmp_path / "a.extxyz", range(3))
    bad = silicon_file(tmp_path / "b.extxyz", range(3, 9))
    text = bad.read_text()
    lines = text.splitlines(keepends=True)
    options: dict[str, Any] = {}
    if damage == "cut":
        text = "".join(lines[:-3])
    elif damage == "word":
        text = "".join([*lines[:34], "Si here and there\n", *lines[35:]])
    elif damage == "empty":
        text = "\n"
    elif damage == "no energies":
        text = text.replace(" energy=", " dft=").replace(":energies:", ":e:")
    else:
        options = {"group_key": "run"}
    bad.write_text(text)
    message = {
        "cut": r"b\.extxyz: frame 5 has 5 of 8 atoms: the file is cut short",
        "word": r"b\.extxyz: frame 3: is not extended XYZ",
        "empty": r"b\.extxyz: holds no frame",
        "no energies": r"no frame has the energy 'energy': .*--energy-key \(other keys: .*dft",
        "no group": r"no frame has the group key 'run' \(keys: .*number",
    }[damage]
    with pytest.raises(DatasetError, match=message):
        load(store, good, bad, **options)
    assert store.count("configurations") == store.count("datasets") == 0


def test_an_interrupted_import_is_completed_by_another(
    new_store: Callable[[], RecordStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = silicon_file(tmp_path / "a.extxyz", range(12))
    store, undisturbed = new_store(), new_store()
    load(undisturbed, path)
    monkeypatch.setattr(datasets, "BATCH", 5)
    upsert = RecordStore.upsert

    def fail(self: RecordStore, collection: str, batch: Any) -> int:
        if collection == "configurations" and self.count("configurations") == 5:
            raise RecordsError("the server went away")
        return upsert(self, collection, batch)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "upsert", fail)
        with pytest.raises(RecordsError, match="went away"):
            load(store, path)
    assert datasets.resolve_dataset(store, "sw")["status"] == "importing"
    assert store.count("configurations") == 5
    with pytest.raises(DatasetError, match="was interrupted or goes on"):
        read_dataset(store, "sw")
    done = load(store, path)
    assert (done.dataset["status"], done.added) == ("complete", 12)
    assert documents(store) == documents(undisturbed)


def test_an_interrupted_addition_can_be_undone(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(6)))
    before, dataset = documents(store), datasets.resolve_dataset(store, "sw")
    update = importing.update_entries

    def fail(*given: Any) -> None:
        update(*given)
        raise KeyboardInterrupt

    (wrong,) = silicon([2])
    wrong.calc.results["energy"] += 1.0
    ase.io.write(tmp_path / "b.extxyz", [*silicon([7]), wrong])
    with monkeypatch.context() as patch:
        patch.setattr(importing, "update_entries", fail)
        with pytest.raises(KeyboardInterrupt):
            load(store, tmp_path / "b.extxyz")
    assert store.count("configurations") == 8
    check_dataset(store, "sw")
    assert documents(store) == before
    assert datasets.resolve_dataset(store, "sw")["counts"] == dataset["counts"]


@pytest.mark.parametrize("later", [range(3, 6), range(2)])
def test_a_file_that_changes_meanwhile_is_noticed(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: range
) -> None:
    path = silicon_file(tmp_path / "a.extxyz", range(3))
    monkeypatch.setattr(RecordStore, "ensure_indexes", lambda self: silicon_file(path, later))
    with pytest.raises(DatasetError, match="has changed while it was read; import it again"):
        load(store, path)
    assert datasets.resolve_dataset(store, "sw")["status"] == "importing"


def test_other_limits_change_the_flags(store: RecordStore, tmp_path: Path) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(10)))
    forces = [found["max_force"] for found in documents(store)]
    limit = sorted(forces)[6]
    document, findings = check_dataset(store, "sw", Limits(maximum_force=limit))
    expected = [i for i, force in enumerate(forces) if force > limit]
    assert len(expected) == 3
    assert [(index, reason) for index, reason, _ in findings] == [
        (i, "large_force") for i in expected
    ]
    assert document["counts"]["by_flag"] == {"large_force": 3}
    assert [one["index"] for one in documents(store) if one["flags"]] == expected
    assert check_dataset(store, "sw")[1] == findings
    assert check_dataset(store, "sw", Limits())[1] == []
    assert {one["split"] for one in documents(store)} == {"train", "validation", "test"}


def test_export_of_a_split(store: RecordStore, tmp_path: Path) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(20)))
    parts = []
    for split in ("train", "validation", "test"):
        path = tmp_path / f"{split}.extxyz"
        export_dataset(store, "sw", path, split)
        parts.append([frame.key for frame in read_extxyz(path)])
        assert next(read_extxyz(path)).metadata["method"] == METHOD
    assert [len(part) for part in parts] == [16, 2, 2]
    assert {key for part in parts for key in part} == {one["key"] for one in documents(store)}
    for other, split, message in (
        (path, "test", "exists already: give --overwrite"),
        (tmp_path / "a.cif", "test", "give a name that ends in .extxyz"),
        (tmp_path / "b.xyz", "exam", "split is 'exam': choose one of train, validation, test"),
    ):
        with pytest.raises(DatasetError, match=message):
            export_dataset(store, "sw", other, split)
    export_dataset(store, "sw", path, "test", overwrite=True)


def test_an_export_of_nothing_says_so(store: RecordStore, tmp_path: Path) -> None:
    load(store, silicon_file(tmp_path / "a.extxyz", range(3)), fractions=(1.0, 0.0, 0.0))
    with pytest.raises(DatasetError, match="no configuration of 'sw' is chosen"):
        export_dataset(store, "sw", tmp_path / "b.extxyz", "test")
