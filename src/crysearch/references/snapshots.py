"""Bundled snapshots of the Materials Project: known structures without key or network.

Their origin, licence and citation are in ``data/README.md``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from importlib.resources import files
from typing import Any

from pymatgen.core import Composition, Structure

from crysearch.errors import ReferencesError
from crysearch.references.base import Reference, reduced_composition

_FILES = {
    "Al2O3": "al2o3_mp.json.gz",
    "GaAs": "gaas_mp.json.gz",
    "NaCl": "nacl_mp.json.gz",
    "Si": "si_mp.json.gz",
    "SnSe": "snse_mp.json.gz",
}
_DATA = files("crysearch.references") / "data"
_OWN_FIELDS = {
    "material_id",
    "source",
    "structure",
    "spacegroup",
    "energy_above_ground_state_ev_atom",
    "energy_above_ground_state_origin",
}


def available_snapshots() -> tuple[str, ...]:
    """Reduced formulas for which a snapshot is bundled."""
    return tuple(_FILES)


def load_snapshot(formula: str) -> list[Reference]:
    """Known structures of one composition from the bundled snapshots.

    Parameters
    ----------
    formula
        Any way of writing the composition: ``"Si"``, ``"Si8"`` and ``"SnSe"``, ``"Se4Sn4"``.

    Returns
    -------
    list of Reference
        In the order of the file (by Materials Project id), nothing set aside yet.

    Raises
    ------
    ReferencesError
        If there is no snapshot of this composition, or the installed file is damaged.
    """
    wanted = reduced_composition(formula)
    for name, file_name in _FILES.items():
        if Composition(name) == wanted:
            return [_reference(entry) for entry in json.loads(_read_verified(file_name))]
    raise ReferencesError(
        f"references: no snapshot of {formula!r} is bundled; there are {', '.join(_FILES)}. "
        "For other compositions download the references from the Materials Project (needs a "
        "free API key) or give structure files."
    )


def _read_verified(file_name: str) -> bytes:
    """Content of a bundled file, after comparing it with the recorded SHA-256."""
    lines = (_DATA / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    content = (_DATA / file_name).read_bytes()
    if hashlib.sha256(content).hexdigest() != sums[file_name]:
        raise ReferencesError(
            f"references: the bundled file {file_name} is damaged (its SHA-256 is not the "
            "recorded one); install crysearch again."
        )
    return gzip.decompress(content)


def _reference(entry: dict[str, Any]) -> Reference:
    metadata = {name: value for name, value in entry.items() if name not in _OWN_FIELDS}
    return Reference(
        reference_id=entry["material_id"],
        structure=Structure.from_dict(entry["structure"]),
        source=entry["source"],
        energy_above_ground_state=entry["energy_above_ground_state_ev_atom"],
        energy_origin=entry["energy_above_ground_state_origin"],
        reported_space_group=entry["spacegroup"]["number"],
        metadata=metadata,
    )
