"""What the crystals of a search are compared with: its references and its replicas."""

from __future__ import annotations

from typing import Any

import numpy as np

from crysearch.records import RecordStore, documents
from crysearch.sampling import CrystalBatch
from crysearch.screening import NEAR, Screen, ScreeningResult
from crysearch.spec import SearchSpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.stages.generation import sound_references


class KnownCrystals:
    """The references and the replicas of a search, and the screen made of them."""

    def __init__(self, records: RecordStore, spec: SearchSpec) -> None:
        self.search = spec.search_id
        size = spec.radial_distribution_function.size
        self.references = sound_references(
            records, spec, ["reference_id", "fingerprint", "volume_per_atom"]
        )
        self.replicas = records.find(
            "replicas",
            {"search": spec.search_id},
            ["label", "fingerprint", "nearest_reference"],
            [("_id", 1)],
        )
        self.screen = Screen(
            fingerprints_of(self.references, size),
            fingerprints_of(self.replicas, size),
            spec.screening.threshold,
        )

    def document(
        self,
        crystals: CrystalBatch,
        fingerprints: np.ndarray,
        result: ScreeningResult,
        place: int,
        **fields: Any,
    ) -> dict[str, Any]:
        """The document of a crystal at a place of a batch, compared with what is known.

        ``fields`` are those of :func:`crysearch.records.documents.candidate_document` that do not
        follow from the crystal: its seed, batch, index, formula units and groups.
        """
        return documents.candidate_document(
            search=self.search,
            structure=crystals.structure(place),
            fingerprint=fingerprints[place],
            space_group_requested=int(crystals.space_groups[place]),
            wyckoff=_wyckoff_label(crystals, place),
            near=NEAR[result.near[place]],  # type: ignore[arg-type]
            nearest_reference=self._nearest_reference(result, place),
            nearest_replica=self._nearest_replica(result, place),
            **fields,
        )

    def _nearest_reference(self, result: ScreeningResult, index: int) -> dict[str, Any] | None:
        """The known structure nearest to a crystal, for its document."""
        if result.nearest_reference[index] < 0:
            return None
        reference = self.references[result.nearest_reference[index]]
        return {
            "id": reference["_id"],
            "reference_id": reference["reference_id"],
            "distance": float(result.distance_to_reference[index]),
        }

    def _nearest_replica(self, result: ScreeningResult, index: int) -> dict[str, Any] | None:
        """The replica nearest to a crystal, for its document."""
        if result.nearest_replica[index] < 0:
            return None
        replica = self.replicas[result.nearest_replica[index]]
        return {
            "id": replica["_id"],
            "label": replica["label"],
            "distance": float(result.distance_to_replica[index]),
        }


def _wyckoff_label(crystals: CrystalBatch, index: int) -> str:
    """Occupied Wyckoff positions of a crystal, such as ``Si: 4a 4b``."""
    labels = crystals.wyckoff(index)
    return "; ".join(f"{element}: {' '.join(sites)}" for element, sites in labels.items())
