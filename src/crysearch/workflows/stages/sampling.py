"""Random crystals: sampled and screened in a stream, batch by batch."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from crysearch.records import RecordStore, documents
from crysearch.sampling import CrystalBatch, create_sampler
from crysearch.screening import NEAR, QuotaFilling, Screen, ScreeningResult
from crysearch.spec import SearchSpec
from crysearch.workflows.context import (
    crystal_request,
    fingerprints_of,
)
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.generation import sound_references

logger = logging.getLogger("crysearch")

STAGE = "sampling"


def sample_and_screen(records: RecordStore, spec: SearchSpec, formula_units: int) -> dict[str, Any]:
    """Fill the quotas of the groups with random crystals of one cell size.

    Each batch has its own random stream, derived from the seed, the cell size and its number; the
    crystals kept and the batch's counts are written when it is done. Batches that an earlier run
    has finished are counted, not repeated.
    """
    rdf = spec.radial_distribution_function
    references = sound_references(records, spec, ["reference_id", "fingerprint"])
    replicas = records.find(
        "replicas", {"search": spec.search_id}, ["label", "fingerprint"], [("_id", 1)]
    )
    screen = Screen(
        fingerprints_of(references, rdf.size),
        fingerprints_of(replicas, rdf.size),
        spec.screening.threshold,
    )
    filling = QuotaFilling(spec.screening.quotas.model_dump())
    request = crystal_request(spec, formula_units)
    sampler = create_sampler(spec.sampling.sampler, request)
    finished = {
        document["batch"]: document["counts"]
        for document in records.find(
            "batches",
            {"search": spec.search_id, "stage": STAGE, "formula_units": formula_units},
            ["batch", "counts"],
        )
    }
    totals: Counter[str] = Counter()
    wanted = sum(filling.quotas.values())
    title = f"Random crystals, {request.formula}"
    with progress_bar(title, wanted, "kept") as bar:
        batch = 0
        while not filling.full and totals["accepted"] < spec.sampling.maximum_candidates:
            counts = finished.get(batch)
            if counts is None:
                seed = (spec.seed, formula_units, batch)
                crystals = sampler.sample(spec.sampling.batch_size, seed)
                fingerprints = rdf.compute(
                    crystals.lattices,
                    crystals.fractional_coordinates,
                    [crystals.species[index] for index in crystals.species_index],
                )
                result = screen.classify(fingerprints)
                selection = filling.select(result)
                records.upsert(
                    "candidates",
                    [
                        documents.candidate_document(
                            search=spec.search_id,
                            seed=list(seed),
                            formula_units=formula_units,
                            batch=batch,
                            index=index,
                            structure=crystals.structure(index),
                            fingerprint=fingerprints[index],
                            space_group_requested=int(crystals.space_groups[index]),
                            wyckoff=_wyckoff_label(crystals, index),
                            groups=groups,  # type: ignore[arg-type]
                            near=NEAR[result.near[index]],  # type: ignore[arg-type]
                            nearest_reference=_nearest(references, result, index),
                            nearest_replica=_nearest_replica(replicas, result, index),
                        )
                        for index, groups in selection.items()
                    ],
                )
                kept = Counter(group for groups in selection.values() for group in groups)
                document = documents.batch_document(
                    search=spec.search_id,
                    stage=STAGE,
                    formula_units=formula_units,
                    batch=batch,
                    seed=list(seed),
                    sampled=crystals.attempts,
                    accepted=len(crystals),
                    kept=len(selection),
                    kept_by_group=kept,
                    rejected=crystals.rejections,
                    near=result.counts(),
                )
                records.upsert("batches", [document])
                counts = document["counts"]
            else:
                for group, number in counts["kept_by_group"].items():
                    filling.kept[group] += number
            totals.update({key: counts[key] for key in ("sampled", "accepted", "kept")})
            batch += 1
            bar.set_postfix_str(f"of {totals['accepted']:,} crystals", refresh=False)
            bar.update(sum(filling.kept.values()) - bar.n)
    if missing := filling.shortfall():
        logger.warning(
            "%s: %s of the quotas not filled after %s crystals (sampling.maximum_candidates)",
            request.formula,
            ", ".join(f"{number} of group {group}" for group, number in missing.items()),
            f"{totals['accepted']:,}",
        )
    return {**totals, "batches": batch, "kept_by_group": filling.kept, "shortfall": missing}


def _wyckoff_label(crystals: CrystalBatch, index: int) -> str:
    labels = crystals.wyckoff(index)
    return "; ".join(f"{element}: {' '.join(sites)}" for element, sites in labels.items())


def _nearest(
    references: list[dict[str, Any]], result: ScreeningResult, index: int
) -> dict[str, Any] | None:
    if result.nearest_reference[index] < 0:
        return None
    reference = references[result.nearest_reference[index]]
    return {
        "id": reference["_id"],
        "reference_id": reference["reference_id"],
        "distance": float(result.distance_to_reference[index]),
    }


def _nearest_replica(
    replicas: list[dict[str, Any]], result: ScreeningResult, index: int
) -> dict[str, Any] | None:
    if result.nearest_replica[index] < 0:
        return None
    replica = replicas[result.nearest_replica[index]]
    return {
        "id": replica["_id"],
        "label": replica["label"],
        "distance": float(result.distance_to_replica[index]),
    }
