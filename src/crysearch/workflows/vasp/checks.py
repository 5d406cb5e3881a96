"""Whether VASP can run here: the packages, the command, the potentials."""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pymatgen.core import SETTINGS as PYMATGEN_SETTINGS
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import PotcarSingle

from crysearch.errors import VaspError
from crysearch.settings import Settings, load_settings
from crysearch.workflows.vasp.protocols import Protocol, check_atomate2, get_protocol, maker_of


def check_vasp(structures: Iterable[Structure], protocol: str) -> None:
    """Check that structures can be computed on this machine, before any work starts.

    For local runs. A machine that only submits jobs need not have VASP: there a job that finds no
    command or no potentials records that as its failure.

    Parameters
    ----------
    structures
        What is to be computed.
    protocol
        How, by name.

    Raises
    ------
    VaspError
        Names all that is missing: an unknown protocol, packages, the command, or potentials.
    """
    wanted = get_protocol(protocol)
    check_atomate2()
    settings = load_settings()
    with potentials_folder(settings):
        found = (command_problem(command_in_force(settings)), potcar_problem(structures, wanted))
    problems = [problem for problem in found if problem]
    if problems:
        raise VaspError("VASP cannot run here:\n  " + "\n  ".join(problems))


def command_in_force(settings: Settings) -> str:
    """The command of the settings, else atomate2's."""
    if settings.vasp_command is not None:
        return settings.vasp_command
    from atomate2 import SETTINGS

    return SETTINGS.VASP_CMD


def command_problem(command: str) -> str | None:
    """What keeps a command from being started, or None.

    The first word must be a program; so must a word like ``vasp_std`` behind a launcher.
    """
    try:
        words = shlex.split(os.path.expandvars(command))
    except ValueError as error:
        return f"vasp_command: {command!r} is no shell command ({error})"
    programs = words[:1] + [word for word in words[1:] if word.split("/")[-1].startswith("vasp_")]
    missing = [word for word in programs if shutil.which(word) is None]
    if words and not missing:
        return None
    return (
        f"vasp_command: {command!r} — {' and '.join(missing) or 'it'} is not on the PATH; load "
        "VASP's module, or set CRYSEARCH_VASP_COMMAND (or atomate2's ATOMATE2_VASP_CMD)"
    )


def potcar_problem(structures: Iterable[Structure], protocol: Protocol) -> str | None:
    """What keeps the potentials of structures from being read, or None."""
    generator = maker_of(protocol, "static").input_set_generator
    functional: Any = generator.user_potcar_functional
    symbols: set[str] = set()
    for structure in structures:
        generator.structure = structure
        symbols.update(generator.potcar_symbols)
    complaints: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of potentials that pymatgen has not seen
        for symbol in sorted(symbols):
            try:
                PotcarSingle.from_symbol_and_functional(symbol, functional)
            except Exception as error:
                complaints[symbol] = str(error).splitlines()[0]
    if not complaints:
        return None
    folder = PYMATGEN_SETTINGS.get("PMG_VASP_PSP_DIR")
    where = f"{folder}/{PotcarSingle.functional_dir[functional]}" if folder else "no folder is set"
    return (
        f"vasp_potentials: no usable POTCAR of {functional} for {', '.join(complaints)} ({where}: "
        f"{next(iter(complaints.values()))}); set CRYSEARCH_VASP_POTENTIALS (or pymatgen's "
        "PMG_VASP_PSP_DIR) to a folder made with `pmg config --potcar`"
    )


@contextmanager
def potentials_folder(settings: Settings) -> Iterator[None]:
    """Have pymatgen read the potentials of the settings, if they name any."""
    if settings.vasp_potentials is None:
        yield
        return
    before = PYMATGEN_SETTINGS.get("PMG_VASP_PSP_DIR")
    PYMATGEN_SETTINGS["PMG_VASP_PSP_DIR"] = str(settings.vasp_potentials.expanduser())
    try:
        yield
    finally:
        if before is None:
            del PYMATGEN_SETTINGS["PMG_VASP_PSP_DIR"]
        else:
            PYMATGEN_SETTINGS["PMG_VASP_PSP_DIR"] = before
