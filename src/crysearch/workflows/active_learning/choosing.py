"""What a cycle chooses for reference calculations, and whether the search goes on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from crysearch.active_learning import (
    Cluster,
    Clustering,
    Comparison,
    PotentialEnsemble,
    Scores,
    TopClusters,
    compare,
    find_clusters,
    rank_clusters,
    score,
    select,
)
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import ActiveLearningError
from crysearch.potentials import Prediction, TrainablePotential
from crysearch.potentials.errors import prediction_errors
from crysearch.records import RecordStore, cycles
from crysearch.workflows.active_learning.finalists import choose_finalists
from crysearch.workflows.active_learning.names import TRAINING, stage_name
from crysearch.workflows.active_learning.pool import (
    RelaxedCrystal,
    chosen_structures,
    pool_of,
    potential_blob,
    potential_of,
    relaxed_pool,
)
from crysearch.workflows.active_learning.reference import (
    dataset_of,
    read_configurations,
    settle,
)
from crysearch.workflows.stages.bookkeeping import finished_summary

_ERRORS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")


def choose_first(records: RecordStore, spec: ActiveLearningSpec) -> None:
    """Write the document of cycle 0: the first crystals of the pool, as they were drawn."""
    chosen = [{"candidate": key} for key in pool_of(records, spec)[: spec.first_batch]]
    if not chosen:
        raise ActiveLearningError(
            "pool: no random crystal was made; see search.sampling.maximum_candidates"
        )
    records.upsert("cycles", [_document(spec, 0, configurations=0, chosen=chosen)])


def choose(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, Any]:
    """Score and cluster the relaxed pool, compare with the cycle before, and choose.

    Returns
    -------
    dict
        The ``decision``, and numbers of ``clusters`` and of structures ``chosen``.

    Raises
    ------
    ActiveLearningError
        No crystal of the pool could be relaxed.
    """
    pool = relaxed_pool(records, spec, cycle)
    sound = [crystal for crystal in pool if crystal.structure is not None]
    if not sound:
        reasons = Counter(crystal.reason for crystal in pool)
        raise ActiveLearningError(
            f"pool: none of the {len(pool)} crystals could be relaxed with the ensemble of cycle "
            f"{cycle} ({', '.join(f'{n} {reason}' for reason, n in reasons.most_common())}); give "
            "a larger first_batch or a smaller pool.disagreement_limit"
        )
    potential = potential_of(records, spec, cycle)
    evaluations = [crystal.evaluation for crystal in sound if crystal.evaluation is not None]
    scores = score(evaluations, spec.force_weight)
    features = potential.descriptors([c.structure for c in sound if c.structure is not None])
    clustering = find_clusters(
        features, radius=spec.cluster_radius, neighbours=spec.cluster_neighbours
    )
    ranked = rank_clusters(clustering, scores.scores, [crystal.candidate for crystal in sound])
    top = [cluster.best for cluster in ranked[: spec.top]]
    energies = scores.energies
    comparison = _compare(
        records, spec, cycle, potential, clustering, TopClusters(energies[top], features[top])
    )
    documents, configurations = read_configurations(records, spec, cycle)
    before = potential.evaluate(configurations)
    found = select(
        ranked,
        features,
        clustering.scaler,
        spec.batch,
        # But for crystals that the potential cannot take.
        known=[one.descriptor for one in before if isinstance(one, Prediction)],
        tolerance=spec.known_distance,
    )
    decision = "go_on" if found.chosen else "nothing_new"
    if comparison is not None and comparison.unchanged:
        decision = "unchanged"
    elif cycle >= spec.maximum_cycles:
        decision = "cycle_limit"
    describe = _describer(sound, scores)
    chosen = [
        {**describe(place), "cluster": rank, "round": turn}
        for place, rank, turn in zip(found.chosen, found.clusters, found.rounds, strict=True)
    ]
    training = finished_summary(records, spec.known, stage_name(spec, TRAINING, cycle))
    assert training is not None, "a cycle trains before it chooses"
    document = _document(
        spec,
        cycle,
        configurations=training["configurations"],
        chosen=chosen if decision == "go_on" else [],
        decision=decision,
        seed=training["seed"],
        training={key: value for key, value in training.items() if key != "seconds"},
        blob_id=potential_blob(spec, cycle),
        pool=dict(Counter(crystal.status for crystal in pool)),
        failed=[
            {"candidate": crystal.candidate, "reason": crystal.reason, "detail": crystal.detail}
            for crystal in pool
            if crystal.structure is None
        ],
        lowest_score=float(scores.scores.min()),
        lowest_energy_per_atom=float(scores.energies.min()),
        mean_disagreement=float(scores.force_deviations.mean()),
        cluster_count=len(ranked),
        clusters=[_cluster(rank, cluster, describe) for rank, cluster in enumerate(ranked)],
        top=[describe(place) for place in top],
        finalists=[]
        if decision == "go_on"
        else choose_finalists(spec, cycle, sound, features, scores, documents, before),
        comparison=None if comparison is None else _comparison(comparison),
        parents=[cycles.cycle_id(spec.known.search_id, spec.identifier, cycle - 1)],
        provenance={"ensemble": PotentialEnsemble(potential).provenance},
    )
    records.upsert("cycles", [document])
    return {"decision": decision, "clusters": len(ranked), "chosen": len(document["chosen"])}


def close_cycle(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, Any]:
    """Write what became of the reference calculations of a cycle into its document.

    Returns
    -------
    dict
        ``calculated`` and ``failed`` calculations, and the ``errors`` of the ensemble for them.
    """
    counts = settle(records, spec, cycle)
    errors = None
    if cycle > 0:
        documents, configurations = read_configurations(records, spec, cycle + 1)
        new = [
            one
            for one, document in zip(configurations, documents, strict=True)
            if document["metadata"]["cycle"] == cycle
        ]
        found = prediction_errors(potential_of(records, spec, cycle).evaluate(new), new)
        if found["energy_mae"] is not None:
            errors = {name: found[name] for name in _ERRORS}
    identifier = cycles.cycle_id(spec.known.search_id, spec.identifier, cycle)
    changes = {
        "calculated": counts["calculated"],
        "not_calculated": counts["failed"],
        "errors": errors,
    }
    records.update("cycles", {identifier: changes})
    return {**counts, "errors": errors}


def _compare(
    records: RecordStore,
    spec: ActiveLearningSpec,
    cycle: int,
    potential: TrainablePotential,
    clustering: Clustering,
    top: TopClusters,
) -> Comparison | None:
    """Compare with the best clusters of the cycle before; None for the first trained ensemble."""
    before = records.get(
        "cycles", cycles.cycle_id(spec.known.search_id, spec.identifier, cycle - 1)
    )
    if before is None or not before["top"]:
        return None
    ids = [best["candidate"] for best in before["top"]]
    structures = chosen_structures(records, spec, cycle - 1, ids)
    # Features of another ensemble have another meaning: this one is asked about both.
    features = potential.descriptors(structures)
    energies = np.array([best["energy_per_atom"] for best in before["top"]])
    return compare(
        TopClusters(energies, features),
        top,
        clustering.scaler,
        tolerance=spec.cluster_radius,
        energy_tolerance=spec.energy_tolerance,
    )


def _describer(sound: list[RelaxedCrystal], scores: Scores) -> Any:
    def describe(place: int) -> dict[str, Any]:
        return {
            "candidate": sound[place].candidate,
            "status": sound[place].status,
            "steps": sound[place].steps,
            "score": float(scores.scores[place]),
            "energy_per_atom": float(scores.energies[place]),
            "max_force": float(scores.largest_forces[place]),
            "energy_deviation": float(scores.energy_deviations[place]),
            "force_deviation": float(scores.force_deviations[place]),
        }

    return describe


def _cluster(rank: int, cluster: Cluster, describe: Any) -> dict[str, Any]:
    size = {"rank": rank, "size": len(cluster.members), "outlier": cluster.outlier}
    return {**size, **describe(cluster.best)}


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "unchanged": found.unchanged,
        "paired": len(found.pairs) - found.pairs.count(None),
        "of": len(found.pairs),
        "largest_energy_change": found.largest_energy_change,
    }


def _document(spec: ActiveLearningSpec, cycle: int, **fields: Any) -> dict[str, Any]:
    return cycles.cycle_document(
        search=spec.known.search_id,
        active_learning=spec.identifier,
        cycle=cycle,
        dataset=dataset_of(spec),
        method=spec.method,
        potential=spec.potential.model,
        **fields,
    )
