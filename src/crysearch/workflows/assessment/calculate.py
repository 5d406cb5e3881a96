"""One quantity of an assessment: computed, and written as values or as the reason for none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pymatgen.core import Structure

from crysearch.analysis import (
    analyse_mechanical_stability,
    calculate_elasticity,
    calculate_equation_of_state,
    calculate_phonons,
)
from crysearch.assessment import measure_cost, relax_phases
from crysearch.assessment_spec import AssessmentSpec
from crysearch.errors import AnalysisError, CrysearchError, DatabaseAbsent, RelaxationError
from crysearch.records import RecordStore
from crysearch.records.assessments import assessed_part, assessment_document
from crysearch.records.schema_assessments import AssessedQuantity
from crysearch.records.values import structure_from_document
from crysearch.relaxation import RelaxationSettings, Relaxer, available_relaxers
from crysearch.settings import load_settings
from crysearch.workflows import self_trained
from crysearch.workflows.assessment.subjects import assessment_of, phases_of
from crysearch.workflows.context import make_engine
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.verification.calculate import scheme_of

logger = logging.getLogger("crysearch")

#: Atoms of the largest cell whose cost is measured where nothing else is asked.
LARGEST_CELL = 100_000


class _LeftOut(Exception):
    """A quantity that was not asked for in earnest; carries the reason."""


def open_assessment(records: RecordStore, spec: AssessmentSpec) -> dict[str, Any]:
    """The document of an assessment, made if it is not there."""
    known = assessment_of(records, spec)
    if known is not None:
        return known
    phases = phases_of(spec)
    composition = phases[0].structure.composition
    potential = spec.options.get("potential") if spec.engine == self_trained.ENGINE else None
    document = assessment_document(
        engine=spec.engine,
        options=spec.options,
        material=spec.material,
        elements=[element.symbol for element in composition],
        formula=composition.reduced_formula,
        phases=spec.phases,
        spec=spec.model_dump(mode="json", exclude={"quantities"}),
        seed=spec.relaxation.seed,
        parents=[] if potential is None else [str(potential)],
    )
    records.upsert("assessments", [document])
    return document


def calculate(
    records: RecordStore, spec: AssessmentSpec, quantity: AssessedQuantity
) -> dict[str, Any]:
    """Compute a quantity, unless it was computed before with the same settings.

    Returns
    -------
    dict
        ``quantity`` and its ``status``: ``"computed"``, ``"failed"``, ``"left_out"``, or
        ``"known"`` from before.
    """
    document = open_assessment(records, spec)
    settings_id = spec.settings_id(quantity)
    before = document["quantities"][quantity]
    done = before is not None and before["status"] == "computed"
    if done and before["settings_id"] == settings_id:
        return {"quantity": quantity, "status": "known"}
    started = time.perf_counter()
    facts: dict[str, Any] = {"status": "computed"}
    changes: dict[str, Any] = {}
    try:
        engine = make_engine(spec.engine, spec.options)
        engine.check_elements(document["elements"])
        changes = {"scheme": scheme_of(engine), "provenance.engine": engine.provenance}
        facts["values"] = _CALCULATE[quantity](document, engine, spec)
    except _LeftOut as error:
        facts = {"status": "left_out", "reason": str(error)}
    except DatabaseAbsent:
        raise
    except Exception as error:  # whatever a package raises, the other quantities go on
        known_error = isinstance(error, CrysearchError)
        reason = str(error) if known_error else f"{type(error).__name__}: {error}"
        logger.warning(
            "%s of %s failed: %s", quantity, spec.engine, reason, exc_info=not known_error
        )
        facts = {"status": "failed", "reason": reason}
    part = assessed_part(
        settings_id=settings_id,
        settings=spec.settings_of(quantity),
        seconds=time.perf_counter() - started,
        **facts,
    )
    records.update("assessments", {document["_id"]: {f"quantities.{quantity}": part, **changes}})
    return {"quantity": quantity, "status": part["status"]}


def _phases(document: Mapping[str, Any], engine: Relaxer, spec: AssessmentSpec) -> Any:
    part = spec.relaxation
    settings = RelaxationSettings(
        force_tolerance=part.force_tolerance,
        stress_tolerance=part.stress_tolerance,
        max_steps=part.max_steps,
        evaluation_timeout=load_settings().engine_timeout,
    )
    phases = phases_of(spec)
    with progress_bar(_title(spec, "relaxing"), 2 * len(phases), "cells") as bar:
        found = relax_phases(
            phases, engine, settings, part.seed, part.displacement, part.strain, bar.update
        )
    if all(phase.reason for phase in found):
        raise RelaxationError(f"no phase was relaxed; {found[0].name}: {found[0].reason}")
    return [phase.to_dict() for phase in found]


def _equation_of_state(document: Mapping[str, Any], engine: Relaxer, spec: AssessmentSpec) -> Any:
    part = spec.equation_of_state
    volumes = (1 + np.linspace(-part.volume_range, part.volume_range, part.points)).tolist()
    states: list[dict[str, Any]] = []
    relaxed = _relaxed(document)
    with progress_bar(_title(spec, "equations of state"), len(relaxed), "phases") as bar:
        for phase in relaxed:
            names = {"name": phase["name"], "label": phase["label"]}
            try:
                structure = _structure_of(phase)
                found = calculate_equation_of_state(structure, engine, volumes).to_dict()
                states.append({**names, "reason": None, **found})
            except (AnalysisError, RelaxationError) as error:
                states.append({**names, "reason": str(error)})
            bar.update(1)
    reasons = [state["reason"] for state in states]
    if all(reasons):
        raise AnalysisError(f"no phase has an equation of state; {reasons[0]}")
    return states


def _elasticity(document: Mapping[str, Any], engine: Relaxer, spec: AssessmentSpec) -> Any:
    with progress_bar(_title(spec, "elastic constants"), 1, "crystals") as bar:
        found = calculate_elasticity(_first(document), engine, strains=spec.elasticity.strains)
        bar.update(1)
    stability = analyse_mechanical_stability(np.array(found.tensor), found.space_group)
    return {**found.to_dict(), **stability.to_dict()}


def _phonons(document: Mapping[str, Any], engine: Relaxer, spec: AssessmentSpec) -> Any:
    part = spec.phonons
    with progress_bar(_title(spec, "phonons"), 1, "crystals") as bar:
        found = calculate_phonons(
            _first(document),
            engine,
            minimum_length=part.minimum_length,
            maximum_atoms=part.maximum_atoms,
            displacement=part.displacement,
            tolerance=part.imaginary_tolerance,
        )
        bar.update(1)
    return found.to_dict()


def _cost(document: Mapping[str, Any], engine: Relaxer, spec: AssessmentSpec) -> Any:
    part = spec.cost
    programs = any(i.programs for i in available_relaxers() if i.name == spec.engine)
    if part.largest is None and programs:
        raise _LeftOut(
            f"{spec.engine} is a program from first principles: its cost is measured only up to a "
            "largest cell that is asked for (cost.largest)"
        )
    sizes = part.sizes(part.largest or LARGEST_CELL)
    with progress_bar(_title(spec, "cost"), len(sizes), "sizes") as bar:
        found = measure_cost(
            _first(document),
            engine,
            sizes,
            part.time_limit,
            part.memory_limit,
            spec.relaxation.seed,
            bar.update,
        )
    return found.to_dict()


_CALCULATE: dict[AssessedQuantity, Callable[..., Any]] = {
    "phases": _phases,
    "equation_of_state": _equation_of_state,
    "elasticity": _elasticity,
    "phonons": _phonons,
    "cost": _cost,
}


def _relaxed(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    part = document["quantities"]["phases"]
    if part is None or part["status"] != "computed":
        raise AnalysisError(f"the phases were not relaxed: {part and part['reason']}")
    phases: list[dict[str, Any]] = part["values"]
    return phases


def _first(document: Mapping[str, Any]) -> Structure:
    return _structure_of(_relaxed(document)[0])


def _structure_of(phase: Mapping[str, Any]) -> Structure:
    if phase["structure"] is None:
        raise AnalysisError(f"{phase['name']} was not relaxed: {phase['reason']}")
    return structure_from_document(phase)


def _title(spec: AssessmentSpec, what: str) -> str:
    return f"{spec.engine}: {what}"
