"""From the steps of a protocol to one outcome, a plain dictionary."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pymatgen.core import Structure
from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
from pymatgen.entries.computed_entries import ComputedStructureEntry

from crysearch.workflows.vasp.protocols import STEPS, Protocol
from crysearch.workflows.vasp.reading import Summary

_RESULTS = (
    "structure", "energy", "energy_per_atom", "corrected_energy_per_atom", "correction_scheme",
    "max_force", "max_stress", "stress", "steps", "band_gap", "is_metal", "is_gap_direct",
)  # fmt: skip


def outcome_of(
    protocol: Protocol,
    steps: Sequence[Summary | None],
    uuids: Sequence[str],
    incar: Mapping[str, Any] | None = None,
) -> Summary:
    """One outcome of the steps of a protocol.

    Parameters
    ----------
    protocol, incar
        What was computed.
    steps
        The summary of each step (`run_step`); None for one that left nothing.
    uuids
        jobflow's identifiers of the steps.

    Returns
    -------
    dict
        ``engine``, ``protocol``, ``scheme``, ``stand_in``, ``status`` (``converged``,
        ``unconverged``: the last relaxation, or ``failed``), ``reason``, ``detail``,
        ``structure`` (pymatgen's dictionary), ``energy`` (eV), ``energy_per_atom`` and
        ``corrected_energy_per_atom`` (eV/atom), ``correction_scheme``, ``max_force`` (eV/Å),
        ``max_stress`` (GPa), ``stress`` ((3, 3), GPa, ``(1/V) dE/dε``), ``steps`` (ionic, of the
        last run of each relaxation), ``band_gap`` (eV), ``is_metal``, ``is_gap_direct``,
        ``custodian_corrections``, ``tasks`` and ``settings``. What was not computed is None.
    """
    known = [step for step in steps if step is not None]
    stand_in = next((s["stand_in"] for s in reversed(known) if s["stand_in"] is not None), None)
    failure = _failure(steps)
    scheme = protocol.scheme_with(incar)
    outcome: Summary = {
        "engine": "vasp",
        "protocol": protocol.name,
        # A stand-in's energies are none of VASP's.
        "scheme": f"stand-in for {scheme}" if stand_in else scheme,
        "stand_in": stand_in,
        "status": "failed",
        "reason": failure and failure["reason"],
        "detail": failure and failure["detail"],
        **dict.fromkeys(_RESULTS),
        "custodian_corrections": [
            {"step": name, **correction}
            for name, step in zip(STEPS, steps, strict=True)
            for correction in (step or {}).get("custodian_corrections", [])
        ],
        "tasks": [
            {
                "step": name,
                "uuid": uuid,
                "dir_name": step and step["dir_name"],
                "state": step["state"] if step else "lost",
            }
            for name, step, uuid in zip(STEPS, steps, uuids, strict=True)
        ],
        "settings": _settings(protocol, known),
    }
    return outcome if failure else outcome | _results(protocol, known, incar)


def _failure(steps: Sequence[Summary | None]) -> Summary | None:
    for name, step in zip(STEPS, steps, strict=True):
        if step is None:
            return {"reason": "lost", "detail": lost(name)}
        if step["state"] not in ("converged", "unconverged"):
            return {"reason": step["reason"], "detail": step["detail"]}
    return None


def lost(step: str) -> str:
    """The sentence for a step that left no result."""
    return (
        f"the job of {step!r} left no result: it was killed, its worker was lost, or its JobStore "
        "is another than that of the job that looked"
    )


def _results(protocol: Protocol, steps: list[Summary], incar: Mapping[str, Any] | None) -> Summary:
    relaxed, final = steps[-2:]
    atoms = len(final["structure"]["sites"])
    found = {key: final[key] for key in _RESULTS if key in final}
    found["steps"] = sum(step["steps"] for step in steps)
    found["energy_per_atom"] = final["energy"] / atoms
    # The corrections are fitted to the protocol as it is, and to VASP's own energies.
    as_published = protocol.scheme_with(incar) == protocol.scheme
    if protocol.correction_scheme and as_published and not final["stand_in"]:
        found |= _corrected(protocol.correction_scheme, final)
    return (
        found | {key: relaxed[key] for key in ("reason", "detail")} | {"status": relaxed["state"]}
    )


def _corrected(scheme: str, final: Summary) -> Summary:
    corrected = corrected_energy(final)
    if corrected is None:
        return {}
    return {
        "corrected_energy_per_atom": corrected / len(final["structure"]["sites"]),
        "correction_scheme": scheme,
    }


def corrected_energy(final: Summary) -> float | None:
    """Energy with the corrections of the Materials Project of 2020, eV per cell.

    None if they do not apply: other potentials or Hubbard U than those they were fitted with.
    """
    entry = ComputedStructureEntry(
        Structure.from_dict(final["structure"]),
        final["energy"],
        parameters=dict(final["entry_parameters"]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of guessed oxidation states; nothing is hidden by them
        processed = MaterialsProject2020Compatibility().process_entry(entry)
    return None if processed is None else float(processed.energy)


def _settings(protocol: Protocol, steps: list[Summary]) -> Summary:
    last: Summary = next((step["settings"] for step in reversed(steps) if "settings" in step), {})
    return {
        "functional": protocol.functional,
        "potentials": protocol.potentials,
        **{
            key: last.get(key)
            for key in ("encut", "k_spacing", "k_mesh", "potcar_symbols", "vasp_version", "incar")
        },
        "versions": {name: _version(name) for name in ("atomate2", "custodian", "pymatgen")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
