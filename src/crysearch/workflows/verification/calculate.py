"""Calculations of chosen structures with another engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pymatgen.core import Structure

from crysearch.errors import CrysearchError, RelaxationError
from crysearch.fingerprints import pearson_distance
from crysearch.records import RecordStore, documents
from crysearch.records.values import structure_from_document
from crysearch.records.verification import calculation_document, calculation_id
from crysearch.relaxation import Evaluation, RelaxationSettings, Relaxer
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.verification import VASP, LevelSpec
from crysearch.workflows.context import make_engine
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.stages.relaxation import space_group_of

STAGE = "verification"

logger = logging.getLogger("crysearch")


def where(level: LevelSpec) -> str:
    """The level as failures name it."""
    return f"{level.engine} {level.identifier[:8]}"


def scheme_of(engine: Relaxer) -> str:
    """The label of an engine's energies: only those with the same label may be compared.

    Of a first-principles engine it has what changes energies most, so that a later version with
    other defaults does not mix with an earlier one; of a potential trained here, its id.
    """
    known = engine.provenance
    if "potential" in known:
        return f"{engine.name}:{known['potential']}"
    if "plane_wave_cutoff_eV" not in known:
        return engine.name
    return (
        f"{engine.name}:{known['model'].lower()}, {known['plane_wave_cutoff_eV']} eV, "
        f"{known['k_spacing_per_angstrom']} Å⁻¹"
    )


def calculation_of(
    records: RecordStore, search: str, level: LevelSpec, relaxation_id: str
) -> dict[str, Any] | None:
    """The calculation of a relaxed structure, if there is one."""
    return records.get("calculations", calculation_id(search, level.identifier, relaxation_id))


def failure_of(
    records: RecordStore, search: str, level: LevelSpec, relaxation_id: str
) -> dict[str, Any] | None:
    """Why the calculation of a relaxed structure failed, if it did."""
    here = {"stage": STAGE, "where": where(level), "parent": relaxation_id, "search": search}
    return records.find_one("failures", here)


def calculate(
    records: RecordStore, search: SearchSpec, level: LevelSpec, relaxation_id: str
) -> str:
    """Relax one structure once more; a document of the calculation or of its failure.

    Returns
    -------
    str
        ``"converged"``, ``"unconverged"``, ``"failed"``, or ``"known"`` if it was done before.
    """
    if level.engine is None:
        raise ValueError("a level without an engine has nothing to calculate")
    if calculation_of(records, search.search_id, level, relaxation_id) is not None:
        return "known"
    relaxation = parent_of(records, relaxation_id)
    started = time.perf_counter()
    initial = structure_from_document(relaxation)
    try:
        engine = make_engine(level.engine, level.options)
    except RelaxationError as error:
        _fail(records, search, level, relaxation, "engine_unavailable", str(error), {})
        return "failed"
    settings = RelaxationSettings(
        force_tolerance=level.force_tolerance,
        stress_tolerance=level.stress_tolerance,
        max_steps=level.max_steps,
        evaluation_timeout=load_settings().engine_timeout,
    )
    title = f"{engine.name}: {relaxation['formula']} {relaxation_id[:8]}"
    with progress_bar(title, 1, "structures") as bar:

        def show(_: int, steps: int, now: Evaluation) -> None:
            bar.set_postfix_str(f"step {steps}, force {now.largest_force:.3f} eV/Å")

        result = engine.relax([initial], settings, bar.update, show)[0]
    if result.structure is None or result.evaluation is None:
        _fail(
            records,
            search,
            level,
            relaxation,
            result.failure or "unknown",
            result.failure_detail or "the engine gave no reason",
            {"engine": engine.provenance},
        )
        return "failed"
    electronic: dict[str, Any] | None = None
    if level.electronic and hasattr(engine, "electronic_structure"):
        try:
            electronic = asdict(engine.electronic_structure(result.structure))
        except CrysearchError as error:
            electronic = {"reason": str(error)}
    _record(
        records,
        search,
        level,
        relaxation,
        result.structure,
        scheme=scheme_of(engine),
        energy=result.evaluation.energy,
        converged=result.converged,
        steps=result.steps,
        max_force=result.evaluation.largest_force,
        max_stress=result.evaluation.largest_stress,
        electronic=electronic,
        settings={"provenance": engine.provenance, "level": level.model_dump(mode="json")},
        seconds=time.perf_counter() - started,
        provenance={"engine": engine.provenance},
    )
    return "converged" if result.converged else "unconverged"


def record_outcome(
    records: RecordStore,
    search: SearchSpec,
    level: LevelSpec,
    relaxation_id: str,
    outcome: Mapping[str, Any] | None,
) -> str:
    """Record what a workflow of VASP gave for one structure; returns its status."""
    relaxation = parent_of(records, relaxation_id)
    if outcome is None:
        detail = "the jobs of VASP were lost with their worker; verify again to repeat them"
        outcome = {"engine": VASP, "status": "failed", "reason": "lost", "detail": detail}
    elif outcome["stand_in"] and not level.allow_stand_in:
        detail = (
            "the program that ran names itself a stand-in for VASP: set the setting vasp_command "
            "to VASP, or level.allow_stand_in for a demonstration"
        )
        outcome = {**outcome, "status": "failed", "reason": "stand_in", "detail": detail}
    software = {"engine": {"engine": outcome["engine"], **outcome.get("settings", {})}}
    if outcome["status"] == "failed":
        reason, detail = str(outcome["reason"]), str(outcome["detail"])
        _fail(records, search, level, relaxation, reason, detail, software)
        return "failed"
    structure = outcome["structure"]  # jobflow gives back the object
    electronic = None
    if outcome["is_metal"] is not None:
        electronic = {
            "band_gap": outcome["band_gap"],
            "is_metal": outcome["is_metal"],
            "is_direct": outcome["is_gap_direct"],
            "settings": {"step": "static"},
        }
    elif outcome["stand_in"]:
        electronic = {"reason": "a stand-in took the place of VASP: it knows no electrons"}
    _record(
        records,
        search,
        level,
        relaxation,
        structure if isinstance(structure, Structure) else Structure.from_dict(structure),
        scheme=outcome["scheme"],
        energy=outcome["energy"],
        converged=outcome["status"] == "converged",
        steps=outcome["steps"],
        energy_per_atom_corrected=outcome["corrected_energy_per_atom"],
        stand_in=bool(outcome["stand_in"]),
        max_force=outcome["max_force"],
        max_stress=outcome["max_stress"],
        electronic=electronic,
        repairs=outcome["custodian_corrections"],
        tasks=outcome["tasks"],
        settings={**outcome["settings"], "level": level.model_dump(mode="json")},
        provenance=software,
    )
    return str(outcome["status"])


def relaxation_of(records: RecordStore, key: str) -> dict[str, Any]:
    """The relaxation with an id.

    Raises
    ------
    CrysearchError
        It is no longer in the records.
    """
    relaxation = records.get("relaxations", key)
    if relaxation is None:
        raise CrysearchError(f"relaxation {key} is no longer in the records; run the search again")
    return relaxation


def parent_of(records: RecordStore, key: str) -> dict[str, Any]:
    """The competing phase or the relaxation that a calculation starts from.

    Raises
    ------
    CrysearchError
        It is no longer in the records.
    """
    return records.get("references", key) or relaxation_of(records, key)


def _record(
    records: RecordStore,
    search: SearchSpec,
    level: LevelSpec,
    relaxation: Mapping[str, Any],
    structure: Structure,
    **facts: Any,
) -> None:
    is_relaxation = "parent_kind" in relaxation
    if is_relaxation:  # competing phases may have elements that the fingerprint does not know
        rdf = search.radial_distribution_function
        before, after = rdf.from_structures([structure_from_document(relaxation), structure])
        facts |= {"fingerprint": after, "distance_moved": pearson_distance(before, after)}
    document = calculation_document(
        search=search.search_id,
        level=level.identifier,
        parent_id=relaxation["_id"],
        parent_kind=relaxation["parent_kind"] if is_relaxation else "reference",
        engine=str(level.engine),
        structure=structure,
        space_group=space_group_of(structure, search),
        **facts,
    )
    here = {"stage": STAGE, "where": where(level), "parent": relaxation["_id"]}
    records.delete("failures", here)
    records.upsert("calculations", [document])


def _fail(
    records: RecordStore,
    search: SearchSpec,
    level: LevelSpec,
    relaxation: Mapping[str, Any],
    reason: str,
    detail: str,
    provenance: Mapping[str, Any],
) -> None:
    logger.warning("%s of %s failed: %s", level.engine, relaxation["_id"], detail)
    failure = documents.failure_document(
        search=search.search_id,
        stage=STAGE,
        where=where(level),
        reason=reason,
        detail=detail,
        input=relaxation["_id"],
        parent=relaxation["_id"],
        provenance=provenance,
    )
    records.upsert("failures", [failure])
