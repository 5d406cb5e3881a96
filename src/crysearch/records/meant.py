"""The one document that a person means, and what its blob holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crysearch.errors import RecordsError
from crysearch.records.store import RecordStore

_MOST = 10


def by_id_or_name(known: Sequence[dict[str, Any]], which: str) -> list[dict[str, Any]]:
    """Those whose ``_id`` begins so, or else those of this name."""
    by_id = [one for one in known if which and one["_id"].startswith(which)]
    return by_id or [one for one in known if one["name"] == which]


def only_document(
    store: RecordStore,
    collection: str,
    meant: Sequence[Mapping[str, Any]],
    known: Sequence[Mapping[str, Any]],
    *,
    several: str,
    none: str,
    said: str,
    label: Callable[[Mapping[str, Any]], str],
    command: str,
) -> dict[str, Any]:
    """Return the whole document of the one that is meant.

    Parameters
    ----------
    meant, known
        What fits what the person said, and everything, with at least their ``_id``.
    several, none
        How a sentence about too many, or none, begins: ``Several potentials have``.
    said
        How it goes on: ``an id that begins with 'a'``.
    label
        What one is called, beside its id.
    command
        That lists all.

    Raises
    ------
    RecordsError
        None is meant, or several are.
    """
    if len(meant) != 1:
        options = ", ".join(f"{one['_id'][:10]} ({label(one)})" for one in (meant or known)[:_MOST])
        raise RecordsError(
            f"{several if meant else none} {said}: give one of {options}; `{command}` shows all."
        )
    found = store.get(collection, meant[0]["_id"])
    if found is None:
        raise RecordsError(f"{meant[0]['_id']} ({label(meant[0])}) has just been deleted.")
    return found


def checked_blob(
    store: RecordStore, document: Mapping[str, Any], field: str, *, content: str, way_out: str
) -> bytes:
    """Return the blob of a document whose ``field`` holds the blob's SHA-256.

    Parameters
    ----------
    content
        What it is, in the plural: ``weights of potential``.
    way_out
        What a person does without it.

    Raises
    ------
    RecordsError
        It is no longer there, or is not the one that the document is about.
    """
    data = store.find_blob(document["blob_id"])
    if data is None:
        raise RecordsError(f"The {content} {document['_id']} are gone: {way_out}.")
    if hashlib.sha256(data).hexdigest() != document[field]:
        raise RecordsError(
            f"The {content} {document['_id']} have another checksum than its document says: "
            f"{way_out}."
        )
    return data
