"""Choices and fits of one method of selection with one potential, all sizes and seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from crysearch.datasets.frames import LabelledFrames
from crysearch.datasets.selection import SelectionPool, create_method
from crysearch.errors import CrysearchError
from crysearch.potentials import Configuration, TrainablePotential, load_potential
from crysearch.potentials.errors import force_error_summary, prediction_errors
from crysearch.records import RecordStore, selection
from crysearch.records.selection import fits_of, selection_fit_document, selection_fit_id
from crysearch.selection_spec import ModelSpec, SelectionStudySpec
from crysearch.workflows.potentials.fitting import fit_recorded, make_potential, outcome
from crysearch.workflows.selection.features import frame_features
from crysearch.workflows.selection.frames import POOL, TEST, read_frames


def fit_all(
    records: RecordStore, study: SelectionStudySpec, model: str, method: str
) -> dict[str, int]:
    """Choose frames, fit and test, for each size and seed that is not in the records yet.

    A choice or a training that is not possible is a failed fit with its reason.

    Returns
    -------
    dict
        Numbers of fits by their status.
    """
    part = study.model(model)
    done = {fit["_id"] for fit in fits_of(records, study.identifier, model, method)}
    wanted = [
        (size, seed)
        for size in part.sizes
        for seed in range(study.seeds)
        if selection_fit_id(study.identifier, model, method, size, seed) not in done
    ]
    if wanted:
        frames = read_frames(records, study.identifier, POOL)
        tested = read_frames(records, study.identifier, TEST).configurations()
        needs = create_method(method).needs
        pool = frames.pool(frame_features(frames) if needs == "features" else None)
        for size, seed in wanted:
            known = {"study": study.identifier, "model": model, "method": method}
            records.upsert(
                "selection_fits",
                [_fit(records, part, frames, pool, tested, {**known, "size": size, "seed": seed})],
            )
    statuses = (fit["status"] for fit in fits_of(records, study.identifier, model, method))
    return dict(Counter(statuses))


def fitted_potential(records: RecordStore, fit: Mapping[str, Any], kind: str) -> TrainablePotential:
    """The potential of a fit."""
    data = records.find_blob(fit["blob_id"])
    if data is None:
        raise CrysearchError(
            f"the weights of fit {fit['_id']} are gone: delete its document, and run the study "
            "again"
        )
    return load_potential(kind, data)


def _fit(
    records: RecordStore,
    part: ModelSpec,
    frames: LabelledFrames,
    pool: SelectionPool,
    tested: list[Configuration],
    known: dict[str, Any],
) -> dict[str, Any]:
    size, seed, method = known["size"], known["seed"], known["method"]
    chosen: list[int] = []
    started = time.perf_counter()
    try:
        chosen = create_method(method).select(pool, size, seed).tolist()
        configurations = frames.configurations(chosen)
        potential = make_potential(part.potential, configurations[0].elements)
        document = selection_fit_document(
            **known,
            status="fitted",
            frames=chosen,
            parameter_count=potential.parameter_count,
        )
        _, history = fit_recorded(
            records,
            potential,
            part.potential,
            configurations,
            part.potential.validation,
            seed,
            blob=document["blob_id"],
            metadata={"study": known["study"]},
            title=f"{known['model']}, {method}, {size}, seed {seed}",
        )
    except CrysearchError as error:
        return selection_fit_document(**known, status="failed", frames=chosen, reason=str(error))
    seconds = time.perf_counter() - started
    predictions = potential.evaluate(tested)
    errors = force_error_summary(predictions, tested)
    failed = errors.pop("failed")
    energy = prediction_errors(predictions, tested)["energy_rmse"]
    return document | {
        "epochs": outcome(history)["epochs"],
        "measures": {**errors, "energy_error_rms": energy},
        "failed_test": failed,
        "seconds": seconds,
    }


def largest_fit(
    records: RecordStore, study: SelectionStudySpec, model: str, method: str, seed: int
) -> dict[str, Any] | None:
    """The document of the fit that runs the dynamics of a seed."""
    size = study.model(model).sizes[-1]
    identifier = selection.selection_fit_id(study.identifier, model, method, size, seed)
    return records.get("selection_fits", identifier)
