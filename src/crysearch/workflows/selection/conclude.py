"""What the fits of a study of selection add up to: means, differences, and published findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crysearch.analysis import mean_interval, paired_difference
from crysearch.records import RecordStore
from crysearch.records.schema_selection import FitMeasures
from crysearch.records.selection import fits_of, selection_study_id
from crysearch.selection_spec import BASELINE, SelectionStudySpec

Fit = Mapping[str, Any]
MEASURES: tuple[str, ...] = tuple(FitMeasures.__annotations__)
#: Selection by a property of the whole cell, or of none, against that by properties of the atoms.
WHOLE, ATOMIC = ("random", "global-energy"), ("forces", "atomic-energies")


def conclude(records: RecordStore, study: SelectionStudySpec) -> dict[str, Any]:
    """Write groups, differences and findings into the document of the study."""
    fits = fits_of(records, study.identifier)
    groups = [
        _group(model.name, method, size, _of(fits, model.name, method, size))
        for model in study.models
        for size in model.sizes
        for method in study.methods
    ]
    differences = [
        _difference(fits, model.name, size, method, baseline)
        for model in study.models
        for size in model.sizes
        for method in study.methods
        for baseline in WHOLE
        if method != baseline and baseline in study.methods
        if baseline == BASELINE or method in ATOMIC
    ]
    findings = [_errors_finding(study, model.name, differences) for model in study.models]
    if study.melt is not None:
        findings += [_short_range_finding(study, fits, model.name) for model in study.models]
    changes = {
        "status": "complete",
        "reason": None,
        "groups": groups,
        "differences": differences,
        "findings": [finding for finding in findings if finding is not None],
    }
    identifier = selection_study_id(study.identifier)
    records.update("selection_studies", {identifier: changes})
    failed = sum(fit["status"] == "failed" for fit in fits)
    return {"study": identifier, "fits": len(fits), "failed": failed}


def _of(fits: Iterable[Fit], model: str, method: str, size: int) -> list[Fit]:
    wanted = (model, method, size)
    return [fit for fit in fits if (fit["model"], fit["method"], fit["size"]) == wanted]


def _values(fits: Sequence[Fit], measure: str) -> list[float | None]:
    return [None if fit["measures"] is None else fit["measures"][measure] for fit in fits]


def _group(model: str, method: str, size: int, fits: Sequence[Fit]) -> dict[str, Any]:
    reasons = Counter(fit["reason"] for fit in fits if fit["status"] == "failed")
    times = [fit["seconds"] for fit in fits if fit["seconds"] is not None]
    return {
        "model": model,
        "method": method,
        "size": size,
        "fits": len(fits),
        "failures": [{"reason": reason, "n": n} for reason, n in reasons.most_common()],
        "failed_test": sum(fit["failed_test"] or 0 for fit in fits),
        "seconds": sum(times) / len(times) if times else None,
        "measures": {name: mean_interval(_values(fits, name)).to_dict() for name in MEASURES},
    }


def _difference(
    fits: Sequence[Fit], model: str, size: int, method: str, baseline: str
) -> dict[str, Any]:
    """A method minus the baseline, seed by seed."""
    mine, its = ({f["seed"]: f for f in _of(fits, model, m, size)} for m in (method, baseline))
    seeds = sorted(set(mine) & set(its))
    found = {
        name: paired_difference(
            _values([mine[seed] for seed in seeds], name),
            _values([its[seed] for seed in seeds], name),
        )
        for name in MEASURES
    }
    return {
        "model": model,
        "size": size,
        "method": method,
        "baseline": baseline,
        "measures": {
            name: interval.to_dict() | {"outcome": interval.outcome}
            for name, interval in found.items()
        },
    }


def _errors_finding(
    study: SelectionStudySpec, model: str, differences: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Do forces and atomic energies give the lowest largest and root-mean-square errors?"""
    size = study.model(model).sizes[-1]
    compared = [
        (entry["method"], entry["baseline"], measure, entry["measures"][measure]["outcome"])
        for entry in differences
        if (entry["model"], entry["size"]) == (model, size) and entry["method"] in ATOMIC
        for measure in ("force_error_max", "force_error_rms")
    ]
    if not compared:
        return None
    outcomes = Counter(outcome for *_, outcome in compared)
    if outcomes["higher"]:
        outcome = "contradicted"
    elif outcomes["lower"] == len(compared):
        outcome = "confirmed"
    else:
        outcome = "confirmed in part" if outcomes["lower"] else "not confirmed"
    names = {"force_error_max": "largest", "force_error_rms": "root mean square"}
    counts = ", ".join(f"{count} {found}" for found, count in outcomes.most_common())
    apart = [
        f"{method} against {baseline}, {names[measure]} error: {found}"
        for method, baseline, measure, found in compared
        if found in ("higher", "lower")
    ]
    evidence = "; ".join([f"{len(compared)} comparisons with random and global: {counts}", *apart])
    return {
        "claim": "selection by forces or by atomic energies gives the lowest largest and root "
        "mean square errors of the forces",
        "model": model,
        "outcome": outcome,
        "evidence": f"{size} configurations — {evidence}",
    }


def _short_range_finding(
    study: SelectionStudySpec, fits: Sequence[Fit], model: str
) -> dict[str, Any] | None:
    """Do fits to globally selected data have unphysical short distances, and others none?"""
    size = study.model(model).sizes[-1]
    seen: dict[str, tuple[int, int]] = {}
    for method in study.methods:
        melts = [fit["melt"] for fit in _of(fits, model, method, size) if fit["melt"] is not None]
        if melts:
            seen[method] = (sum(_unphysical(melt) for melt in melts), len(melts))
    if "global-energy" not in seen or "atomic-energies" not in seen:
        return None
    outcome = "confirmed" if seen["global-energy"][0] else "not confirmed"
    if seen["atomic-energies"][0]:
        outcome = "contradicted"
    evidence = "; ".join(f"{method}: {bad} of {all_}" for method, (bad, all_) in seen.items())
    return {
        "claim": "fits to globally selected data give unphysical short distances in the liquid, "
        "fits to data selected by atomic energies do not",
        "model": model,
        "outcome": outcome,
        "evidence": f"liquids with unphysical short distances, or that ended early — {evidence}",
    }


def _unphysical(melt: Mapping[str, Any]) -> bool:
    return melt["status"] != "finished" or any(pair["unphysical"] for pair in melt["pairs"])
