"""Batches of crystals as text of common file formats, written by ASE and pymatgen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Literal

from crysearch.sampling.base import CrystalBatch

if TYPE_CHECKING:
    from pymatgen.core import Structure

FileFormat = Literal["extxyz", "cif", "poscar"]
SUFFIXES: dict[FileFormat, str] = {"extxyz": ".extxyz", "cif": ".cif", "poscar": ".vasp"}
# Decimals of fractional coordinates and, in POSCAR, of cell vectors (Å).
_DECIMALS = 12


@dataclass(frozen=True)
class Written:
    """A batch as text.

    Attributes
    ----------
    texts : list of str
        One per crystal.
    names : list of str
        A file name for each, without folder.
    attempts : int
    group_record : dict of str to list of int
        See :attr:`crysearch.sampling.CrystalBatch.group_record`.
    """

    texts: list[str]
    names: list[str]
    attempts: int
    group_record: dict[str, list[int]]


def write_batch(batch: CrystalBatch, seed: tuple[int, ...], *, format: FileFormat) -> Written:
    """Write every crystal of a batch as text, each with where it comes from.

    Parameters
    ----------
    batch : CrystalBatch
    seed : tuple of int
        What the batch was sampled with; its last entry is the number of the batch.
    format : {"extxyz", "cif", "poscar"}
        Where each says it: ``extxyz`` in the fields of the comment line, ``cif`` in comments
        before the data block, ``poscar`` in the first line.
    """
    write = {"extxyz": _extxyz, "cif": _cif, "poscar": _poscar}[format]
    texts = []
    names = []
    formula = "".join(
        f"{name}{count if count > 1 else ''}"
        for name, count in zip(batch.species, _counts(batch), strict=True)
    )
    for i in range(len(batch)):
        group = int(batch.space_groups[i])
        facts: dict[str, int | str] = {
            "seed": " ".join(str(entry) for entry in seed[:-1]),
            "batch": seed[-1],
            "index": i,
            "space_group": group,
            "wyckoff": _wyckoff(batch, i),
        }
        texts.append(write(batch, i, facts))
        names.append(f"{formula}-{seed[-1]:06d}-{i:05d}-{group:03d}{SUFFIXES[format]}")
    return Written(texts, names, batch.attempts, batch.group_record)


def _counts(batch: CrystalBatch) -> list[int]:
    return [int((batch.species_index == s).sum()) for s in range(len(batch.species))]


def _wyckoff(batch: CrystalBatch, i: int) -> str:
    sites = batch.wyckoff(i).items()
    return "; ".join(f"{element}: {' '.join(labels)}" for element, labels in sites)


def _comment(facts: dict[str, int | str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _extxyz(batch: CrystalBatch, i: int, facts: dict[str, int | str]) -> str:
    from ase import Atoms
    from ase.io import write

    atoms = Atoms(
        [batch.species[s] for s in batch.species_index],
        cell=batch.lattices[i],
        scaled_positions=batch.fractional_coordinates[i],
        pbc=True,
        info=facts,
    )
    stream = StringIO()
    write(stream, atoms, format="extxyz")
    return stream.getvalue()


def _cif(batch: CrystalBatch, i: int, facts: dict[str, int | str]) -> str:
    return cif_text(batch.structure(i), [_comment(facts)], f"{facts['batch']}_{i}")


def cif_text(structure: Structure, comments: Sequence[str], suffix: str) -> str:
    """One crystal as CIF in P1, with comments before its data block.

    Parameters
    ----------
    structure : pymatgen.core.Structure
    comments : sequence of str
        A line each.
    suffix : str
        Appended to the name of the data block, so that blocks of several files stay apart.
    """
    from pymatgen.io.cif import CifWriter

    text = str(CifWriter(structure, significant_figures=_DECIMALS))
    head, data, rest = text.partition("data_")
    block, _, rest = rest.partition("\n")
    lines = "".join(f"# crysearch: {comment}\n" for comment in comments)
    return f"{head}{lines}{data}{block}_{suffix}\n{rest}"


def _poscar(batch: CrystalBatch, i: int, facts: dict[str, int | str]) -> str:
    from pymatgen.io.vasp import Poscar

    poscar = Poscar(batch.structure(i), comment=f"crysearch: {_comment(facts)}")
    return poscar.get_str(significant_figures=_DECIMALS)
