"""The liquid: molecular dynamics with the reference method, and with what was fitted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from crysearch.dynamics import DynamicsSettings, Trajectory
from crysearch.dynamics.ase_propagator import AsePropagator
from crysearch.dynamics.observables import (
    Pair,
    PairDistribution,
    pair_distributions,
    unphysical_short_range,
)
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import DynamicsError
from crysearch.potentials.relaxer import PotentialRelaxer
from crysearch.records import RecordStore, dynamics
from crysearch.records.selection import selection_study_id
from crysearch.records.values import to_binary_vector
from crysearch.selection_spec import SelectionStudySpec
from crysearch.workflows.dynamics.starting import settle, with_whole_ids
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.selection.fitting import fitted_potential, largest_fit

Distributions = dict[Pair, PairDistribution]


def reference_melt(records: RecordStore, study: SelectionStudySpec) -> dict[str, Any]:
    """Write the radial distribution functions of the reference's liquid.

    Raises
    ------
    DynamicsError
        Its dynamics did not come to the end: there is nothing to compare with.
    """
    document, trajectory = _reference(records, study)
    if trajectory.status != "finished":
        raise DynamicsError(
            f"melt: the dynamics of the reference method ended early ({trajectory.failure_detail}) "
            "— change melt, such as its timestep or its temperature"
        )
    melt = _described(study, trajectory, document["seconds"], None)
    records.update("selection_studies", {selection_study_id(study.identifier): {"melt": melt}})
    return {"frames": len(trajectory)}


def run_melts(
    records: RecordStore, study: SelectionStudySpec, model: str, method: str
) -> dict[str, int]:
    """Run the liquid with the potentials of the largest size, from where the reference ended.

    Returns
    -------
    dict
        Numbers of runs by how they ended; fits that failed have none.
    """
    _, reference = _reference(records, study)
    wanted = _distributions(study, reference)
    endings: dict[str, int] = {}
    for seed in range(study.melt_seeds):
        fit = largest_fit(records, study, model, method, seed)
        if fit is None or fit["status"] == "failed":
            continue
        if fit["melt"] is None:
            melt = _melt(records, study, fit, reference, wanted)
            records.update("selection_fits", {fit["_id"]: {"melt": melt}})
            fit = {**fit, "melt": melt}
        status = fit["melt"]["status"]
        endings[status] = endings.get(status, 0) + 1
    return endings


def melt_settings(spec: DynamicsSpec, seed: int) -> DynamicsSettings:
    """Settings of the liquid, with the velocities and the thermostat of a seed."""
    point = spec.state_points[0]
    return spec.with_changes({"seed": spec.seed + 1 + seed}).settings(*point)


def _reference(
    records: RecordStore, study: SelectionStudySpec
) -> tuple[dict[str, Any], Trajectory]:
    spec = study.melt
    assert spec is not None, "the flow has these jobs only for a study with a liquid"
    identifier = settle(with_whole_ids(records, spec)).identifier
    key = dynamics.trajectory_id(identifier, *spec.state_points[0])
    document = records.get("trajectories", key)
    assert document is not None, "the dynamics come first"
    return document, Trajectory.from_bytes(dynamics.trajectory_bytes(records, document))


def _melt(
    records: RecordStore,
    study: SelectionStudySpec,
    fit: Mapping[str, Any],
    reference: Trajectory,
    wanted: Distributions,
) -> dict[str, Any]:
    assert study.melt is not None
    kind = study.model(fit["model"]).potential.model
    engine = PotentialRelaxer(fitted_potential(records, fit, kind))
    settings = melt_settings(study.melt, fit["seed"])
    total = settings.equilibration_steps + settings.steps
    started = time.perf_counter()
    title = f"Liquid, {fit['model']}, {fit['method']}"
    with progress_bar(title, total, "steps") as bar:
        trajectory = AsePropagator(engine).run(reference.frame(-1), settings, progress=bar.update)
    seconds = time.perf_counter() - started
    records.put_blob(
        f"selection-melt-{fit['_id']}", trajectory.to_bytes(), {"study": study.identifier}
    )
    return _described(study, trajectory, seconds, wanted)


def _distributions(study: SelectionStudySpec, trajectory: Trajectory) -> Distributions:
    bins = round(study.rdf_cutoff / study.rdf_bin)
    return pair_distributions(trajectory, cutoff=study.rdf_cutoff, bins=bins)


def _described(
    study: SelectionStudySpec,
    trajectory: Trajectory,
    seconds: float,
    wanted: Distributions | None,
) -> dict[str, Any]:
    """What the records keep of a liquid; ``wanted`` are the reference's functions."""
    found = _distributions(study, trajectory) if len(trajectory) else {}
    distance = None
    if wanted is not None and found:
        away = [found[pair].g - reference.g for pair, reference in wanted.items()]
        distance = float(np.sqrt(np.square(away).mean()))
    return {
        "status": trajectory.status,
        "failure": trajectory.failure,
        "failure_detail": trajectory.failure_detail,
        "frames": len(trajectory),
        "duration": float(trajectory.times[-1]) if len(trajectory) else 0.0,
        "temperature": float(trajectory.temperatures.mean()) if len(trajectory) else None,
        "distance": distance,
        "pairs": [
            _pair_document(function, None if wanted is None else wanted[pair])
            for pair, function in found.items()
        ],
        "seconds": seconds,
    }


def _pair_document(
    function: PairDistribution, reference: PairDistribution | None
) -> dict[str, Any]:
    peak: float | None = None
    height: float | None = None
    with suppress(DynamicsError):  # a gas has none
        peak, height = function.first_peak()
    check = None if reference is None else unphysical_short_range(function, reference)
    return {
        "pair": "-".join(function.pair),
        "r": to_binary_vector(function.r),
        "g": to_binary_vector(function.g),
        "error": to_binary_vector(function.error),
        "peak": peak,
        "peak_height": height,
        "onset": None if check is None else check.onset,
        "nearer": None if check is None else check.weight - check.reference_weight,
        "unphysical": None if check is None else check.unphysical,
    }
