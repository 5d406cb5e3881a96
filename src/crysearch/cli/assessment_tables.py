"""The tables of assessments, for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prettytable import PrettyTable, TableStyle
from rich.table import Table as RichTable
from rich.text import Text

from crysearch.assessment import Comparison, Measured, compare, headlines, measured_values
from crysearch.cli import common

Quantities = Mapping[str, Any]
_NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column has what the rows are."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)


def comparisons(assessed: Mapping[str, Quantities], reference: str | None) -> dict[str, Comparison]:
    """Each model against the reference, by its name."""
    if reference is None or not assessed[reference].get("phases"):
        return {}
    return {
        name: compare(found, assessed[reference])
        for name, found in assessed.items()
        if name != reference and found.get("phases")
    }


def measured_of(assessed: Mapping[str, Quantities], formula: str) -> Mapping[str, Measured]:
    """What was measured of the first phase."""
    for found in assessed.values():
        if found.get("elasticity"):
            return measured_values(formula, found["elasticity"]["space_group"])
    return {}


def tables(assessed: Mapping[str, Quantities], reference: str | None, formula: str) -> list[Table]:
    """All tables that have rows.

    Parameters
    ----------
    assessed
        The quantities that were computed, by the name of the engine, the reference first.
    reference
        Name of the reference, if there is one.
    formula
        Reduced formula.
    """
    empty: list[dict[str, Any]] = []
    phases = next((found["phases"] for found in assessed.values() if found.get("phases")), empty)
    first = f"{phases[0]['label']} ({phases[0]['name']})" if phases else "the first phase"
    names = {phase["name"]: f"{phase['label']} ({phase['name']})" for phase in phases}
    made = [
        _headlines(assessed, reference, measured_of(assessed, formula), first),
        _by_phase(
            assessed,
            names,
            f"relaxed energy above that of {first}, meV/atom; * no longer the listed crystal",
            _energy,
        ),
        _by_phase(assessed, names, "relaxed volume, Å³/atom", _number("volume", 2)),
        _by_phase(
            assessed,
            names,
            "relaxation energy of the disturbed cell, meV/atom; * not back to the same crystal",
            _relaxation_energy,
        ),
        _by_phase(
            assessed,
            names,
            "relaxation volume of the disturbed cell, Å³/atom",
            _number("relaxation_volume", 2),
        ),
        _moduli(assessed, names),
        _costs(assessed),
        _differences(comparisons(assessed, reference), reference),
    ]
    return [table for table in made if table.rows]


def show(table: Table) -> None:
    """Print a table to the terminal."""
    made = RichTable(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(table.columns):
        made.add_column(column, justify="right" if place else "left")
    for row in table.rows:
        made.add_row(*[Text(cell) for cell in row])
    out = common.console()
    out.print(f"{_sentence(table.title)}:", markup=False)
    out.print(made)
    out.print()


def markdown(table: Table) -> str:
    """The table in Markdown, with its title above."""
    made = PrettyTable(list(table.columns), align="r")
    made.align[table.columns[0]] = "l"
    made.set_style(TableStyle.MARKDOWN)
    made.add_rows(table.rows)
    return f"{_sentence(table.title)}:\n\n{made.get_string()}\n"


def _sentence(title: str) -> str:
    return title[0].upper() + title[1:]


def _headlines(
    assessed: Mapping[str, Quantities],
    reference: str | None,
    measured: Mapping[str, Measured],
    first: str,
) -> Table:
    found = {name: {h.key: h for h in headlines(q)} for name, q in assessed.items()}
    theirs = found.get(reference or "", {})
    kinds = {h.key: h for lines in found.values() for h in lines.values()}
    known = {key for key in kinds if key in measured}
    points = any(key.startswith("phonon") for key in known)
    table = Table(
        f"{first}; in brackets the difference from {reference}" if reference else first,
        ["", *(["measured"] if known else []), *assessed],
    )
    for key, kind in kinds.items():
        # Of the special points, those that were measured, if any were.
        if key.startswith("phonon") and points and key not in known:
            continue
        row = [f"{kind.label} ({kind.unit})" if kind.unit else kind.label]
        if known:
            row.append(_text(measured[key].value) if key in known else _NONE)
        for name, lines in found.items():
            mine = lines.get(key)
            cell = _NONE if mine is None or mine.value is None else _text(mine.value)
            if mine is not None and mine.value is not None and mine.error is not None:
                cell = f"{mine.value:.2f} ± {mine.error:.2f}"
            other = theirs.get(key)
            compared = name != reference and not key.startswith("cost")
            if compared and mine and other and None not in (mine.value, other.value):
                assert mine.value is not None and other.value is not None
                cell += f" ({mine.value - other.value:+.{_digits(mine.value)}f})"
            row.append(cell)
        table.rows.append(row)
    return table


def _by_phase(
    assessed: Mapping[str, Quantities],
    names: Mapping[str, str],
    title: str,
    cell: Callable[[Mapping[str, Any], Mapping[str, Any]], str],
) -> Table:
    table = Table(title, ["", *assessed])
    for name, text in names.items():
        row = [text]
        for found in assessed.values():
            phases = {phase["name"]: phase for phase in found.get("phases") or []}
            row.append(cell(phases[name], found["phases"][0]) if name in phases else _NONE)
        table.rows.append(row)
    return table


def _energy(phase: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    if phase["energy"] is None or first["energy"] is None:
        return _NONE
    mark = "" if phase["is_kept"] else "*"
    return f"{1000 * (phase['energy'] - first['energy']):.1f}{mark}"


def _relaxation_energy(phase: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    if phase["relaxation_energy"] is None:
        return _NONE
    return f"{1000 * phase['relaxation_energy']:.0f}{'' if phase['returns'] else '*'}"


def _number(field: str, digits: int) -> Callable[[Mapping[str, Any], Mapping[str, Any]], str]:
    def cell(phase: Mapping[str, Any], _: Mapping[str, Any]) -> str:
        return _NONE if phase[field] is None else f"{phase[field]:.{digits}f}"

    return cell


def _moduli(assessed: Mapping[str, Quantities], names: Mapping[str, str]) -> Table:
    states = {
        name: {s["name"]: s for s in found.get("equation_of_state") or []}
        for name, found in assessed.items()
    }
    table = Table("bulk modulus B0 of the Birch–Murnaghan fit, GPa", ["", *assessed])
    if not any(states.values()):
        return table
    for name, text in names.items():
        moduli = [known.get(name, {}).get("bulk_modulus") for known in states.values()]
        table.rows.append([text, *(_NONE if m is None else f"{m:.1f}" for m in moduli)])
    return table


def _costs(assessed: Mapping[str, Quantities]) -> Table:
    points = {
        name: {point["atoms"]: point for point in found["cost"]["points"]}
        for name, found in assessed.items()
        if found.get("cost")
    }
    table = Table("CPU time per atom and step (energy, forces, stress), µs", ["atoms", *points])
    for atoms in sorted({size for known in points.values() for size in known}):
        cells = [
            f"{1e6 * known[atoms]['cpu_per_atom']:.3g}" if atoms in known else _NONE
            for known in points.values()
        ]
        table.rows.append([f"{atoms:,}", *cells])
    return table


def _differences(found: Mapping[str, Comparison], reference: str | None) -> Table:
    table = Table(f"differences from {reference}", ["", *found])
    if not found:
        return table

    def row(label: str, cell: Callable[[Comparison], str]) -> None:
        table.rows.append([label, *(cell(comparison) for comparison in found.values())])

    row(
        "order of phases: Kendall's τ (phases)",
        lambda c: f"{_text(c.kendall_tau)} ({c.ordered})",
    )
    row("pairs of phases in the other order", lambda c: str(len(c.inversions)))
    for label, name, factor in (
        ("energy, mean absolute (meV/atom)", "energy_mean_absolute", 1000),
        ("volume, mean absolute (Å³/atom)", "volume_mean_absolute", 1),
        ("relaxation energy (meV/atom)", "relaxation_energy_mean_absolute", 1000),
        ("relaxation volume (Å³/atom)", "relaxation_volume_mean_absolute", 1),
        ("phonons at special points (THz)", "phonon_mean_absolute", 1),
    ):
        row(label, lambda c, n=name, f=factor: _scaled(getattr(c, n), f))  # type: ignore[misc]
    return table


def _scaled(value: float | None, factor: float) -> str:
    return _NONE if value is None else _text(factor * value)


def _text(value: float | None) -> str:
    """At least three significant digits, but no more than three decimals."""
    return _NONE if value is None else f"{value:.{_digits(value)}f}"


def _digits(value: float) -> int:
    size = abs(value)
    return 1 if size >= 100 else 2 if size >= 1 else 3
