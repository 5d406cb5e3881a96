"""The verdicts: everything known of a structure, each answer with its engine and settings.

A question is ``computed``, ``failed`` (with the reason) or ``not_computed`` (with the reason); what
is not computed is null in the plain fields, never "no".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymatgen.core import Structure

from crysearch.analysis import (
    CrystalMatcher,
    EnergyEntry,
    MatchTolerances,
    Stability,
    analyse_coordination,
    find_duplicates,
    match_prototypes,
    stabilities,
    xray_pattern,
)
from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError
from crysearch.records import RecordStore
from crysearch.records.values import structure_from_document
from crysearch.records.verification import property_id, verdict_document
from crysearch.spec import SearchSpec
from crysearch.verification import PROPERTIES, VerificationSpec
from crysearch.workflows.context import fingerprints_of
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.generation import sound_references
from crysearch.workflows.verification import calculate

Answer = dict[str, Any]
PEAKS = 20  # the strongest ones are recorded
_CURVES = ("bands", "volumes", "energies")  # in the documents of the properties


def conclude(
    records: RecordStore, search: SearchSpec, spec: VerificationSpec, relaxation_ids: list[str]
) -> dict[str, Any]:
    """Write the verdicts on some relaxed structures of a search.

    Structures are compared at the level of the verification, if it has one: energies with the
    known structures calculated at the same level, never with those of another.
    """
    subjects = [calculate.relaxation_of(records, key) for key in relaxation_ids]
    pool = EnergyPool(records, search.search_id, spec)
    finals = {s["_id"]: pool.calculations.get(s["_id"], s) for s in subjects}
    duplicates = _duplicates(search, subjects, finals)
    identify = _Identity(records, search)
    documents = []
    with progress_bar("Verdicts", len(subjects), "structures") as bar:
        for subject in subjects:
            final = finals[subject["_id"]]
            structure = structure_from_document(final)
            calculation = pool.calculations.get(subject["_id"])
            identity = identify(structure)
            answers = {
                "energy": pool.energy(subject),
                "stability": pool.stability(subject),
                "electronic": _electronic(spec, calculation, pool.failures.get(subject["_id"])),
                **_properties(records, search, spec, subject),
                **_from_the_structure(structure),
                "identity": identity
                | {
                    "duplicate_of": duplicates[subject["_id"]],
                    "moved": None if calculation is None else calculation["distance_moved"],
                },
            }
            documents.append(
                verdict_document(
                    search=search.search_id,
                    verification=spec.identifier,
                    verification_spec=spec.model_dump(mode="json"),
                    relaxation_id=subject["_id"],
                    calculation_id=None if calculation is None else calculation["_id"],
                    label=identify.label(subject),
                    structure=structure,
                    engine=final["engine"],
                    scheme=_scheme(final),
                    stand_in=bool(final.get("stand_in", False)),
                    levels=pool.levels(subject),
                    answers=answers,
                    matches=identity["matches"],
                    is_new=identity["matches"] is None,
                    duplicate_of=duplicates[subject["_id"]],
                    space_group=final.get("space_group") or final.get("space_group_after"),
                )
            )
            bar.update(1)
    records.upsert("verdicts", documents)
    return {
        "verdicts": len(documents),
        "calculated": sum(d["calculation_id"] is not None for d in documents),
        "failed": len(pool.failures),
    }


class EnergyPool:
    """The energies that may be compared with one another."""

    def __init__(self, records: RecordStore, search: str, spec: VerificationSpec) -> None:
        self.spec = spec
        here = {"search": search}
        light = {"structure": 0, "initial_structure": 0, "fingerprint": 0}
        self.relaxations = {
            document["_id"]: document
            for document in records.find("relaxations", here | {"converged": True}, light)
        }
        self.calculations: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, dict[str, Any]] = {}
        self.labels = {
            document["_id"]: document["reference_id"]
            for document in records.find("references", here, ["reference_id"])
        }
        if spec.level.engine is not None:
            level = {"level": spec.level.identifier}
            found = records.find("calculations", here | level)
            self.calculations = {document["parent_id"]: document for document in found}
            failed = {"stage": calculate.STAGE, "where": calculate.where(spec.level)}
            self.failures = {d["parent"]: d for d in records.find("failures", here | failed)}

        #: What is compared: calculations that converged, or the search's relaxations.
        self.own = self.relaxations
        if spec.level.engine is not None:
            self.own = {key: d for key, d in self.calculations.items() if d["converged"]}

    def energy(self, subject: dict[str, Any]) -> Answer:
        """Energy above the known ground state, at the level of the verification."""
        own = self.own.get(subject["_id"])
        if own is None:
            return self._missing(subject)
        same = [
            (key, document)
            for key, document in self._known(own)
            if document["chemical_formula_reduced"] == own["chemical_formula_reduced"]
        ]
        if not same:
            return _not_computed("no known structure of the composition at the same level")
        key, lowest = min(same, key=lambda item: _energy(item[1]))
        return _computed(
            own["engine"],
            scheme=_scheme(own),
            energy_per_atom=_energy(own),
            energy_above_ground_state=_energy(own) - _energy(lowest),
            ground_state=self._label(key),
        )

    def stability(self, subject: dict[str, Any]) -> Answer:
        """Energy above the convex hull of the known structures calculated at the level."""
        own = self.own.get(subject["_id"])
        if own is None:
            return self._missing(subject)
        known = [_entry(key, document) for key, document in self._known(own)]
        [found] = stabilities([_entry(subject["_id"], own)], known)
        if found.not_computed is not None:
            return _not_computed(found.not_computed)
        products = [
            {"formula": p.formula, "fraction": p.fraction, "phase": self._label(p.entry_id)}
            for p in found.decomposition
        ]
        return _computed(
            own["engine"],
            scheme=found.scheme,
            energy_above_hull=found.energy_above_hull,
            formation_energy=found.formation_energy,
            decomposition=products,
            known_phases=len(known),
        )

    def _known(self, own: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Known structures whose energies may be compared, by the ids of their relaxations."""
        return [
            (key, document)
            for key, document in self.own.items()
            if document["parent_kind"] == "reference" and _scheme(document) == _scheme(own)
        ]

    def stabilities(self, subjects: list[str]) -> tuple[list[Stability], list[Stability]]:
        """Stability of all known structures of the level, and of some others against them."""
        new = [key for key in subjects if key in self.own]
        if not new:
            return [], []
        known = [_entry(key, document) for key, document in self._known(self.own[new[0]])]
        others = [_entry(key, self.own[key]) for key in new]
        others = [entry for entry in others if entry.entry_id not in {k.entry_id for k in known}]
        return stabilities(known, known), stabilities(others, known)

    def levels(self, subject: dict[str, Any]) -> list[dict[str, Any]]:
        """The energies of each level side by side; never to be subtracted from one another."""
        found = [
            {
                "engine": subject["engine"],
                "scheme": subject["engine"],
                "status": subject["status"],
                "energy_per_atom": subject["energy_per_atom"],
                "energy_above_ground_state": subject["energy_above_reference_ground_state"],
                "steps": subject["steps"],
                "document": subject["_id"],
            }
        ]
        engine = self.spec.level.engine
        if engine is None:
            return found
        calculation = self.calculations.get(subject["_id"])
        failure = self.failures.get(subject["_id"], {})
        row: dict[str, Any] = {
            "engine": engine,
            "scheme": None,
            "status": "failed" if failure else "not_computed",
            "reason": failure.get("reason"),
            "detail": failure.get("detail"),
            "document": failure.get("_id"),
        }
        if calculation is not None:
            row = {
                "engine": engine,
                "scheme": calculation["scheme"],
                "stand_in": calculation["stand_in"],
                "status": calculation["status"],
                "energy_per_atom": _energy(calculation),
                "energy_above_ground_state": self.energy(subject).get("energy_above_ground_state"),
                "steps": calculation["steps"],
                "repairs": len(calculation["repairs"]),
                "document": calculation["_id"],
            }
        return [*found, row]

    def _missing(self, subject: dict[str, Any]) -> Answer:
        failure = self.failures.get(subject["_id"])
        if failure is not None:
            return _failed(f"{failure['reason']}: {failure['detail']}", self.spec.level.engine)
        calculation = self.calculations.get(subject["_id"])
        if calculation is not None:
            return _failed(
                f"the calculation did not converge in {calculation['steps']} steps",
                self.spec.level.engine,
            )
        return _not_computed(f"no calculation with {self.spec.level.engine}")

    def _label(self, relaxation_id: str) -> str:
        """The name of a known structure."""
        relaxation = self.relaxations.get(relaxation_id)
        # A competing phase was not relaxed by the search.
        key = relaxation_id if relaxation is None else relaxation["parent_id"]
        return self.labels.get(key, relaxation_id)


