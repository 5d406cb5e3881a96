"""One VASP calculation: atomate2's maker in a folder, and what became of it.

Nothing that goes wrong is raised: it is the state of the step, with a reason (a machine word) and
a detail (a sentence).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymatgen.core import Structure

from crysearch.errors import VaspError
from crysearch.settings import Settings
from crysearch.vasp_standin import is_standin
from crysearch.workflows.vasp import reading
from crysearch.workflows.vasp.checks import (
    command_in_force,
    command_problem,
    potcar_problem,
    potentials_folder,
)
from crysearch.workflows.vasp.protocols import Protocol, Step, check_atomate2, maker_of
from crysearch.workflows.vasp.reading import Summary

if TYPE_CHECKING:
    from emmet.core.tasks import TaskDoc


class StepFailure(Exception):
    """Why a step has no result: a machine word and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def run_step(
    structure: Structure,
    protocol: Protocol,
    step: Step,
    folder: Path,
    settings: Settings,
    incar: Mapping[str, Any] | None = None,
    previous: str | None = None,
) -> tuple[TaskDoc | None, Summary]:
    """Run a calculation to its end.

    Parameters
    ----------
    structure
        What to start from.
    protocol, step, incar
        What to compute.
    folder
        Where to; it exists and holds no calculation.
    settings
        The command, the potentials, and the time.
    previous
        Folder of the step before, for protocols that continue it (``host:path`` or a path).

    Returns
    -------
    TaskDoc or None
        What atomate2 keeps of the calculation, if its files can be read.
    dict
        ``state`` (``converged``, ``unconverged`` or ``failed``), ``reason``, ``detail``,
        ``dir_name``, ``stand_in``, ``custodian_corrections`` and, unless failed, the results.
    """
    summary: Summary = {"state": "failed", "reason": None, "detail": None, "dir_name": str(folder)}
    summary |= {"stand_in": None, "custodian_corrections": []}
    task: TaskDoc | None = None
    try:
        task, error = _calculate(structure, protocol, step, folder, settings, incar, previous)
        summary["custodian_corrections"] = reading.read_corrections(folder)
        summary["stand_in"] = is_standin(folder) if _has_output(folder) else None
        if task is None:
            task = _task_document(folder, f"{protocol.name} {step}")
        summary |= _judge(folder, summary["custodian_corrections"], task, error)
    except StepFailure as failure:
        summary |= {"reason": failure.reason, "detail": failure.detail}
    if task is not None:
        summary["dir_name"] = task.dir_name
    return task, summary


def _calculate(
    structure: Structure,
    protocol: Protocol,
    step: Step,
    folder: Path,
    settings: Settings,
    incar: Mapping[str, Any] | None,
    previous: str | None,
) -> tuple[TaskDoc | None, Exception | None]:
    try:
        check_atomate2()
    except VaspError as error:
        raise StepFailure("no_atomate2", str(error)) from error
    from atomate2.utils.path import strip_hostname

    if not structure.is_ordered or len(structure) == 0:
        raise StepFailure("unsupported", "VASP needs at least one atom, and one on every site")
    problem = command_problem(command_in_force(settings))
    if problem:
        raise StepFailure("no_vasp_command", problem)
    maker = maker_of(protocol, step, incar)
    maker.run_vasp_kwargs |= _run_arguments(settings)
    with potentials_folder(settings), contextlib.chdir(folder):
        problem = potcar_problem([structure], protocol)
        if problem:
            raise StepFailure("no_potcar", problem)
        if previous is not None and not Path(strip_hostname(previous)).is_dir():
            raise StepFailure(
                "no_previous_files",
                f"protocol {protocol.name} continues from the files of the step before, and "
                f"{previous} is not to be seen from here: give the workers a common file system",
            )
        try:
            # The function behind atomate2's decorator: it runs, where `make` would plan a job.
            make: Any = type(maker).make
            response = make.original(maker, structure, prev_dir=previous)
        except Exception as error:
            return None, error
    return response.output, None


