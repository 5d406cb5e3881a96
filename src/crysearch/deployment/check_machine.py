"""Checks of this machine: engines, device, VASP, the Materials Project's key, disk and queue."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from crysearch.deployment.findings import Finding, State
from crysearch.deployment.project import fireworks_config, project_folder, read_yaml
from crysearch.deployment.queues import FIREWORKS_TYPE, SUBMIT_COMMAND, Queue, detect_queue
from crysearch.errors import RelaxationError, TrainingError
from crysearch.relaxation.registry import RelaxerInfo, available_relaxers, create_relaxer
from crysearch.settings import load_settings
from crysearch.spec_parts import RelaxationSpec

_GIB = 1024**3
_WARN_BELOW_BYTES, _FAIL_BELOW_BYTES = 5 * _GIB, _GIB // 2


def check_engines() -> Iterator[Finding]:
    """Which engines are installed, and whether the default one loads."""
    default = RelaxationSpec().engine
    for engine in available_relaxers():
        if engine.name == default:
            settings = load_settings()
            relaxer = create_relaxer(default, device=settings.device, threads=settings.threads)
            yield Finding("engine", State.ok, f"{relaxer.name}: the default, its weights load")
        elif engine.programs:
            yield _check_program(engine)
        elif engine.installed:
            yield Finding("engine", State.ok, f"{engine.name}: installed")
        else:
            yield Finding("engine", State.absent, f"{engine.name}: not installed", engine.install)


def _check_program(engine: RelaxerInfo) -> Finding:
    """Whether an engine that runs another program finds it, under the command of the settings."""
    from crysearch.workflows.context import make_engine  # jobflow takes seconds

    try:
        provenance = make_engine(engine.name, {}).provenance
    except RelaxationError as error:
        return Finding("engine", State.absent, f"{engine.name}: {error}", engine.install)
    name, version = provenance["package"], provenance["package_version"]
    return Finding("engine", State.ok, f"{engine.name}: {name} {version}")


def check_deepmd() -> Iterator[Finding]:
    """Whether the potential of DeePMD-kit can be trained, and with which versions."""
    from crysearch.potentials.deepmd_process import (
        INSTALL,
        VARIABLE,
        deepmd_versions,
        end_processes,
    )

    if not os.environ.get(VARIABLE) and find_spec("deepmd") is None:
        message = "DeePMD-kit: not installed (for the potential deep-potential)"
        yield Finding("potential", State.absent, message, INSTALL)
        return
    try:
        found = deepmd_versions()
    except TrainingError as error:
        yield Finding("potential", State.warning, f"DeePMD-kit: {error}", INSTALL)
    else:
        message = f"DeePMD-kit {found['deepmd-kit']}, with PyTorch {found['torch']}"
        yield Finding("potential", State.ok, message)
    finally:
        end_processes()


def check_device() -> Iterator[Finding]:
    """What the potentials run on."""
    import torch

    from crysearch.relaxation.torch_runtime import resolve_device

    settings = load_settings()
    device = resolve_device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU is used"
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''}"
    yield Finding("device", State.ok, f"{device} ({name}), {threads}")


def check_vasp() -> Iterator[Finding]:
    """Whether VASP and its pseudopotentials are where atomate2 and pymatgen look for them."""
    if find_spec("atomate2") is None:
        advice = "needed only for VASP: pip install atomate2"
        yield Finding("VASP", State.absent, "atomate2 is not installed", advice)
    command = os.environ.get("ATOMATE2_VASP_CMD")
    program = shlex.split(command)[0] if command else "vasp_std"
    if shutil.which(program):
        yield Finding("VASP", State.ok, f"command: {command or program}")
    elif command:
        yield Finding(
            "VASP",
            State.warning,
            f"ATOMATE2_VASP_CMD is {command!r}, and there is no {program!r} here",
            "correct it, or load the module that brings it (it may exist on compute nodes only)",
        )
    else:
        yield Finding(
            "VASP",
            State.absent,
            "no command",
            "needed only for VASP: export ATOMATE2_VASP_CMD='srun vasp_std', say",
        )
    from pymatgen.core import SETTINGS

    folder = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not folder:
        yield Finding(
            "POTCARs",
            State.absent,
            "PMG_VASP_PSP_DIR is not set",
            "needed only for VASP: `pmg config -p VASP_FOLDER NEW_FOLDER`, then export it",
        )
    elif not Path(folder).is_dir() or not any(Path(folder).iterdir()):
        yield Finding(
            "POTCARs",
            State.warning,
            f"PMG_VASP_PSP_DIR is {folder}, which has nothing in it",
            "correct it",
        )
    else:
        sets = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        yield Finding("POTCARs", State.ok, f"{folder}: {', '.join(sets)}")


def check_api_key(online: bool = False) -> Iterator[Finding]:
    """Whether there is a key of the Materials Project and, if asked, whether it is accepted."""
    settings = load_settings()
    if settings.materials_project_api_key is None:
        yield Finding(
            "Materials Project",
            State.absent,
            "no key: the bundled snapshots and your own files are used",
            "for others, get one at https://materialsproject.org/api and export MP_API_KEY",
        )
    elif not online:
        yield Finding("Materials Project", State.ok, "a key is there (--online tries it)")
    else:
        from crysearch.references import fetch_materials_project

        found = fetch_materials_project(
            "Si",
            settings.materials_project_api_key,
            endpoint=settings.materials_project_endpoint,
        )
        version = found[0].metadata["database_version"]
        yield Finding("Materials Project", State.ok, f"the key is accepted (database {version})")


def check_disk() -> Iterator[Finding]:
    """Whether there is room where records and launch folders are written."""
    database = load_settings().database.get_secret_value()
    places = {"current folder": Path.cwd()}
    if "://" not in database:
        places["records"] = Path(database).expanduser().resolve()
    for name, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        text = f"{name}: {free / _GIB:.1f} GiB free in {place}"
        if not os.access(there, os.W_OK):
            yield Finding("disk", State.failed, f"{name}: {place} cannot be written", "chmod it")
        elif free < _FAIL_BELOW_BYTES:
            yield Finding("disk", State.failed, text, "make room: jobs will fail")
        elif free < _WARN_BELOW_BYTES:
            yield Finding("disk", State.warning, text, "make room")
        else:
            yield Finding("disk", State.ok, text)


def check_queue() -> Iterator[Finding]:
    """Whether the queue that the project's queue adapter is for is here."""
    named = fireworks_config().get("QUEUEADAPTER_LOC")
    places = [Path(str(named))] if named else []
    places += [project_folder() / "my_qadapter.yaml"]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        here = detect_queue()
        found = f"{here.value} is here" if here is not Queue.none else "no queue system found"
        advice = "" if here is Queue.none else "`crysearch init` in a new folder sets it up"
        yield Finding("queue", State.absent, f"no my_qadapter.yaml; {found}", advice)
        return
    adapter = read_yaml(file)
    kind = adapter.get("_fw_q_type")
    queue = next((queue for queue, name in FIREWORKS_TYPE.items() if name == kind), None)
    if queue is None:
        yield Finding("queue", State.ok, f"{file}: {kind}, which crysearch knows nothing of")
        return
    command = SUBMIT_COMMAND[queue]
    if shutil.which(command) is None:
        yield Finding(
            "queue",
            State.warning,
            f"{file} is for {kind}, and there is no {command} here",
            "run qlaunch on the cluster's login node",
        )
    elif queue in (Queue.pbs, Queue.lsf) and not adapter.get("queue"):
        yield Finding(
            "queue",
            State.warning,
            f"{file} names no queue, without which `qlaunch rapidfire -m` cannot count jobs",
            "add a line `queue: NAME`",
        )
    else:
        yield Finding("queue", State.ok, f"{file}: {kind}, {command} is here")
    logs = adapter.get("logdir")
    if logs and not Path(str(logs)).is_dir():
        yield Finding("queue", State.failed, f"{file}: logdir {logs} is no folder", f"mkdir {logs}")
