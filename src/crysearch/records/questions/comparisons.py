"""Questions that compare: with the known structures, between searches, between compositions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymatgen.core import Composition, Element

from crysearch.errors import RecordsError
from crysearch.records.queries import rows
from crysearch.records.questions.asking import Id, Limit, Name, Pipeline, Rows, Store, question
from crysearch.records.questions.structures import ENERGY, LOWEST_FIRST, STRUCTURE


@question
def known_found(store: Store, search: Id) -> Rows:
    """Which known structures were found again, and how often?

    One row for each known structure that a relaxed random crystal turned into, the one found at
    the lowest energy first; ``times`` counts repetitions.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "is_new": False}},
        {"$sort": {ENERGY: 1, "_id": 1}},
        {
            "$group": {
                "_id": "$matches",
                "times": {"$sum": 1},
                "symbol": {"$first": "$space_group_after.symbol"},
                "energy": {"$first": f"${ENERGY}"},
                "best": {"$first": "$_id"},
            }
        },
        {"$sort": {"energy": 1, "_id": 1}},
        {
            "$project": {
                "_id": 0,
                "reference_id": "$_id",
                "times": 1,
                "symbol": 1,
                "energy": 1,
                "best": 1,
            }
        },
    ]
    columns = ["reference_id", "times", "symbol", "energy", "best"]
    return rows(store.aggregate("relaxations", pipeline), columns)


@question
def known_missed(store: Store, search: Id) -> Rows:
    """Which known structures did the search miss?

    Sound known structures that no relaxed random crystal turned into, by the energy (eV/atom above
    the ground state) that their source gives; without one last. A search can only find what fits
    its cell sizes: compare ``nsites``.
    """
    pipeline: Pipeline = [
        {"$match": {"search": search, "is_new": False}},
        {"$group": {"_id": "$matches"}},
    ]
    found = sorted(match["_id"] for match in store.aggregate("relaxations", pipeline))
    columns = [
        "reference_id",
        "formula",
        "nsites",
        "space_group_symbol",
        "energy_above_ground_state",
    ]
    missed = store.find(
        "references",
        {"search": search, "status": "sound", "reference_id": {"$nin": found}},
        columns,
        [("reference_id", 1)],
    )

    def known_first(document: Mapping[str, Any]) -> tuple[bool, float]:
        energy = document["energy_above_ground_state"]
        return (energy is None, energy or 0.0)

    return rows(sorted(missed, key=known_first), columns)


@question
def composition(store: Store, composition: Name, limit: Limit = 100) -> Rows:
    """What has been found of a composition, in all searches?

    Distinct converged structures, lowest in energy first. ``composition`` is a formula such as
    ``SnSe``, or a chemical system such as ``Sn-Se`` for every formula of just these elements.
    Energies count from the lowest of the same search: compare them within an engine only.
    """
    query: dict[str, Any] = {"parent_kind": "candidate", "duplicate_of": None}
    if "-" in composition:
        elements = sorted({e for part in composition.split("-") for e in _amounts(part)})
        query["elements"] = {"$all": elements, "$size": len(elements)}
    else:
        query["chemical_formula_reduced"] = reduced_formula(composition)
    query[ENERGY] = {"$ne": None}
    columns = ["_id", "search", "engine", *STRUCTURE[1:]]
    return rows(store.find("relaxations", query, columns, LOWEST_FIRST, limit), columns)


@question
def searches_of_composition(store: Store, composition: Name) -> Rows:
    """Which searches were made for a composition?

    Newest first, whatever the order of the elements in their specifications (``SnSe``, ``SeSn``);
    with the number of known structures each started from.
    """
    pipeline: Pipeline = [
        {"$match": {"chemical_formula_reduced": reduced_formula(composition)}},
        {"$group": {"_id": "$search", "known_structures": {"$sum": 1}}},
    ]
    known = {
        found["_id"]: found["known_structures"] for found in store.aggregate("references", pipeline)
    }
    columns = ["_id", "name", "formula", "status", "created_at"]
    searches = store.find(
        "searches",
        {"_id": {"$in": sorted(known)}},
        columns,
        [("created_at", -1), ("_id", 1)],
    )
    return [row | {"known_structures": known[row["_id"]]} for row in rows(searches, columns)]


@question
def compare_searches(store: Store, search: Id, other: Id) -> Rows:
    """What did one search find that another did not?

    One row for each known structure (its id), and for the new structures of each space group: the
    number of distinct ones in both searches and their lowest energies (eV/atom above the lowest
    known structure relaxed with the search's engine); lowest energy first. Space groups are no
    proof that two new structures are the same: look at them with `crysearch show`.
    """

    def of(which: str, value: Any, otherwise: Any) -> dict[str, Any]:
        return {"$cond": [{"$eq": ["$search", which]}, value, otherwise]}

    energy = "$energy_above_reference_ground_state"
    pipeline: Pipeline = [
        {
            "$match": {
                "search": {"$in": [search, other]},
                "parent_kind": "candidate",
                "duplicate_of": None,
                ENERGY: {"$ne": None},
            }
        },
        {
            "$group": {
                "_id": {"known": "$matches", "symbol": "$space_group_after.symbol"},
                "structures": {"$sum": of(search, 1, 0)},
                "structures_other": {"$sum": of(other, 1, 0)},
                "energy": {"$min": of(search, energy, None)},
                "energy_other": {"$min": of(other, energy, None)},
                "lowest": {"$min": energy},
            }
        },
        {"$sort": {"lowest": 1, "_id.known": 1, "_id.symbol": 1}},
        {
            "$project": {
                "_id": 0,
                "known": "$_id.known",
                "symbol": "$_id.symbol",
                "structures": 1,
                "structures_other": 1,
                "energy": 1,
                "energy_other": 1,
            }
        },
    ]
    columns = ["known", "symbol", "structures", "structures_other", "energy", "energy_other"]
    return rows(store.aggregate("relaxations", pipeline), columns)


def reduced_formula(text: str) -> str:
    """Return a formula as documents have it: elements in alphabetical order, ``SeSn``.

    Raises
    ------
    RecordsError
        The text is not a formula.
    """
    reduced = Composition(_amounts(text)).reduced_composition.get_el_amt_dict()
    return "".join(
        f"{element}{amount:g}" if amount != 1 else element
        for element, amount in sorted(reduced.items())
    )


def _amounts(text: str) -> dict[str, float]:
    try:
        amounts = Composition(text).get_el_amt_dict()
    except ValueError:
        amounts = {}
    if not amounts or not all(Element.is_valid_symbol(symbol) for symbol in amounts):
        raise RecordsError(
            f"composition is {text!r}: give a formula such as SnSe, or a chemical system such as "
            "Sn-Se."
        )
    return amounts
