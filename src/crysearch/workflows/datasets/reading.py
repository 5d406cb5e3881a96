"""Data sets out of the records: to train on, to check again, or as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from crysearch.datasets import SPLITS, Keys, LabelledStructure, Limits, write_extxyz
from crysearch.errors import DatasetError
from crysearch.records import RecordStore, datasets
from crysearch.records.values import from_binary_array, structure_from_document
from crysearch.workflows.datasets.entries import (
    check_own,
    judge,
    known_settings,
    read_entries,
    summary_document,
    undo_interrupted_import,
    update_entries,
)


def check_dataset(
    store: RecordStore, name: str, limits: Limits | None = None
) -> tuple[dict[str, Any], list[tuple[int, str, str]]]:
    """Check a data set again, and write the flags; an interrupted import is undone.

    Parameters
    ----------
    limits
        By default those of the set; they become those of the set.

    Returns
    -------
    dict
        The document of the data set, as it is now.
    list of tuple
        Index of a configuration, reason and detail of each finding.
    """
    known = datasets.resolve_dataset(store, name)
    check_own(known)
    settings = known_settings(known)
    if limits is not None:
        settings["limits"] = asdict(limits)
    undo_interrupted_import(store, known)
    entries = read_entries(store, known["_id"])
    update_entries(store, known["_id"], judge(entries, settings))
    document = summary_document(settings, entries, "complete")
    store.upsert("datasets", [document])
    findings = [
        (entry.index, reason, detail)
        for entry in entries
        for reason, detail in zip(entry.flags, entry.findings, strict=True)
    ]
    return document, findings


def read_dataset(
    store: RecordStore, name: str, split: str | None = None, *, flagged: bool = False
) -> Iterator[LabelledStructure]:
    """Go through the configurations of a data set in their order, in bounded memory.

    Parameters
    ----------
    name
        Of the set, or the beginning of its ``_id``.
    split
        ``train``, ``validation`` or ``test``; None for all.
    flagged
        Also those that a check has flagged.

    Raises
    ------
    DatasetError
        There is no such split, or an import was interrupted.
    """
    if split is not None and split not in SPLITS:
        raise DatasetError(f"split is {split!r}: choose one of {', '.join(SPLITS)}")
    found = datasets.resolve_dataset(store, name)
    if found["status"] != "complete":
        raise DatasetError(
            f"an import into the data set {name!r} was interrupted or goes on: import again, or "
            f"undo it with `crysearch data check {name}`"
        )
    query: dict[str, Any] = {} if split is None else {"split": split}
    if not flagged:
        query["flags"] = []
    return map(labelled, datasets.configurations(store, found["_id"], query))


def export_dataset(
    store: RecordStore,
    name: str,
    path: Path,
    split: str | None = None,
    *,
    flagged: bool = False,
    overwrite: bool = False,
) -> int:
    """Write configurations of a data set as extended XYZ; returns their number.

    Every frame has the method of the set as its key ``method``.

    Raises
    ------
    DatasetError
        The file exists or cannot be written; no configuration is chosen.
    """
    suffixes = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffixes.removesuffix(".gz") not in (".extxyz", ".xyz"):
        raise DatasetError(f"{path}: give a name that ends in .extxyz or .extxyz.gz")
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists already: give --overwrite or another name")
    method = datasets.resolve_dataset(store, name)["method"]
    frames = read_dataset(store, name, split, flagged=flagged)
    first = next(frames, None)
    if first is None:
        raise DatasetError(
            f"no configuration of {name!r} is chosen: `crysearch data show {name}` shows how many "
            "there are in each split, and how many are flagged"
        )
    chosen = chain([first], frames)
    key = Keys().method
    return write_extxyz(
        path, (replace(frame, metadata={**frame.metadata, key: method}) for frame in chosen)
    )


def labelled(document: Mapping[str, Any]) -> LabelledStructure:
    """The labelled crystal in the document of a configuration."""
    forces, stress = document["forces"], document["stress"]
    return LabelledStructure.from_structure(
        structure_from_document(document),
        energy=document["energy"],
        forces=None if forces is None else from_binary_array(forces, (document["nsites"], 3)),
        stress=None if stress is None else np.array(stress, dtype=np.float64),
        metadata=document["metadata"],
        site_metadata=document["site_metadata"],
    )
