"""The structures that are relaxed with the reference method at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.active_learning import Scores, find_clusters, rank_clusters
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.potentials import Failure, Prediction
from crysearch.workflows.active_learning.pool import RelaxedCrystal


@dataclass(frozen=True)
class Finalist:
    """A structure of the pool as the ensemble of a cycle relaxed it.

    ``calculated`` tells whether energy (eV/atom) and force (eV/Å), and with them the score, are of
    the reference method; otherwise they are of the last ensemble.
    """

    candidate: str
    cycle: int
    score: float
    energy_per_atom: float
    max_force: float
    calculated: bool


def choose_finalists(
    spec: ActiveLearningSpec,
    cycle: int,
    sound: Sequence[RelaxedCrystal],
    features: NDArray[np.float64],
    scores: Scores,
    documents: Sequence[Mapping[str, Any]],
    predictions: Sequence[Prediction | Failure],
) -> list[dict[str, Any]]:
    """The best of the best clusters among the last pool and all that was calculated before.

    An ensemble trained anew relaxes a crystal to another minimum than the one before: what a
    cycle found and the next ones lost is not forgotten. Crystals as they were drawn are left out.

    Parameters
    ----------
    sound, features, scores
        The pool as it relaxed.
    documents, predictions
        The configurations of the cycles before, and what the last ensemble, by whose features all
        are clustered, says of them.
    """
    found = [
        Finalist(
            crystal.candidate,
            cycle,
            float(scores.scores[place]),
            float(scores.energies[place]),
            float(scores.largest_forces[place]),
            calculated=False,
        )
        for place, crystal in enumerate(sound)
    ]
    rows = [features]
    for document, prediction in zip(documents, predictions, strict=True):
        if document["metadata"]["cycle"] == 0 or not isinstance(prediction, Prediction):
            continue
        lift = spec.force_weight * document["max_force"] / document["nsites"]
        found.append(
            Finalist(
                document["metadata"]["candidate"],
                document["metadata"]["cycle"],
                document["energy_per_atom"] - lift,
                document["energy_per_atom"],
                document["max_force"],
                calculated=True,
            )
        )
        rows.append(prediction.descriptor[None])
    clustering = find_clusters(
        np.concatenate(rows), radius=spec.cluster_radius, neighbours=spec.cluster_neighbours
    )
    keys = [f"{one.candidate}-{one.cycle}" for one in found]
    ranked = rank_clusters(clustering, [one.score for one in found], keys)
    chosen: dict[str, Finalist] = {}
    for cluster in ranked:
        # A relaxation is known by its candidate: each is relaxed from one cycle only.
        best = next((found[p] for p in cluster.members if found[p].candidate not in chosen), None)
        if best is not None:
            chosen[best.candidate] = best
        if len(chosen) == spec.top:
            break
    return [asdict(one) for one in chosen.values()]
