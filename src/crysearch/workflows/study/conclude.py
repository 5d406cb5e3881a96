"""What the trials of a study add up to: means over seeds, paired differences, sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from crysearch.analysis import MeanInterval, mean_interval, paired_difference
from crysearch.analysis.intervals import Outcome
from crysearch.records import RecordStore
from crysearch.records.study import study_document
from crysearch.study import MEASURES, StudySpec
from crysearch.workflows.stages.verdicts import judge
from crysearch.workflows.study.relaxing import controls_of
from crysearch.workflows.study.screening import trials_of

Documents = Sequence[Mapping[str, Any]]
_OUTCOMES: tuple[str, ...] = get_args(Outcome)


def conclude(records: RecordStore, study: StudySpec) -> dict[str, Any]:
    """Write the energies of the trials, and the document of the study."""
    if study.relaxations:
        judge(records, study.known)
    trials = trials_of(records, study)
    controls = controls_of(records, study)
    wanted = {key for found in [*trials, *controls] for key in found["chosen"]}
    relaxed = {
        document["parent_id"]: document
        for document in records.find("relaxations", {"parent_id": {"$in": sorted(wanted)}})
    }
    energies: dict[str, dict[str, Any]] = {}
    for trial in trials:
        if trial["status"] == "trained":
            measures = _energy_measures(study, trial["chosen"], relaxed)
            trial["measures"].update(measures)
            energies[trial["_id"]] = {
                "relaxed": _outcomes(trial["chosen"], relaxed),
                **{f"measures.{name}": value for name, value in measures.items()},
            }
    records.update("trials", energies)
    by_variant = {
        variant.name: [trial for trial in trials if trial["variant"] == variant.name]
        for variant in study.variants
    }
    variants = [
        {
            "name": name,
            "epochs": study.generative_of(name).epochs,
            **_summary(study, own, relaxed),
        }
        for name, own in by_variant.items()
    ]
    differences = [
        _difference(variant.name, baseline, by_variant[variant.name], by_variant[baseline])
        for variant in study.variants
        for baseline in variant.baselines
    ]
    document = study_document(
        search=study.known.search_id,
        study=study.identifier,
        name=study.name,
        spec=study.model_dump(mode="json"),
        variants=variants,
        differences=differences,
        controls=[_control(study, control, relaxed) for control in controls],
        sentences=[*_failures(variants), *(_sentence(entry) for entry in differences)],
        parents=[trial["_id"] for trial in trials],
    )
    records.upsert("studies", [document])
    return {
        "study": document["_id"],
        "trials": len(trials),
        "failed": sum(variant["failed"] for variant in variants),
        "relaxed": len(relaxed),
        "sentences": document["sentences"],
    }


def _energy_measures(
    study: StudySpec, chosen: Sequence[str], relaxed: Mapping[str, Mapping[str, Any]]
) -> dict[str, float | int | None]:
    """Energies above the lowest known structure of what relaxed to convergence, eV/atom.

    Without a single one there is no energy; but nothing let through means nothing found.
    """
    found = _judged(chosen, relaxed)
    energies = [document["energy_above_reference_ground_state"] for document in found]
    known = bool(energies) or (not chosen and study.relaxations > 0)
    return {
        "energy_mean": sum(energies) / len(energies) if energies else None,
        "energy_lowest": min(energies, default=None),
        "distinct_low": _distinct_low(study, found) if known else None,
    }


def _judged(
    chosen: Iterable[str], relaxed: Mapping[str, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The relaxations of candidates that converged and have an energy above a known structure."""
    found = [relaxed[key] for key in chosen if key in relaxed]
    return [
        document
        for document in found
        if document["energy_above_reference_ground_state"] is not None
    ]


def _distinct_low(study: StudySpec, found: Documents) -> int:
    """How many different structures of low energy there are."""
    return len(
        {
            document["duplicate_of"] or document["_id"]
            for document in found
            if document["energy_above_reference_ground_state"] < study.low_energy
        }
    )


