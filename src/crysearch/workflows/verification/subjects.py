"""Which structures are verified, and which known structures they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crysearch.errors import RecordsError, SpecError
from crysearch.records import RecordStore, documents, queries
from crysearch.references import load_files
from crysearch.relaxation import available_relaxers
from crysearch.spec import SearchSpec
from crysearch.verification import VASP, VerificationSpec
from crysearch.workflows.vasp.protocols import check_atomate2

_ENERGY = "energy_above_ground_state_found"


def search_spec(records: RecordStore, search: str) -> SearchSpec:
    """The specification of a search in the records.

    Raises
    ------
    RecordsError
        There is no such search.
    """
    return SearchSpec.build(queries.resolve_search(records, search)["spec"])


def best_distinct(
    records: RecordStore, search: str, number: int, only_new: bool = False
) -> list[str]:
    """The distinct relaxed crystals of lowest energy, as ids of their relaxations.

    Raises
    ------
    RecordsError
        The search has no judged crystals.
    """
    query: dict[str, Any] = {
        "search": search,
        "parent_kind": "candidate",
        "duplicate_of": None,
        _ENERGY: {"$ne": None},
    }
    if only_new:
        query["is_new"] = True
    found = records.find("relaxations", query, ["_id"], [(_ENERGY, 1), ("_id", 1)], number)
    if not found:
        raise RecordsError(
            f"search {search} has no {'new ' if only_new else ''}relaxed crystals with a verdict: "
            "run it to its end first, or name known structures"
        )
    return [document["_id"] for document in found]


def find_subjects(records: RecordStore, search: str, names: Sequence[str]) -> list[str]:
    """The relaxations that ids mean: beginnings of their ids, or names of known structures.

    Raises
    ------
    RecordsError
        An id means no converged relaxation of the search, or several.
    """
    return list(dict.fromkeys(_subject(records, search, name) for name in names))


def _subject(records: RecordStore, search: str, name: str) -> str:
    collection, document = queries.find_by_id_prefix(
        records, name, collections=("relaxations", "candidates", "references"), search=search
    )
    if collection != "relaxations":
        relaxed = records.find("relaxations", {"parent_id": document["_id"]}, ["converged"])
        if not relaxed:
            raise RecordsError(f"{name} has not been relaxed in search {search}")
        document = relaxed[0]
    if not document["converged"]:
        raise RecordsError(
            f"the relaxation of {name} did not converge in search {search}: only converged "
            "structures can be verified"
        )
    return document["_id"]


def known_ground_state_relaxed(records: RecordStore, search: str) -> str | None:
    """The relaxation of the known structure of lowest energy; None if none was relaxed."""
    query = {"search": search, "parent_kind": "reference", "converged": True}
    found = records.find("relaxations", query, ["_id"], [("energy_per_atom", 1), ("_id", 1)], 1)
    return found[0]["_id"] if found else None


def compared_with(records: RecordStore, search: str, spec: VerificationSpec) -> list[str]:
    """Relaxations of the known structures that are calculated at the same level.

    Raises
    ------
    RecordsError
        A known structure of the specification was not relaxed.
    """
    ground_state = known_ground_state_relaxed(records, search)
    named = find_subjects(records, search, spec.references)
    return list(dict.fromkeys(([] if ground_state is None else [ground_state]) + named))


def keep_competing(records: RecordStore, search: str, spec: VerificationSpec) -> list[str]:
    """Keep the structures of competing phases as references that the search does not use.

    Jobs then find them in the records, on whatever machine they run. Returns their ids.

    Raises
    ------
    ReferencesError
        Files cannot be read.
    """
    if not spec.competing:
        return []
    found = [
        documents.reference_document(
            search=search,
            reference_id=f"competing {phase.reference_id}",
            structure=phase.structure,
            status="set_aside",
            reason="competing",
            detail="a phase for the convex hull of verifications, not of the search",
            source="files",
        )
        for phase in load_files(spec.competing)
    ]
    records.upsert("references", found)
    return [document["_id"] for document in found]


def check(search: SearchSpec, spec: VerificationSpec) -> None:
    """Checks of the engine made before any work starts.

    Raises
    ------
    SpecError
        The engine is unknown, not installed, or not for these elements.
    """
    name = spec.level.engine
    if name is None:
        return
    if name == VASP:
        check_atomate2()
        return
    engines = {info.name: info for info in available_relaxers()}
    if name not in engines:
        raise SpecError(
            f"level.engine: {name!r} is unknown — choose one of {', '.join([*engines, VASP])}"
        )
    engine = engines[name]
    if not engine.installed:
        raise SpecError(
            f"level.engine: {name!r} needs {', '.join(engine.missing)} — {engine.install}"
        )
    foreign = [s for s in search.species if engine.elements and s not in engine.elements]
    if foreign:
        raise SpecError(
            f"level.engine: {name!r} does not know {', '.join(foreign)} — choose another one"
        )
