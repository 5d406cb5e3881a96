"""What a folder of VASP says: did it converge, and to what.

pymatgen reads the files; this module decides. Results are plain dictionaries, for the JobStore.
Units: Å, eV, eV/Å, GPa; stress has the sign of ASE, ``(1/V) dE/dε``.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from monty.io import zopen
from monty.json import jsanitize
from monty.os.path import zpath
from pymatgen.io.vasp import Vasprun

Summary = dict[str, Any]

#: What VASP prints in OUTCAR when a relaxation ends by its own criterion.
_ACCURATE = "reached required accuracy"


def read_vasprun(folder: Path) -> Vasprun | None:
    """The output of VASP; None if it is missing, cut off or holds no energy."""
    path = Path(zpath(str(folder / "vasprun.xml")))
    if not path.is_file():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            vasprun = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
            usable = bool(vasprun.ionic_steps) and np.isfinite(float(vasprun.final_energy))
        except Exception:  # whatever a broken file brings about
            return None
    return vasprun if usable else None


def read_corrections(folder: Path) -> list[dict[str, Any]]:
    """What custodian found and did, in order: handler, errors and actions of each correction."""
    path = Path(zpath(str(folder / "custodian.json")))
    if not path.is_file():
        return []
    try:
        with zopen(path, "rt", encoding="utf-8") as file:
            runs = json.load(file)
    except (OSError, ValueError):
        return []
    return [
        {
            "handler": correction["handler"]["@class"],
            "errors": [str(error) for error in correction.get("errors") or []],
            "actions": correction.get("actions") or [],
        }
        for run in runs
        for correction in run.get("corrections", [])
    ]


def last_words(folder: Path) -> str:
    """The last line that VASP or its launcher has printed, for a person."""
    for name in ("std_err.txt", "vasp.out"):
        path = Path(zpath(str(folder / name)))
        if path.is_file():
            with zopen(path, "rt", encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file.read()[-5000:].splitlines()]
            written = [line for line in lines if line]
            if written:
                return f"{name} ends with: {written[-1][:200]}"
    return "VASP printed nothing"


def ended_by_itself(folder: Path, vasprun: Vasprun) -> bool:
    """Whether VASP came to its own end, and was not asked to stop before."""
    if vasprun.incar.get("NSW", 0) == 0:
        return bool(vasprun.converged_electronic)
    path = Path(zpath(str(folder / "OUTCAR")))
    if not path.is_file():
        return False
    with zopen(path, "rt", encoding="utf-8", errors="replace") as file:
        return any(_ACCURATE in line for line in file)


def ionic_problem(vasprun: Vasprun) -> str | None:
    """Why a relaxation has not converged, or None."""
    if not vasprun.converged_ionic:
        return f"the relaxation did not converge in {len(vasprun.ionic_steps)} ionic steps"
    tolerance = -float(vasprun.incar.get("EDIFFG", 0))
    force = _largest_force(vasprun)
    # A stop on request looks converged to pymatgen, which counts steps. VASP compares the forces
    # before it takes out their drift, hence the leeway.
    if vasprun.incar.get("NSW", 0) > 0 and 0 < 1.05 * tolerance < force:
        return f"the relaxation ended with a force of {force:.4f} eV/Å, above {tolerance:g} eV/Å"
    return None


def results(vasprun: Vasprun) -> Summary:
    """Energy, forces, stress, structure and settings of a calculation."""
    last = vasprun.ionic_steps[-1]
    # VASP prints the stress in kB and with the opposite sign.
    stress = -0.1 * np.asarray(last["stress"]) if "stress" in last else None
    mesh = vasprun.kpoints.kpts[0] if vasprun.kpoints.num_kpts == 0 else None
    relaxing = vasprun.incar.get("NSW", 0) > 0
    return {
        "structure": vasprun.final_structure.as_dict(),
        "energy": float(vasprun.final_energy),
        "max_force": _largest_force(vasprun),
        "stress": None if stress is None else stress.tolist(),
        "max_stress": None if stress is None else float(abs(stress).max()),
        "steps": len(vasprun.ionic_steps) if relaxing else 0,
        "settings": {
            "encut": _number(vasprun.incar.get("ENCUT")),
            "k_spacing": _number(vasprun.incar.get("KSPACING")),
            "k_mesh": None if mesh is None else [int(number) for number in mesh],
            "potcar_symbols": list(vasprun.potcar_symbols),
            "vasp_version": str(vasprun.vasp_version),
            "incar": jsanitize(dict(vasprun.incar)),
        },
        "entry_parameters": {
            "run_type": str(vasprun.run_type),
            "is_hubbard": bool(vasprun.is_hubbard),
            "hubbards": {key: float(value) for key, value in vasprun.hubbards.items()},
            "potcar_spec": jsanitize(vasprun.potcar_spec),
        },
    }


def _largest_force(vasprun: Vasprun) -> float:
    return float(np.linalg.norm(np.asarray(vasprun.ionic_steps[-1]["forces"]), axis=1).max())


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
