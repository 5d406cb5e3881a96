"""``crysearch status``: how far searches have come."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.records import queries


def status(
    search: Annotated[
        str | None,
        typer.Argument(help="A search (`latest`, a name, the beginning of an id); all by default."),
    ] = None,
    format: Annotated[common.Format, typer.Option(help="Form of the output.")] = (
        common.Format.table
    ),
) -> None:
    """Show the searches, or the stages and counts of one."""
    with common.reading() as records:
        if search is None:
            rows = [
                {
                    "id": item["_id"],
                    "name": item["name"],
                    "formula": item["formula"],
                    "status": item["status"],
                    "stages done": sum(s["status"] == "complete" for s in item["stages"].values()),
                    "kept": records.count("candidates", {"search": item["_id"]}),
                    "relaxed": records.count("relaxations", {"search": item["_id"]}),
                    "started": item["created_at"],
                }
                for item in queries.searches(records)
            ]
            columns = list(rows[0]) if rows else ["id", "name", "formula", "status"]
            common.print_rows(rows, format, columns=columns)
            return
        found = queries.resolve_search(records, search)
        counts = queries.counts(records, found["_id"])
    stages: list[dict[str, Any]] = []
    for name, entry in found["stages"].items():
        seconds = (
            (entry["finished_at"] - entry["started_at"]).total_seconds()
            if entry.get("finished_at")
            else None
        )
        stages.append(
            {
                "stage": name,
                "status": entry["status"],
                "seconds": seconds,
                "summary": entry.get("summary"),
            }
        )
    if format is common.Format.json:
        content = {"search": found["_id"], "status": found["status"], "stages": stages}
        json.dump(content | {"counts": counts}, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
        return
    if format is common.Format.table:
        typer.echo(f"search {found['_id']} ({found['name']}): {found['status']}\n")
    shown = [_brief(stage) for stage in stages] if format is common.Format.table else stages
    common.print_rows(shown, format, columns=["stage", "status", "seconds", "summary"])
    if format is common.Format.table:
        typer.echo()
        rows = [{"count": name, "value": value} for name, value in counts.items()]
        common.print_rows(rows, format, columns=["count", "value"])


def _brief(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage as it fits into a line: beginnings of identifiers, and no lists of numbers."""
    summary = stage["summary"]
    if summary is not None:
        summary = {key: item for key, item in summary.items() if not _numbers(item)}
    name = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{8}\b", r"\1", stage["stage"])
    return {**stage, "stage": name, "summary": summary}


def _numbers(item: Any) -> bool:
    """Whether something is a list of numbers."""
    return isinstance(item, list) and bool(item) and not isinstance(item[0], str | dict)
