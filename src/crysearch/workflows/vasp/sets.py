"""VASP's input files for the published protocol: LDA, 500 eV, k-points each 2π × 0.02 Å⁻¹.

This module needs atomate2 (``pip install 'crysearch[vasp]'``); `protocols` imports it when a
calculation is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from atomate2.vasp.sets.base import VaspInputGenerator
from pymatgen.core import Lattice
from pymatgen.io.vasp import Kpoints
from pymatgen.io.vasp.sets import MPScanRelaxSet

#: Largest distance of neighbouring k-points divided by 2π, Å⁻¹.
K_SPACING = 0.02

_INCAR = {
    "ALGO": "Normal",
    "EDIFF": 1e-6,
    "ENCUT": 500,
    # Ceperley–Alder, as the potentials say themselves: VASP then refuses to differ from them.
    "GGA": "CA",
    "ISMEAR": 0,
    "ISPIN": 1,
    "LASPH": True,
    "LCHARG": False,
    "LORBIT": 11,
    "LREAL": False,
    "LWAVE": False,
    "NELM": 100,
    "NELMIN": 5,
    "PREC": "Accurate",
    "SIGMA": 0.05,
}


def k_mesh(lattice: Lattice, spacing: float = K_SPACING) -> tuple[int, int, int]:
    """Divisions of the reciprocal lattice vectors, not farther apart than a spacing.

    ``N_i = max(1, ⌈|b_i| / (2π s)⌉)`` with ``a_i · b_j = 2π δ_ij``: what VASP makes of
    ``KSPACING = 2π s`` (https://www.vasp.at/wiki/index.php/KSPACING).

    Parameters
    ----------
    lattice
        The cell, Å.
    spacing
        ``s``, Å⁻¹ without the factor 2π.
    """
    # Rounding errors of the lattice are not to add a plane of k-points.
    needed = np.asarray(lattice.reciprocal_lattice_crystallographic.abc) / spacing - 1e-6
    first, second, third = (max(1, math.ceil(number)) for number in needed)
    return first, second, third


def _config() -> dict[str, Any]:
    return {
        "INCAR": dict(_INCAR),
        "KPOINTS": {},
        # VASP's recommended potentials by name; the LDA release has the same names.
        "POTCAR": dict(MPScanRelaxSet.CONFIG["POTCAR"]),
        "POTCAR_FUNCTIONAL": "LDA_54",
    }


@dataclass
class LDASetGenerator(VaspInputGenerator):
    """Input files of the published protocol, for one energy; a base for its relaxation.

    LDA of Ceperley and Alder with PAW potentials, cut-off 500 eV, a Γ-centred mesh whose points
    are at most 2π × `k_spacing` apart, and settings for accurate stress (no real-space projection,
    ``PREC = Accurate``, energies converged to 10⁻⁶ eV).

    The mesh is written as KPOINTS instead of ``KSPACING``, so that it is in the record and
    custodian does not change it for metals.

    Parameters
    ----------
    k_spacing
        Largest distance of neighbouring k-points divided by 2π, Å⁻¹.
    """

    config_dict: dict = field(default_factory=_config)
    # atomate2 would choose these from the band gap of an earlier calculation, or from the size.
    auto_ismear: bool = False
    auto_ispin: bool = False
    auto_lreal: bool = False
    auto_kspacing: bool = False
    auto_metal_kpoints: bool = False
    k_spacing: float = K_SPACING

    @property
    def incar_updates(self) -> dict[str, Any]:
        """Tags of one energy."""
        return {"NSW": 0}

    @property
    def kpoints_updates(self) -> Kpoints:  # type: ignore[override]  # pymatgen takes both
        """The mesh of the structure at hand."""
        if self.structure is None:
            raise ValueError("structure: give one before asking for k-points")
        return Kpoints.gamma_automatic(k_mesh(self.structure.lattice, self.k_spacing))


@dataclass
class LDARelaxSetGenerator(LDASetGenerator):
    """Input files of the published protocol, for relaxing positions and cell.

    Until every force is below 0.01 eV/Å; VASP holds the stress to the same criterion, as a force
    on the lattice vectors.
    """

    @property
    def incar_updates(self) -> dict[str, Any]:
        """Tags of a relaxation."""
        return {"EDIFFG": -0.01, "IBRION": 2, "ISIF": 3, "NSW": 99}
