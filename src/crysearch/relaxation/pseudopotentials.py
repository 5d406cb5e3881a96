"""Pseudopotential files in the Unified Pseudopotential Format (UPF 1 and 2) of Quantum ESPRESSO."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from crysearch.errors import RelaxationError

Functional = Literal["lda", "pbe"]
Kind = Literal["norm-conserving", "PAW", "ultrasoft"]

# Cheapest first: it decides where a folder has several for an element.
_KINDS: dict[str, Kind] = {
    "NC": "norm-conserving",
    "SL": "norm-conserving",
    "PAW": "PAW",
    "US": "ultrasoft",
    "USPP": "ultrasoft",
}
_ORDER: tuple[Kind, ...] = ("norm-conserving", "PAW", "ultrasoft")
_HEADER_LINES = 2000


@dataclass(frozen=True)
class Pseudopotential:
    """A pseudopotential file.

    Attributes
    ----------
    path
        The file.
    element
        Its element.
    functional
        What it was made with; None if neither ``"lda"`` nor ``"pbe"``.
    kind
        ``"norm-conserving"``, ``"PAW"`` or ``"ultrasoft"``.
    valence
        Electrons that are not in the core.
    """

    path: Path
    element: str
    functional: Functional | None
    kind: Kind
    valence: float

    @property
    def checksum(self) -> str:
        """SHA-256 of the file."""
        return _checksum(self.path)


@lru_cache(maxsize=256)
def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_pseudopotential(path: Path) -> Pseudopotential:
    """What the header of a UPF file says.

    Raises
    ------
    RelaxationError
        If the file cannot be read, is no UPF file or is of a kind for which the engine is not made:
        fully relativistic (it needs non-collinear spins), bare Coulomb, or of an atom with a
        fraction of an electron.
    """
    try:
        header = _header(path)
    except OSError as error:
        raise RelaxationError(f"pseudopotential {path} cannot be read: {error}") from error
    fields = dict(re.findall(r"""(\w+)\s*=\s*["']([^"']*)["']""", header))
    if "element" in fields:
        element, kind = fields["element"], fields.get("pseudo_type", "")
        functional, valence = fields.get("functional", ""), fields.get("z_valence", "")
        relativistic = fields.get("relativistic", "").strip().lower() == "full"
    else:
        element, kind, functional, valence = _version_1(header)
        relativistic = "<PP_ADDINFO>" in _tail(path)
    try:
        charge = float(valence.lower().replace("d", "e"))
    except ValueError:
        raise RelaxationError(f"pseudopotential {path} has no header of a UPF file") from None
    found = _KINDS.get(kind.strip().upper())
    if found is None or relativistic or abs(charge - round(charge)) > 1e-6:
        raise RelaxationError(
            f"pseudopotential {path} is not usable here ({kind.strip() or 'unknown type'}, "
            f"{charge:g} electrons{', fully relativistic' if relativistic else ''}); name a "
            "scalar-relativistic norm-conserving, PAW or ultrasoft one"
        )
    return Pseudopotential(path, element.strip().title(), _functional(functional), found, charge)


def find_pseudopotential(folder: Path, element: str, functional: Functional) -> Pseudopotential:
    """The pseudopotential of an element in a folder.

    The files' headers count; names only have to begin with the symbol of the element. Where there
    are several, norm-conserving ones come before PAW and these before ultrasoft, and among those of
    a kind the last name, which is a library's newest version.

    Raises
    ------
    RelaxationError
        If there is none.
    """
    found = [
        item
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ".upf" and _begins_with(path.name, element)
        for item in _usable(path)
        if item.element == element and item.functional == functional
    ]
    if not found:
        raise RelaxationError(
            f"no {functional.upper()} pseudopotential of {element} in {folder}; put one there, "
            "name another folder (CRYSEARCH_ESPRESSO_PSEUDOPOTENTIALS), take the other "
            "functional, or the engine 'gpaw', which has data sets for most elements"
        )
    best = min(_ORDER.index(item.kind) for item in found)
    return [item for item in found if _ORDER.index(item.kind) == best][-1]


def _begins_with(name: str, element: str) -> bool:
    """Whether a name begins with the symbol and not with a longer one: ``Co.UPF`` is not carbon."""
    rest = name[len(element) :]
    return name[: len(element)].lower() == element.lower() and not rest[:1].islower()


def _usable(path: Path) -> list[Pseudopotential]:
    try:
        return [read_pseudopotential(path)]
    except RelaxationError:  # of a kind that is not for us
        return []


def _header(path: Path) -> str:
    """The text of PP_HEADER, in either version."""
    lines: list[str] = []
    inside = False
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            inside = inside or "<PP_HEADER" in line
            if inside:
                lines.append(line)
                if "/>" in line or "</PP_HEADER" in line or "<PP_MESH" in line:
                    break
            elif number > _HEADER_LINES:
                break
    return "".join(lines)


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-20000:]


def _version_1(header: str) -> tuple[str, str, str, str]:
    """Element, type, functional and valence of a UPF 1 header, whose lines end in their names."""
    values = {"Element": "", "pseudopotential": "", "functional": "", "valence": ""}
    for line in header.splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        if words[-1] == "Element":
            values["Element"] = words[0]
        elif words[-1].lower() == "pseudopotential":
            values["pseudopotential"] = words[0]
        elif line.rstrip().endswith("Exchange-Correlation functional"):
            values["functional"] = " ".join(words[:4])
        elif line.rstrip().endswith("Z valence"):
            values["valence"] = words[0]
    return values["Element"], values["pseudopotential"], values["functional"], values["valence"]


def _functional(text: str) -> Functional | None:
    """``"lda"`` for Ceperley and Alder's in Perdew's parametrisations, ``"pbe"``, or None."""
    words = tuple(word for word in re.split(r"[\s+-]+", text.upper()) if word)
    plain = tuple(word for word in words if word not in ("NOGX", "NOGC"))
    if plain in (("SLA", "PZ"), ("PZ",), ("LDA",), ("SLA", "PW"), ("PW",)):
        return "lda"
    if plain in (("PBE",), ("SLA", "PW", "PBX", "PBC"), ("SLA", "PW", "PBE", "PBE")):
        return "pbe"
    return None
