"""Extended XYZ files of labelled crystals, read and written by ASE."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from crysearch.datasets.labelled import LabelledStructure
from crysearch.errors import DatasetError

if TYPE_CHECKING:
    from ase import Atoms

_OWN_KEYS = ("energy", "forces", "stress")
# Of a stress as nine numbers: largest difference of two that should be equal, eV/Å³.
_ASYMMETRY = 1e-3


@dataclass(frozen=True)
class Keys:
    """What the labels are called in a file.

    Attributes
    ----------
    energy : str
        eV, of the cell.
    forces : str
        Three columns, eV/Å.
    stress : str
        Nine numbers, or six (xx, yy, zz, yz, xz, xy), eV/Å³, positive under tension.
    virial : tuple of str
        The same in eV; the stress is −virial / volume. Used where a stress is missing. ASE takes
        nine numbers only for what is called ``stress`` or ``virial``.
    method : str
        The reference method; frames without it are taken to have the method of the data set.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    virial: tuple[str, ...] = ("virial", "virials")
    method: str = "method"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises
    ------
    DatasetError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_extxyz(path: Path, keys: Keys | None = None) -> Iterator[LabelledStructure]:
    """Read a file frame by frame; ``.gz`` files are unpacked on the way.

    Keys that are no labels become ``metadata`` and ``site_metadata``.

    Raises
    ------
    DatasetError
        The file or a frame cannot be read: names the file and the frame, counted from 0.
    """
    keys = keys or Keys()
    try:
        with _open(path, "r") as file:
            for number, text in enumerate(_frames(path, file)):
                where = f"{path}: frame {number}"
                try:
                    yield _labelled(_parse(where, text), keys)
                except DatasetError as error:
                    message = str(error)
                    raise DatasetError(
                        message if message.startswith(where) else f"{where}: {message}"
                    ) from error
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error


