"""Random crystals: sampled and screened batch by batch, by any number of jobs at once.

The crystals of a cell size are one stream of batches, each with its own random stream, derived from
the seed, the cell size and the batch's number. The quotas are filled in the order of the stream,
whoever makes the batches and whenever: a job keeps what may be needed, given the batches it knows
to be finished, and `settle` removes what turns out not to be.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from crysearch.records import RecordStore, batches
from crysearch.sampling import create_sampler
from crysearch.screening import QuotaFilling
from crysearch.spec import SearchSpec
from crysearch.workflows.pace import Pace
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.known_crystals import KnownCrystals

logger = logging.getLogger("crysearch")

Counts = Mapping[str, Any]
_POLL_SECONDS = 2.0
# Jobs stop when the batches begun should fill the quotas with this to spare.
_SPARE = 1.1


class Stream:
    """The batches of one cell size, some of them finished, and how they fill the quotas."""

    def __init__(self, spec: SearchSpec, formula_units: int) -> None:
        self.spec, self.formula_units = spec, formula_units
        # Group IV, the guided crystals, is filled by a stage of its own.
        self.quotas = QuotaFilling(spec.screening.quotas.model_dump(exclude={"IV"})).quotas
        self._finished: dict[int, Counts] = {}
        # Crystals for each group in the first 0, 1, 2, … batches, as far as there is no gap.
        self._sums: list[Counter[str]] = [Counter()]

    def read(self, records: RecordStore) -> None:
        """Learn which batches are finished."""
        query = {
            "search": self.spec.search_id,
            "stage": batches.SAMPLING,
            "formula_units": self.formula_units,
        }
        for document in records.find("batches", query, ["batch", "counts"]):
            self.add(document["batch"], document["counts"])

    def add(self, batch: int, counts: Counts) -> None:
        """Take note of a finished batch."""
        self._finished[batch] = counts
        while len(self._sums) - 1 in self._finished:
            number = len(self._sums) - 1
            self._sums.append(self._sums[-1] + Counter(self.available(number)))

    def counts(self, batch: int) -> Counts:
        """What became of the crystals of a finished batch."""
        return self._finished[batch]

    def available(self, batch: int) -> dict[str, int]:
        """Crystals of a finished batch that are eligible for each group."""
        counts = self._finished[batch]
        near = counts["near"]
        return {
            "I": near["database"] + near["both"],
            "II": near["replicas"] + near["both"],
            "III": counts["accepted"],
        }

    def end(self) -> int | None:
        """The number of batches that the quotas need, or None while that is not known."""
        for number, totals in enumerate(self._sums):
            if self._enough(totals):
                return number
        return None

    def filling_before(self, batch: int | None) -> QuotaFilling:
        """The quotas as filled by the finished batches before one; by all of them, for None."""
        totals, _ = self._before(batch)
        filling = QuotaFilling(self.quotas)
        filling.kept = {group: min(totals[group], quota) for group, quota in self.quotas.items()}
        return filling

    def accepted(self) -> int:
        """Crystals in the finished batches."""
        return self._before(None)[0]["III"]

    def needs(self, batch: int) -> bool:
        """Whether a batch may be needed, as far as one knows or can expect.

        Batches that are not finished are expected to yield what the finished ones do.
        """
        totals, known = self._before(batch)
        if self._enough(totals):
            return False
        if known == batch or not known:
            return True
        scale = batch / known / _SPARE
        return not self._enough({group: scale * number for group, number in totals.items()})

    def unfinished(self, part: int, parts: int) -> Iterator[int]:
        """Numbers of the batches that one of several jobs has still to make, without end."""
        return (n for n in itertools.count(part, parts) if n not in self._finished)

    def _before(self, batch: int | None) -> tuple[Counter[str], int]:
        """Crystals for each group in the finished batches before one, and the number of those."""
        without_gap = len(self._sums) - 1
        if batch is not None and batch <= without_gap:
            return self._sums[batch], batch
        totals, known = Counter(self._sums[-1]), without_gap
        for number in self._finished:
            if number >= without_gap and (batch is None or number < batch):
                totals.update(self.available(number))
                known += 1
        return totals, known

    def _enough(self, totals: Mapping[str, float]) -> bool:
        if totals.get("III", 0) >= self.spec.sampling.maximum_candidates:
            return True
        return all(totals.get(group, 0) >= quota for group, quota in self.quotas.items())


def sample_batches(
    records: RecordStore,
    spec: SearchSpec,
    formula_units: int,
    pace: Pace,
    part: int = 0,
    parts: int = 1,
) -> dict[str, Any]:
    """Sample and screen every ``parts``-th of the unfinished batches, as long as they are needed.

    The crystals kept and the batch's counts are written when a batch is done.

    Returns
    -------
    dict
        ``batches`` and ``accepted`` crystals of this job.
    """
    stream = Stream(spec, formula_units)
    stream.read(records)
    maker = _BatchMaker(records, spec, formula_units)
    done: Counter[str] = Counter()
    read_at = time.monotonic()
    title = f"Random crystals, {maker.request.formula}"
    with progress_bar(title, sum(stream.quotas.values()), "kept") as bar:
        bar.update(sum(stream.filling_before(None).kept.values()))
        for batch in stream.unfinished(part, parts):
            if parts > 1 and time.monotonic() - read_at > _POLL_SECONDS:
                stream.read(records)
                read_at = time.monotonic()
            if not stream.needs(batch) or not pace.another():
                break
            counts = maker.make(batch, stream.filling_before(batch))
            stream.add(batch, counts)
            done.update({"batches": 1, "accepted": counts["accepted"]})
            bar.set_postfix_str(f"of {stream.accepted():,} crystals", refresh=False)
            bar.update(sum(stream.filling_before(None).kept.values()) - bar.n)
    return {"batches": done["batches"], "accepted": done["accepted"]}


def settle(records: RecordStore, spec: SearchSpec, formula_units: int) -> dict[str, Any] | None:
    """Fill the quotas in the order of the stream, and remove what is beyond them.

    Returns
    -------
    dict or None
        The summary of the cell size; None while more batches are needed.
    """
    stream = Stream(spec, formula_units)
    stream.read(records)
    end = stream.end()
    if end is None:
        return None
    here = {"search": spec.search_id, "formula_units": formula_units}
    beyond = here | {"batch": {"$gte": end}}
    records.delete("candidates", beyond | {"guided": False})
    records.delete("batches", beyond | {"stage": batches.SAMPLING})
    filling = QuotaFilling(stream.quotas)
    totals: Counter[str] = Counter()
    for batch in range(end):
        counts = stream.counts(batch)
        kept = {
            group: min(number, max(0, stream.quotas[group] - filling.kept[group]))
            for group, number in stream.available(batch).items()
        }
        if kept != {group: counts["kept_by_group"][group] for group in kept}:
            counts = _trim(records, here | {"batch": batch}, counts, kept)
        for group, number in kept.items():
            filling.kept[group] += number
        totals.update({key: counts[key] for key in ("sampled", "accepted", "kept")})
    missing = filling.shortfall()
    if missing:
        logger.warning(
            "%s: %s of the quotas not filled after %s crystals (sampling.maximum_candidates)",
            spec.crystal_request(formula_units).formula,
            ", ".join(f"{number} of group {group}" for group, number in missing.items()),
            f"{totals['accepted']:,}",
        )
    return {**totals, "batches": end, "kept_by_group": filling.kept, "shortfall": missing}


def _trim(
    records: RecordStore, here: dict[str, Any], counts: Counts, kept: dict[str, int]
) -> Counts:
    """Keep only the first so many crystals of each group of a batch."""
    drawn = here | {"guided": False}
    candidates = records.find("candidates", drawn, ["groups", "index"], [("index", 1)])
    left = dict(kept)
    changes: dict[str, dict[str, Any]] = {}
    dropped: list[str] = []
    for candidate in candidates:
        groups = [group for group in candidate["groups"] if left[group] > 0]
        for group in groups:
            left[group] -= 1
        if not groups:
            dropped.append(candidate["_id"])
        elif groups != candidate["groups"]:
            changes[candidate["_id"]] = {"groups": groups}
    if dropped:
        records.delete("candidates", {"_id": {"$in": dropped}})
    records.update("candidates", changes)
    counts = {
        **counts,
        "kept": len(candidates) - len(dropped),
        "kept_by_group": {**counts["kept_by_group"], **kept},
    }
    batch = records.find_one("batches", here | {"stage": batches.SAMPLING}, ["_id"])
    assert batch is not None
    records.update("batches", {batch["_id"]: {"counts": counts}})
    return counts


class _BatchMaker:
    """Samples, screens and writes batches of one cell size."""

    def __init__(self, records: RecordStore, spec: SearchSpec, formula_units: int) -> None:
        self.records, self.spec, self.formula_units = records, spec, formula_units
        self.rdf = spec.radial_distribution_function
        self.known = KnownCrystals(records, spec)
        self.request = spec.crystal_request(formula_units)
        self.sampler = create_sampler(spec.sampling.sampler, self.request)

    def make(self, batch: int, filling: QuotaFilling) -> Counts:
        """Make a batch, write the crystals that the quotas have room for, return its counts."""
        started = time.perf_counter()
        seed = (self.spec.seed, self.formula_units, batch)
        crystals = self.sampler.sample(self.spec.sampling.batch_size, seed)
        fingerprints = self.rdf.compute(
            crystals.lattices,
            crystals.fractional_coordinates,
            [crystals.species[index] for index in crystals.species_index],
        )
        result = self.known.screen.classify(fingerprints)
        selection = filling.select(result)
        kept = [
            self.known.document(
                crystals,
                fingerprints,
                result,
                index,
                seed=list(seed),
                formula_units=self.formula_units,
                batch=batch,
                index=index,
                groups=groups,
            )
            for index, groups in selection.items()
        ]
        # What an interrupted job may have left of this batch, perhaps more than is kept now.
        place = {"search": self.spec.search_id, "formula_units": self.formula_units, "batch": batch}
        self.records.delete("candidates", place | {"guided": False})
        self.records.upsert("candidates", kept)
        document = batches.sampling_batch_document(
            search=self.spec.search_id,
            formula_units=self.formula_units,
            batch=batch,
            seed=list(seed),
            sampled=crystals.attempts,
            accepted=len(crystals),
            kept=len(selection),
            kept_by_group=Counter(group for groups in selection.values() for group in groups),
            rejected=crystals.rejections,
            space_groups=crystals.group_record,
            near=result.counts(),
            seconds=time.perf_counter() - started,
        )
        self.records.upsert("batches", [document])
        return document["counts"]
