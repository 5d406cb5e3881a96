"""Small labelled crystals, made up or by the Stillinger-Weber potential."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk

from crysearch.datasets import LabelledStructure


def label(atoms: Atoms, energy: float | None = -1.0, **labels: Any) -> LabelledStructure:
    """A labelled structure with made-up labels."""
    return LabelledStructure(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=energy,
        **labels,
    )


def rattled(seed: int, symbols: str = "Si8", amplitude: float = 0.1) -> Atoms:
    """Eight atoms of a diamond cell, moved at random."""
    atoms = bulk("Si", "diamond", 5.43, cubic=True)
    atoms.symbols[:] = Atoms(symbols).symbols
    atoms.positions += amplitude * np.random.default_rng(seed).normal(size=(8, 3))
    return atoms


def silicon(seeds: Iterable[int], **info: Any) -> list[Atoms]:
    """Rattled silicon with energy, forces and stress of Stillinger and Weber."""
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
        Stillinger_Weber_PRB_31_5262_Si,
        StillingerWeber,
    )

    frames = []
    for seed in seeds:
        atoms = rattled(seed)
        atoms.calc = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        atoms.info |= {"number": seed, **info}
        frames.append(atoms)
    return frames


def silicon_file(path: Path, seeds: Iterable[int], **info: Any) -> Path:
    """Write such silicon as extended XYZ."""
    ase.io.write(path, silicon(seeds, **info), format="extxyz")
    return path
