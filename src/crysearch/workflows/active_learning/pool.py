"""The pool: random crystals, relaxed with the ensemble of a cycle, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from crysearch.active_learning import (
    EnsembleRelaxer,
    MeanEvaluation,
    PotentialEnsemble,
)
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import CrysearchError
from crysearch.packing import Packing
from crysearch.potentials import TrainablePotential, load_potential
from crysearch.records import RecordStore, batches
from crysearch.records.values import structure_from_document
from crysearch.relaxation import RelaxationResult, RelaxationSettings
from crysearch.settings import load_settings
from crysearch.workflows.active_learning.names import RELAXING, stage_name
from crysearch.workflows.pace import Pace
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.relaxation import RelaxationBatch

_PACKING = Packing("crysearch-pool", "relaxed pool")
_BATCH_ATOMS = 1024


@dataclass(frozen=True)
class RelaxedCrystal:
    """A crystal of the pool as the ensemble left it.

    Attributes
    ----------
    candidate
        The ``_id`` of the random crystal.
    structure, evaluation
        None if it failed.
    status
        ``converged``, ``step_limit``, ``uncertain`` or ``failed``.
    reason, detail
        Of a failure.
    """

    candidate: str
    status: str
    steps: int
    structure: Structure | None = None
    evaluation: MeanEvaluation | None = None
    reason: str | None = None
    detail: str | None = None


def pool_of(records: RecordStore, spec: ActiveLearningSpec) -> list[str]:
    """Ids of the random crystals, in the order in which they were drawn."""
    order = [("formula_units", 1), ("guided", 1), ("batch", 1), ("index", 1)]
    found = records.find("candidates", {"search": spec.known.search_id}, ["_id"], order)
    return [document["_id"] for document in found]


def potential_blob(spec: ActiveLearningSpec, cycle: int) -> str:
    """The id of the blob with the weights of a cycle's ensemble."""
    return f"potential-{spec.known.search_id}-{spec.identifier}-{cycle}"


