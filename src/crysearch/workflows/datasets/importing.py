"""Import of files into a data set.

The files are read twice: once for what the checks and the splits need (a few hundred bytes of each
configuration), and, when everything is in order, once more to write documents in batches. So
nothing is written if a frame cannot be read, and memory does not grow with the atoms.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from crysearch.datasets import Keys, LabelledStructure, Limits, facts_of, read_extxyz
from crysearch.datasets.files import file_hash
from crysearch.errors import DatasetError
from crysearch.records import RecordStore, datasets
from crysearch.workflows.datasets.entries import (
    NUMBERS,
    Entry,
    check_own,
    judge,
    new_or_known_settings,
    read_entries,
    settled,
    summary_document,
    undo_interrupted_import,
    update_entries,
)

if TYPE_CHECKING:
    from crysearch.records.schema_datasets import Split

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes
    ----------
    dataset : dict
        The document of the data set, as it is now.
    frames : int
        Frames read.
    added, replaced : int
        Configurations that are new, and that were there already.
    repeated : int
        Frames with the geometry and labels of an earlier frame of the same import.
    """

    dataset: dict[str, Any]
    frames: int
    added: int
    replaced: int
    repeated: int


def import_files(
    store: RecordStore,
    paths: Sequence[Path],
    *,
    name: str,
    method: str,
    licence: str | None = None,
    fractions: Sequence[float] | None = None,
    seed: int | None = None,
    group_key: str | None = None,
    keys: Keys | None = None,
    limits: Limits | None = None,
) -> Imported:
    """Read extended XYZ files into a data set, new or not.

    A configuration is identified by its geometry and labels: importing it again replaces it and
    keeps its place and split. Suspicious configurations are flagged and kept. What an interrupted
    import has written is removed by the next.

    Parameters
    ----------
    method
        The reference method of every frame.
    licence
        Of the files.
    fractions, seed
        Of the splits; by default those of the set, or 0.8, 0.1, 0.1 and 0 for a new one.
    group_key
        A key of the frames; those with one value stay in one split.
    keys
        What the labels are called in the files.
    limits
        Of the checks, by default those of the set.

    Raises
    ------
    DatasetError
        A file or frame cannot be read, no frame has an energy, a frame or the set has another
        method, or the splits of the set were made differently. Nothing has been written then.
    """
    name, method = name.strip(), " ".join(method.split())
    for option, value in (("name", name), ("method", method)):
        if not value:
            raise DatasetError(f"{option} is empty: give the {option} of the data set")
    if not paths:
        raise DatasetError("no files are given: name at least one")
    keys = keys or Keys()
    found = store.get("datasets", datasets.dataset_id(name))
    if found is not None:
        check_own(found)
    # Where the first import was interrupted, nothing is settled.
    known = found if found is not None and settled(found) else None
    settings = new_or_known_settings(known, name, method, fractions, seed, group_key, limits)
    dataset = datasets.dataset_id(name)
    undo_interrupted_import(store, found)
    entries = read_entries(store, dataset)
    before = summary_document(settings, entries, "importing")
    present = {entry.facts.key: entry for entry in entries}
    by_key = dict(present)
    read: set[str] = set()
    sources = {source["sha256"]: source for source in settings["sources"]}
    hashes = {}
    frames = 0
    for path in paths:
        hashes[path] = file_hash(path)
        count = 0
        for frame, group in _labelled(path, settings, keys):
            count += 1
            facts = facts_of(frame, group)
            read.add(facts.key)
            if facts.key in by_key:
                by_key[facts.key].facts = facts
                continue
            by_key[facts.key] = Entry(entries[-1].index + 1 if entries else 0, facts)
            entries.append(by_key[facts.key])
        here = {"file": path.name, "sha256": hashes[path], "licence": licence}
        sources[hashes[path]] = here | {"frames": count}
        frames += count
        logger.info("%s: %d frames", path, count)
    settings["sources"] = list(sources.values())
    changed = judge(entries, settings)
    store.ensure_indexes()
    store.upsert("datasets", [before])
    written: set[str] = set()
    batch: list[dict[str, Any]] = []
    for path in paths:
        source = {"file": path.name, "sha256": hashes[path], "licence": licence}
        for number, (frame, _) in enumerate(_labelled(path, settings, keys)):
            key = frame.key
            if key not in read:
                raise DatasetError(f"{path}: has changed while it was read; import it again")
            if key in written:
                continue
            written.add(key)
            batch.append(_configuration(settings, by_key[key], frame, source | {"frame": number}))
            if len(batch) == datasets.BATCH:
                store.upsert("configurations", batch)
                batch = []
    if written != read:
        raise DatasetError(f"{paths[-1]}: has changed while it was read; import it again")
    store.upsert("configurations", batch)
    update_entries(store, dataset, [entry for entry in changed if entry.facts.key not in written])
    document = summary_document(settings, entries, "complete")
    store.upsert("datasets", [document])
    replaced = len(read & present.keys())
    return Imported(document, frames, len(read) - replaced, replaced, frames - len(read))


def _labelled(
    path: Path, settings: Mapping[str, Any], keys: Keys
) -> Iterator[tuple[LabelledStructure, str | None]]:
    """Each frame of a file, without the name of its method, and its group."""
    group_key, names = settings["group_key"], set[str]()
    count = with_energy = with_group = 0
    for frame in read_extxyz(path, keys):
        names.update(frame.metadata)
        metadata = dict(frame.metadata)
        method = metadata.pop(keys.method, None)
        if method is not None and " ".join(str(method).split()) != settings["method"]:
            raise DatasetError(
                f"{path}: frame {count} has {keys.method} {str(method)!r}, and the data set has "
                f"{settings['method']!r}: energies of two methods are not comparable; put each "
                "method into a set of its own"
            )
        group = None if group_key is None else metadata.get(group_key)
        count += 1
        with_energy += frame.energy is not None
        with_group += group is not None
        yield replace(frame, metadata=metadata), None if group is None else str(group)
    there = ", ".join(sorted(names)) or "none"
    if not count:
        raise DatasetError(f"{path}: holds no frame; give an extended XYZ file")
    if not with_energy:
        raise DatasetError(
            f"{path}: no frame has the energy {keys.energy!r}: say what it is called with "
            f"--energy-key (other keys: {there})"
        )
    if group_key is not None and not with_group:
        raise DatasetError(f"{path}: no frame has the group key {group_key!r} (keys: {there})")


def _configuration(
    settings: Mapping[str, Any],
    entry: Entry,
    frame: LabelledStructure,
    source: Mapping[str, Any],
) -> dict[str, Any]:
    facts = entry.facts
    return datasets.configuration_document(
        dataset=datasets.dataset_id(settings["name"]),
        key=facts.key,
        index=entry.index,
        method=settings["method"],
        structure=frame.to_structure(),
        energy=frame.energy,
        forces=frame.forces,
        stress=frame.stress,
        **{name: getattr(facts, name) for name in NUMBERS if name != "energy_per_atom"},
        fingerprint=facts.fingerprint,
        group=facts.group,
        split=cast("Split | None", entry.split),
        flags=entry.flags,
        findings=entry.findings,
        source=source,
        metadata=frame.metadata,
        site_metadata=frame.site_metadata,
    )
