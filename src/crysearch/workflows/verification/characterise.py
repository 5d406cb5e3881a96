"""Properties of a relaxed structure: elasticity, phonons, equation of state."""

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
from crysearch.errors import AnalysisError, RelaxationError
from crysearch.records import RecordStore
from crysearch.records.values import structure_from_document
from crysearch.records.verification import property_document, property_id
from crysearch.relaxation import Relaxer
from crysearch.spec import SearchSpec
from crysearch.verification import Property, VerificationSpec
from crysearch.workflows.context import make_engine
from crysearch.workflows.progress import progress_bar
from crysearch.workflows.verification.calculate import calculation_of, relaxation_of

logger = logging.getLogger("crysearch")

Values = dict[str, Any]


def characterise(
    records: RecordStore, search: SearchSpec, spec: VerificationSpec, relaxation_id: str
) -> dict[str, Any]:
    """Calculate the properties asked for; each becomes a document, with values or a reason.

    What was computed before is not repeated; what failed is tried again.
    """
    relaxation = relaxation_of(records, relaxation_id)
    statuses: dict[str, str] = {}
    engine: Relaxer | None = None
    with progress_bar(_title(relaxation), len(spec.properties.wanted), "properties") as bar:
        for name in spec.properties.wanted:
            settings_id = spec.property_identifier(name)
            key = property_id(search.search_id, relaxation_id, name, settings_id)
            known = records.get("properties", key)
            if known is not None and known["status"] == "computed":
                statuses[name] = "known"
                bar.update(1)
                continue
            started = time.perf_counter()
            values, reason = None, None
            structure_id, engine_name = relaxation_id, _engine_name(search, spec)
            try:
                structure_id, structure = _structure(records, search, spec, relaxation)
                engine = engine or _engine(search, spec)
                values = _CALCULATE[name](structure, engine, search, spec)
            except (AnalysisError, RelaxationError) as error:
                reason = str(error)
                logger.warning("%s of %s failed: %s", name, relaxation_id[:10], reason)
            document = property_document(
                search=search.search_id,
                relaxation_id=relaxation_id,
                kind=name,
                settings_id=settings_id,
                structure_id=structure_id,
                engine=engine_name,
                settings=getattr(spec.properties, name).model_dump(mode="json"),
                values=values,
                reason=reason,
                seconds=time.perf_counter() - started,
                provenance={} if engine is None else {"engine": engine.provenance},
            )
            records.upsert("properties", [document])
            statuses[name] = document["status"]
            bar.update(1)
    return {"relaxation": relaxation_id, **statuses}


def _title(relaxation: Mapping[str, Any]) -> str:
    return f"Properties of {relaxation['formula']} {relaxation['_id'][:8]}"


def _engine_name(search: SearchSpec, spec: VerificationSpec) -> str:
    own = spec.properties.engine == "level"
    return str(spec.level.engine if own else search.relaxation.engine)


def _engine(search: SearchSpec, spec: VerificationSpec) -> Relaxer:
    own = spec.properties.engine == "level"
    options = spec.level.options if own else search.relaxation.options
    return make_engine(_engine_name(search, spec), options)


def _structure(
    records: RecordStore,
    search: SearchSpec,
    spec: VerificationSpec,
    relaxation: Mapping[str, Any],
) -> tuple[str, Structure]:
    """The structure relaxed with the engine of the properties, and its document."""
    if spec.properties.engine == "search":
        return relaxation["_id"], structure_from_document(relaxation)
    calculation = calculation_of(records, search.search_id, spec.level, relaxation["_id"])
    if calculation is None or not calculation["converged"]:
        raise AnalysisError(f"no converged structure relaxed with {spec.level.engine}")
    return calculation["_id"], structure_from_document(calculation)


def _elasticity(
    structure: Structure, engine: Relaxer, search: SearchSpec, spec: VerificationSpec
) -> Values:
    found = calculate_elasticity(
        structure,
        engine,
        strains=spec.properties.elasticity.strains,
        symmetry_tolerance=search.analysis.strict_symmetry_tolerance,
    )
    stability = analyse_mechanical_stability(np.array(found.tensor), found.space_group)
    return {**found.to_dict(), **stability.to_dict()}


def _phonons(
    structure: Structure, engine: Relaxer, search: SearchSpec, spec: VerificationSpec
) -> Values:
    part = spec.properties.phonons
    found = calculate_phonons(
        structure,
        engine,
        minimum_length=part.minimum_length,
        maximum_atoms=part.maximum_atoms,
        displacement=part.displacement,
        tolerance=part.imaginary_tolerance,
        symmetry_tolerance=search.analysis.strict_symmetry_tolerance,
    )
    return found.to_dict()


def _equation_of_state(
    structure: Structure, engine: Relaxer, search: SearchSpec, spec: VerificationSpec
) -> Values:
    part = spec.properties.equation_of_state
    volumes = 1 + np.linspace(-part.volume_range, part.volume_range, part.points)
    return calculate_equation_of_state(structure, engine, volumes=volumes.tolist()).to_dict()


_CALCULATE: dict[Property, Callable[..., Values]] = {
    "elasticity": _elasticity,
    "phonons": _phonons,
    "equation_of_state": _equation_of_state,
}
