"""Which engine is assessed, on which phases, and against which reference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from crysearch.assessment import Phase, default_phases, given_phase, named_phases
from crysearch.assessment_spec import AssessmentSpec
from crysearch.errors import ReferencesError, SpecError
from crysearch.records import RecordStore
from crysearch.records.assessments import assessment_id
from crysearch.records.values import structure_dictionary, structure_from_document
from crysearch.references import load_files
from crysearch.relaxation import available_relaxers
from crysearch.relaxation.registry import engine_options
from crysearch.workflows import self_trained
from crysearch.workflows.context import job_records

Options = dict[str, Any]


def engine_of(model: str, options: Mapping[str, Any] | None = None) -> tuple[str, Options]:
    """The engine and the options that a person means.

    Parameters
    ----------
    model
        An engine by its name, or a potential of the records (see `resolve_potential`).
    options
        Of the engine.

    Raises
    ------
    SpecError
        It is neither, its package is missing, or it does not take an option.
    """
    given = dict(options or {})
    known = {info.name: info for info in available_relaxers()}
    info = known.get(model)
    if info is None or model == self_trained.ENGINE:
        which = given.pop("potential", model)
        if given:
            raise SpecError(f"options: {', '.join(given)} — a potential trained here takes none")
        try:
            with job_records() as records:
                found = self_trained.whole_id(records, str(which))
        except SpecError as error:
            names = ", ".join(name for name in known if name != self_trained.ENGINE)
            reason = str(error).partition(" — ")[2]
            raise SpecError(
                f"model: {which!r} is neither an engine ({names}) nor a potential: {reason}"
            ) from None
        return self_trained.ENGINE, {"potential": found}
    if info.missing_packages:
        raise SpecError(
            f"model: {model!r} needs {', '.join(info.missing_packages)} — run {info.install}"
        )
    wrong = [name for name in given if name not in engine_options(model)]
    if wrong:
        raise SpecError(
            f"options: {', '.join(wrong)} — {model!r} takes "
            f"{', '.join(engine_options(model)) or 'no options'}"
        )
    return model, given


def reference_of(spec: AssessmentSpec) -> str | None:
    """The engine that a potential trained here learned from, if it is one of ours.

    Only a method that begins with the name of an engine, and says nothing of options, names one.
    """
    if spec.engine != self_trained.ENGINE:
        return None
    with job_records() as records:
        found = records.get("potentials", str(spec.options["potential"]))
    if found is None or "{" in found["method"]:
        return None
    method = _plain(found["method"])
    names = [
        info.name
        for info in available_relaxers()
        if info.name != self_trained.ENGINE
        and not info.programs
        and (method + "-").startswith(_plain(info.name) + "-")
    ]
    return max(names, key=len, default=None)


def own_structures(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The crystals in files as an assessment takes them (``structures``).

    Raises
    ------
    ReferencesError
        A file cannot be read.
    """
    return [
        {"name": known.reference_id, "structure": structure_dictionary(known.structure)}
        for known in load_files(list(files))
    ]


def phases_of(spec: AssessmentSpec) -> list[Phase]:
    """The phases, the ground state first.

    Raises
    ------
    SpecError
        A phase is unknown or given twice, or crystals have several compositions.
    """
    names = [one.name for one in spec.structures] or list(spec.phases)
    if len(set(names)) != len(names):
        raise SpecError(f"phases: {', '.join(names)} — give each one once")
    if spec.structures:
        given = [_structure(one.model_dump()) for one in spec.structures]
        formulas = sorted({structure.composition.reduced_formula for structure in given})
        if len(formulas) > 1:
            raise SpecError(f"structures: of {', '.join(formulas)} — give one composition")
        return [given_phase(n, s) for n, s in zip(names, given, strict=True)]
    try:
        return named_phases(spec.composition, names or default_phases(spec.composition))
    except ReferencesError as error:
        raise SpecError(str(error)) from error


def whole_spec(spec: AssessmentSpec) -> AssessmentSpec:
    """The specification with what it leaves to a choice: formula and phases.

    Raises
    ------
    SpecError
        The phases cannot be found, or the engine does not know an element of theirs.
    """
    phases = phases_of(spec)
    structure = phases[0].structure
    symbols = sorted(element.symbol for element in structure.composition)
    _check_elements(spec, symbols)
    return spec.with_changes(
        {
            "composition": structure.composition.reduced_formula,
            "phases": [phase.name for phase in phases],
        }
    )


def assessment_of(records: RecordStore, spec: AssessmentSpec) -> dict[str, Any] | None:
    """The assessment of a whole specification, if there is one."""
    return records.get("assessments", assessment_id(spec.engine, spec.options, spec.material))


def _check_elements(spec: AssessmentSpec, symbols: Sequence[str]) -> None:
    if spec.engine == self_trained.ENGINE:
        with job_records() as records:
            problems = self_trained.problems(records, spec.options, symbols)
        if problems:
            raise SpecError("\n  ".join(["the assessment cannot work:", *problems]))
        return
    info = next(info for info in available_relaxers() if info.name == spec.engine)
    foreign = [symbol for symbol in symbols if info.elements and symbol not in info.elements]
    if foreign:
        raise SpecError(
            f"composition: {spec.composition!r} — {spec.engine!r} does not know "
            f"{', '.join(foreign)}; it is for {', '.join(sorted(info.elements or ()))}"
        )


def _structure(document: Mapping[str, Any]) -> Structure:
    return structure_from_document(document)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
