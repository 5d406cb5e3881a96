"""A new data set of chosen configurations of another one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from crysearch.datasets import SPLITS
from crysearch.datasets.selection import SelectionMethod, SelectionPool, create_method
from crysearch.errors import DatasetError
from crysearch.potentials import Configuration, Failure, TrainablePotential, load_potential
from crysearch.potentials.soap import SoapFeatures
from crysearch.records import RecordStore, datasets, potentials
from crysearch.records.values import from_binary_array
from crysearch.workflows.datasets.entries import known_settings, read_entries, summary_document
from crysearch.workflows.datasets.reading import labelled

logger = logging.getLogger(__name__)

#: What the energies of the atoms are called in extended XYZ files, by ASE too.
ATOMIC_ENERGIES = "energies"
_PLAIN = ("index", "nsites", "energy_per_atom")


def select_dataset(
    store: RecordStore,
    name: str,
    *,
    method: str,
    count: int,
    seed: int = 0,
    into: str | None = None,
    split: str | None = "train",
    potential: str | None = None,
) -> dict[str, Any]:
    """Choose configurations of a data set, and make a new data set of them.

    They keep their labels and their split, and are numbered in the order of choice. Flagged ones
    are not chosen, nor those that lack what the method needs. The same selection again replaces
    the set that it made.

    Parameters
    ----------
    store
    name
        Of the data set to choose from, or the beginning of its ``_id``.
    method
        See `crysearch.datasets.selection.available_methods`.
    count, seed
        How many, and what the choice is drawn with.
    into
        Name of the new set; by default made of all these.
    split
        Choose from this one; None for all.
    potential
        The beginning of the ``_id`` of a potential whose atomic energies, or features, are taken.
        Without one the atomic energies are those of the files (a column ``energies``), and the
        features are SOAP power spectra; both features are means over the atoms.

    Returns
    -------
    dict
        The document of the new data set.

    Raises
    ------
    DatasetError
        The method, the count, the seed or the split is not possible, the set lacks what the method
        needs, or a set of the new name exists that is not of the same selection.
    """
    chosen_method = create_method(method)
    if split is not None and split not in SPLITS:
        raise DatasetError(f"split is {split!r}: choose one of {', '.join(SPLITS)}, all")
    parent = datasets.resolve_dataset(store, name)
    if parent["status"] != "complete":
        raise DatasetError(
            f"an import into the data set {parent['name']!r} was interrupted or goes on: import "
            f"again, or undo it with `crysearch data check {parent['name']}`"
        )
    model, model_id = None, None
    if potential is not None:
        found = potentials.resolve_potential(store, potential)
        model = load_potential(found["model"], potentials.potential_weights(store, found))
        model_id = found["_id"]
    source: dict[str, Any] = {
        "selected_from": parent["name"],
        "dataset": parent["_id"],
        "method": method,
        "count": count,
        "seed": seed,
        "split": split or "all",
    } | ({} if model_id is None else {"potential": model_id})
    new_name = (into or "").strip() or "-".join(
        [parent["name"], method, str(count), f"seed{seed}"]
        + ([] if split == "train" else [split or "all"])
        + ([] if model_id is None else [model_id[:10]])
    )
    new = datasets.dataset_id(new_name)
    present = store.get("datasets", new)
    if present is not None and [_without_counts(one) for one in present["sources"]] != [source]:
        raise DatasetError(
            f"into is {new_name!r}, a data set that is there and not of this selection: give "
            "another --into"
        )
    query: dict[str, Any] = {"flags": []} | ({} if split is None else {"split": split})
    gathered = _Gathered(chosen_method, model, parent["elements"])
    gathered.read(datasets.configurations(store, parent["_id"], query, gathered.projection))
    pool = gathered.pool(parent["name"])
    chosen = [gathered.indices[place] for place in chosen_method.select(pool, count, seed)]
    settings = known_settings(parent) | {
        "name": new_name,
        "created_at": None if present is None else present["created_at"],
        "sources": [source | {"pool": len(pool), "left_out": gathered.left_out}],
        "provenance": {"parents": [parent["_id"]]},
    }
    store.ensure_indexes()
    store.upsert("datasets", [summary_document(settings, [], "importing")])
    store.delete("configurations", {"dataset": new})
    order = {index: place for place, index in enumerate(chosen)}
    remaining = iter(chosen)
    while some := list(islice(remaining, datasets.BATCH)):
        here = {"dataset": parent["_id"], "index": {"$in": some}}
        documents = store.find("configurations", here)
        store.upsert(
            "configurations",
            [datasets.copied_configuration(one, new, order[one["index"]]) for one in documents],
        )
    document = summary_document(settings, read_entries(store, new), "complete")
    store.upsert("datasets", [document])
    return document


def _without_counts(source: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key not in ("pool", "left_out")}


@dataclass
class _Gathered:
    """What a method needs of the configurations of a data set, read in bounded memory."""

    method: SelectionMethod
    model: TrainablePotential | None
    elements: Sequence[str]
    indices: list[int] = field(default_factory=list)
    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    left_out: int = 0

    @property
    def projection(self) -> list[str] | None:
        """The fields of a document that are read; None for all."""
        needs = self.method.needs
        if needs == "atomic_energies" and self.model is None:
            return [*_PLAIN, "structure.sites", "site_metadata"]
        if needs == "forces":
            return [*_PLAIN, "structure.sites", "forces"]
        return None if needs in ("atomic_energies", "features") else list(_PLAIN)

    def read(self, documents: Iterator[dict[str, Any]]) -> None:
        """Take what the documents have."""
        while some := list(islice(documents, datasets.BATCH)):
            for document, value in zip(some, self._values(some), strict=True):
                if value is None or not np.isfinite(value).all():
                    self.left_out += 1
                    continue
                self.indices.append(document["index"])
                self.values.append(value)
                self.numbers.append(_numbers(document))
        if self.left_out:
            logger.info("%d configurations lack what the method needs", self.left_out)

    def _values(self, documents: list[dict[str, Any]]) -> list[NDArray[np.float64] | None]:
        needs = self.method.needs
        if needs is None:
            return [np.empty(0)] * len(documents)
        if needs == "energies_per_atom":
            found = [document["energy_per_atom"] for document in documents]
            return [None if value is None else np.array([value]) for value in found]
        if needs == "forces":
            return [
                None
                if document["forces"] is None
                else from_binary_array(document["forces"], (document["nsites"], 3))
                for document in documents
            ]
        if needs == "atomic_energies" and self.model is None:
            return [_stored(document) for document in documents]
        crystals = [_configuration(document) for document in documents]
        if self.model is None:
            return _mean_power_spectra(crystals, self.elements)
        results = self.model.evaluate(crystals)
        if needs == "atomic_energies":
            return [None if isinstance(r, Failure) else r.atomic_energies for r in results]
        return [
            None if isinstance(r, Failure) else r.descriptor / len(c)
            for r, c in zip(results, crystals, strict=True)
        ]

    def pool(self, name: str) -> SelectionPool:
        """The pool of what was read."""
        needs = self.method.needs
        if not self.values:
            ways = {
                "energies_per_atom": "calculate energies first",
                "forces": "choose another --method, or import forces",
                "atomic_energies": f"import them as a column {ATOMIC_ENERGIES!r}, or give "
                "--potential ID, whose atomic energies are taken",
                "features": "give a --potential of these elements, or another --method",
            }
            raise DatasetError(
                f"no configuration of {name!r} is there to choose from by {self.method.name!r} "
                f"({self.left_out} lack {(needs or 'nothing').replace('_', ' ')}): "
                + ways.get(
                    needs or "", f"see `crysearch data show {name}`, or give another --split"
                )
            )
        counts = np.array([len(numbers) for numbers in self.numbers], np.int64)
        together = None
        if needs is not None:
            stacked = np.stack if needs == "features" else np.concatenate
            together = stacked(self.values)
        given = {} if needs is None else {needs: together}
        return SelectionPool(counts, np.concatenate(self.numbers), **given)


def _numbers(document: dict[str, Any]) -> NDArray[np.int64]:
    if "structure" not in document:
        return np.ones(document["nsites"], np.int64)  # of no interest to the method
    sites = document["structure"]["sites"]
    return np.array([atomic_numbers[site["species"][0]["element"]] for site in sites], np.int64)


def _stored(document: dict[str, Any]) -> NDArray[np.float64] | None:
    values = document["site_metadata"].get(ATOMIC_ENERGIES)
    if values is None or np.shape(values) != (document["nsites"],):
        return None
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _configuration(document: dict[str, Any]) -> Configuration:
    frame = labelled(document)
    return Configuration(frame.numbers.astype(np.int64), frame.cell, frame.positions)


def _mean_power_spectra(
    crystals: Sequence[Configuration], elements: Sequence[str]
) -> list[NDArray[np.float64] | None]:
    found: list[NDArray[np.float64] | None] = []
    soap = SoapFeatures(tuple(elements), radial=6, angular=4)
    for crystal in crystals:
        environments = soap.compute([crystal])
        sound = len(environments.paired.sound) > 0
        found.append(environments.features.mean(axis=0) if sound else None)
    return found
