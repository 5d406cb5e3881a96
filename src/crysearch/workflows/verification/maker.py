"""The flow of a verification: one job for each calculation, then the verdicts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, JobConfig, JobStore, Maker, OnMissing, job, run_locally
from maggma.stores import MemoryStore

from crysearch.errors import SpecError
from crysearch.records.values import structure_from_document
from crysearch.spec import SearchSpec
from crysearch.verification import VASP, VerificationSpec
from crysearch.workflows.context import job_records, job_store, make_engine
from crysearch.workflows.interrupts import interrupts_kept
from crysearch.workflows.jobs import BATCHED, CPU, MPI, named
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.submission import Submission, add_to, submitted_before
from crysearch.workflows.vasp import check_vasp, vasp_jobs
from crysearch.workflows.verification import calculate as calculations
from crysearch.workflows.verification import characterise as properties
from crysearch.workflows.verification import conclude as verdicts
from crysearch.workflows.verification.subjects import (
    check,
    compared_with,
    keep_competing,
    search_spec,
)

Content = dict[str, Any]


def _config(category: str, resolve: bool = False) -> JobConfig:
    return JobConfig(
        resolve_references=resolve,
        expose_store=True,
        pass_manager_config=False,
        # A calculation that was lost with its worker must not keep the others from a verdict.
        on_missing_references=OnMissing.NONE,
        manager_config={"_category": category},
    )


@job(config=_config(MPI))
def calculate(search: Content, verification: Content, relaxation_id: str) -> Content:
    """Relax one structure with another engine."""
    spec, asked = SearchSpec.build(search), VerificationSpec.build(verification)
    with job_records() as records:
        status = calculations.calculate(records, spec, asked.level, relaxation_id)
    return {"relaxation": relaxation_id, "status": status}


@job(config=_config(CPU, resolve=True))
def record_outcome(
    search: Content, verification: Content, relaxation_id: str, outcome: Content | None
) -> Content:
    """Record what VASP's workflow gave for one structure."""
    spec, asked = SearchSpec.build(search), VerificationSpec.build(verification)
    with job_records() as records:
        status = calculations.record_outcome(records, spec, asked.level, relaxation_id, outcome)
    return {"relaxation": relaxation_id, "status": status}


@job(config=_config(BATCHED))
def characterise(
    search: Content, verification: Content, relaxation_id: str, after: Any = None
) -> Content:
    """Calculate the properties of one structure."""
    spec, asked = SearchSpec.build(search), VerificationSpec.build(verification)
    with job_records() as records:
        return properties.characterise(records, spec, asked, relaxation_id)


@job(config=_config(CPU))
def conclude(
    search: Content, verification: Content, relaxation_ids: list[str], after: Any = None
) -> Content:
    """Write the verdicts."""
    spec, asked = SearchSpec.build(search), VerificationSpec.build(verification)
    with job_records() as records:
        return verdicts.conclude(records, spec, asked, relaxation_ids)


