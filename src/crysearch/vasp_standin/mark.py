"""How the stand-in names itself, and how to tell its output from VASP's."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

MARK = "crysearch stand-in"
"""Stands in every file that the stand-in writes."""

VERSION = "0.0.0-standin"
"""The version that vasprun.xml gives, and with it the task documents made from it."""

ENGINE_VARIABLE = "CRYSEARCH_VASP_STANDIN_ENGINE"
"""Environment variable: name of the engine of :func:`crysearch.relaxation.create_relaxer`."""

FAIL_VARIABLE = "CRYSEARCH_VASP_STANDIN_FAIL"
"""Environment variable: the failures asked for, see :mod:`crysearch.vasp_standin.failures`."""

DEFAULT_ENGINE = "stillinger-weber"

_HEAD_BYTES = 4096


def label(engine: str) -> str:
    """The sentence that stands in the files: stand-in, engine, and that it is not VASP."""
    return f"{MARK} (engine {engine}): not VASP"


def is_standin(path: str | Path) -> bool | None:
    """Whether the output of a VASP calculation was written by the stand-in.

    Parameters
    ----------
    path
        A vasprun.xml or OUTCAR, or a folder with one of them; gzipped or with a suffix such as
        ``.relax2`` as atomate2 and custodian leave them.

    Returns
    -------
    bool or None
        None if there is neither a vasprun.xml nor an OUTCAR, or it cannot be read: then nobody
        can tell.
    """
    path = Path(path)
    if path.is_dir():
        candidates = [
            file
            for name in ("vasprun.xml", "OUTCAR")
            for file in sorted(path.glob(f"{name}*"), key=lambda file: len(file.name))
        ]
    else:
        candidates = [path]
    for candidate in candidates:
        head = _head(candidate)
        if head:
            return MARK.encode() in head
    return None


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked; empty if it cannot be read."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as stream:
                return stream.read(_HEAD_BYTES)
        with path.open("rb") as plain:
            return plain.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