def _run_arguments(settings: Settings) -> dict[str, Any]:
    from crysearch.workflows.vasp.time_limit import custodian_arguments

    arguments = custodian_arguments(settings.vasp_walltime, settings.vasp_poll_seconds)
    if settings.vasp_command is not None:
        # Not atomate2's vasp_gam beside a command of ours: one program for every k-mesh.
        command = settings.vasp_command
        arguments |= {"vasp_cmd": command, "vasp_gamma_cmd": command}
    return arguments


def _judge(
    folder: Path,
    corrections: list[dict[str, Any]],
    task: TaskDoc | None,
    error: Exception | None,
) -> Summary:
    from custodian.custodian import CustodianError, ReturnCodeError, ValidationError

    from crysearch.workflows.vasp.time_limit import TIME_HANDLERS

    vasprun = reading.read_vasprun(folder)
    last = corrections[-1] if corrections else None
    late = any(correction["handler"] in TIME_HANDLERS for correction in corrections)
    if late and (vasprun is None or not reading.ended_by_itself(folder, vasprun)):
        raise StepFailure("walltime", f"the time limit ended VASP in {folder}")
    if isinstance(error, ReturnCodeError | ValidationError):
        raise StepFailure("crash", f"{error}; {reading.last_words(folder)} ({folder})")
    if vasprun is None:
        if isinstance(error, CustodianError):
            raise StepFailure("custodian", _given_up(last, error, folder))
        if not _has_output(folder):
            raise StepFailure("no_output", f"VASP was not run in {folder}: {_words(error)}")
        raise StepFailure("unparsable", f"vasprun.xml in {folder} cannot be read: {_words(error)}")
    if not vasprun.converged_electronic:
        raise StepFailure(
            "unconverged_electronic",
            f"the electronic steps did not converge, after {len(corrections)} corrections by "
            f"custodian ({folder})",
        )
    problem = reading.ionic_problem(vasprun)
    gave_up_on_ions = problem is not None and last is not None and _is_unconverged(last)
    if isinstance(error, CustodianError) and not gave_up_on_ions:
        raise StepFailure("custodian", _given_up(last, error, folder))
    if task is None:
        raise StepFailure("unparsable", f"emmet cannot read {folder}: {_words(error)}")
    found = reading.results(vasprun) | _electronic_structure(task)
    if task.structure is not None:
        # CONTCAR has more digits than vasprun.xml.
        found["structure"] = task.structure.as_dict()
    state = "converged" if problem is None else "unconverged"
    return found | {"state": state, "reason": problem and "unconverged_ionic", "detail": problem}


def _electronic_structure(task: TaskDoc) -> Summary:
    """Band gap and its kind; None where the calculation does not say."""
    output = task.calcs_reversed[0].output if task.calcs_reversed else None
    gap = getattr(output, "bandgap", None)
    return {
        "band_gap": None if gap is None else float(gap),
        "is_metal": getattr(output, "is_metal", None),
        "is_gap_direct": getattr(output, "is_gap_direct", None),
    }


def _task_document(folder: Path, label: str) -> TaskDoc | None:
    """atomate2's record of a calculation that custodian gave up, as far as it can be read."""
    from atomate2.vasp.jobs.base import get_vasp_task_document

    if not _has_output(folder):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            task: Any = get_vasp_task_document(folder)
        except Exception:  # the files are of a run that failed
            return None
    task.task_label = label
    return task


def _has_output(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("vasprun.xml", "vasprun.xml.gz"))


def _is_unconverged(correction: dict[str, Any]) -> bool:
    return correction["handler"] == "UnconvergedErrorHandler"


def _given_up(last: dict[str, Any] | None, error: Exception, folder: Path) -> str:
    about = f"{last['handler']} ({', '.join(last['errors'])}): " if last else ""
    return f"custodian gave up: {about}{_words(error)} ({folder})"


def _words(error: Exception | None) -> str:
    if error is None:
        return "no error was raised"
    return f"{type(error).__name__}: {str(error).strip()[:300]}"
