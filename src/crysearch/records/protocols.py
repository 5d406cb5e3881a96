"""Documents of protocols of molecular dynamics, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records.documents import Facts, make_document, one_of, shape
from crysearch.records.meant import by_id_or_name, only_document
from crysearch.records.schema_dynamics import ProtocolStatus, Stage, StageStatus
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id, structure_dictionary, structure_document


def protocol_id(asked: Facts, structure: Structure, search: str | None = None) -> str:
    """The ``_id`` of a protocol.

    Parameters
    ----------
    asked
        Engine, options, settings and stages; no names but those of stages, and not where the
        structure comes from.
    structure
    """
    return deterministic_id(search, "protocol", dict(asked), structure_dictionary(structure))


def protocol_document(
    *,
    name: str,
    spec: Facts,
    asked: Facts,
    structure: Structure,
    engine: str,
    seed: int,
    stages: Sequence[Facts],
    status: ProtocolStatus = "running",
    compare_with: str | None = None,
    search: str | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a protocol; see `protocol_id` and, for a stage, `stage_row`."""
    fields = {
        **structure_document(structure),
        "name": name,
        "spec": dict(spec),
        "engine": engine,
        "status": one_of(ProtocolStatus, "status", status),
        "seed": seed,
        "compare_with": compare_with,
        "stages": [stage_row(**row) for row in stages],
    }
    identifier = protocol_id(asked, structure, search)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def stage_row(
    *,
    name: str,
    after: str | None,
    ensemble: str,
    target_temperature: float,
    final_temperature: float | None = None,
    target_pressure: float | None = None,
    status: StageStatus = "waiting",
    **facts: Any,
) -> dict[str, Any]:
    """A stage in the document of a protocol; what is not given is not known.

    Raises
    ------
    RecordsError
        The status is unknown, or a fact is none of `Stage`.
    """
    row: dict[str, Any] = dict.fromkeys(Stage.__annotations__)
    row |= {
        "name": name,
        "after": after,
        "ensemble": ensemble,
        "target_temperature": target_temperature,
        "final_temperature": final_temperature,
        "target_pressure": target_pressure,
        "status": one_of(StageStatus, "status", status),
        "frames": 0,
        "duration": 0.0,
    }
    checked = shape(Stage, {**row, **facts})
    assert checked is not None, "facts are given"
    return checked


def all_protocols(store: RecordStore) -> list[dict[str, Any]]:
    """Return all protocols, newest first, without structures."""
    hidden = {"provenance": 0, "structure": 0, "spec": 0}
    return store.find("protocols", {}, hidden, [("created_at", -1), ("_id", 1)])


def resolve_protocol(store: RecordStore, which: str) -> dict[str, Any]:
    """Return the document of the protocol that a person means.

    Parameters
    ----------
    which
        Its name, or the beginning of its ``_id``.

    Raises
    ------
    RecordsError
        There is none, or several are meant.
    """
    known = all_protocols(store)
    if not known:
        raise RecordsError(
            f"There is no protocol of molecular dynamics in {store.description}: run one with "
            "`crysearch dynamics run SPEC`."
        )
    return _only(store, which, by_id_or_name(known, which), known)


def meant_protocol(store: RecordStore, which: str, *, only: bool = False) -> dict[str, Any] | None:
    """Return the document of the protocol that a person means, or None if it may be another thing.

    Parameters
    ----------
    which
        See `resolve_protocol`.
    only
        Nothing but a protocol can be meant, also where molecular dynamics has the same name.

    Raises
    ------
    RecordsError
        Several protocols are meant, or a protocol and molecular dynamics of the same name.
    """
    known = all_protocols(store)
    meant = by_id_or_name(known, which)
    if not meant:
        return None
    found = _only(store, which, meant, known)
    same = None if only else store.find_one("dynamics", {"name": which}, ["_id"])
    if found["name"] == which and same is not None:
        raise RecordsError(
            f"Protocol {found['_id'][:10]} and molecular dynamics {same['_id'][:10]} both have the "
            f"name {which!r}: give the id of one of them."
        )
    return found


def _only(
    store: RecordStore,
    which: str,
    meant: Sequence[dict[str, Any]],
    known: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    return only_document(
        store,
        "protocols",
        meant,
        known,
        several="Several protocols have",
        none="No protocol has",
        said=f"the name {which!r} or an id that begins so",
        label=lambda one: one["name"],
        command="crysearch dynamics list",
    )
