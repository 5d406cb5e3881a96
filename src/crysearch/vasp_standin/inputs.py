"""Reading and checking VASP's input files: INCAR, POSCAR, POTCAR, KPOINTS or KSPACING."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from crysearch.errors import VaspStandinError

RELAXING = (1, 2, 3)
"""The values of IBRION that move atoms."""

FUNCTIONAL_TAGS = (
    "GGA",
    "METAGGA",
    "XC",
    "LHFCALC",
    "AEXX",
    "HFSCREEN",
    "LDAU",
    "LUSE_VDW",
    "IVDW",
    "LASPH",
)

_NEEDS_ELECTRONS = ("LEPSILON", "LCALCPOL", "LCHIMAG", "LEFG", "LOPTICS", "ML_LMLFF", "IMAGES")
_MANY_BODY = ("CHI", "BSE", "GW", "GW0", "EVGW", "EVGW0", "QPGW", "QPGW0", "ACFDT", "RPA", "TDHF")


@dataclass(frozen=True)
class Potential:
    """What is read from one potential of a POTCAR.

    Attributes
    ----------
    header
        First line, such as ``PAW_PBE Si 05Jan2001``.
    element
        Chemical symbol.
    valence
        Electrons.
    mass
        Atomic mass units.
    cutoff
        ENMAX, eV.
    """

    header: str
    element: str
    valence: float
    mass: float
    cutoff: float


@dataclass(frozen=True)
class Mesh:
    """A mesh of k-points, which the stand-in echoes and does not use."""

    style: str
    divisions: tuple[int, int, int]
    shift: tuple[float, float, float]


@dataclass(frozen=True)
class Inputs:
    """The checked input of a calculation.

    Attributes
    ----------
    incar
        INCAR as given.
    structure
        Structure of POSCAR, sites in its order.
    comment
        First line of POSCAR.
    species
        Symbol and number of atoms of each block of POSCAR.
    fixed
        Indices of atoms that selective dynamics fixes.
    mesh
        The k-points asked for.
    potentials
        One per block of POSCAR.
    nsw, ibrion, isif, nelm
        The tags of the same names, VASP's defaults filled in.
    ediff, ediffg
        The tags of the same names, eV, or eV/Å where EDIFFG is negative.
    pstress
        External pressure, kBar.
    """

    incar: Incar
    structure: Structure
    comment: str
    species: tuple[tuple[str, int], ...]
    fixed: tuple[int, ...]
    mesh: Mesh
    potentials: tuple[Potential, ...]
    nsw: int
    ibrion: int
    isif: int
    nelm: int
    ediff: float
    ediffg: float
    pstress: float

    @property
    def relaxes(self) -> bool:
        """Whether atoms or cell move."""
        return self.ibrion in RELAXING and self.nsw > 1

    @property
    def electrons(self) -> float:
        """NELECT: of INCAR, or the sum of the potentials' valences."""
        given = self.incar.get("NELECT")
        if given is not None:
            return float(given)
        pairs = zip(self.potentials, self.species, strict=True)
        return sum(potential.valence * count for potential, (_, count) in pairs)

    @property
    def unhonoured(self) -> tuple[str, ...]:
        """Tags of INCAR that choose a functional, which the engine does not follow."""
        return tuple(tag for tag in FUNCTIONAL_TAGS if tag in self.incar)


def read_inputs(folder: Path) -> Inputs:
    """Read and check the input files of a folder.

    Raises
    ------
    VaspStandinError
        If a file is missing or unreadable, the files contradict each other, or INCAR asks for what
        the stand-in cannot do.
    """
    incar = _read(folder, "INCAR", Incar.from_file)
    poscar = _read(folder, "POSCAR", lambda path: Poscar.from_file(path, check_for_potcar=False))
    text = _read(folder, "POTCAR", lambda path: path.read_text(encoding="utf-8", errors="replace"))
    structure = poscar.structure
    species = tuple(
        (symbol, len(list(block)))
        for symbol, block in groupby(site.specie.symbol for site in structure)
    )
    potentials = read_potentials(text)
    _check_species(species, potentials)
    nsw = _number(incar, "NSW", 0)
    ibrion = _number(incar, "IBRION", -1 if nsw in (-1, 0) else 0)
    ediff = float(_number(incar, "EDIFF", 1e-4))
    inputs = Inputs(
        incar=incar,
        structure=structure,
        comment=poscar.comment,
        species=species,
        fixed=_fixed_atoms(poscar),
        mesh=_mesh(folder, incar, structure),
        potentials=potentials,
        nsw=nsw,
        ibrion=ibrion,
        isif=_number(incar, "ISIF", 2),
        nelm=_number(incar, "NELM", 60),
        ediff=ediff,
        ediffg=float(_number(incar, "EDIFFG", 10.0 * ediff)),
        pstress=float(_number(incar, "PSTRESS", 0.0)),
    )
    _check_task(inputs)
    return inputs


def read_potentials(text: str) -> tuple[Potential, ...]:
    """Headers of the potentials of a POTCAR.

    Raises
    ------
    VaspStandinError
        If a potential lacks VRHFIN, ZVAL, POMASS or ENMAX.
    """
    # pymatgen's Potcar also checks each potential against its own list, a second per start.
    potentials = []
    for number, part in enumerate(re.split(r"End of Dataset[^\n]*\n?", text), start=1):
        if not part.strip():
            continue
        found = {
            key: re.search(rf"{key}\s*=\s*([^;\s:]+)", part)
            for key in ("VRHFIN", "ZVAL", "POMASS", "ENMAX")
        }
        absent = [key for key, match in found.items() if match is None]
        if absent:
            raise VaspStandinError(
                f"POTCAR: potential {number} lacks {', '.join(absent)}; join whole POTCAR files"
            )
        values = {key: match[1] for key, match in found.items() if match is not None}
        header = part.strip().splitlines()[0].strip()
        potentials.append(
            Potential(
                header=header,
                element=_element(values["VRHFIN"], header),
                valence=float(values["ZVAL"]),
                mass=float(values["POMASS"]),
                cutoff=float(values["ENMAX"]),
            )
        )
    return tuple(potentials)


