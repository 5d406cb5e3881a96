"""Documents of data sets of reference calculations, and how they are found and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from numpy.typing import ArrayLike
from pymatgen.core import Structure

from crysearch.errors import RecordsError
from crysearch.records.documents import Facts, make_document, one_of, vector
from crysearch.records.meant import only_document
from crysearch.records.schema_datasets import DatasetStatus, Split
from crysearch.records.store import Projection, RecordStore
from crysearch.records.values import (
    deterministic_id,
    in_milliseconds,
    make_provenance,
    structure_document,
    to_binary_array,
)

BATCH = 500


def dataset_id(name: str, search: str | None = None) -> str:
    """The ``_id`` of a data set.

    The method is no part of it: there is one set of a name, and what another method calculated is
    refused instead of making a second one.
    """
    return deterministic_id(search, "dataset", name)


def configuration_id(dataset: str, key: str, search: str | None = None) -> str:
    """The ``_id`` of a configuration; ``key`` is a hash of its geometry and labels."""
    return deterministic_id(search, "configuration", dataset, key)


def dataset_document(
    *,
    name: str,
    method: str,
    seed: int,
    fractions: Mapping[str, float],
    search: str | None = None,
    status: DatasetStatus = "complete",
    group_key: str | None = None,
    limits: Mapping[str, float] | None = None,
    counts: Facts | None = None,
    formulas: Mapping[str, int] | None = None,
    elements: Sequence[str] = (),
    energies: tuple[float, float] | None = None,
    sources: Sequence[Facts] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a data set.

    Parameters
    ----------
    method
        The reference method of every configuration, in words or as an engine and its options.
    seed, fractions
        What the splits were drawn with; the share of each split.
    search
        The ``_id`` of the search that made the set; None for one that was imported.
    group_key
        The key of ``metadata`` whose values are the groups that stay in one split.
    limits
        Of the checks.
    energies
        The lowest and the highest, eV/atom.
    sources
        For each import: file, hash, number of frames, licence.
    """
    fields = {
        "name": name,
        "method": method,
        "status": one_of(DatasetStatus, "status", status),
        "seed": seed,
        "fractions": dict(fractions),
        "group_key": group_key,
        "limits": dict(limits or {}),
        "counts": dict(counts or {}),
        "elements": sorted(elements),
        "formulas": dict(formulas or {}),
        "lowest_energy_per_atom": energies[0] if energies else None,
        "highest_energy_per_atom": energies[1] if energies else None,
        "sources": [dict(source) for source in sources],
    }
    identifier = dataset_id(name, search)
    parents = [] if search is None else [search]
    return make_document(search, identifier, fields, seed, parents, provenance, created_at)


def configuration_document(
    *,
    dataset: str,
    key: str,
    index: int,
    method: str,
    structure: Structure,
    fingerprint: ArrayLike,
    search: str | None = None,
    energy: float | None = None,
    forces: ArrayLike | None = None,
    stress: ArrayLike | None = None,
    max_force: float | None = None,
    net_force: float | None = None,
    max_stress: float | None = None,
    minimum_distance: float | None = None,
    closest_contact: float | None = None,
    group: str | None = None,
    split: Split | None = None,
    flags: Sequence[str] = (),
    findings: Sequence[str] = (),
    source: Facts | None = None,
    metadata: Facts | None = None,
    site_metadata: Facts | None = None,
    parents: Sequence[str] = (),
    provenance: Facts | None = None,
    created_at: datetime | None = None,
) -> dict[str, Any]:
    """Build the document of a configuration.

    Parameters
    ----------
    dataset
        The ``_id`` of its data set.
    index
        Its place in the order of import.
    energy, forces, stress
        eV of the cell; eV/Å, shape (n, 3); eV/Å³, shape (6,).
    source
        File, its hash, the frame in it, its licence.
    parents
        The documents that it was made from, beside the data set.
    """
    fields = {
        **structure_document(structure),
        "dataset": dataset,
        "index": index,
        "key": key,
        "method": method,
        "energy": energy,
        "energy_per_atom": None if energy is None else energy / len(structure),
        "has_forces": forces is not None,
        "forces": None if forces is None else to_binary_array(forces),
        "stress": stress,
        "max_force": max_force,
        "net_force": net_force,
        "max_stress": max_stress,
        "minimum_distance": minimum_distance,
        "closest_contact": closest_contact,
        "fingerprint": vector(fingerprint),
        "group": group,
        "split": None if split is None else one_of(Split, "split", split),
        "flags": list(flags),
        "findings": list(findings),
        "source": dict(source or {}),
        "metadata": dict(metadata or {}),
        "site_metadata": dict(site_metadata or {}),
    }
    identifier = configuration_id(dataset, key, search)
    above = [dataset, *parents]
    return make_document(search, identifier, fields, None, above, provenance, created_at)


def copied_configuration(document: Mapping[str, Any], dataset: str, index: int) -> dict[str, Any]:
    """The document of a configuration in another data set, whose parents say where it is from."""
    provenance = make_provenance(parents=[dataset, document["_id"]])
    return {
        **document,
        "_id": configuration_id(dataset, document["key"]),
        "search": None,
        "dataset": dataset,
        "index": index,
        "created_at": in_milliseconds(datetime.now(UTC)),
        "provenance": provenance,
    }


def datasets(store: RecordStore) -> list[dict[str, Any]]:
    """Return all data sets by name."""
    return store.find("datasets", {}, {"provenance": 0}, [("name", 1), ("_id", 1)])


def resolve_dataset(store: RecordStore, which: str) -> dict[str, Any]:
    """Return the document of the data set that a person means.

    Parameters
    ----------
    which
        Its name, or the beginning of its ``_id``.

    Raises
    ------
    RecordsError
        There is none, or several are meant.
    """
    known = datasets(store)
    if not known:
        raise RecordsError(
            f"There are no data sets in {store.description}: "
            "make one with `crysearch data import FILE --name NAME --method METHOD`."
        )
    meant = [found for found in known if found["name"] == which] or [
        found for found in known if which and found["_id"].startswith(which)
    ]
    return only_document(
        store,
        "datasets",
        meant,
        known,
        several="Several data sets have",
        none="No data set has",
        said=f"the name {which!r} or an id that begins so",
        label=lambda one: one["name"],
        command="crysearch data list",
    )


def configurations(
    store: RecordStore,
    dataset: str,
    query: Mapping[str, Any] | None = None,
    projection: Projection | None = None,
    *,
    batch: int = BATCH,
) -> Iterator[dict[str, Any]]:
    """Go through the configurations of a data set in their order, a batch at a time in memory.

    Parameters
    ----------
    dataset
        Its ``_id``.
    query
        Further conditions.
    projection
        As for `RecordStore.find`; it must keep ``index``.
    """
    last = -1
    while True:
        here = {"dataset": dataset, "index": {"$gt": last}, **(query or {})}
        found = store.find("configurations", here, projection, [("index", 1)], batch)
        yield from found
        if len(found) < batch:
            return
        last = found[-1]["index"]