def write_extxyz(path: Path, frames: Iterable[LabelledStructure]) -> int:
    """Write frames as they come and return their number; a ``.gz`` file is packed.

    The file appears when it is complete. The same frames give the same bytes.

    Raises
    ------
    DatasetError
        The file cannot be written.
    """
    from ase.io.extxyz import write_xyz

    part = path.with_name(f".{path.name}.part")
    written = 0
    try:
        with _open(part, "w", packed=path.suffix == ".gz") as file:
            for frame in frames:
                write_xyz(file, [_annotated(frame)], write_results=False)
                written += 1
        part.replace(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return written


def _open(path: Path, mode: str, packed: bool | None = None) -> IO[str]:
    if not (path.suffix == ".gz" if packed is None else packed):
        return path.open(mode, encoding="utf-8", newline=None if mode == "r" else "\n")
    if mode == "r":
        return gzip.open(path, "rt", encoding="utf-8")
    return cast("IO[str]", _PackedText(path))


class _PackedText:
    """A packed text file without the time and the name, which would change its bytes."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)

    def __enter__(self) -> _PackedText:
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.close()
        self._raw.close()

    def write(self, text: str) -> int:
        return self._packed.write(text.encode())


def _frames(path: Path, file: IO[str]) -> Iterator[str]:
    """The text of each frame: number of atoms, comment, a line for each atom."""
    number = 0
    while first := file.readline():
        if not first.strip():
            continue
        try:
            atoms = int(first)
            if atoms < 1:
                raise ValueError
        except ValueError:
            raise DatasetError(
                f"{path}: frame {number} begins with {first.strip()[:40]!r} instead of its number "
                "of atoms: the file is not extended XYZ, or the frame before has another number "
                "of lines than it says"
            ) from None
        lines = list(islice(file, atoms + 1))
        if len(lines) < atoms + 1:
            raise DatasetError(
                f"{path}: frame {number} has {max(len(lines) - 1, 0)} of {atoms} atoms: the file "
                "is cut short; get the whole file"
            )
        yield first + "".join(lines)
        number += 1


def _parse(where: str, text: str) -> Atoms:
    from ase.io.extxyz import read_xyz

    try:
        return next(iter(read_xyz(StringIO(text), index=0, properties_parser=_comment)))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{where}: is not extended XYZ ({type(error).__name__}: {error}); correct or remove it"
        ) from error


def _comment(line: str) -> dict[str, Any]:
    """The keys of a frame; ASE would take three of the six components that must agree."""
    from ase.io.extxyz import key_val_str_to_dict

    facts = key_val_str_to_dict(line)
    if "stress" in facts:
        _voigt("stress", facts["stress"])
    return facts


def _labelled(atoms: Atoms, keys: Keys) -> LabelledStructure:
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    own = {"numbers", "positions"}
    sites = {name: values for name, values in atoms.arrays.items() if name not in own}
    n = len(atoms)
    facts = dict(atoms.info)
    for name, value in results.items():
        # ASE takes names that it knows out of the frame, of the whole and of each atom.
        (sites if name != "stress" and np.shape(value)[:1] == (n,) else facts)[name] = value
    energy = _scalar(keys.energy, facts.pop(keys.energy, None))
    forces = sites.pop(keys.forces, None)
    stress = _voigt(keys.stress, facts.pop(keys.stress, None))
    if stress is None:
        for name in keys.virial:
            virial = _voigt(name, facts.pop(name, None))
            if virial is not None:
                stress = -virial / atoms.get_volume()
                break
    # A label by another calculation must not pass for ours when the file is written again.
    facts = {f"other_{k}" if k in _OWN_KEYS else k: v for k, v in facts.items()}
    sites = {f"other_{k}" if k in _OWN_KEYS else k: v for k, v in sites.items()}
    return LabelledStructure(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=energy,
        forces=forces,
        stress=stress,
        pbc=tuple(atoms.pbc),
        metadata={_name(name): _plain(value) for name, value in facts.items()},
        site_metadata={_name(name): _plain(value) for name, value in sites.items()},
    )


def _scalar(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str | bool) or np.ndim(value) != 0:
        raise DatasetError(f"{name} is {str(value)[:40]!r}: give one number, in eV")
    return float(value)


def _voigt(name: str, value: Any) -> NDArray[np.float64] | None:
    """A symmetric tensor as six numbers."""
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape == (6,):
        return array
    if array.shape == (9,):
        array = array.reshape(3, 3)
    if array.shape != (3, 3):
        raise DatasetError(
            f"{name} is {str(value)[:40]!r}: give six numbers (xx yy zz yz xz xy) or nine"
        )
    finite = np.isfinite(array).all()
    scale = max(1.0, float(np.abs(array).max())) if finite else math.inf
    if np.abs(array - array.T).max() > _ASYMMETRY * scale:
        raise DatasetError(f"{name} is not symmetric: give a symmetric tensor")
    array = (array + array.T) / 2
    return array[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _name(name: str) -> str:
    if "." in name or name.startswith("$"):
        raise DatasetError(f"key {name!r} holds a dot or begins with $: rename it in the file")
    return name


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    # ASE would write a tab without quotes.
    return " ".join(value.split("\t")) if isinstance(value, str) else value


def _annotated(frame: LabelledStructure) -> Atoms:
    """Atoms with the labels among their fields and columns."""
    from ase import Atoms
    from ase.stress import voigt_6_to_full_3x3_stress

    atoms = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    for name, value in frame.metadata.items():
        if value is not None:
            atoms.info[name] = _for_ase(value)
    for name, values in frame.site_metadata.items():
        atoms.set_array(name, np.array(values))
    if frame.energy is not None:
        atoms.info["energy"] = frame.energy
    if frame.stress is not None:
        atoms.info["stress"] = voigt_6_to_full_3x3_stress(frame.stress)
    if frame.forces is not None:
        atoms.set_array("forces", frame.forces)
    return atoms


def _for_ase(value: Any) -> Any:
    """A value such that ASE writes what it will read again."""
    if isinstance(value, list):
        with suppress(ValueError):
            array = np.array(value)
            if array.dtype.kind in "iufb":
                return array
    if isinstance(value, list | Mapping):
        value = f"_JSON {json.dumps(value)}"
    # ASE reads a backslash as an escape, and writes it as it is.
    return value.replace("\\", "\\\\") if isinstance(value, str) else value