def _element(name: str, header: str) -> str:
    """Chemical symbol; VASP's files call xenon X and some zirconium r."""
    words = header.split()
    return {"X": "Xe", "r": "Zr"}.get(name, name) or words[min(1, len(words) - 1)].split("_")[0]


def _read(folder: Path, name: str, reader: Any) -> Any:
    path = folder / name
    if not path.is_file():
        raise VaspStandinError(f"{name} is missing from the working folder")
    try:
        return reader(path)
    except Exception as error:
        raise VaspStandinError(f"{name} cannot be read: {error}") from error


def _number(incar: Incar, tag: str, default: Any) -> Any:
    value = incar.get(tag, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise VaspStandinError(f"INCAR: {tag} = {value!r} is not a number")
    if isinstance(default, int) and value != int(value):
        raise VaspStandinError(f"INCAR: {tag} = {value!r} is not a whole number")
    return type(default)(value)


def _check_species(species: tuple[tuple[str, int], ...], potentials: tuple[Potential, ...]) -> None:
    wanted = [symbol for symbol, _ in species]
    given = [potential.element for potential in potentials]
    if len(wanted) != len(given):
        raise VaspStandinError(
            f"number of potentials on File POTCAR incompatible with number of species: POSCAR has "
            f"{' '.join(wanted)}, POTCAR has {' '.join(given)}"
        )
    if wanted != given:
        raise VaspStandinError(
            f"type information on POSCAR and POTCAR are incompatible: POSCAR has "
            f"{' '.join(wanted)}, POTCAR has {' '.join(given)}; bring them into the same order"
        )


def _fixed_atoms(poscar: Poscar) -> tuple[int, ...]:
    flags = poscar.selective_dynamics
    if flags is None:
        return ()
    moves = np.asarray(flags, dtype=bool)
    partly = np.flatnonzero(moves.any(axis=1) & ~moves.all(axis=1))
    if len(partly):
        raise VaspStandinError(
            f"POSCAR: selective dynamics fixes some coordinates of atom {partly[0] + 1} and not "
            "others; the stand-in fixes whole atoms only (F F F)"
        )
    return tuple(int(index) for index in np.flatnonzero(~moves.any(axis=1)))


def _mesh(folder: Path, incar: Incar, structure: Structure) -> Mesh:
    path = folder / "KPOINTS"
    lengths = np.array(structure.lattice.reciprocal_lattice.abc)
    if not path.is_file():
        spacing = float(_number(incar, "KSPACING", 0.5))
        if spacing <= 0:
            raise VaspStandinError(f"INCAR: KSPACING = {spacing} is not positive")
        # Manual of KSPACING: N_i = max(1, ceil(|b_i| 2 pi / KSPACING)), in 1/Å.
        gamma = bool(incar.get("KGAMMA", True))
        counts = np.maximum(1, np.ceil(lengths / spacing - 1e-9))
        return Mesh("Gamma" if gamma else "Monkhorst-Pack", _three(counts), (0.0, 0.0, 0.0))
    kpoints: Kpoints = _read(folder, "KPOINTS", Kpoints.from_file)
    style = kpoints.style.name
    shift = _floats(kpoints.kpts_shift)
    if style == "Automatic":
        length = float(kpoints.kpts[0][0])
        counts = np.maximum(1, np.floor(length * lengths / (2 * np.pi) + 0.5))
        return Mesh("Gamma", _three(counts), shift)
    if style in ("Gamma", "Monkhorst"):
        name = "Gamma" if style == "Gamma" else "Monkhorst-Pack"
        return Mesh(name, _three(np.array(kpoints.kpts[0])), shift)
    raise VaspStandinError(
        f"KPOINTS: the stand-in takes meshes, not a list of k-points ({style}); it has no bands"
    )


def _three(values: Any) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third


def _floats(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _check_task(inputs: Inputs) -> None:
    incar = inputs.incar
    if inputs.ibrion != -1 and inputs.ibrion not in RELAXING and inputs.nsw > 0:
        raise VaspStandinError(
            f"INCAR: IBRION = {inputs.ibrion} is unknown to the stand-in; use -1 (static) or 1, 2, "
            "3 (relaxation)"
        )
    if inputs.isif not in range(9):
        raise VaspStandinError(f"INCAR: ISIF = {inputs.isif} is unknown; choose 0 to 8")
    if inputs.nsw < 0 or inputs.nelm < 1:
        raise VaspStandinError(
            f"INCAR: NSW = {inputs.nsw} and NELM = {inputs.nelm} must be at least 0 and 1"
        )
    asked = [tag for tag in _NEEDS_ELECTRONS if incar.get(tag)]
    if str(incar.get("ALGO", "")).upper() in _MANY_BODY:
        asked.append("ALGO")
    if isinstance(incar.get("ICHARG"), int) and incar["ICHARG"] >= 10:
        asked.append("ICHARG")
    if asked:
        raise VaspStandinError(
            f"INCAR: {', '.join(f'{tag} = {incar[tag]}' for tag in asked)} asks for what the "
            "stand-in cannot do; it has energies, forces and stress only"
        )
