"""ASE's Fréchet cell filter without its repeated matrix logarithms.

`ase.filters.FrechetCellFilter` takes the logarithm of the deformation gradient anew whenever
positions or forces are asked for, and one Fréchet derivative of the matrix exponential for each of
the nine components. With a potential that takes less than a millisecond these were nine tenths of
a relaxation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from scipy.linalg import expm, expm_frechet


class LogarithmicStrainFilter(FrechetCellFilter):
    """The variables, forces and stress of `FrechetCellFilter`, at a fraction of the cost.

    Degrees of freedom are the positions in the undeformed cell and L = log F, with the cell
    h = h₀ Fᵀ. L is remembered from where it was set. With Dexp(L)[E] the derivative of the matrix
    exponential in the direction E, and G the derivative of the energy by F, the force on L has the
    components −⟨Dexp(L)[E_μν], G⟩; since the adjoint of Dexp(L) is Dexp(Lᵀ), all nine are one
    derivative, −Dexp(Lᵀ)[G] (Higham, Functions of Matrices, section 3.2).

    The cell of the atoms must be changed through the filter alone. Masks, pressures and constant
    volumes of ASE's filter are not offered.

    Parameters
    ----------
    atoms
    exp_cell_factor
        Å; the variables of the cell are L times this. By default the number of atoms, as in ASE.
    """

    def __init__(self, atoms: Atoms, exp_cell_factor: float | None = None) -> None:
        super().__init__(atoms, exp_cell_factor=exp_cell_factor)
        self._strain = np.zeros((3, 3))
        self._deformation = np.eye(3)

    def get_positions(self) -> np.ndarray:
        """Positions (n, 3) in the undeformed cell, and L times the factor (3, 3), Å."""
        positions = np.linalg.solve(self._deformation, self.atoms.positions.T).T
        return np.vstack([positions, self._strain * self.exp_cell_factor])

    def set_positions(self, new: np.ndarray, **options: Any) -> None:  # type: ignore[override]
        """Move atoms and cell to what `get_positions` is to give."""
        count = len(self.atoms)
        self._strain = new[count:] / self.exp_cell_factor
        self._deformation = expm(self._strain)
        self.atoms.set_cell(self.orig_cell @ self._deformation.T)
        self.atoms.set_positions(new[:count] @ self._deformation.T, **options)

    def get_forces(self, **options: Any) -> np.ndarray:
        """Forces (n + 3, 3) on the variables, eV/Å; sets `stress`, by which optimizers end."""
        stress = voigt_6_to_full_3x3_stress(self.atoms.get_stress(**options))
        forces = self.atoms.get_forces(**options)
        virial = -self.atoms.get_volume() * stress
        downhill = virial @ np.linalg.inv(self._deformation.T)
        on_strain = expm_frechet(self._strain.T, downhill, compute_expm=False)
        self.stress = full_3x3_to_voigt_6_stress(stress)
        return np.vstack([forces @ self._deformation, on_strain / self.exp_cell_factor])
