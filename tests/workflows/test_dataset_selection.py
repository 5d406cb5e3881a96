"""New data sets of chosen configurations of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.datasets.selection import SelectionPool, available_methods, create_method
from crysearch.errors import CrysearchError, DatasetError
from crysearch.records import RecordStore, datasets, open_records
from crysearch.records.values import from_binary_array
from crysearch.workflows.datasets import check_dataset, import_files, select_dataset
from crysearch.workflows.potentials import potential_spec, train_on_dataset
from labelled_crystals import silicon

# What a rerun writes anew.
_OF_THE_TIME = ("created_at", "provenance")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of silicon; atomic energies are stored, and one configuration has none of forces."""
    folder = tmp_path_factory.mktemp("records")
    frames = silicon(range(40))
    for number, atoms in enumerate(frames):
        atoms.calc.results["energies"] = (
            atoms.calc.results["energy"] / 8 + np.linspace(-1, 1, 8) * number
        )
    del frames[11].calc.results["forces"]
    frames[12].calc.results["forces"][0] += 60.0
    ase.io.write(folder / "sw.extxyz", frames)
    with open_records(str(folder / "db")) as store:
        import_files(
            store, [folder / "sw.extxyz"], name="sw", method="SW", fractions=(0.75, 0.0, 0.25)
        )
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[RecordStore]:
    with open_records(str(folder / "db")) as opened:
        yield opened


def documents(store: RecordStore, name: str, **query: Any) -> list[dict[str, Any]]:
    return list(datasets.configurations(store, datasets.dataset_id(name), query))


@pytest.mark.parametrize("method", available_methods())
def test_every_method_chooses_from_the_records(store: RecordStore, method: str) -> None:
    document = select_dataset(store, "sw", method=method, count=6, seed=2)
    assert document["name"] == f"sw-{method}-6-seed2" and document["method"] == "SW"
    chosen = documents(store, document["name"])
    assert [one["index"] for one in chosen] == list(range(6))
    parents = {one["key"]: one for one in documents(store, "sw")}
    for one in chosen:
        parent = parents[one["key"]]
        assert parent["_id"] in one["provenance"]["parents"]
        assert one["split"] == "train" and parent["flags"] == []
        assert one["energy"] == parent["energy"] and one["forces"] == parent["forces"]
    assert document["counts"]["by_split"] == {"train": 6}
    (source,) = document["sources"]
    assert (source["selected_from"], source["method"], source["seed"]) == ("sw", method, 2)
    again = select_dataset(store, "sw", method=method, count=6, seed=2)
    assert again["_id"] == document["_id"]
    kept = [{k: v for k, v in one.items() if k not in _OF_THE_TIME} for one in chosen]
    now = documents(store, document["name"])
    assert [{k: v for k, v in one.items() if k not in _OF_THE_TIME} for one in now] == kept
    fewer = select_dataset(store, "sw", method=method, count=4, seed=2, into="fewer")
    assert [one["key"] for one in documents(store, "fewer")] == [one["key"] for one in chosen[:4]]
    store.delete("datasets", {"_id": {"$in": [fewer["_id"], document["_id"]]}})


def test_the_choice_is_that_of_the_method(store: RecordStore) -> None:
    select_dataset(store, "sw", method="forces", count=10, split=None, into="by forces")
    there = [one for one in documents(store, "sw", flags=[]) if one["forces"] is not None]
    assert len(there) == 38
    pool = SelectionPool(
        np.full(38, 8),
        np.full(304, 14),
        forces=np.concatenate([from_binary_array(one["forces"], (8, 3)) for one in there]),
    )
    expected = [there[place]["key"] for place in create_method("forces").select(pool, 10, 0)]
    chosen = documents(store, "by forces")
    assert [one["key"] for one in chosen] == expected
    document = store.get("datasets", datasets.dataset_id("by forces"))
    assert document is not None
    assert document["sources"][0]["left_out"] == 1 and document["sources"][0]["pool"] == 38
    # An ordinary data set from here on.
    assert check_dataset(store, "by forces")[0]["counts"]["configurations"] == 10


def test_atomic_energies_and_features_of_a_potential(store: RecordStore) -> None:
    part = potential_spec(
        {"model": "gaussian-process", "members": 2, "architecture.sparse_points": 30,
         "architecture.radial": 4, "architecture.angular": 3, "cutoff": 4.5, "epochs": 30}
    )  # fmt: skip
    potential = train_on_dataset(store, "sw", part)
    for method in ("atomic-energies", "farthest-point"):
        by_potential = select_dataset(
            store, "sw", method=method, count=8, potential=potential["_id"][:8]
        )
        otherwise = select_dataset(store, "sw", method=method, count=8)
        assert by_potential["sources"][0]["potential"] == potential["_id"]
        assert by_potential["name"] == f"{otherwise['name']}-{potential['_id'][:10]}"
        keys = [
            [one["key"] for one in documents(store, found["name"])]
            for found in (by_potential, otherwise)
        ]
        assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "best"}, "method is 'best'"),
        ({"count": 99}, "count is 99, and the pool has"),
        ({"seed": -1}, "seed is -1"),
        ({"split": "half"}, "split is 'half'"),
        ({"split": "validation"}, "no configuration of 'sw' is there"),
        ({"into": "sw"}, "into is 'sw', a data set that is there"),
        ({"name": "none"}, "No data set has the name"),
        ({"potential": "abcdef"}, "potential"),
    ],
)
def test_what_cannot_be_is_refused(store: RecordStore, changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"name": "sw", "method": "random", "count": 3} | changes
    before = {one["_id"] for one in datasets.datasets(store)}
    with pytest.raises(CrysearchError, match=said):
        select_dataset(store, given.pop("name"), **given)
    assert {one["_id"] for one in datasets.datasets(store)} == before


def test_without_atomic_energies_the_way_out_is_said(store: RecordStore, folder: Path) -> None:
    frames = silicon(range(50, 60))
    for atoms in frames:
        atoms.calc.results.pop("energies", None)
    ase.io.write(folder / "plain.extxyz", frames)
    import_files(store, [folder / "plain.extxyz"], name="plain", method="SW")
    with pytest.raises(DatasetError, match="import them as a column 'energies', or give --pot"):
        select_dataset(store, "plain", method="atomic-energies", count=3)


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(folder / "db"))
    result = CliRunner().invoke(
        app, ["data", "select", "sw", "--method", "forces", "--count", "5", "--into", "five"]
    )
    assert result.exit_code == 0, result.output
    assert "configurations  5 with 40 atoms" in result.output
    assert "selected from sw" in result.output and "seed 0" in result.output
    assert "crysearch potential train five" in result.output
