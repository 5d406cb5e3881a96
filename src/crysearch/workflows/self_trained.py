"""The engine ``self-trained``: a potential of the records relaxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crysearch.errors import RecordsError, RelaxationError, SpecError, TrainingError
from crysearch.records import RecordStore, potentials
from crysearch.relaxation import Relaxer, create_relaxer

ENGINE = "self-trained"
_FIELD = "relaxation.options"
_WAY_OUT = "`crysearch potential list` shows the potentials"

# The engine last used in this process, by the id of its potential and the checksum of its weights:
# every batch asks for it.
_loaded: dict[tuple[str, str], Relaxer] = {}


def engine(records: RecordStore, options: Mapping[str, Any]) -> Relaxer:
    """The engine of a stored potential, loaded once per process.

    Parameters
    ----------
    records
        Where the potential is.
    options
        Its whole ``_id`` as ``potential``.

    Raises
    ------
    RelaxationError
        There is no such potential here, its weights are gone or damaged, or other options are
        given.
    """
    wrong = _problem(records, options, "options")
    if wrong is not None:
        raise RelaxationError(f"relaxation engine {ENGINE!r}: {wrong}")
    found = records.get("potentials", options["potential"])
    assert found is not None, "what has no problem is there"
    key = found["_id"], found["weights_sha256"]
    if key not in _loaded:
        try:
            weights = potentials.potential_weights(records, found)
            made = create_relaxer(
                ENGINE, model=found["model"], weights=weights, facts=_provenance(found)
            )
        except (RecordsError, TrainingError) as error:
            raise RelaxationError(f"relaxation engine {ENGINE!r}: {error}") from error
        _loaded.clear()
        _loaded[key] = made
    return _loaded[key]


def whole_id(records: RecordStore, which: str) -> str:
    """The ``_id`` of the potential that a person means; see `resolve_potential`.

    Raises
    ------
    SpecError
        There is none, or several are meant.
    """
    try:
        return str(potentials.resolve_potential(records, which)["_id"])
    except RecordsError as error:
        raise SpecError(f"{_FIELD}.potential: {which!r} — {error}") from error


def problems(records: RecordStore, options: Mapping[str, Any], species: Sequence[str]) -> list[str]:
    """What is wrong with the options for a search of these elements, a line for each."""
    wrong = _problem(records, options, _FIELD)
    if wrong is not None:
        return [wrong]
    found = records.get("potentials", options["potential"])
    assert found is not None, "what has no problem is there"
    unknown = [symbol for symbol in species if symbol not in found["elements"]]
    if unknown:
        return [
            f"{_FIELD}.potential: {found['_id']!r} was not trained on {', '.join(unknown)}, but on "
            f"{', '.join(found['elements'])} — choose another; {_WAY_OUT}"
        ]
    if records.find_blob(found["blob_id"]) is None:
        return [
            f"{_FIELD}.potential: {found['_id']!r} has lost its weights — train it again, or "
            "import it from a file"
        ]
    return []


def _problem(records: RecordStore, options: Mapping[str, Any], field: str) -> str | None:
    """Why the options mean no potential of the records; None if they do."""
    other = sorted(set(options) - {"potential"})
    if other:
        return f"{field}.{other[0]}: {options[other[0]]!r} — {ENGINE!r} takes potential"
    if "potential" not in options:
        return f"{field}.potential: missing — give the id of a potential; {_WAY_OUT}"
    which = options["potential"]
    if not isinstance(which, str):
        return f"{field}.potential: {which!r} — give the id as text, in quotes; {_WAY_OUT}"
    if records.get("potentials", which) is not None:
        return None
    try:
        meant = potentials.resolve_potential(records, which)["_id"]
    except RecordsError as error:
        return f"{field}.potential: {which!r} — {error}"
    # The id of a search is made of its specification: of one potential there must be one spelling.
    return f"{field}.potential: {which!r} — give the whole id, {meant!r}"


def _provenance(document: Mapping[str, Any]) -> dict[str, str]:
    """What relaxations say of the potential, beside the checksum of its weights."""
    names = ", ".join(f"{known['name']} ({known['id']})" for known in document["datasets"])
    facts = {
        "model": f"{document['model']}, potential {document['_id']}",
        "potential": document["_id"],
        "data_sets": names or "not known",
        "method": document["method"],
    }
    if document["active_learning"] is not None:
        facts["active_learning"] = f"{document['active_learning']}, cycle {document['cycle']}"
    return facts
