"""Tables of protocols of molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crysearch.cli import common

Row = dict[str, Any]

_LIST = {
    "_id": "id",
    "name": "name",
    "formula": "formula",
    "engine": "engine",
    "stages": "stages",
    "finished": "finished",
    "status": "status",
    "created_at": "begun",
}
_STAGES = {
    "name": "stage",
    "after": "after",
    "run": "run",
    "ensemble": "ensemble",
    "target": "target (K)",
    "target_pressure": "target (GPa)",
    "status": "status",
    "duration": "ps",
    "frames": "frames",
    "temperature": "temperature (K)",
    "pressure": "pressure (GPa)",
    "potential_energy_per_atom": "potential energy (eV/atom)",
    "mean_volume_per_atom": "volume (Å³/atom)",
    "mean_density": "density (g/cm³)",
    "relative_energy": "",
    "relative_density": "",
    "failure_detail": "reason",
}
_DIGITS = {
    "temperature": 1,
    "pressure": 3,
    "potential_energy_per_atom": 5,
    "mean_volume_per_atom": 4,
    "mean_density": 4,
}


def average(found: Mapping[str, Any] | None, digits: int) -> str | None:
    """A mean with its standard error, as a table shows it."""
    return None if found is None else measured(found["mean"], found["standard_error"], digits)


def measured(value: float | None, error: float | None, digits: int) -> str | None:
    """A value with its standard error, where they are known."""
    if value is None:
        return None
    text = f"{value:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def print_protocols(found: Sequence[Mapping[str, Any]], format: common.Format) -> None:
    """A row for each protocol."""
    rows = [
        {name: one.get(name) for name in _LIST}
        | {
            "_id": one["_id"][:10],
            "stages": len(one["stages"]),
            "finished": sum(row["status"] == "finished" for row in one["stages"]),
        }
        for one in found
    ]
    title = "Protocols" if format is common.Format.table else None
    common.print_rows(rows, format, columns=list(_LIST), headings=_LIST, title=title)


def stages_of(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Protocol and stage by the id of the molecular dynamics; of several, the newest protocol."""
    return {
        row["dynamics"]: f"{one['_id'][:10]}/{row['name']}"
        for one in reversed(found)
        for row in one["stages"]
        if row["dynamics"] is not None
    }


def print_protocol(found: Mapping[str, Any], format: common.Format) -> None:
    """A row for each stage, with what it has more than the stage that others are held against."""
    reference = next((row for row in found["stages"] if row["name"] == found["compare_with"]), None)
    rows = [{**row, **_relative(row, reference)} for row in found["stages"]]
    if format is not common.Format.table:
        common.print_rows(rows, format, columns=list(rows[0]))
        return
    finished = sum(row["status"] == "finished" for row in rows)
    common.console().print(
        f"{found['_id'][:10]} ({found['name']}): {found['formula']}, {found['engine']}, "
        f"{finished} of {len(rows)} stages finished, {found['status']}",
        markup=False,
    )
    shown = [
        row
        | {name: average(row[name], digits) for name, digits in _DIGITS.items()}
        | {
            "after": row["after"] or "start",
            "run": None if row["trajectory"] is None else row["trajectory"][:10],
            "target": _target(row),
            "relative_energy": _signed(row["relative_energy"], 1, 4),
            "relative_density": _signed(row["relative_density"], 100, 2),
        }
        for row in rows
    ]
    headings = _STAGES | {
        "relative_energy": f"above {found['compare_with']} (eV/atom)",
        "relative_density": f"density against {found['compare_with']} (%)",
    }
    columns = [name for name in _STAGES if any(row[name] is not None for row in shown)]
    common.print_rows(shown, format, columns=columns, headings=headings)


def _relative(row: Mapping[str, Any], reference: Mapping[str, Any] | None) -> Row:
    """Energy above that of the reference (eV/atom), and by which share the density is higher."""
    nothing: Row = {"relative_energy": None, "relative_density": None}
    names = ("potential_energy_per_atom", "mean_density")
    if reference is None or row["name"] == reference["name"]:
        return nothing
    if any(one[name] is None for one in (row, reference) for name in names):
        return nothing
    energies, densities = ([one[name]["mean"] for one in (row, reference)] for name in names)
    return {
        "relative_energy": energies[0] - energies[1],
        "relative_density": densities[0] / densities[1] - 1,
    }


def _target(row: Mapping[str, Any]) -> str:
    final = row["final_temperature"]
    return f"{row['target_temperature']:g}" + ("" if final is None else f" → {final:g}")


def _signed(value: float | None, factor: float, digits: int) -> str | None:
    return None if value is None else f"{factor * value:+.{digits}f}"