class _Identity:
    """Which known structure a crystal is, whatever the level: volumes are made equal first."""

    def __init__(self, records: RecordStore, search: SearchSpec) -> None:
        self._tolerances = MatchTolerances()
        self._matcher = CrystalMatcher(self._tolerances)
        here = {"search": search.search_id, "parent_kind": "reference", "converged": True}
        relaxed = {d["parent_id"]: d for d in records.find("relaxations", here)}
        self._labels: dict[str, str] = {}
        self._known: list[tuple[str, Structure]] = []
        for document in sound_references(records, search):
            best = relaxed.get(document["_id"], document)
            self._labels[document["_id"]] = document["reference_id"]
            self._known.append((document["reference_id"], structure_from_document(best)))

    def __call__(self, structure: Structure) -> Answer:
        matches = next(
            (name for name, known in self._known if self._matcher.same(known, structure)), None
        )
        tolerances = self._tolerances
        return _computed(
            None,
            matches=matches,
            tolerances={
                "length": tolerances.length,
                "site": tolerances.site,
                "angle": tolerances.angle,
            },
            # Duplicates, which are of one level, are held to these as well.
            duplicate_tolerances={
                "pearson_distance": tolerances.pearson_distance,
                "energy": tolerances.energy,
            },
            compared_with=len(self._known),
        )

    def label(self, subject: dict[str, Any]) -> str | None:
        """The name of a known structure that is itself the subject."""
        return self._labels.get(subject["parent_id"])