def potential_of(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> TrainablePotential:
    """The ensemble trained in a cycle."""
    data = records.get_blob(potential_blob(spec, cycle))
    return load_potential(spec.potential.model, data)


def pending_pool(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, part: int = 0, parts: int = 1
) -> list[RelaxationBatch]:
    """Batches of the pool that one of several jobs has still to relax in a cycle."""
    ids, size = pool_of(records, spec), spec.pool.batch_size
    query = {"search": spec.known.search_id, "stage": stage_name(spec, RELAXING, cycle)}
    done = {document["batch"] for document in records.find("batches", query, ["batch"])}
    return [
        RelaxationBatch(number, ids[start : start + size])
        for number, start in enumerate(range(0, len(ids), size))
        if number % parts == part and number not in done
    ]


def relax_pool(
    records: RecordStore,
    spec: ActiveLearningSpec,
    cycle: int,
    pace: Pace,
    part: int = 0,
    parts: int = 1,
) -> bool:
    """Relax the pending batches of one job as long as there is time; whether all are done."""
    waiting = pending_pool(records, spec, cycle, part, parts)
    if not waiting:
        return True
    ensemble = PotentialEnsemble(potential_of(records, spec, cycle))
    for batch in waiting:
        if not pace.another():
            return False
        _relax_batch(records, spec, cycle, batch, ensemble)
    return True


def _relax_batch(
    records: RecordStore,
    spec: ActiveLearningSpec,
    cycle: int,
    batch: RelaxationBatch,
    ensemble: PotentialEnsemble,
) -> None:
    started = time.perf_counter()
    # Always from the crystals as they were drawn: what an earlier, worse ensemble did is forgotten.
    structures = initial_structures(records, batch.parents)
    part = spec.pool
    relaxer = EnsembleRelaxer(ensemble, part.disagreement_limit, part.relative_disagreement)
    settings = RelaxationSettings(
        force_tolerance=spec.pool.force_tolerance,
        stress_tolerance=spec.pool.stress_tolerance,
        max_steps=spec.pool.max_steps,
        batch_atoms=_BATCH_ATOMS,
        evaluation_timeout=load_settings().engine_timeout,
    )
    title = f"Cycle {cycle}, pool, batch {batch.number + 1}"
    with progress_bar(title, len(structures), "structures") as bar:
        results = relaxer.relax(structures, settings, bar.update)
    stage = stage_name(spec, RELAXING, cycle)
    place = {"search": spec.known.search_id, "stage": stage}
    records.put_blob(_blob(spec, cycle, batch.number), _pack(batch.parents, results), place)
    failed = sum(result.structure is None for result in results)
    document = batches.relaxation_batch_document(
        search=spec.known.search_id,
        kind="candidate",
        batch=batch.number,
        parents=batch.parents,
        relaxed=len(results) - failed,
        converged=sum(result.converged for result in results),
        failed=failed,
        stage=stage,
        seconds=time.perf_counter() - started,
    )
    records.upsert("batches", [document])


def pool_summary(records: RecordStore, spec: ActiveLearningSpec, cycle: int) -> dict[str, int]:
    """Crystals that a cycle has relaxed, those of them that converged, and those that failed."""
    query = {"search": spec.known.search_id, "stage": stage_name(spec, RELAXING, cycle)}
    counts = [document["counts"] for document in records.find("batches", query, ["counts"])]
    return {
        name: sum(count[name] for count in counts) for name in ("relaxed", "converged", "failed")
    }


def relaxed_pool(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int
) -> list[RelaxedCrystal]:
    """The pool as the ensemble of a cycle relaxed it, in the order of the pool."""
    count = len(pool_of(records, spec))
    found: list[RelaxedCrystal] = []
    for number in range(-(-count // spec.pool.batch_size)):
        found += _unpack(records.get_blob(_blob(spec, cycle, number)))
    return found


def initial_structures(records: RecordStore, ids: Sequence[str]) -> list[Structure]:
    """Random crystals of the pool as they were drawn."""
    found = {d["_id"]: d for d in records.find("candidates", {"_id": {"$in": list(ids)}})}
    missing = [key for key in ids if key not in found]
    if missing:
        raise CrysearchError(
            f"{len(missing)} crystals of the pool are no longer in the records (first: "
            f"{missing[0]}); run the active learning in another database"
        )
    return [structure_from_document(found[key]) for key in ids]


def chosen_structures(
    records: RecordStore, spec: ActiveLearningSpec, cycle: int, ids: Sequence[str]
) -> list[Structure]:
    """Structures of candidates: as they were drawn (cycle 0), or as a cycle relaxed them."""
    if cycle == 0:
        return initial_structures(records, ids)
    found = {crystal.candidate: crystal.structure for crystal in relaxed_pool(records, spec, cycle)}
    structures = [found[key] for key in ids]
    assert all(structure is not None for structure in structures), "what failed is not chosen"
    return [structure for structure in structures if structure is not None]


def _blob(spec: ActiveLearningSpec, cycle: int, batch: int) -> str:
    return f"pool-{spec.known.search_id}-{spec.identifier}-{cycle}-{batch}"


def _pack(ids: Sequence[str], results: Sequence[RelaxationResult]) -> bytes:
    """Relaxed crystals as bytes; numbers of those that failed are zero."""
    atoms = len(results[0].initial)
    header = {
        "crystals": [
            {
                "candidate": key,
                "status": result.status,
                "steps": result.steps,
                "reason": result.failure,
                "detail": result.failure_detail,
            }
            for key, result in zip(ids, results, strict=True)
        ],
        "species": [site.specie.symbol for site in results[0].initial],
    }
    n = len(results)
    arrays: dict[str, NDArray[np.float64]] = {
        "cells": np.zeros((n, 3, 3)),
        "fractional": np.zeros((n, atoms, 3)),
        "energies": np.zeros(n),
        "forces": np.zeros((n, atoms, 3)),
        "stresses": np.zeros((n, 3, 3)),
        "energy_deviations": np.zeros(n),
        "force_deviations": np.zeros((n, atoms)),
    }
    for place, result in enumerate(results):
        if result.structure is None:
            continue
        found = result.evaluation
        assert isinstance(found, MeanEvaluation)
        arrays["cells"][place] = result.structure.lattice.matrix
        arrays["fractional"][place] = result.structure.frac_coords
        arrays["energies"][place] = found.energy
        arrays["forces"][place] = found.forces
        arrays["stresses"][place] = found.stress
        arrays["energy_deviations"][place] = found.energy_deviation
        arrays["force_deviations"][place] = found.force_deviations
    return _PACKING.pack("pool", header, arrays)


def _unpack(data: bytes) -> list[RelaxedCrystal]:
    header, arrays = _PACKING.unpack("pool", data)
    crystals = []
    for place, facts in enumerate(header["crystals"]):
        if facts["status"] == "failed":
            crystals.append(RelaxedCrystal(**facts))
            continue
        structure = Structure(
            Lattice(arrays["cells"][place]), header["species"], arrays["fractional"][place]
        )
        evaluation = MeanEvaluation(
            energy=float(arrays["energies"][place]),
            forces=arrays["forces"][place],
            stress=arrays["stresses"][place],
            energy_deviation=float(arrays["energy_deviations"][place]),
            force_deviations=arrays["force_deviations"][place],
        )
        crystals.append(RelaxedCrystal(**facts, structure=structure, evaluation=evaluation))
    return crystals
