"""Values in documents: identifiers, vectors, structures, plain numbers, provenance."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

import numpy as np
from bson.binary import Binary, BinaryVectorDtype
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Structure

from crysearch import __version__
from crysearch.errors import RecordsError

_ID_LENGTH = 24
_SOFTWARE = (
    "ase",
    "chgnet",
    "numpy",
    "pymatgen",
    "pyxtal",
    "scipy",
    "sevenn",
    "spglib",
    "torch",
    "torch-sim-atomistic",
)
_CLASS_KEYS = ("@module", "@class", "@version")


def deterministic_id(*parts: Any) -> str:
    """Return the identifier that the same parts always give: 24 hexadecimal characters.

    Parameters
    ----------
    *parts
        Strings, numbers, booleans, None, and lists or dictionaries of these. Order, nesting and
        type count: ``1``, ``1.0`` and ``"1"`` give different identifiers.

    Raises
    ------
    RecordsError
        A part is of another type.
    """
    try:
        text = json.dumps(plain(parts), sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise RecordsError(f"An identifier cannot be made of {parts!r}: {error}.") from error
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def plain(value: Any) -> Any:
    """Return a value as BSON can keep it.

    Arrays and tuples become lists, NumPy numbers Python's, and NaN and infinities null: a number
    that is not known has one spelling, which sorts and compares alike on every server.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def to_binary_vector(values: ArrayLike) -> Binary:
    """Pack numbers of shape (n,) as a BSON vector in single precision.

    Raises
    ------
    RecordsError
        The array is not one-dimensional, or a number is not finite in single precision.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise RecordsError(f"A vector to store has shape {array.shape}: give one dimension.")
    with np.errstate(over="ignore"):
        single = array.astype("<f4")
    if not np.isfinite(single).all():
        raise RecordsError(
            f"A vector to store has {np.count_nonzero(~np.isfinite(single))} numbers that are not "
            "finite in single precision: store None instead of the vector."
        )
    return Binary.from_vector(single, BinaryVectorDtype.FLOAT32)


def from_binary_vector(vector: Binary) -> NDArray[np.float64]:
    """Unpack what `to_binary_vector` packed, as an array of shape (n,) in double precision.

    Raises
    ------
    RecordsError
        The value is not a BSON vector in single precision.
    """
    try:
        unpacked = vector.as_vector()
    except (AttributeError, ValueError) as error:
        raise RecordsError(f"A {type(vector).__name__} is not a stored vector: {error}.") from error
    if unpacked.dtype is not BinaryVectorDtype.FLOAT32:
        raise RecordsError(f"A stored vector has the type {unpacked.dtype.name}, not FLOAT32.")
    return np.asarray(unpacked.data, dtype=np.float64)


def to_binary_array(values: ArrayLike) -> bytes:
    """Pack an array of any shape as the bytes of its numbers in double precision.

    The shape is not kept; NaN and infinities are.
    """
    return np.asarray(values, dtype="<f8").tobytes()


def from_binary_array(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Unpack what `to_binary_array` packed.

    Raises
    ------
    RecordsError
        The bytes are not those of an array of that shape.
    """
    try:
        return np.frombuffer(data, dtype="<f8").reshape(shape).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise RecordsError(f"A stored array does not have the shape {shape}: {error}.") from error


def structure_document(structure: Structure) -> dict[str, Any]:
    """Return a structure as the fields of a document.

    Returns
    -------
    dict
        ``structure`` (pymatgen's dictionary) and, to filter on, ``elements``, ``formula`` (of the
        cell, such as "Al4O6"), ``chemical_formula_reduced`` (as OPTIMADE defines it: elements in
        alphabetical order, "Al2O3"), ``nsites``, ``volume`` (Å³), ``volume_per_atom`` (Å³) and
        ``density`` (g/cm³).
    """
    composition = structure.composition
    reduced = composition.element_composition.reduced_composition.get_el_amt_dict()
    return {
        "structure": structure_dictionary(structure),
        "elements": sorted(reduced),
        "formula": composition.formula.replace(" ", ""),
        "chemical_formula_reduced": "".join(
            f"{element}{amount:g}" if amount != 1 else element
            for element, amount in sorted(reduced.items())
        ),
        "nsites": len(structure),
        "volume": float(structure.volume),
        "volume_per_atom": float(structure.volume / len(structure)),
        "density": float(structure.density),
    }


def structure_dictionary(structure: Structure) -> dict[str, Any]:
    """Return pymatgen's dictionary of a structure, without what follows from the rest."""
    return plain(structure.as_dict(verbosity=0))


def structure_from_document(document: Mapping[str, Any], field: str = "structure") -> Structure:
    """Return a structure from a document, parsed as data.

    pymatgen would import any class that a site property names; such names are dropped first.

    Raises
    ------
    RecordsError
        The document has no structure in that field, or it cannot be read.
    """
    dictionary = document.get(field)
    if not isinstance(dictionary, Mapping):
        raise RecordsError(f"Document {document.get('_id')!r} has no structure in {field!r}.")
    try:
        return Structure.from_dict(_without_classes(dictionary))
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordsError(
            f"The {field!r} of document {document.get('_id')!r} is not a crystal structure: "
            f"{type(error).__name__} {error}."
        ) from error


def make_provenance(
    *, seed: Any = None, parents: Sequence[str] = (), **facts: Any
) -> dict[str, Any]:
    """Return where a document comes from.

    Parameters
    ----------
    seed
        What the random numbers started from, if any were drawn.
    parents
        The ``_id`` of the documents that this one was made from.
    **facts
        Anything else that can change the result, such as the engine's own provenance.
    """
    return plain({"software": software_versions(), "seed": seed, "parents": parents, **facts})


@functools.cache
def software_versions() -> Mapping[str, str]:
    """Return the versions of the installed packages that can change a result."""
    versions = {"crysearch": __version__}
    for package in _SOFTWARE:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def in_milliseconds(moment: datetime) -> datetime:
    """Return a moment as a database keeps it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _without_classes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_classes(item) for k, item in value.items() if k not in _CLASS_KEYS}
    if isinstance(value, list):
        return [_without_classes(item) for item in value]
    return value