@dataclass
class VerificationMaker(Maker):
    """Maker of the flow that takes relaxed structures of a search to their verdicts.

    Every calculation is a job of its own, for queues; a calculation in the records is not repeated.
    """

    name: str = "verification"

    def make(self, search: str, subjects: Sequence[str], spec: VerificationSpec) -> Flow:
        """Make the flow.

        Parameters
        ----------
        search
            The id of the search.
        subjects
            Ids of its relaxations; see `best_distinct` and `find_subjects`.
        spec
            What is asked.

        Raises
        ------
        CrysearchError
            The verification cannot work, with the reason, before any work starts.
        """
        if not subjects:
            raise SpecError("subjects: none given — name at least one relaxed structure")
        with job_records() as records:
            records.ensure_indexes()
            owner = search_spec(records, search)
            check(owner, spec)
            others = compared_with(records, search, spec) if spec.level.engine else []
            others += keep_competing(records, search, spec)
            wanted = [
                calculations.parent_of(records, key)
                for key in dict.fromkeys([*others, *subjects])
                if calculations.calculation_of(records, search, spec.level, key) is None
            ]
        contents = owner.model_dump(mode="json"), spec.model_dump(mode="json")
        steps: list[Flow | Job] = []
        done: dict[str, Any] = {}
        for document in wanted if spec.level.engine else ():
            jobs = self._calculation(owner, contents, spec, document)
            steps += jobs
            done[document["_id"]] = jobs[-1].output
        waiting = list(done.values())
        if spec.properties.wanted:
            for key in subjects:
                after = done.get(key) if spec.properties.engine == "level" else None
                characterising = characterise(*contents, key, after=after)
                steps.append(named(characterising, owner, f"properties of {key[:8]}"))
                waiting.append(characterising.output)
        concluding = conclude(*contents, list(subjects), after=waiting)
        steps.append(named(concluding, owner, "verdicts"))
        return Flow(steps, output=concluding.output, name=f"{self.name}: {owner.name}")

    def _calculation(
        self,
        owner: SearchSpec,
        contents: tuple[Content, Content],
        spec: VerificationSpec,
        document: dict[str, Any],
    ) -> list[Job]:
        key = document["_id"]
        name = f"{document['formula']} {key[:8]}"
        if spec.level.engine != VASP:
            return [named(calculate(*contents, key), owner, f"{spec.level.engine} of {name}")]
        jobs, last = vasp_jobs(
            structure_from_document(document),
            spec.level.protocol,
            name,
            {"search": owner.search_id, "relaxation": key},
            spec.level.options,
        )
        recording = record_outcome(*contents, key, last.output)
        return [*jobs, named(recording, owner, f"record VASP of {name}")]


def run_verification(
    search: str,
    subjects: Sequence[str],
    spec: VerificationSpec,
    folder: str | Path = "crysearch-calculations",
) -> dict[str, Any]:
    """Run a verification in this process; returns the summary of the verdicts.

    Parameters
    ----------
    search, subjects, spec
        See `VerificationMaker.make`.
    folder
        Where VASP's calculations run, each in a folder of its own.

    Raises
    ------
    CrysearchError
        The verification cannot work, or the records cannot be written. Calculations that fail are
        failures in the records, and the verdicts say so.
    """
    flow = VerificationMaker().make(search, subjects, spec)
    _check_machine(search, subjects, spec)
    runs_vasp = spec.level.engine == VASP
    if runs_vasp:
        Path(folder).mkdir(parents=True, exist_ok=True)
    logging.getLogger("jobflow").setLevel(logging.WARNING)
    with job_records() as records, warnings.catch_warnings(), interrupts_kept():
        warnings.filterwarnings("ignore", message="cd is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Some jobs are not connected")
        responses = run_locally(
            flow,
            log=False,
            create_folders=runs_vasp,
            root_dir=folder if runs_vasp else None,
            raise_immediately=True,
            store=job_store(records) if runs_vasp else JobStore(MemoryStore()),
        )
    return dict(responses[flow.output.uuid][1].output)


def _check_machine(search: str, subjects: Sequence[str], spec: VerificationSpec) -> None:
    """What the machine that calculates must have: programs, potentials, data of the elements."""
    level = spec.level
    if level.engine is None:
        return
    with job_records() as records:
        found = records.find("relaxations", {"_id": {"$in": list(subjects)}})
        species = search_spec(records, search).species
    if level.engine == VASP:
        check_vasp([structure_from_document(document) for document in found], level.protocol)
    else:
        make_engine(level.engine, level.options).check_elements(species)


def submit_verification(
    search: str,
    subjects: Sequence[str],
    spec: VerificationSpec,
    launchpad: LaunchPad | None = None,
) -> Submission:
    """Put a verification on the launch pad, once; jobs of it that failed are made ready again.

    Raises
    ------
    CrysearchError
        The verification cannot work, or the database does not answer.
    """
    flow = VerificationMaker().make(search, subjects, spec)
    pad = configured_launchpad() if launchpad is None else launchpad
    metadata = {"verification": spec.identifier, "of": search, "subjects": sorted(subjects)}
    earlier = submitted_before(pad, metadata)
    state, fw_ids = earlier or ("added", add_to(pad, flow, metadata))
    return Submission(search, state, fw_ids)
