"""Trained potentials in the records: found by id or by their active learning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, potentials

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def potential(key: list[Any], weights: bytes = b"weights", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": "behler-parrinello",
        "architecture": {},
        "members": 2,
        "parameter_count": 9,
        "elements": ["Si"],
        "cutoff": 5.0,
        "origin": "dataset",
        "method": "PBE",
        "blob_id": "blob",
    }
    return potentials.potential_document(key=key, weights=weights, **fields | changes)


def test_the_key_and_the_search_make_the_id() -> None:
    first = potential(["d", "content", {"seed": 0}])
    assert first["_id"] == potential(["d", "content", {"seed": 0}], method="LDA")["_id"]
    assert first["_id"] == potentials.potential_id(["d", "content", {"seed": 0}])
    others = [["d", "content", {"seed": 1}], ["d", "more", {"seed": 0}], ["e", "content", {}]]
    ids = {potential(key)["_id"] for key in others} | {first["_id"]}
    assert len(ids) == 4 and potential(["d"], identifier="f" * 24)["_id"] == "f" * 24


def test_potentials_are_found_by_id_or_active_learning(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match=r"no potentials .* `crysearch potential train DATASET`"):
        potentials.resolve_potential(store, "ab")
    learned = [
        potential(["abcd", cycle], search="s", active_learning="abcd", cycle=cycle,
                  identifier=f"{cycle:024x}", origin="active_learning",
                  created_at=NOON + timedelta(hours=5 * cycle % 7))
        for cycle in (1, 2, 10)
    ]  # fmt: skip
    known = [{"id": "d", "name": "silicon", "configurations": 9}]
    alone = potential(["d"], identifier="ab" * 12, datasets=known, created_at=NOON)
    store.upsert("potentials", [*learned, alone])
    assert [one["cycle"] for one in potentials.potentials(store)] == [1, 2, 10, None]
    assert potentials.resolve_potential(store, "abab")["_id"] == alone["_id"]
    assert potentials.resolve_potential(store, "00000000000000000000000a")["cycle"] == 10
    # Of an active learning the last cycle is meant, whenever it was trained.
    assert potentials.resolve_potential(store, "abcd")["cycle"] == 10
    # What begins an id is an id.
    assert potentials.resolve_potential(store, "ab")["_id"] == alone["_id"]
    with pytest.raises(RecordsError, match=r"Several potentials have an id.* begins with '000'"):
        potentials.resolve_potential(store, "000")
    for wrong in ("x", ""):
        with pytest.raises(RecordsError, match=rf"No potential has .*'{wrong}'.*abababab.*silicon"):
            potentials.resolve_potential(store, wrong)
    store.upsert("potentials", [potential(["e", 1], active_learning="abce", cycle=1, search="t")])
    with pytest.raises(RecordsError, match="Several potentials"):
        potentials.resolve_potential(store, "abc")


def test_weights_are_those_of_the_document(store: RecordStore) -> None:
    document = potential(["d"])
    with pytest.raises(RecordsError, match="are gone: train it again"):
        potentials.potential_weights(store, document)
    store.put_blob("blob", b"weights")
    assert potentials.potential_weights(store, document) == b"weights"
    store.put_blob("blob", b"others")
    with pytest.raises(RecordsError, match="another checksum than its document says"):
        potentials.potential_weights(store, document)
