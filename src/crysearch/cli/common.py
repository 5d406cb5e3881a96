"""What the commands share: options, the open records, tables and formats."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crysearch.records import COLLECTIONS, RecordStore, open_records, queries
from crysearch.settings import load_settings

SearchArgument = Annotated[
    str,
    typer.Argument(
        metavar="[SEARCH]", help="`latest`, the name of a search, or the beginning of its id."
    ),
]


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    json = "json"
    csv = "csv"


@contextmanager
def reading() -> Iterator[RecordStore]:
    """The records of the settings, for reading only."""
    with open_records(load_settings().database.get_secret_value(), read_only=True) as records:
        yield records


def find_document(
    records: RecordStore,
    identifier: str,
    *,
    search: str | None = None,
    collections: Sequence[str] = COLLECTIONS,
) -> tuple[str, dict[str, Any]]:
    """The collection and document that an id means.

    A known structure is in every search under the same name: without a search the newest is meant.
    """
    if search is None and not re.fullmatch("[0-9a-f]+", identifier):
        search = queries.resolve_search(records, "latest")["_id"]
    return queries.find_by_id_prefix(records, identifier, collections=collections, search=search)


def console() -> Console:
    """Standard output; in a pipe plain and wide, so that no row is broken or cut."""
    out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    return out if out.is_terminal else Console(highlight=False, width=250, no_color=True)


def as_text(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(as_text(item) for item in value) or "–"
    if isinstance(value, Mapping):
        parts = (
            f"{key} ({as_text(item)})" if isinstance(item, Mapping) else f"{key} {as_text(item)}"
            for key, item in value.items()
            if item not in ({}, None)
        )
        return ", ".join(parts) or "–"
    return str(value)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    format: Format,
    *,
    columns: Sequence[str],
    headings: Mapping[str, str] | None = None,
    title: str | None = None,
) -> None:
    """Print rows as a table, as JSON (a list of objects) or as CSV, to standard output."""
    if format is Format.json:
        json.dump(rows, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    if format is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_csv_cell(row.get(column)) for column in columns])
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows) and not any(
            isinstance(row.get(column), bool) for row in rows
        )
        table.add_column(
            (headings or {}).get(column, column), justify="right" if numeric else "left"
        )
    for row in rows:
        # As Text: what people name things must not be read as markup.
        table.add_row(*[Text(as_text(row.get(column))) for column in columns])
    console().print(table)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