def _outcomes(chosen: Sequence[str], relaxed: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    found = [relaxed[key] for key in chosen if key in relaxed]
    converged = sum(document["converged"] for document in found)
    return {
        "converged": converged,
        "unconverged": len(found) - converged,
        "failed": len(chosen) - len(found),
    }


def _summary(
    study: StudySpec, trials: Documents, relaxed: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """One variant over its seeds."""
    failures = Counter(trial["reason"] for trial in trials if trial["status"] == "failed")
    chosen = dict.fromkeys(key for trial in trials for key in trial["chosen"])
    times = [trial["seconds"] for trial in trials if trial["seconds"] is not None]
    return {
        "trials": len(trials),
        "failed": failures.total(),
        # A reason may have dots, which keys of documents should not have.
        "failures": [{"reason": reason, "n": n} for reason, n in failures.most_common()],
        "parameter_count": next(
            (t["parameter_count"] for t in trials if t["parameter_count"]), None
        ),
        "seconds": max(times, default=None),
        "relaxed": len(chosen),
        "distinct_low_together": _distinct_low(study, _judged(chosen, relaxed)),
        "measures": {
            measure.key: mean_interval(_values(trials, measure.key)).to_dict()
            for measure in MEASURES
        },
    }


def _values(trials: Documents, key: str) -> list[float | None]:
    return [trial["measures"].get(key) for trial in trials]


def _difference(
    variant: str, baseline: str, trials: Documents, others: Documents
) -> dict[str, Any]:
    """A variant minus its baseline, over the seeds of both."""
    by_seed = {trial["seed"]: trial for trial in others}
    pairs = [(trial, by_seed[trial["seed"]]) for trial in trials if trial["seed"] in by_seed]

    def compared(key: str) -> MeanInterval:
        return paired_difference(
            _values([first for first, _ in pairs], key),
            _values([second for _, second in pairs], key),
        )

    intervals = {measure.key: compared(measure.key) for measure in MEASURES}
    return {
        "variant": variant,
        "baseline": baseline,
        "measures": {
            key: interval.to_dict() | {"outcome": interval.outcome}
            for key, interval in intervals.items()
        },
    }


def _control(
    study: StudySpec, control: Mapping[str, Any], relaxed: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Crystals that no replica chose; intervals are over the crystals, not over seeds."""
    found = _judged(control["chosen"], relaxed)
    energies = [document["energy_above_reference_ground_state"] for document in found]
    crystals = study.crystals * len(study.known.formula_units)
    return {
        "name": control["name"],
        "crystals": crystals,
        "near": control["near"],
        "share_near": control["near"] / crystals,
        "relaxed": _outcomes(control["chosen"], relaxed),
        "energy": mean_interval(energies).to_dict(),
        "energy_lowest": min(energies, default=None),
        "distinct_low": _distinct_low(study, found),
    }


def _failures(variants: Documents) -> list[str]:
    return [
        f"{variant['name']}: {variant['failed']} of {variant['trials']} trainings failed, such as: "
        f"{variant['failures'][0]['reason']}"
        for variant in variants
        if variant["failed"]
    ]


def _sentence(difference: Mapping[str, Any]) -> str:
    """What a comparison says: differences with their intervals, then where none is seen."""
    said: dict[str, list[str]] = {outcome: [] for outcome in _OUTCOMES}
    for measure in MEASURES:
        found = difference["measures"][measure.key]
        by = ""
        if found["outcome"] in _OUTCOMES[:2]:
            unit = f" {measure.unit}" if measure.unit else ""
            by = f" by {abs(found['mean']):.3g}{unit} ({found['low']:.3g} to {found['high']:.3g})"
        said[found["outcome"]].append(measure.label + by)
    parts = [f"{outcome}: {', '.join(labels)}" for outcome, labels in said.items() if labels]
    return f"{difference['variant']} compared with {difference['baseline']} — {'; '.join(parts)}."
