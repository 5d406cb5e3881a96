"""A small but whole search, with a classical potential that takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crysearch.records import RecordStore, open_records
from crysearch.spec import SearchSpec
from small_search import SMALL


@pytest.fixture
def small_spec() -> SearchSpec:
    return SearchSpec.build(SMALL)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for records that the settings point to."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    return tmp_path / "records"


def content(place: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Everything in a record folder but times and who worked: collection → id → document."""
    with open_records(place, read_only=True) as records:
        return {
            name: {
                document["_id"]: _without_times(document) for document in records.find(name)
            }
            for name in ("searches", "references", "models", "replicas", "candidates",
                         "relaxations", "failures", "batches")
        }  # fmt: skip


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(item)
            for key, item in value.items()
            if key not in ("created_at", "started_at", "finished_at", "seconds", "worker")
        }
    return value


def names_of(records: RecordStore, collection: str) -> list[str]:
    return sorted(document["_id"] for document in records.find(collection, {}, ["_id"]))
