"""Known structures from files: whatever pymatgen or, for extended XYZ, ASE reads."""

from __future__ import annotations

import glob
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from monty.io import zopen
from pymatgen.core import Composition, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser

from crysearch.errors import ReferencesError
from crysearch.references.base import Reference

_STRUCTURE_FILES = (
    "*.cif",
    "*.mcif",
    "*poscar*",
    "*contcar*",
    "*.vasp",
    "*.xyz",
    "*.extxyz",
    "*.json",
    "*.xsf",
    "*.cssr",
    "*vasprun*.xml",
)
_COMPRESSION = (".gz", ".bz2", ".xz")
_ENERGY_ORIGIN = "energy per atom in the files, difference from the lowest of the composition"

# What one file yields: the structure and its energy in eV per atom, if the file gives one.
_Entry = tuple[Structure, float | None]


def load_files(patterns: str | Path | Sequence[str | Path]) -> list[Reference]:
    """Read known structures from files, folders and globs.

    Parameters
    ----------
    patterns
        One or several of: a file; a folder, of which the files with usual names of structure
        files are read (not those of its subfolders); a glob such as ``"known/**/*.cif"``.
        Understood are CIF (every block), POSCAR, extended XYZ (every frame, with cell), JSON
        (one structure, a list of them, or of dictionaries that hold one under ``structure``),
        and whatever else pymatgen reads; also compressed (gz, bz2, xz).

    Returns
    -------
    list of Reference
        In the order of the sorted paths of each pattern; a file matched twice counts once. The
        id is the path as given by the pattern, with ``#1``, ``#2``… where a file holds several
        structures. Energies of extended XYZ frames, eV, are kept as
        ``metadata["energy_per_atom"]`` and compared within each composition over all files read,
        which assumes that they come from one method.

    Raises
    ------
    ReferencesError
        If a pattern matches nothing, or files cannot be read: all of them at once, with reasons.
    """
    given = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if not given:
        raise ReferencesError("references: no files given; name files, folders or globs.")
    paths, problems = _expand(given)
    read: list[tuple[str, Path, _Entry]] = []
    for path in paths:
        try:
            entries = list(_read(path))
        except Exception as error:  # Readers of third parties raise anything on a bad file.
            problems.append(f"{path}: {_first_line(error)}")
            continue
        if not entries:
            problems.append(f"{path}: holds no structure")
        for number, entry in enumerate(entries, start=1):
            identifier = str(path) if len(entries) == 1 else f"{path}#{number}"
            structure, energy = entry
            read.append((identifier, path, (structure.remove_oxidation_states(), energy)))
    if problems:
        raise ReferencesError(
            "references: these files cannot be used; repair them or leave them out:\n  "
            + "\n  ".join(problems)
        )
    return _references(read)


def _expand(patterns: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """The files meant, in a fixed order, and the patterns that mean none."""
    paths: dict[Path, Path] = {}
    problems = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            found = [child for child in path.iterdir() if _looks_like_structure(child)]
        elif path.exists():
            found = [path]
        else:
            matches = (Path(match) for match in glob.glob(str(path), recursive=True))
            found = [match for match in matches if match.is_file()]
        if not found:
            problems.append(
                f"{pattern}: the folder holds no structure files"
                if path.is_dir()
                else f"{pattern}: no such file, and nothing matches it as a glob"
            )
        for file in sorted(found):
            paths.setdefault(file.resolve(), file)
    return list(paths.values()), problems


def _looks_like_structure(path: Path) -> bool:
    name = _plain_name(path)
    return (
        path.is_file()
        and not name.startswith(".")
        and any(fnmatch(name, pattern) for pattern in _STRUCTURE_FILES)
    )


def _plain_name(path: Path) -> str:
    """Name in lower case without the ending of a compressed file."""
    name = path.name.lower()
    return name.removesuffix(path.suffix.lower()) if name.endswith(_COMPRESSION) else name


def _read(path: Path) -> Iterator[_Entry]:
    name = _plain_name(path)
    if name.endswith((".xyz", ".extxyz")):
        for atoms in ase.io.iread(io.StringIO(_text(path)), index=":", format="extxyz"):
            yield _from_atoms(atoms)
    elif name.endswith((".cif", ".mcif")):
        parser = CifParser.from_str(_text(path))
        for structure in parser.parse_structures(primitive=False, on_error="raise"):
            yield structure, None
    elif name.endswith(".json"):
        content = json.loads(_text(path))
        for item in content if isinstance(content, list) else [content]:
            yield _from_json(item), None
    else:
        yield Structure.from_file(path), None


def _text(path: Path) -> str:
    with zopen(path, mode="rt", encoding="utf-8") as stream:
        return str(stream.read())


def _from_atoms(atoms: Atoms) -> _Entry:
    if atoms.cell.rank != 3:
        raise ValueError("a frame has no three-dimensional cell (Lattice=...)")
    if not atoms.pbc.all():
        raise ValueError("a frame is not periodic in all directions (pbc=...)")
    structure = AseAtomsAdaptor.get_structure(Atoms(atoms, calculator=None, info={}))
    energy = atoms.info.get("energy")
    if energy is None and atoms.calc is not None:
        energy = atoms.calc.results.get("energy")
    return structure, None if energy is None else float(energy) / len(atoms)


def _from_json(item: Any) -> Structure:
    if not isinstance(item, dict):
        raise ValueError(f"expected a structure, got {type(item).__name__}")
    content = item.get("structure", item)
    missing = [key for key in ("lattice", "sites") if key not in content]
    if missing:
        raise ValueError(f"an entry is no pymatgen structure: no {' and no '.join(missing)}")
    return Structure.from_dict(content)


def _references(read: Sequence[tuple[str, Path, _Entry]]) -> list[Reference]:
    ground: defaultdict[Composition, float] = defaultdict(lambda: float("inf"))
    for _, _, (structure, energy) in read:
        if energy is not None:
            composition = structure.composition.reduced_composition
            ground[composition] = min(ground[composition], energy)
    return [
        Reference(
            reference_id=identifier,
            structure=structure,
            source=f"file {path}",
            energy_above_ground_state=(
                None
                if energy is None
                else energy - ground[structure.composition.reduced_composition]
            ),
            energy_origin=None if energy is None else _ENERGY_ORIGIN,
            metadata={} if energy is None else {"energy_per_atom": energy},
        )
        for identifier, path, (structure, energy) in read
    ]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
