"""Potentials as files: the weights, and beside them what is known of the potential."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from crysearch.errors import TrainingError
from crysearch.potentials import TrainablePotential, available_potentials, load_potential
from crysearch.records import RecordStore, potentials
from crysearch.records.potentials import potential_document, potential_id

_KEPT = (
    *("datasets", "method", "configurations", "seed", "settings", "training", "errors"),
    *("active_learning", "cycle", "origin"),
)


def export_potential(
    records: RecordStore, which: str, path: Path, *, overwrite: bool = False
) -> tuple[dict[str, Any], Path]:
    """Write the weights of a potential, and its document beside them as ``PATH.json``.

    The weights are what `crysearch.potentials.load_potential` reads.

    Parameters
    ----------
    records
    which
        See `crysearch.records.potentials.resolve_potential`.
    path
    overwrite
        Replace files that are there.

    Returns
    -------
    dict
        The document of the potential.
    Path
        Of the document as a file.

    Raises
    ------
    TrainingError
        A file exists or cannot be written.
    RecordsError
        There is no such potential, or its weights are gone.
    """
    found = potentials.resolve_potential(records, which)
    weights = potentials.potential_weights(records, found)
    beside = path.with_name(f"{path.name}.json")
    for file in (path, beside):
        if file.exists() and not overwrite:
            raise TrainingError(f"{file} exists already: give --overwrite or another name")
    text = json.dumps(found, indent=2, default=_plain, ensure_ascii=False)
    try:
        path.write_bytes(weights)
        beside.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror})") from None
    return found, beside


def import_potential(
    records: RecordStore, path: Path, *, method: str | None = None
) -> dict[str, Any]:
    """Keep a potential from a file in the records.

    With its document beside it, as `export_potential` writes it, it keeps its ``_id``: searches
    that name it are the same searches in both places.

    Parameters
    ----------
    records
    path
        Of the weights.
    method
        The reference method that it learned; needed, and allowed, only without a document.

    Returns
    -------
    dict
        The document of the potential.

    Raises
    ------
    TrainingError
        The file cannot be read, is no stored potential, or is not the one of the document; the
        method is missing; or other weights are in the records under the same ``_id``.
    """
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from None
    potential = _loaded(path, weights)
    checksum = hashlib.sha256(weights).hexdigest()
    beside = path.with_name(f"{path.name}.json")
    if beside.exists():
        if method is not None:
            raise TrainingError(f"--method {method}: {beside} says it already; leave it out")
        known, identifier = _facts(beside, checksum)
    else:
        if not method:
            raise TrainingError(
                f"{beside}: not there, and so nothing says what {path.name} learned: put it there "
                "(`crysearch potential export` writes it), or give --method METHOD"
            )
        known, identifier = {"method": method, "origin": "file"}, potential_id([checksum])
    present = records.get("potentials", identifier)
    if present is not None and present["weights_sha256"] != checksum:
        raise TrainingError(
            f"{path}: potential {identifier} is in the records with other weights; import it into "
            "another database"
        )
    if present is not None and records.find_blob(present["blob_id"]) is not None:
        return present
    blob = f"potential-{identifier}"
    document = potential_document(
        key=[checksum],
        identifier=identifier,
        model=potential.name,
        architecture=potential.architecture,
        members=potential.members,
        parameter_count=potential.parameter_count,
        elements=potential.elements,
        cutoff=potential.cutoff,
        blob_id=blob,
        weights=weights,
        provenance={"file": path.name},
        **known,
    )
    records.put_blob(blob, weights, {"file": path.name})
    records.upsert("potentials", [document])
    return document


def _loaded(path: Path, weights: bytes) -> TrainablePotential:
    reasons = []
    for name in available_potentials():
        try:
            return load_potential(name, weights)
        except TrainingError as error:
            reasons.append(f"{name}: {error}")
    raise TrainingError(f"{path}: no stored potential ({'; '.join(reasons)})")


def _facts(path: Path, checksum: str) -> tuple[dict[str, Any], str]:
    """What a document beside the weights says, and its ``_id``."""
    again = "export the potential again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); {again}") from None
    missing = [
        name
        for name in ("_id", "weights_sha256", *_KEPT)
        if not isinstance(content, Mapping) or name not in content
    ]
    if missing:
        raise TrainingError(f"{path}: has no {', '.join(missing)}; {again}")
    if content["weights_sha256"] != checksum:
        raise TrainingError(f"{path}: is of other weights (checksum differs); {again}")
    identifier = content["_id"]
    if not isinstance(identifier, str) or not re.fullmatch("[0-9a-f]{24}", identifier):
        raise TrainingError(f"{path}: _id is {identifier!r}, not 24 hexadecimal digits; {again}")
    return {name: content[name] for name in _KEPT}, identifier


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
