"""Documents of trained interatomic potentials, and how they are found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crysearch.errors import RecordsError
from crysearch.records.documents import Facts, make_document, one_of, shape
from crysearch.records.meant import checked_blob, only_document
from crysearch.records.schema_potentials import LearnedDataset, PotentialOrigin
from crysearch.records.store import RecordStore
from crysearch.records.values import deterministic_id


def potential_id(key: Sequence[Any], search: str | None = None) -> str:
    """The ``_id`` of a potential; see `potential_document`."""
    return deterministic_id(search, "potential", list(key))


def potential_document(
    *,
    key: Sequence[Any],
    model: str,
    architecture: Facts,
    members: int,
    parameter_count: int,
    elements: Sequence[str],
    cutoff: float,
    origin: PotentialOrigin,
    method: str,
    blob_id: str,
    weights: bytes,
    configurations: int = 0,
    seed: int | None = None,
    datasets: Sequence[Facts] = (),
    settings: Facts | None = None,
    training: Facts | None = None,
    errors: Mapping[str, Facts] | None = None,
    search: str | None = None,
    active_learning: str | None = None,
    cycle: int | None = None,
    identifier: str | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a trained potential.

    Parameters
    ----------
    key
        What decides the weights. Of an active learning: its identifier and the cycle. Of a data
        set: its ``_id``, a checksum of the configurations learned from (after an import a potential
        of the same set is another one), and model, architecture, settings and seed. Of a file of
        which nothing else is known: the checksum of the weights.
    identifier
        The ``_id`` where another database has it already; by default it is made of the key.
    weights
        What the blob holds; the document has its checksum.
    datasets
        ``{id, name, configurations}`` of each data set learned from.
    search, active_learning, cycle
        Where it was trained; None for one that was trained outside an active learning.
    parents
        The documents that it was made from.

    See `crysearch.records.schema_potentials.PotentialDocument` for the rest.
    """
    fields = {
        "model": model,
        "architecture": dict(architecture),
        "members": members,
        "parameter_count": parameter_count,
        "elements": list(elements),
        "cutoff": cutoff,
        "origin": one_of(PotentialOrigin, "origin", origin),
        "active_learning": active_learning,
        "cycle": cycle,
        "datasets": [shape(LearnedDataset, known) for known in datasets],
        "method": method,
        "configurations": configurations,
        "seed": seed,
        "settings": dict(settings or {}),
        "training": dict(training or {}),
        "errors": {name: dict(facts) for name, facts in (errors or {}).items()},
        "blob_id": blob_id,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    identifier = identifier or potential_id(key, search)
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def potentials(store: RecordStore) -> list[dict[str, Any]]:
    """Return all potentials, newest first."""
    return store.find("potentials", {}, {"provenance": 0}, [("created_at", -1), ("_id", 1)])


def resolve_potential(store: RecordStore, which: str) -> dict[str, Any]:
    """Return the document of the potential that a person means.

    Parameters
    ----------
    which
        The beginning of its ``_id``; or that of the identifier of an active learning, whose last
        cycle's potential is meant.

    Raises
    ------
    RecordsError
        There is none, or several are meant.
    """
    known = potentials(store)
    if not known:
        raise RecordsError(
            f"There are no potentials in {store.description}: train one with `crysearch potential "
            "train DATASET`, or import one with `crysearch potential import FILE`."
        )
    meant = [found for found in known if which and found["_id"].startswith(which)]
    if not meant:
        meant = _last_cycles(known, which)
    return only_document(
        store,
        "potentials",
        meant,
        known,
        several="Several potentials have",
        none="No potential has",
        said=f"an id, or an active learning, that begins with {which!r}",
        label=_origin,
        command="crysearch potential list",
    )


def potential_weights(store: RecordStore, document: Mapping[str, Any]) -> bytes:
    """Return the weights of a potential.

    Raises
    ------
    RecordsError
        They are no longer there, or are not those that the document is about.
    """
    return checked_blob(
        store,
        document,
        "weights_sha256",
        content="weights of potential",
        way_out="train it again, or import it from a file",
    )


def _last_cycles(known: Sequence[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    """The potential of the last cycle of each active learning whose identifier begins so."""
    last: dict[str, dict[str, Any]] = {}
    for one in known:
        key = one["active_learning"]
        if which and key is not None and key.startswith(which):
            last[key] = max(last.get(key, one), one, key=lambda found: found["cycle"])
    return list(last.values())


def _origin(document: Mapping[str, Any]) -> str:
    if document["active_learning"] is not None:
        return f"active learning {document['active_learning'][:10]} cycle {document['cycle']}"
    return ", ".join(known["name"] for known in document["datasets"]) or "from a file"
