"""The tables of a study in Markdown, as they are printed and go into pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prettytable import PrettyTable, TableStyle

from crysearch.study import MEASURES, Measure

Document = Mapping[str, Any]


def markdown_tables(study: Document) -> str:
    """Return the tables of a document of ``studies``: variants, differences, controls, sentences.

    Intervals are 95 % intervals of the mean, written as mean ± half their width; differences whose
    interval excludes 0 are bold.
    """
    parts = [_variants(study), _differences(study), _controls(study)]
    parts.append("\n".join(f"- {sentence}" for sentence in study["sentences"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _variants(study: Document) -> str:
    variants = study["variants"]
    rows = [
        ["trainings, of these failed", *(f"{v['trials']}, {v['failed']}" for v in variants)],
        ["parameters", *(_count(v["parameter_count"]) for v in variants)],
        ["epochs", *(_count(v["epochs"]) for v in variants)],
        ["seconds of training, all seeds", *(_number(v["seconds"], 1) for v in variants)],
    ]
    for measure in MEASURES:
        found = [variant["measures"][measure.key] for variant in variants]
        if any(values["n"] for values in found):
            rows.append([_label(measure), *(interval_text(values) for values in found)])
    spreads = (variant["measures"]["train_loss"]["deviation"] for variant in variants)
    rows.append(["spread of the training loss over the seeds", *(_number(s, 2) for s in spreads)])
    rows.append(
        [
            "distinct structures of low energy, all seeds",
            *(f"{v['distinct_low_together']} of {v['relaxed']}" for v in variants),
        ]
    )
    return markdown_table(["", *(variant["name"] for variant in variants)], rows)


def _differences(study: Document) -> str:
    entries = study["differences"]
    if not entries:
        return ""
    names = [f"{entry['variant']} − {entry['baseline']}" for entry in entries]
    most = max(values["n"] for entry in entries for values in entry["measures"].values())
    rows = [
        [_label(measure), *(_compared(entry["measures"][measure.key], most) for entry in entries)]
        for measure in MEASURES
        if any(entry["measures"][measure.key]["n"] for entry in entries)
    ]
    return markdown_table([f"mean difference over {most} pairs, or as many as given", *names], rows)


def _compared(values: Document, most: int) -> str:
    text = interval_text(values)
    text = f"**{text}**" if values["outcome"] in ("higher", "lower") else text
    return text if values["n"] == most else f"{text} ({values['n']})"


def _controls(study: Document) -> str:
    rows = [
        [
            control["name"],
            f"{control['near']:,} of {control['crystals']:,}",
            str(control["relaxed"]["converged"]),
            interval_text(control["energy"]),
            _number(control["energy_lowest"], 3),
            str(control["distinct_low"]),
        ]
        for control in study["controls"]
    ]
    heading = ["random crystals", "number", "relaxed", "mean energy (eV/atom)", "lowest",
               "distinct of low energy"]  # fmt: skip
    return markdown_table(heading, rows)


def _label(measure: Measure) -> str:
    return f"{measure.label} ({measure.unit})" if measure.unit else measure.label


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the first column to the left."""
    table = PrettyTable(list(heading), align="r")
    table.align[heading[0]] = "l"
    table.set_style(TableStyle.MARKDOWN)
    table.add_rows([list(row) for row in rows])
    return table.get_string()


def interval_text(values: Document) -> str:
    """A mean and half the width of its interval, with as many digits as these have."""
    mean, low, high = values["mean"], values["low"], values["high"]
    if mean is None:
        return "—"
    if low is None:
        return _number(mean, 4)
    half = (high - low) / 2
    if not half:
        return f"{mean:g} ± 0"
    # As many digits as tell the two ends of the interval apart.
    digits = next((d for d in range(6) if half >= 10.0 ** (1 - d)), 6)
    # Adding 0 makes -0.0 positive.
    return f"{round(mean, digits) + 0.0:.{digits}f} ± {half:.{digits}f}"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"
