"""A data set between its records and the checks: its settings, and facts instead of atoms."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Any

import numpy as np

from crysearch.datasets import (
    SPLITS,
    Facts,
    Limits,
    assign_splits,
    check,
    check_fractions,
    duplicate_pairs,
)
from crysearch.datasets.facts import FAULTS, composition_of
from crysearch.datasets.splits import DEFAULT_FRACTIONS
from crysearch.errors import DatasetError
from crysearch.records import RecordStore, datasets
from crysearch.records.values import from_binary_vector

logger = logging.getLogger(__name__)

NUMBERS = (
    "energy_per_atom",
    "max_force",
    "net_force",
    "max_stress",
    "minimum_distance",
    "closest_contact",
)
_FACTS = (
    *("index", "key", "formula", "fingerprint", "group", "split", "flags", "findings"),
    *("has_forces", "stress", *NUMBERS),
)


@dataclass
class Entry:
    """A configuration of the set, without its atoms."""

    index: int
    facts: Facts
    split: str | None = None
    flags: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def new_or_known_settings(
    known: Mapping[str, Any] | None,
    name: str,
    method: str,
    fractions: Sequence[float] | None,
    seed: int | None,
    group_key: str | None,
    limits: Limits | None,
) -> dict[str, Any]:
    """What holds for the whole set; refuses what would change it."""
    shares = None if fractions is None else check_fractions(fractions)
    given = None if shares is None else dict(zip(SPLITS, shares, strict=True))
    if known is None:
        default = dict(zip(SPLITS, DEFAULT_FRACTIONS, strict=True))
        return {
            "name": name,
            "method": method,
            "seed": 0 if seed is None else seed,
            "fractions": given or default,
            "group_key": group_key,
            "limits": asdict(limits or Limits()),
            "sources": [],
            "created_at": None,
        }
    if method != known["method"]:
        raise DatasetError(
            f"method is {method!r}, and the data set {name!r} has {known['method']!r}: energies of "
            "two methods are not comparable; give another --name for another method"
        )
    asked = {"seed": seed, "fractions": given, "group_key": group_key}
    for option, value in asked.items():
        if value is not None and value != known[option]:
            raise DatasetError(
                f"{option} is {value!r}, and the data set {name!r} has {known[option]!r}: its "
                "splits stay as they are; leave the option out, or give another --name"
            )
    settings = known_settings(known)
    if limits is not None:
        settings["limits"] = asdict(limits)
    return settings


def known_settings(known: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "method", "seed", "fractions", "group_key", "limits", "sources")
    return {name: known[name] for name in (*kept, "created_at")}


def settled(known: Mapping[str, Any]) -> bool:
    """Whether an import into the set has been completed."""
    return known["status"] == "complete" or known["counts"]["configurations"] > 0


def undo_interrupted_import(store: RecordStore, known: Mapping[str, Any] | None) -> None:
    """Remove what an import has written that was not completed.

    Otherwise the splits would depend on where it stopped.
    """
    if known is not None and known["status"] != "complete":
        first = known["counts"]["configurations"]
        query = {"dataset": known["_id"], "index": {"$gte": first}}
        removed = store.delete("configurations", query)
        logger.info("removed %d configurations of an interrupted import", removed)


def read_entries(store: RecordStore, dataset: str) -> list[Entry]:
    return [
        Entry(
            index=found["index"],
            facts=Facts(
                key=found["key"],
                composition=composition_of(found["formula"]),
                **{name: found[name] for name in NUMBERS},
                fingerprint=from_binary_vector(found["fingerprint"]).astype(np.float32),
                faults=tuple(flag for flag in found["flags"] if flag in FAULTS),
                group=found["group"],
                has_forces=found["has_forces"],
                has_stress=found["stress"] is not None,
            ),
            split=found["split"],
            flags=found["flags"],
            findings=found["findings"],
        )
        for found in datasets.configurations(store, dataset, projection=_FACTS)
    ]


def judge(entries: Sequence[Entry], settings: dict[str, Any]) -> list[Entry]:
    """Check and split the set; returns the entries that are not as they were."""
    known = {entry.name for entry in fields(Limits)}
    limits = Limits(**{name: value for name, value in settings["limits"].items() if name in known})
    settings["limits"] = asdict(limits)
    facts = [entry.facts for entry in entries]
    before = [(entry.split, entry.flags, entry.findings) for entry in entries]
    splits = assign_splits(
        facts,
        duplicate_pairs(facts, limits.duplicate_distance),
        seed=settings["seed"],
        fractions=tuple(settings["fractions"][name] for name in SPLITS),
        present=[entry.split for entry in entries],
    )
    for entry, split in zip(entries, splits, strict=True):
        entry.split, entry.flags, entry.findings = split, [], []
    for found in check(facts, limits, [entry.index for entry in entries]):
        entries[found.index].flags.append(found.reason)
        entries[found.index].findings.append(found.detail)
    for entry in entries:
        if entry.split is None:
            entry.flags.append("joins_splits")
            entry.findings.append("it belongs to configurations of two splits, and is in none")
    return [
        entry
        for entry, old in zip(entries, before, strict=True)
        if (entry.split, entry.flags, entry.findings) != old
    ]


def summary_document(
    settings: Mapping[str, Any], entries: Sequence[Entry], status: Any
) -> dict[str, Any]:
    facts = [entry.facts for entry in entries]
    energies = [one.energy_per_atom for one in facts if one.energy_per_atom is not None]
    splits = Counter(entry.split or "none" for entry in entries)
    return datasets.dataset_document(
        **settings,
        status=status,
        counts={
            "configurations": len(entries),
            "atoms": sum(one.nsites for one in facts),
            "with_forces": sum(one.has_forces for one in facts),
            "with_stress": sum(one.has_stress for one in facts),
            "flagged": sum(bool(entry.flags) for entry in entries),
            "by_split": {name: splits[name] for name in (*SPLITS, "none") if splits[name]},
            "by_flag": dict(sorted(Counter(f for e in entries for f in e.flags).items())),
        },
        formulas=dict(Counter(one.formula for one in facts).most_common()),
        elements=sorted({element for one in facts for element in one.composition}),
        energies=(min(energies), max(energies)) if energies else None,
    )


def update_entries(store: RecordStore, dataset: str, entries: Iterable[Entry]) -> None:
    """Write splits and flags of configurations that are in the store."""
    remaining = iter(entries)
    while some := list(islice(remaining, datasets.BATCH)):
        store.update(
            "configurations",
            {
                datasets.configuration_id(dataset, entry.facts.key): {
                    "split": entry.split,
                    "flags": entry.flags,
                    "findings": entry.findings,
                }
                for entry in some
            },
        )


def check_own(known: Mapping[str, Any]) -> None:
    """Refuse to change the data set that a workflow keeps for itself.

    Raises
    ------
    DatasetError
        The set has a search among its sources.
    """
    if any("search" in source for source in known["sources"]):
        raise DatasetError(
            f"data set {known['name']!r} is kept by a workflow, which decides on its splits and "
            "flags: export it (`crysearch data export`) and import the file under another name"
        )