def _duplicates(
    search: SearchSpec, subjects: list[dict[str, Any]], finals: dict[str, dict[str, Any]]
) -> dict[str, str | None]:
    """Which of the subjects became the same crystal; structures of different levels do not mix."""
    found: dict[str, str | None] = {subject["_id"]: None for subject in subjects}
    size = search.radial_distribution_function.size
    by_level: dict[str, list[str]] = {}
    for key, final in finals.items():
        by_level.setdefault(final.get("level", ""), []).append(key)
    for keys in by_level.values():
        here = [finals[key] for key in keys]
        representatives = find_duplicates(
            [structure_from_document(final) for final in here],
            fingerprints_of(here, size),
            [final["energy_per_atom"] for final in here],
        )
        for key, index in zip(keys, representatives, strict=True):
            found[key] = None if index is None else keys[index]
    return found


def _electronic(
    spec: VerificationSpec, calculation: dict[str, Any] | None, failure: dict[str, Any] | None
) -> Answer:
    if spec.level.engine is None:
        return _not_computed("no engine that knows electrons was asked for (level.engine)")
    if not spec.level.electronic:
        return _not_computed("not asked for (level.electronic)")
    if calculation is None:
        why = "" if failure is None else f": {failure['reason']}"
        return _not_computed(f"no structure relaxed with {spec.level.engine}{why}")
    electronic = calculation["electronic"]
    if electronic is None:
        return _not_computed(f"{spec.level.engine} knows no electrons")
    if "reason" in electronic:
        answer = _not_computed if calculation["stand_in"] else _failed
        return answer(electronic["reason"])
    return _computed(calculation["engine"], **electronic)


def _properties(
    records: RecordStore, search: SearchSpec, spec: VerificationSpec, subject: dict[str, Any]
) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for name in PROPERTIES:
        key = property_id(search.search_id, subject["_id"], name, spec.property_identifier(name))
        document = records.get("properties", key)
        if name not in spec.properties.wanted:
            answers[name] = _not_computed("not asked for (properties.wanted)")
        elif document is None:
            answers[name] = _not_computed("the job has not run, or was lost")
        elif document["status"] == "failed":
            answers[name] = _failed(document["reason"], document["engine"])
        else:
            # Curves stay where they are; the verdict has the numbers.
            left = (*_CURVES, "engine")
            numbers = {k: v for k, v in document["values"].items() if k not in left}
            answers[name] = _computed(document["engine"], **numbers)
        if document is not None:
            answers[name] |= {"settings": document["settings"], "document": document["_id"]}
    return answers


def _from_the_structure(structure: Structure) -> dict[str, Answer]:
    """What needs no engine."""
    answers: dict[str, Answer] = {}
    pattern = xray_pattern(structure).merged()
    strongest = sorted(pattern.peaks, key=lambda peak: -peak.intensity)[:PEAKS]
    answers["diffraction"] = _computed(
        None,
        wavelength=pattern.wavelength,
        peaks=[
            {
                "two_theta": peak.two_theta,
                "intensity": peak.intensity,
                "miller_indices": [list(indices) for indices in peak.miller_indices],
            }
            for peak in sorted(strongest, key=lambda peak: peak.two_theta)
        ],
    )
    questions: tuple[tuple[str, Callable[[Structure], PlainResult]], ...] = (
        ("coordination", analyse_coordination),
        ("prototype", match_prototypes),
    )
    for name, ask in questions:
        try:
            answers[name] = _computed(None, **ask(structure).to_dict())
        except AnalysisError as error:
            answers[name] = _failed(str(error))
    return answers


def _scheme(document: dict[str, Any]) -> str:
    return str(document.get("scheme", document["engine"]))


def _entry(key: str, document: dict[str, Any]) -> EnergyEntry:
    return EnergyEntry(key, document["formula"], _energy(document), _scheme(document))


def _energy(document: dict[str, Any]) -> float:
    corrected = document.get("energy_per_atom_corrected")
    return document["energy_per_atom"] if corrected is None else corrected


def _computed(engine: str | None, **values: Any) -> Answer:
    return {"status": "computed", "reason": None, "engine": engine, **values}


def _failed(reason: str, engine: str | None = None) -> Answer:
    return {"status": "failed", "reason": reason, "engine": engine}


def _not_computed(reason: str) -> Answer:
    return {"status": "not_computed", "reason": reason, "engine": None}
