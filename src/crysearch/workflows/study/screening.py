"""The random crystals of a study: drawn once, screened by the replicas of every trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crysearch.fingerprints import is_comparable
from crysearch.generative import load_model
from crysearch.records import RecordStore
from crysearch.sampling import create_sampler
from crysearch.screening import SetScreen
from crysearch.study import StudySpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.known_crystals import KnownCrystals
from crysearch.workflows.study.training import replica_points

#: What the crystals that replicas let through are held against.
CONTROLS = ("near a known structure", "not screened")


@dataclass
class _Chosen:
    """What one screen lets through: how many, and the first of them."""

    wanted: int
    near: int = 0
    first: list[str] = field(default_factory=list)

    def take(self, near: np.ndarray) -> np.ndarray:
        """Count the crystals of a batch; places of those that are among the first, (k,)."""
        places = np.flatnonzero(near)
        self.near += len(places)
        return places[: self.wanted - len(self.first)]


def trials_of(
    records: RecordStore, study: StudySpec, fields: list[str] | None = None, **query: Any
) -> list[dict[str, Any]]:
    """The trials of a study in the order of its variants and seeds."""
    here = {"search": study.known.search_id, "study": study.identifier} | query
    order = {variant.name: place for place, variant in enumerate(study.variants)}
    wanted = None if fields is None else list({*fields, "variant", "seed"})
    found = records.find("trials", here, wanted)
    return sorted(found, key=lambda trial: (order[trial["variant"]], trial["seed"]))


def screen_trials(records: RecordStore, study: StudySpec) -> dict[str, Any]:
    """Draw random crystals, count those near the replicas of each trial, and keep the first ones.

    Crystals are drawn batch by batch and forgotten, except those that are to be relaxed, which
    become candidates. As many as of all trials of a variant together are kept of those near a known
    structure, and of all, not screened.
    """
    spec = study.known
    trials = trials_of(records, study, ["model", "blob_id"], status="trained")
    known = KnownCrystals(records, spec)
    size = spec.radial_distribution_function.size
    screen = SetScreen(
        [_replicas(records, study, trial) for trial in trials]
        + [fingerprints_of(known.references, size)],
        spec.screening.threshold,
    )
    chosen = [_Chosen(study.relaxations) for _ in trials]
    controls = [_Chosen(study.relaxations * study.seeds) for _ in CONTROLS]
    for formula_units in spec.formula_units:
        _screen_size(records, study, formula_units, known, screen, [*chosen, *controls])
    crystals = study.crystals * len(spec.formula_units)
    updates: dict[str, dict[str, Any]] = {
        trial["_id"]: {
            "crystals": crystals,
            "near": found.near,
            "chosen": found.first,
            "measures.share_near": found.near / crystals,
        }
        for trial, found in zip(trials, chosen, strict=True)
    }
    records.update("trials", updates)
    return {
        "crystals": crystals,
        "controls": [
            {"name": name, "near": control.near, "chosen": control.first}
            for name, control in zip(CONTROLS, controls, strict=True)
        ],
    }


def _replicas(records: RecordStore, study: StudySpec, trial: dict[str, Any]) -> np.ndarray:
    model = load_model(trial["model"], records.get_blob(trial["blob_id"]))
    replicas = model.decode(replica_points(study.known, model.latent_dimension))
    return replicas[is_comparable(replicas)]


def _screen_size(
    records: RecordStore,
    study: StudySpec,
    formula_units: int,
    known: KnownCrystals,
    screen: SetScreen,
    chosen: list[_Chosen],
) -> None:
    """Draw and screen the crystals of one cell size."""
    spec = study.known
    rdf = spec.radial_distribution_function
    request = spec.crystal_request(formula_units)
    sampler = create_sampler(spec.sampling.sampler, request)
    size = spec.sampling.batch_size
    with progress_bar(f"Screening, {request.formula}", study.crystals, "crystals") as bar:
        for batch, start in enumerate(range(0, study.crystals, size)):
            seed = (spec.seed, formula_units, batch)
            crystals = sampler.sample(min(size, study.crystals - start), seed)
            fingerprints = rdf.compute(
                crystals.lattices,
                crystals.fractional_coordinates,
                [crystals.species[index] for index in crystals.species_index],
            )
            near = np.vstack([screen.near(fingerprints), np.ones(len(crystals), dtype=bool)])
            taken = [one.take(row) for one, row in zip(chosen, near, strict=True)]
            places = np.unique(np.concatenate(taken)).astype(int)
            if len(places):
                result = known.screen.classify(fingerprints[places])
                documents = {
                    int(place): known.document(
                        crystals.select(places),
                        fingerprints[places],
                        result,
                        row,
                        seed=list(seed),
                        formula_units=formula_units,
                        batch=batch,
                        index=int(place),
                        groups=[],
                    )
                    for row, place in enumerate(places)
                }
                records.upsert("candidates", documents.values())
                for one, own in zip(chosen, taken, strict=True):
                    one.first += [documents[int(place)]["_id"] for place in own]
            bar.update(len(crystals))
