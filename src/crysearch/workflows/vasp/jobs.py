"""The jobs that compute one structure with VASP: one per calculation, and one that collects.

A calculation that fails is an output like any other, which the next jobs pass on; so the last
job always has an outcome to give. It also runs when a job was killed, for every job is told to
run without the outputs of those before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobflow import CURRENT_JOB, Job, JobConfig, JobStore, OnMissing, OutputReference, Response, job
from maggma.stores import MemoryStore
from pymatgen.core import Structure

from crysearch.errors import VaspError
from crysearch.settings import load_settings
from crysearch.workflows.jobs import CPU, MPI
from crysearch.workflows.vasp.outcome import lost, outcome_of
from crysearch.workflows.vasp.protocols import STEPS, Step, get_protocol
from crysearch.workflows.vasp.reading import Summary
from crysearch.workflows.vasp.running import run_step

#: Where an output holds the summary of its step.
KEY = "crysearch"

#: What atomate2 keeps in the JobStore's additional store "data", if a calculation has it.
_LARGE = [
    "aeccar0", "aeccar1", "aeccar2", "bandstructure", "chgcar", "dos", "elfcar",
    "force_constants", "locpot", "normalmode_eigenvecs", "optic", "procar", "trajectory", "wavecar",
]  # fmt: skip


def _config(category: str) -> JobConfig:
    return JobConfig(
        resolve_references=False,
        on_missing_references=OnMissing.NONE,
        expose_store=True,
        pass_manager_config=False,
        manager_config={"_category": category},
    )


def vasp_jobs(
    structure: Structure,
    protocol: str,
    name: str,
    metadata: Mapping[str, Any] | None = None,
    incar: Mapping[str, Any] | None = None,
) -> tuple[list[Job], Job]:
    """The jobs that relax a structure twice, and compute it once more, with VASP.

    Nothing of VASP is needed where they are made.

    Parameters
    ----------
    structure
        What to start from.
    protocol
        How, by name: one of `PROTOCOLS`.
    name
        What people read: the jobs are named after it.
    metadata
        Goes into the metadata of every job.
    incar
        INCAR tags that replace those of the protocol, in every step; a value of None removes a
        tag. Such energies have a scheme of their own unless the tags are technical ones.

    Returns
    -------
    list of Job
        All jobs in their order. The outputs of the calculations are atomate2's ``TaskDoc``, with
        our summary under ``crysearch``.
    Job
        The last of them, whose output is the outcome (`outcome_of`).

    Raises
    ------
    VaspError
        The protocol is unknown, or a tag is not one that INCAR can hold.
    """
    get_protocol(protocol)
    tags = _checked(incar)
    jobs: list[Job] = []
    for step in STEPS:
        before = [earlier.output for earlier in jobs]
        start = None if jobs else structure
        jobs.append(vasp_step(protocol, step, start, before, tags))
    final = vasp_outcome(protocol, [earlier.output for earlier in jobs], tags)
    jobs.append(final)
    for new, what in zip(jobs, (*STEPS, "outcome"), strict=True):
        new.name = f"{name}: {protocol} {what}"
        new.metadata.update(metadata or {})
    return jobs, final


def _checked(incar: Mapping[str, Any] | None) -> dict[str, Any]:
    tags = dict(incar or {})
    for tag, value in tags.items():
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", tag):
            raise VaspError(f"incar: {tag!r} is no tag of INCAR; write it in capitals")
        if not isinstance(value, bool | int | float | str | list | None):
            raise VaspError(
                f"incar.{tag}: {value!r} — give a number, a truth value, text, a list of them, or "
                "none to remove the tag"
            )
    return tags


@job(config=_config(MPI), data=_LARGE)
def vasp_step(
    protocol: str,
    step: Step,
    structure: Structure | dict[str, Any] | None,
    before: list[OutputReference],
    incar: dict[str, Any],
) -> Response[Any]:
    """Run a calculation, from a structure or from where the step before has ended."""
    wanted = get_protocol(protocol)
    store: JobStore = CURRENT_JOB.store
    earlier = _summaries(store, before)
    failed = _passed_on(earlier) or _store_problem(store)
    if failed:
        return _without_task(failed)
    if structure is None:
        previous = earlier[-1] or {}
        structure = previous["structure"]
        # A stand-in has no band gap, orbitals or charges to go on from.
        continues = wanted.continues and not previous["stand_in"]
        folder_before = previous["dir_name"] if continues else None
    else:
        folder_before = None
    if isinstance(structure, dict):
        structure = Structure.from_dict(structure)
    task, summary = run_step(
        structure, wanted, step, _folder(), load_settings(), incar, folder_before
    )
    if task is None:
        return _without_task(summary)
    return Response(output=task.model_copy(update={KEY: summary}))


@job(config=_config(CPU))
def vasp_outcome(
    protocol: str, steps: list[OutputReference], incar: dict[str, Any]
) -> Response[Summary]:
    """Collect the steps into one outcome."""
    summaries = _summaries(CURRENT_JOB.store, steps)
    uuids = [reference.uuid for reference in steps]
    return Response(output=outcome_of(get_protocol(protocol), summaries, uuids, incar))


def _summaries(store: JobStore, references: list[OutputReference]) -> list[Summary | None]:
    """The summaries of earlier steps; None for one that is not in the JobStore.

    Read without the rest of the outputs, which may be large.
    """
    found: list[Summary | None] = []
    for reference in references:
        document = store.query_one(
            {"uuid": reference.uuid}, [f"output.{KEY}"], sort={"index": -1}, load=False
        )
        found.append(document["output"][KEY] if document else None)
    return found


def _passed_on(earlier: list[Summary | None]) -> Summary | None:
    for step, summary in zip(STEPS, earlier, strict=False):
        if summary is None:
            return _not_run("lost", lost(step))
        if summary["state"] not in ("converged", "unconverged"):
            return _not_run(summary["reason"], summary["detail"])
    return None


def _store_problem(store: JobStore) -> Summary | None:
    """Hours of VASP are not to end in the memory of a worker."""
    if "fw_id" in CURRENT_JOB.job.metadata and type(store.docs_store) is MemoryStore:
        detail = (
            "jobflow's JobStore is in the memory of this worker, and what VASP computes would be "
            "lost with it: export JOBFLOW_CONFIG_FILE, the jobflow.yaml that `crysearch init` "
            "writes"
        )
        return _not_run("no_job_store", detail)
    return None


def _not_run(reason: str, detail: str) -> Summary:
    return {
        "state": "not run",
        "reason": reason,
        "detail": detail,
        "dir_name": None,
        "stand_in": None,
        "custodian_corrections": [],
    }


def _without_task(summary: Summary) -> Response[Any]:
    output = {"state": "failed", "dir_name": summary["dir_name"], KEY: summary}
    return Response(output=output)


def _folder() -> Path:
    """Where to calculate: FireWorks' launch folder, or else a new one in the current folder."""
    here = Path.cwd()
    job = CURRENT_JOB.job
    if "fw_id" in job.metadata:
        return here
    folder = here / f"vasp_{job.uuid}_{job.index}"
    folder.mkdir(exist_ok=True)
    return folder
