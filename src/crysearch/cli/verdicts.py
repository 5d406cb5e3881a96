"""Verdicts as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from crysearch.cli import common
from crysearch.cli.verdict_figures import name_of

Verdict = Mapping[str, Any]

_COLUMNS = {
    "name": "structure",
    "space_group": "space group",
    "density": "g/cm³",
    "levels": "eV/atom above the ground state",
    "is_mechanically_stable": "elastic",
    "is_dynamically_stable": "phonons",
    "bulk_modulus": "B0 GPa",
    "band_gap": "gap eV",
    "known": "known as",
}


def print_table(verdicts: Sequence[Verdict]) -> None:
    """One row per verdict; what was not computed is a dash."""
    rows = [
        {
            "name": name_of(verdict),
            "space_group": (verdict["space_group"] or {}).get("symbol"),
            "density": verdict["density"],
            "levels": ", ".join(_level(level) for level in verdict["levels"]),
            "is_mechanically_stable": _stable(verdict, "elasticity", "is_mechanically_stable"),
            "is_dynamically_stable": _stable(verdict, "phonons", "is_dynamically_stable"),
            "bulk_modulus": verdict["bulk_modulus"],
            "band_gap": "metal" if verdict["is_metal"] else _gap(verdict),
            "known": _known(verdict),
        }
        for verdict in verdicts
    ]
    common.print_rows(rows, common.Format.table, columns=list(_COLUMNS), headings=_COLUMNS)


def print_verdict(verdict: Verdict) -> None:
    """All answers of one verdict, one line each."""
    stand_in = "; a STAND-IN took the place of the engine" if verdict["stand_in"] else ""
    typer.echo(
        f"\nVerdict {verdict['_id'][:10]} (verification {verdict['verification'][:8]}, "
        f"{verdict['scheme']}{stand_in}):"
    )
    rows = [
        {"question": question.replace("_", " "), "answer": text, "engine": answer.get("engine")}
        for question, answer in verdict["answers"].items()
        for text in [sentence(question, answer)]
    ]
    levels = ", ".join(_level(level) for level in verdict["levels"])
    rows.insert(0, {"question": "eV/atom above ground state", "answer": levels, "engine": None})
    group = verdict["space_group"]
    if group is not None:
        text = f"{group['symbol']} ({group['number']}) within {group['tolerance']:g} Å"
        text += f", number {group['strict_number']} within {group['strict_tolerance']:g} Å"
        rows.append({"question": "space group", "answer": text, "engine": None})
    common.print_rows(rows, common.Format.table, columns=["question", "answer", "engine"])


def sentence(question: str, answer: Mapping[str, Any]) -> str:
    """The answer to a question in words."""
    if answer["status"] != "computed":
        return f"{answer['status'].replace('_', ' ')}: {answer['reason']}"
    write = _SENTENCES.get(question)
    return write(answer) if write else common.as_text(answer)


def _energy(answer: Mapping[str, Any]) -> str:
    return (
        f"{answer['energy_above_ground_state']:+.3f} eV/atom from {answer['ground_state']} "
        f"({answer['scheme']})"
    )


def _hull(answer: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{p['formula']} ({p['phase']})" for p in answer["decomposition"])
    return (
        f"{answer['energy_above_hull']:+.3f} eV/atom from the hull of {answer['known_phases']} "
        f"known structures ({answer['scheme']}): {parts}"
    )


def _electronic(answer: Mapping[str, Any]) -> str:
    if answer["is_metal"]:
        return "metal"
    kind = {True: "direct", False: "indirect"}.get(answer["is_direct"], "")
    return f"{kind} gap of {answer['band_gap']:.2f} eV".strip()


def _elasticity(answer: Mapping[str, Any]) -> str:
    lowest = f"smallest Kelvin modulus {answer['eigenvalues'][0]:.1f} GPa"
    failing = [c["expression"] for c in answer["conditions"] if not c["holds"]]
    if not answer["is_stable"]:
        return f"unstable, {lowest}; failing: {', '.join(failing) or 'positive definiteness'}"
    moduli = answer["moduli"]
    return (
        f"stable ({len(answer['conditions'])} conditions, {answer['laue_class']}), {lowest}; "
        f"bulk {moduli['bulk_hill']:.1f}, shear {moduli['shear_hill']:.1f} GPa"
    )


def _phonons(answer: Mapping[str, Any]) -> str:
    count = answer["imaginary_mode_count"]
    cell = f"{answer['supercell_atoms']} atoms, {answer['displaced_cells']} displacements"
    if not answer["is_relaxed"]:
        cell += f"; NOT AT REST, force {answer['residual_force']:.3f} eV/Å: no verdict"
    if answer["is_stable"]:
        return f"no imaginary modes ({cell})"
    worst = answer["imaginary_modes"][0]
    q = " ".join(f"{part:g}" for part in worst["q"])
    return f"{count} imaginary modes, {worst['frequency']:.2f} THz at q = {q} ({cell})"


def _equation_of_state(answer: Mapping[str, Any]) -> str:
    return (
        f"V0 {answer['equilibrium_volume']:.3f} Å³/atom, B0 {answer['bulk_modulus']:.1f} GPa, "
        f"B0′ {answer['bulk_modulus_derivative']:.2f}"
    )


def _coordination(answer: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{count} × {number}" for number, count in answer["histogram"].items())
    bonds = ", ".join(
        f"{bond['pair']} {bond['shortest']:.3f}–{bond['longest']:.3f} Å" for bond in answer["bonds"]
    )
    return f"{parts} neighbours; {bonds}"


def _prototype(answer: Mapping[str, Any]) -> str:
    names = [p["mineral"] or p["aflow"] for p in answer["prototypes"]]
    return ", ".join(names) or "none of AFLOW's"


def _identity(answer: Mapping[str, Any]) -> str:
    known = f"is {answer['matches']}" if answer["matches"] else "matches no known structure"
    twin = f", repeats {answer['duplicate_of'][:10]}" if answer["duplicate_of"] else ""
    limits = ", ".join(f"{name} {value:g}" for name, value in answer["tolerances"].items())
    return f"{known}{twin} (of {answer['compared_with']}; tolerances: {limits})"


def _diffraction(answer: Mapping[str, Any]) -> str:
    strongest = sorted(answer["peaks"], key=lambda peak: -peak["intensity"])[:4]
    lines = ", ".join(f"{peak['two_theta']:.2f}° ({peak['intensity']:.0f})" for peak in strongest)
    return f"λ = {answer['wavelength']:.4f} Å: {lines}"


_SENTENCES = {
    "energy": _energy,
    "stability": _hull,
    "electronic": _electronic,
    "elasticity": _elasticity,
    "phonons": _phonons,
    "equation_of_state": _equation_of_state,
    "coordination": _coordination,
    "prototype": _prototype,
    "identity": _identity,
    "diffraction": _diffraction,
}


def _level(level: Mapping[str, Any]) -> str:
    above = level.get("energy_above_ground_state")
    name = level["scheme"] or level["engine"]
    return f"{name} {level['status']}" if above is None else f"{name} {above:+.3f}"


def _stable(verdict: Verdict, question: str, field: str) -> str | None:
    if verdict[field] is None:
        return "failed" if verdict["answers"][question]["status"] == "failed" else None
    return "stable" if verdict[field] else "unstable"


def _known(verdict: Verdict) -> str:
    if verdict["matches"] is None:
        return "new"
    return "itself" if verdict["matches"] == verdict["label"] else str(verdict["matches"])


def _gap(verdict: Verdict) -> str | None:
    gap = verdict["band_gap"]
    if gap is None:
        return None
    return f"{gap:.2f} {'direct' if verdict['is_gap_direct'] else 'indirect'}"
