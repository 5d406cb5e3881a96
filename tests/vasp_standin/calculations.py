"""Writes the input of calculations and runs the stand-in on them."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.outputs import Vasprun

import crysearch
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.vasp_standin.potcars import fake_potcar
from crysearch.vasp_standin.run import run

COMMAND = [sys.executable, "-m", "crysearch.vasp_standin"]
RELAX = {"NSW": 100, "IBRION": 2, "ISIF": 3, "EDIFFG": -0.001}


def diamond(length: float = 5.2, shake: float = 0.0) -> Structure:
    """Silicon, 8 atoms; each atom moved by ``shake`` Å, the same way each time."""
    corners = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]])
    coordinates = np.concatenate([corners, corners + 1]) / 4 * length
    if shake:
        moves = np.random.default_rng(7).normal(size=(8, 3))
        coordinates += shake * moves / np.linalg.norm(moves, axis=1)[:, None]
    return Structure(Lattice.cubic(length), ["Si"] * 8, coordinates, coords_are_cartesian=True)


def write_input(
    folder: Path,
    structure: Structure | None = None,
    symbols: tuple[str, ...] = ("Si",),
    selective: list[list[bool]] | None = None,
    **tags: Any,
) -> Path:
    """Write INCAR (of ``tags``), POSCAR, KPOINTS and POTCAR."""
    folder.mkdir(parents=True, exist_ok=True)
    Incar(tags).write_file(folder / "INCAR")
    poscar = Poscar(structure or diamond(), selective_dynamics=selective)
    (folder / "POSCAR").write_text(poscar.get_str(significant_figures=16))
    Kpoints.gamma_automatic((3, 3, 3)).write_file(folder / "KPOINTS")
    (folder / "POTCAR").write_text("".join(fake_potcar(symbol) for symbol in symbols))
    return folder


def calculate(folder: Path, structure: Structure | None = None, **tags: Any) -> Vasprun:
    """Run the stand-in in this process."""
    assert run(write_input(folder, structure, **tags)) == 0
    return vasprun(folder)


def vasprun(folder: Path) -> Vasprun:
    """Read vasprun.xml without the remarks on fake potentials and unconverged runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Vasprun(folder / "vasprun.xml")


def start(folder: Path, failures: str = "") -> subprocess.Popen[bytes]:
    """Start the stand-in as a program."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(crysearch.__file__).parents[1]),
        FAIL_VARIABLE: failures,
    }
    with (folder / "vasp.out").open("wb") as out, (folder / "std_err.txt").open("wb") as err:
        return subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=out, stderr=err)
