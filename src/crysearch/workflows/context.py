"""From a specification to the objects of the science modules, and to the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from jobflow import CURRENT_JOB, JobStore
from maggma.stores import MemoryStore, MongoStore

from crysearch.errors import CrysearchError, SettingsError, SpecError
from crysearch.generative import available_models
from crysearch.records import RecordStore, open_records, records_in
from crysearch.records.values import from_binary_vector
from crysearch.relaxation import RelaxationSettings, Relaxer, available_relaxers, create_relaxer
from crysearch.relaxation.registry import engine_options
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.workflows import self_trained


@contextmanager
def job_records() -> Iterator[RecordStore]:
    """The record store, closed afterwards.

    It is the one of the settings, read where the job runs, so that no address or password travels
    with a job. A worker whose settings name no database, but whose JobStore is a MongoDB, writes
    to the database of its JobStore.
    """
    settings = load_settings()
    store = getattr(CURRENT_JOB.store, "docs_store", None)
    configured = "database" in settings.model_fields_set
    if not configured and isinstance(store, MongoStore) and not isinstance(store, MemoryStore):
        store.connect()
        yield records_in(store._collection.database, patience=settings.database_patience)
        return
    location = settings.database.get_secret_value()
    with open_records(location, patience=settings.database_patience) as records:
        yield records


def job_store(records: RecordStore) -> JobStore:
    """A JobStore in the database of the records, for jobs whose outputs are worth keeping."""
    outputs, data = (
        MongoStore.from_collection(records.database[name]) for name in ("outputs", "outputs_data")
    )
    return JobStore(outputs, additional_stores={"data": data})


def pair_distances(spec: SearchSpec) -> dict[tuple[str, str], float]:
    """Minimum distances (Å) with pairs as tuples, in both orders."""
    distances: dict[tuple[str, str], float] = {}
    for pair, distance in spec.minimum_distances.items():
        first, second = pair.split("-")
        distances[first, second] = distances[second, first] = distance
    return distances


def relaxation_settings(spec: SearchSpec) -> RelaxationSettings:
    """Convergence criteria of the specification."""
    part = spec.relaxation
    return RelaxationSettings(
        force_tolerance=part.force_tolerance,
        stress_tolerance=part.stress_tolerance,
        max_steps=part.max_steps,
        evaluation_timeout=load_settings().engine_timeout,
    )


def make_engine(name: str, options: Mapping[str, Any]) -> Relaxer:
    """A relaxation engine with what the settings say of this machine.

    Parameters
    ----------
    name
        One of :func:`crysearch.relaxation.available_relaxers`.
    options
        Options of the engine that can change its results, and any others; they win over the
        settings. Those of `self-trained` are the id of a ``potential`` in the records.

    Raises
    ------
    RelaxationError
        If the engine is unknown, or cannot work here or with these options.
    """
    if name == self_trained.ENGINE:
        with job_records() as records:
            return self_trained.engine(records, options)
    settings = load_settings()
    machine: dict[str, Any] = {}
    if _is_pretrained(name):
        machine = {"device": settings.device, "threads": settings.threads}
    elif name == "espresso":
        machine = {
            "command": settings.espresso_command,
            "pseudopotentials_folder": settings.espresso_pseudopotentials,
            "threads": settings.threads,
        }
    elif name == "gpaw":
        machine = {"python": settings.gpaw_python, "threads": settings.threads}
    return create_relaxer(name, **{**machine, **options})


def make_relaxer(spec: SearchSpec) -> Relaxer:
    """The relaxation engine of the specification with the settings of this machine."""
    return make_engine(spec.relaxation.engine, spec.relaxation.options)


def with_whole_ids(spec: SearchSpec) -> SearchSpec:
    """The specification with the whole id of the potential of which the beginning is given.

    Raises
    ------
    SpecError
        There is no such potential, or several are meant.
    """
    which = spec.relaxation.options.get("potential")
    if spec.relaxation.engine != self_trained.ENGINE or not isinstance(which, str):
        return spec
    with job_records() as records:
        found = self_trained.whole_id(records, which)
    return spec.with_changes({"relaxation.options.potential": found})


def _is_pretrained(engine: str) -> bool:
    return any(info.name == engine and "torch" in info.packages for info in available_relaxers())


def validate(spec: SearchSpec) -> None:
    """Checks that need the science modules, made before any work starts.

    What only the machine that does the work must have, such as a GPU, is not asked for here.

    Raises
    ------
    SpecError
        Lists every field that cannot work: an unknown model or engine, a missing package, or a
        composition, volume and distances that no crystal meets.
    """
    problems: list[str] = []
    if spec.generative.model not in available_models():
        problems.append(
            f"generative.model: {spec.generative.model!r} — choose one of "
            f"{', '.join(available_models())}"
        )
    engines = {info.name: info for info in available_relaxers()}
    engine = engines.get(spec.relaxation.engine)
    if engine is None:
        problems.append(
            f"relaxation.engine: {spec.relaxation.engine!r} — choose one of {', '.join(engines)}"
        )
    elif engine.missing_packages:
        problems.append(
            f"relaxation.engine: {engine.name!r} needs {', '.join(engine.missing_packages)} — run "
            f"{engine.install}"
        )
    else:
        foreign = [s for s in spec.species if engine.elements and s not in engine.elements]
        if foreign:
            problems.append(
                f"relaxation.engine: {engine.name!r} does not know {', '.join(foreign)} — choose "
                f"one of {', '.join(info.name for info in engines.values() if not info.elements)}"
            )
        problems += _option_problems(spec)
    if spec.sampling.sampler == "pyxtal" and find_spec("pyxtal") is None:
        problems.append("sampling.sampler: 'pyxtal' is not installed — run pip install pyxtal")
    for formula_units in spec.formula_units:
        try:
            spec.crystal_request(formula_units)
        except Exception as error:
            problems.append(f"formula_units {formula_units}: {error}")
    if problems:
        raise SpecError("the search cannot work:\n  " + "\n  ".join(problems))


def _option_problems(spec: SearchSpec) -> list[str]:
    """What is wrong with the options of the engine, as far as it can be said on any machine."""
    name, options = spec.relaxation.engine, spec.relaxation.options
    if name == self_trained.ENGINE:
        with job_records() as records:
            return self_trained.problems(records, options, spec.species)
    if not options:
        return []
    known = engine_options(name)
    return [
        f"relaxation.options.{option}: {value!r} — {name!r} takes "
        f"{', '.join(known) or 'no options'}"
        for option, value in options.items()
        if option not in known
    ]


def check_device(spec: SearchSpec) -> None:
    """Check that this machine has the device, or the programs and data, that the engine needs.

    Raises
    ------
    SettingsError
        It has not the device.
    RelaxationError
        It has not the program, or no pseudopotential or data set of an element.
    """
    if any(info.name == spec.relaxation.engine and info.programs for info in available_relaxers()):
        make_relaxer(spec).check_elements(spec.species)
    if _is_pretrained(spec.relaxation.engine):
        from crysearch.relaxation.torch_runtime import resolve_device  # torch takes seconds

        device = load_settings().device
        try:
            resolve_device(device)
        except CrysearchError as error:
            raise SettingsError(f"setting CRYSEARCH_DEVICE: {error}") from error


def conditions_of(spec: SearchSpec, known: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """What a conditional model is told of known structures; None for any other model.

    Parameters
    ----------
    spec
    known
        Documents of references, or mappings with the field that is the condition.

    Returns
    -------
    ndarray, shape (n, 1), or None
        Energies above the source's ground state (eV/atom) or densities (g/cm³); not-a-number where
        they are not known.
    """
    field = spec.generative.condition_field
    if field is None:
        return None
    values = [np.nan if facts[field] is None else facts[field] for facts in known]
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def fingerprints_of(documents: list[dict], size: int) -> np.ndarray:
    """Fingerprints stored in documents, shape (n, size)."""
    if not documents:
        return np.empty((0, size))
    return np.stack([from_binary_vector(document["fingerprint"]) for document in documents])
