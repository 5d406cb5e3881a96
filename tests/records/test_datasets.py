"""Data sets in the records: found by name, read in batches."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, datasets

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def dataset(name: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": name, "method": "PBE", "seed": 0, "fractions": SHARES}
    return datasets.dataset_document(**fields | changes)


def test_names_and_searches_tell_data_sets_apart_and_methods_do_not() -> None:
    assert dataset("a")["_id"] == dataset("a", method="LDA", seed=3)["_id"]
    assert dataset("a")["_id"] == datasets.dataset_id("a")
    assert len({dataset("a")["_id"], dataset("b")["_id"], dataset("a", search="s")["_id"]}) == 3


def test_data_sets_are_found_by_name_or_id(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match=r"no data sets .*: make one with `crysearch data imp"):
        datasets.resolve_dataset(store, "silicon")
    store.upsert("datasets", [dataset("tin"), dataset("silicon"), dataset("tin", search="s")])
    assert [found["name"] for found in datasets.datasets(store)] == ["silicon", "tin", "tin"]
    silicon = datasets.resolve_dataset(store, "silicon")
    assert datasets.resolve_dataset(store, silicon["_id"][:8]) == silicon
    with pytest.raises(RecordsError, match=r"No data set has the name 'si' .*of .*silicon"):
        datasets.resolve_dataset(store, "si")
    with pytest.raises(RecordsError, match="Several data sets have the name 'tin'"):
        datasets.resolve_dataset(store, "tin")


def test_configurations_come_in_order_and_in_batches(
    store: RecordStore, diamond: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def document(of: str, index: int) -> dict[str, Any]:
        return datasets.configuration_document(
            dataset=of, key=f"{index}", index=index, method="PBE", structure=diamond,
            fingerprint=[1.0], energy=-40.0, flags=["duplicate"] if index % 3 == 0 else [],
        )  # fmt: skip

    order = [4, 1, 9, 0, 7, 3, 8, 2, 6, 5]
    store.upsert("configurations", [document("a", index) for index in order])
    store.upsert("configurations", [document("b", 0)])
    asked = []
    find = RecordStore.find
    monkeypatch.setattr(RecordStore, "find", lambda *given: asked.append(find(*given)) or asked[-1])
    found = list(datasets.configurations(store, "a", batch=4))
    assert [one["index"] for one in found] == list(range(10))
    assert [len(batch) for batch in asked] == [4, 4, 2]
    chosen = datasets.configurations(store, "a", {"flags": []}, ["index"], batch=2)
    assert [one["index"] for one in chosen] == [1, 2, 4, 5, 7, 8]
    assert list(datasets.configurations(store, "c")) == []
