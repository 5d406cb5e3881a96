"""The tables of a study of selection in Markdown, as they are printed and go into pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crysearch.workflows.study.tables import interval_text, markdown_table

Document = Mapping[str, Any]
_HEADING = {
    "force_error_max": "largest (eV/Å)",
    "force_error_rms": "root mean square (eV/Å)",
    "force_error_mean": "mean (eV/Å)",
    "energy_error_rms": "energy (meV/atom)",
}


def selection_tables(study: Document, fits: Sequence[Document]) -> str:
    """Return the tables of a study and its fits: errors, liquids, findings.

    Intervals are 95 % intervals of the mean over the seeds, written as mean ± half their width.
    Errors that differ from those of random selection, seed by seed, are bold.
    """
    parts = [_errors(study, model) for model in dict.fromkeys(g["model"] for g in study["groups"])]
    parts += [_liquids(study, fits), _findings(study)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _errors(study: Document, model: str) -> str:
    outcomes = {
        (entry["size"], entry["method"]): entry["measures"]
        for entry in study["differences"]
        if (entry["model"], entry["baseline"]) == (model, "random")
    }
    rows = []
    for group in (group for group in study["groups"] if group["model"] == model):
        row = [str(group["size"]), group["method"]]
        for name in _HEADING:
            text = _interval(name, group["measures"][name])
            compared = outcomes.get((group["size"], group["method"]))
            apart = compared is not None and compared[name]["outcome"] in ("higher", "lower")
            row.append(f"**{text}**" if apart else text)
        failed = sum(entry["n"] for entry in group["failures"])
        row += [f"{group['fits']}, {failed}", _seconds(group["seconds"])]
        rows.append(row)
    heading = [f"{model}: configurations", "chosen by", *_HEADING.values(), "fits, failed", "s"]
    return markdown_table(heading, rows)


def _interval(name: str, values: Document) -> str:
    if name != "energy_error_rms":
        return interval_text(values)
    milli = {k: None if values[k] is None else 1e3 * values[k] for k in ("mean", "low", "high")}
    return interval_text(milli)


def _liquids(study: Document, fits: Sequence[Document]) -> str:
    if study["melt"] is None:
        return ""
    names = [pair["pair"] for pair in study["melt"]["pairs"]]
    rows = [_liquid(["reference", "", ""], study["melt"], names)]
    rows += [
        _liquid([fit["model"], fit["method"], str(fit["seed"])], fit["melt"], names)
        for fit in fits
        if fit["melt"] is not None
    ]
    pairs = [name.replace("-", "–") for name in names]
    heading = ["liquid of", "chosen by", "seed", "ended", "K", "g(r) off by"]
    heading += [f"first peak {pair} (Å)" for pair in pairs] + ["too near, per atom"]
    return markdown_table(heading, rows)


def _liquid(begin: list[str], melt: Document, names: Sequence[str]) -> list[str]:
    ended = melt["status"]
    if melt["failure"] is not None:
        ended += f" ({melt['failure']}) after {melt['duration']:.1f} ps"
    nearer = [pair["nearer"] for pair in melt["pairs"] if pair["nearer"] is not None]
    # A liquid that failed at its start has no pairs.
    known = {pair["pair"]: pair["peak"] for pair in melt["pairs"]}
    peaks = ["—" if known.get(name) is None else f"{known[name]:.2f}" for name in names]
    return [
        *begin,
        ended,
        "—" if melt["temperature"] is None else f"{melt['temperature']:.0f}",
        "—" if melt["distance"] is None else f"{melt['distance']:.3f}",
        *peaks,
        f"{max(nearer):.3f}" if nearer else "—",
    ]


def _findings(study: Document) -> str:
    return "\n".join(
        f"- {finding['model']}: {finding['claim']} — **{finding['outcome']}** "
        f"({finding['evidence']})."
        for finding in study["findings"]
    )


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"
