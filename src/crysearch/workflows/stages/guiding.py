"""Group IV: random crystals moved downhill onto known structures or replicas, batch by batch.

As in the sampling of the other groups, a batch has a random stream of its own, and the quota is
filled in the order of the batches, whoever makes them and whenever: `settle_guided` drops what
repeats an earlier crystal, and what is beyond the quota.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from crysearch.guiding import Guide, TargetChoice, without_symmetry
from crysearch.records import RecordStore, batches
from crysearch.sampling import create_sampler
from crysearch.screening import DistinctFingerprints
from crysearch.spec import SearchSpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.pace import Pace
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.known_crystals import KnownCrystals

logger = logging.getLogger("crysearch")

_POLL_SECONDS = 2.0
# Last entry of the seeds of guided crystals, which sets them apart from those of the other groups.
_GROUP = 4


class _Finished:
    """The finished batches of one cell size, with the fingerprints of what reached a target."""

    def __init__(self, records: RecordStore, spec: SearchSpec, formula_units: int) -> None:
        self.records, self.spec = records, spec
        self.here = {"search": spec.search_id, "formula_units": formula_units}
        self.counts: dict[int, dict[str, Any]] = {}
        self.ids: dict[int, str] = {}
        self._fingerprints: dict[int, np.ndarray] = {}

    def read(self) -> None:
        """Learn which batches are finished."""
        query = self.here | {"stage": batches.GUIDING}
        for document in self.records.find("batches", query, ["batch", "counts"]):
            self.counts[document["batch"]] = document["counts"]
            self.ids[document["batch"]] = document["_id"]

    def crystals(self, batch: int) -> list[dict[str, Any]]:
        """The crystals of a batch that reached their targets, in order."""
        query = self.here | {"guided": True, "batch": batch}
        return self.records.find("candidates", query, ["fingerprint", "near"], [("index", 1)])

    def distinct_before(self, batch: int) -> int:
        """Different crystals in the finished batches before one."""
        distinct = DistinctFingerprints(self.spec.guiding.duplicate_distance)
        for number in sorted(self.counts):
            if number < batch:
                if number not in self._fingerprints:
                    found = self.crystals(number)
                    size = self.spec.radial_distribution_function.size
                    self._fingerprints[number] = fingerprints_of(found, size)
                distinct.add(self._fingerprints[number])
        return len(distinct)

    def needs(self, batch: int) -> bool:
        """Whether a batch may be needed to fill the quota, as far as one knows."""
        part = self.spec.guiding
        if batch * part.batch_size >= part.maximum_crystals:
            return False
        return self.distinct_before(batch) < self.spec.screening.quotas.IV

    def unfinished(self, part: int, parts: int) -> Iterator[int]:
        """Numbers of the batches that one of several jobs has still to make, without end."""
        return (n for n in itertools.count(part, parts) if n not in self.counts)


def guide_batches(
    records: RecordStore,
    spec: SearchSpec,
    formula_units: int,
    pace: Pace,
    part: int = 0,
    parts: int = 1,
) -> dict[str, Any]:
    """Guide every ``parts``-th of the unfinished batches, as long as they are needed.

    Returns
    -------
    dict
        ``batches`` and ``reached`` crystals of this job.
    """
    finished = _Finished(records, spec, formula_units)
    finished.read()
    maker = _GuidedBatchMaker(records, spec, formula_units)
    done: Counter[str] = Counter()
    read_at = time.monotonic()
    title = f"Guided crystals, {maker.request.formula}"
    with progress_bar(title, spec.screening.quotas.IV, "kept") as bar:
        for batch in finished.unfinished(part, parts):
            if parts > 1 and time.monotonic() - read_at > _POLL_SECONDS:
                finished.read()
                read_at = time.monotonic()
            if not finished.needs(batch) or not pace.another():
                break
            counts = maker.make(batch)
            finished.counts[batch] = counts
            done.update({"batches": 1, "reached": counts["accepted"]})
            bar.update(min(finished.distinct_before(batch + 1), bar.total) - bar.n)
    return {"batches": done["batches"], "reached": done["reached"]}


def settle_guided(
    records: RecordStore, spec: SearchSpec, formula_units: int
) -> dict[str, Any] | None:
    """Fill the quota in the order of the batches; drop duplicates and what is beyond the quota.

    Returns
    -------
    dict or None
        The summary of the cell size; None while more batches are needed.
    """
    finished = _Finished(records, spec, formula_units)
    finished.read()
    quota, part = spec.screening.quotas.IV, spec.guiding
    distinct = DistinctFingerprints(part.duplicate_distance)
    kept: list[list[dict[str, Any]]] = []
    dropped: list[str] = []
    changes: dict[str, dict[str, Any]] = {}
    while len(distinct) < quota:
        batch = len(kept)
        if batch not in finished.counts:
            if batch * part.batch_size < part.maximum_crystals:
                return None
            break
        found = finished.crystals(batch)
        new = distinct.add(fingerprints_of(found, spec.radial_distribution_function.size))
        room = quota - sum(len(crystals) for crystals in kept)
        keep = [found[i] for i in np.flatnonzero(new)[:room]]
        kept.append(keep)
        ids = {crystal["_id"] for crystal in keep}
        dropped += [crystal["_id"] for crystal in found if crystal["_id"] not in ids]
        counts = finished.counts[batch]
        if "duplicate" not in counts["rejected"]:
            # Else an interrupted run has counted, and perhaps begun to drop them.
            repeated = len(found) - int(new.sum())
            counts = finished.counts[batch] = {
                **counts,
                "rejected": {**counts["rejected"], "duplicate": repeated},
                "kept": len(keep),
                "kept_by_group": {**counts["kept_by_group"], "IV": len(keep)},
            }
        changes[finished.ids[batch]] = {"counts": counts}
    beyond = finished.here | {"batch": {"$gte": len(kept)}}
    records.update("batches", changes)
    records.delete("candidates", {"_id": {"$in": dropped}})
    records.delete("candidates", beyond | {"guided": True})
    records.delete("batches", beyond | {"stage": batches.GUIDING})
    totals: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for batch in range(len(kept)):
        counts = finished.counts[batch]
        totals.update({key: counts[key] for key in ("sampled", "accepted", "kept")})
        lost.update(counts["rejected"])
    if totals["kept"] < quota:
        logger.warning(
            "%s: %d of %d guided crystals found after %s (guiding.maximum_crystals)",
            spec.crystal_request(formula_units).formula,
            totals["kept"],
            quota,
            f"{totals['sampled']:,}",
        )
    near_known = sum(crystal["near"] in ("database", "both") for c in kept for crystal in c)
    return {
        "set_out": totals["sampled"],
        "reached": totals["accepted"],
        "lost": dict(lost),
        "kept": totals["kept"],
        "near_known": near_known,
        "batches": len(kept),
        "shortfall": quota - totals["kept"],
    }


class _GuidedBatchMaker:
    """Draws, guides and writes batches of one cell size."""

    def __init__(self, records: RecordStore, spec: SearchSpec, formula_units: int) -> None:
        self.records, self.spec, self.formula_units = records, spec, formula_units
        self.rdf = spec.radial_distribution_function
        self.known = KnownCrystals(records, spec)
        self.request = spec.crystal_request(formula_units)
        self.sampler = create_sampler(spec.sampling.sampler, self.request)
        self.targets = self._targets()
        self.guide = Guide(
            self.rdf,
            fingerprints_of([document for _, document in self.targets], self.rdf.size),
            self.request,
            spec.guiding_settings,
            self._volumes(),
        )

    def _targets(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and document of each target."""
        wanted = self.spec.guiding.targets
        targets: list[tuple[str, dict[str, Any]]] = []
        if wanted in ("references", "both"):
            targets += [("reference", document) for document in self.known.references]
        if wanted in ("replicas", "both"):
            targets += [("replica", document) for document in self.known.replicas]
        return targets

    def _volumes(self) -> np.ndarray:
        """Å^3 per atom of each target; of a replica, that of the known structure nearest to it."""
        known = {document["_id"]: document["volume_per_atom"] for document in self.known.references}
        ids = [
            document["_id"] if kind == "reference" else document["nearest_reference"]["id"]
            for kind, document in self.targets
        ]
        return np.array([known[key] for key in ids])

    def make(self, batch: int) -> dict[str, Any]:
        """Make a batch, write every crystal that reached its target, return the counts."""
        started = time.perf_counter()
        seed = (self.spec.seed, self.formula_units, batch, _GROUP)
        part = self.spec.guiding
        crystals = self.sampler.sample(part.batch_size, seed)
        if part.symmetry == "dropped":
            crystals = without_symmetry(crystals, part.displacement, seed)
        # Uses are counted within the batch, so that no batch depends on another.
        unused = np.zeros(len(self.targets), dtype=np.int64)
        distances = self.guide.broad_distances(crystals)
        preferences, _ = TargetChoice(part.choice, part.tries).assign(distances, unused)
        guided = self.guide.descend(crystals, preferences)
        rows = np.flatnonzero(guided.reached)
        arrived = guided.crystals.select(rows)
        fingerprints = self.rdf.compute(
            arrived.lattices,
            arrived.fractional_coordinates,
            [arrived.species[index] for index in arrived.species_index],
        )
        result = self.known.screen.classify(fingerprints)
        volumes = crystals.volumes
        written = [
            self.known.document(
                arrived,
                fingerprints,
                result,
                place,
                seed=list(seed),
                formula_units=self.formula_units,
                batch=batch,
                index=int(row),
                groups=["IV"],
                guiding={
                    **self._target_facts(int(guided.target[row])),
                    "distance_before": float(guided.distance_before[row]),
                    "distance_after": float(guided.distance_after[row]),
                    "path_length": float(guided.path_length[row]),
                    "steps": int(guided.steps[row]),
                    "volume_before": float(volumes[row]),
                },
            )
            for place, row in enumerate(rows)
        ]
        # What an interrupted job may have left of this batch.
        place_of_batch = {"search": self.spec.search_id, "formula_units": self.formula_units}
        self.records.delete("candidates", place_of_batch | {"batch": batch, "guided": True})
        self.records.upsert("candidates", written)
        outcomes = guided.counts()
        document = batches.sampling_batch_document(
            stage=batches.GUIDING,
            search=self.spec.search_id,
            formula_units=self.formula_units,
            batch=batch,
            seed=list(seed),
            sampled=len(crystals),
            accepted=outcomes.pop("reached"),
            kept=len(written),
            kept_by_group={"IV": len(written)},
            rejected=outcomes,
            space_groups=crystals.group_record,
            near=result.counts(),
            seconds=time.perf_counter() - started,
        )
        self.records.upsert("batches", [document])
        return document["counts"]

    def _target_facts(self, row: int) -> dict[str, Any]:
        kind, document = self.targets[row]
        label = document["reference_id"] if kind == "reference" else document["label"]
        return {"target_kind": kind, "target_id": document["_id"], "target_label": label}
