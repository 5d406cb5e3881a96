"""What figures and tables of an active learning show, gathered from its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from crysearch.active_learning import (
    Clustering,
    PoolMap,
    Predictions,
    find_clusters,
    principal_plane,
)
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import ActiveLearningError
from crysearch.potentials import Configuration, Prediction, TrainablePotential
from crysearch.records import RecordStore
from crysearch.workflows.active_learning.finishing import cycles_of, starts_of
from crysearch.workflows.active_learning.pool import potential_of, relaxed_pool
from crysearch.workflows.active_learning.reference import read_configurations


@dataclass(frozen=True, eq=False)
class PoolEnergies:
    """The pool of one cycle.

    Attributes
    ----------
    cycle
        Its number; 0 has no relaxed pool.
    energies
        (n,) mean energies of the ensemble for the relaxed crystals, eV/atom.
    statuses
        How many of the pool ended in which way, the failed ones included.
    calculated
        (m,) reference energies of the structures chosen in the cycle, eV/atom.
    """

    cycle: int
    energies: NDArray[np.float64]
    statuses: dict[str, int]
    calculated: NDArray[np.float64]


@dataclass(frozen=True)
class Best:
    """What was relaxed with the reference method at the end, eV/atom; None before.

    Attributes
    ----------
    found
        The lowest energy of a crystal of the pool.
    known
        That of the known structures that were relaxed.
    """

    found: float | None
    known: float | None


def predictions_of(records: RecordStore, spec: ActiveLearningSpec) -> Predictions:
    """What the ensemble of each cycle says of the structures chosen in it.

    They are its answers from before it learned from them, calculated with the weights kept of that
    cycle. A structure that the potential cannot take is left out.

    Raises
    ------
    ActiveLearningError
        No structure that an ensemble has chosen was calculated yet.
    """
    documents, configurations = read_configurations(records, spec)
    where = [document["metadata"]["cycle"] for document in documents]
    found: list[tuple[int, Configuration, Prediction]] = []
    for cycle in cycles_of(records, spec):
        number = cycle["cycle"]
        new = [one for one, own in zip(configurations, where, strict=True) if own == number]
        if number == 0 or not new:
            continue
        potential = potential_of(records, spec, number)
        for one, answer in zip(new, potential.evaluate(new), strict=True):
            if isinstance(answer, Prediction):
                found.append((number, one, answer))
    if not found:
        raise ActiveLearningError(
            "no structure that an ensemble has chosen was calculated yet; let a cycle end first"
        )
    atoms = np.array([len(one.numbers) for _, one, _ in found])
    cycles = np.array([number for number, *_ in found])
    return Predictions(
        cycles=cycles,
        energies=np.array([answer.energy for *_, answer in found]) / atoms,
        reference_energies=np.array([_energy(one) for _, one, _ in found]) / atoms,
        energy_deviations=np.array([answer.energy_deviation for *_, answer in found]) / atoms,
        atom_cycles=np.repeat(cycles, atoms),
        forces=np.concatenate([answer.forces for *_, answer in found]),
        reference_forces=np.concatenate([_forces(one) for _, one, _ in found]),
        force_deviations=np.concatenate([a.forces_of_members.std(axis=0) for *_, a in found]),
        members=spec.potential.members,
    )


def pools_of(records: RecordStore, spec: ActiveLearningSpec) -> list[PoolEnergies]:
    """The pool of each cycle, the first batch as cycle 0."""
    documents, _ = read_configurations(records, spec)
    pools = []
    for cycle in cycles_of(records, spec):
        number = cycle["cycle"]
        relaxed = relaxed_pool(records, spec, number) if number else []
        energies = [
            crystal.evaluation.energy / len(crystal.structure)
            for crystal in relaxed
            if crystal.evaluation is not None and crystal.structure is not None
        ]
        calculated = [d["energy_per_atom"] for d in documents if d["metadata"]["cycle"] == number]
        pools.append(
            PoolEnergies(
                cycle=number,
                energies=np.array(energies, dtype=np.float64),
                statuses=dict(Counter(crystal.status for crystal in relaxed)),
                calculated=np.array(calculated, dtype=np.float64),
            )
        )
    return pools


def best_of(records: RecordStore, spec: ActiveLearningSpec) -> Best:
    """Lowest energies relaxed with the reference method."""
    cycles = [cycle["_id"] for cycle in cycles_of(records, spec)]
    # Another active learning may have searched the same pool.
    own = {"parent_kind": "candidate", "provenance.cycle": {"$in": cycles}}
    lowest = []
    for query in (own, {"parent_kind": "reference"}):
        here = {"search": spec.known.search_id, "converged": True, **query}
        found = records.find_one("relaxations", here, sort=[("energy_per_atom", 1), ("_id", 1)])
        lowest.append(None if found is None else found["energy_per_atom"])
    return Best(*lowest)


def map_of(records: RecordStore, spec: ActiveLearningSpec) -> tuple[int, PoolMap]:
    """The last cycle that chose, and its pool in a plane.

    Raises
    ------
    ActiveLearningError
        No cycle has relaxed and clustered the pool yet.
    """
    cycle = next((c for c in reversed(cycles_of(records, spec)) if c["clusters"]), None)
    if cycle is None:
        raise ActiveLearningError("no cycle has relaxed the pool yet; let one end first")
    number = cycle["cycle"]
    sound = [c for c in relaxed_pool(records, spec, number) if c.structure is not None]
    structures = [c.structure for c in sound if c.structure is not None]
    potential = potential_of(records, spec, number)
    features = potential.descriptors(structures)
    clustering = find_clusters(
        features, radius=spec.cluster_radius, neighbours=spec.cluster_neighbours
    )
    places = {crystal.candidate: place for place, crystal in enumerate(sound)}
    # The best member of each cluster is in the records, and says which cluster it is.
    ranks = np.full(clustering.count, -1)
    for cluster in cycle["clusters"]:
        ranks[clustering.labels[places[cluster["candidate"]]]] = cluster["rank"]
    chosen = {one["candidate"] for one in cycle["chosen"]}
    _, configurations = read_configurations(records, spec, number)
    points, calculated, shares = principal_plane(
        features, clustering.scaler, _features(potential, configurations)
    )
    return number, PoolMap(
        points=points,
        shares=shares,
        ranks=ranks[clustering.labels],
        names=_names(records, spec, cycle, potential, features, clustering, ranks),
        chosen=np.array([crystal.candidate in chosen for crystal in sound]),
        calculated=calculated,
    )


def _features(
    potential: TrainablePotential, structures: Sequence[Configuration | Structure]
) -> NDArray[np.float64]:
    """Features of what the potential can take."""
    answers = potential.evaluate(structures)
    return np.array([one.descriptor for one in answers if isinstance(one, Prediction)])


def _names(
    records: RecordStore,
    spec: ActiveLearningSpec,
    cycle: dict[str, Any],
    potential: TrainablePotential,
    features: NDArray[np.float64],
    clustering: Clustering,
    ranks: NDArray[np.int64],
) -> dict[int, str]:
    """What clusters turned out to be, by rank: a known structure, or else a space group.

    The finalists say it, which were relaxed with the reference method: each for the cluster that it
    is alike, whichever ensemble relaxed it.
    """
    parents = [best["candidate"] for best in cycle["finalists"]]
    query = {
        "search": spec.known.search_id,
        "parent_kind": "candidate",
        "parent_id": {"$in": parents},
        "provenance.cycle": cycle["_id"],
    }
    fields = ["parent_id", "matches", "space_group_after"]
    relaxed = {d["parent_id"]: d for d in records.find("relaxations", query, fields)}
    starts = starts_of(records, spec, cycle["cycle"], list(relaxed))
    names: dict[int, str] = {}
    for parent in parents:
        if parent not in relaxed:
            continue
        group = relaxed[parent]["space_group_after"]
        name = relaxed[parent]["matches"] or (None if group is None else group["symbol"])
        start = _features(potential, [starts[parent]])
        if name is None or not len(start):
            continue
        distances = clustering.scaler.distances(start, features)[0]
        nearest = int(distances.argmin())
        rank = int(ranks[clustering.labels[nearest]])
        if distances[nearest] <= clustering.radius and rank >= 0:
            names.setdefault(rank, name)
    return names


def _energy(configuration: Configuration) -> float:
    assert configuration.energy is not None, "configurations of an active learning have labels"
    return configuration.energy


def _forces(configuration: Configuration) -> NDArray[np.float64]:
    assert configuration.forces is not None, "configurations of an active learning have labels"
    return configuration.forces
