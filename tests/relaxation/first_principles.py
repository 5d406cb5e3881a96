"""Debian's Quantum ESPRESSO and GPAW, and what the tests of both engines have in common."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from crysearch.relaxation import Evaluation, RelaxationSettings, Relaxer
from crysearch.relaxation.conformance import ConformanceCase, check_extensive, check_stress
from crysearch.relaxation.lockstep import LockstepRelaxer
from slurm.cluster import run_apt

ESPRESSO = ("quantum-espresso", "quantum-espresso-data")
GPAW = ("gpaw", "gpaw-data")
NEEDED = {
    ESPRESSO: (Path("/usr/bin/pw.x"), Path("/usr/share/espresso/pseudo/Si.pz-vbc.UPF")),
    GPAW: (Path("/usr/bin/gpaw"), Path("/usr/share/gpaw-setups/Si.LDA.gz")),
}


@cache
def _unavailable(packages: tuple[str, ...], seconds: float = 400) -> str:
    """Put Debian's packages here if they are missing; why not, otherwise an empty text."""
    if all(path.exists() for path in NEEDED[packages]):
        return ""
    command = ("apt-get", "install", "--yes", "--no-install-recommends", *packages)
    advice = f"to run these tests: {' '.join(command)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"{advice} (as root, on Debian or Ubuntu)"
    end = time.monotonic() + seconds
    error = run_apt(command, end)
    if error:  # most often because the machine has no package lists, or old ones
        error = run_apt(("apt-get", "update"), end) or run_apt(command, end)
    missing = [str(path) for path in NEEDED[packages] if not path.exists()]
    if error or missing:
        return f"{advice}. It was tried: {error or f'no {missing}'}"
    return ""


def require(packages: tuple[str, ...]) -> None:
    """Install packages or skip, with a warning that nobody overlooks."""
    if reason := _unavailable(packages):
        warnings.warn(f"NOT TESTED: {reason}", stacklevel=1)
        pytest.skip(reason)


def remembering(engine: type[LockstepRelaxer]) -> type[LockstepRelaxer]:
    """An engine that calculates a geometry once: the checks ask for some of them many times."""

    class Remembering(engine):  # type: ignore[misc, valid-type]
        known: dict[bytes, Evaluation]

        def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
            self.known = getattr(self, "known", {})
            return [self._evaluate(atoms) for atoms in batch]

        def _evaluate(self, atoms: Atoms) -> Evaluation:
            key = b"".join(
                np.ascontiguousarray(part).tobytes()
                for part in (atoms.numbers, atoms.cell.array, atoms.positions)
            )
            if key not in self.known:
                (self.known[key],) = super().evaluate([atoms])
            return self.known[key]

    return Remembering


def hydrogen(size: float, molecules: int = 1) -> Structure:
    """One or two stretched H2 molecules, each in its own skew box of about `size` Å.

    Few bands and a wide gap: the cheapest solid that has forces and a stress.
    """
    places = np.array([[0.1, 0.2, 0.3], [0.62, 0.70, 0.55]])
    turned = np.array([[0.5, 0.1, size + 0.4], [0.1, -0.4, size + 0.9]])
    cell = [[size, 0.2, -0.1], [0.3, size - 0.2, 0.1], [0.1, -0.2, (size + 0.1) * molecules]]
    positions = np.concatenate([places, turned])[: 2 * molecules]
    return Structure(cell, ["H"] * len(positions), positions, coords_are_cartesian=True)


Check = Callable[[Relaxer, ConformanceCase], None]


def structures_for(check: Check, size: float) -> tuple[Structure, ...]:
    """The cheapest structures that a check of the contract says something about."""
    if check is check_stress:
        # Strain changes the number of plane waves. That matters less the softer the
        # pseudopotential is, and hydrogen's is hard.
        return (distorted_silicon(),)
    if check is check_extensive:
        return (hydrogen(size),)
    return hydrogen(size), hydrogen(size - 0.4, 2)


def case(structures: tuple[Structure, ...], unknown: str) -> ConformanceCase:
    """Γ alone and a low cut-off: what the checks compare holds all the same, but for cells."""
    box = Lattice.cubic(4)
    return ConformanceCase(
        structures,
        (
            (Structure(box, [unknown], [[0, 0, 0]]), ("engine_error",)),
            (Structure(box, ["H"] * 2, [[0, 0, 0], [0, 0, 0.01]]), ("collapse",)),
            (Structure(Lattice(np.diag([4, 4, 1e-9])), ["H"], [[0, 0, 0]]), ("unsupported",)),
        ),
        # The molecules would come together if the cell were free.
        RelaxationSettings(0.05, stress_tolerance=100.0, fixed_cell=True, max_steps=30),
        energy_noise=2e-3,
        force_noise=2e-2,
        stress_noise=0.8,
        cell_energy_noise=0.25,
        cell_stress_noise=4.0,
        derivatives=2,
    )


def distorted_silicon() -> Structure:
    """Diamond silicon without symmetry, compressed: large forces and stress."""
    strain = np.array([[0.97, 0.02, 0.0], [0.0, 0.99, -0.03], [0.01, 0.0, 0.95]])
    matrix = diamond().lattice.matrix @ strain
    return Structure(matrix, ["Si", "Si"], [[0, 0, 0], [0.27, 0.24, 0.26]])


def diamond(a: float = 5.40) -> Structure:
    """Primitive cell of diamond silicon with a lattice parameter in Å."""
    cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), ["Si"], [[0, 0, 0]])
    return cubic.get_primitive_structure()
